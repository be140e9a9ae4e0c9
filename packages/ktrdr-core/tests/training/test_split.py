"""No label of one part reaches into another, as a property, with a test that the property finds broken splits."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.errors import BadInputError
from ktrdr.core.labels.make import LabelSet, make_labels
from ktrdr.core.strategy.model import CLASSES, DataSplit, Labels
from ktrdr.core.training.split import PARTS, SymbolSplit, part_ranges, split_periods, split_rows

_STOCKS = Path(__file__).parents[1] / "data" / "files" / "US_stocks_1d_2000_2013.csv.gz"

SECTIONS = {
    "zigzag": Labels(source="zigzag", parameters={"zigzag_threshold": 0.004, "label_lookahead": 20}),
    "turning_points": Labels(source="turning_points", parameters={"reversal": 0.004, "max_span": 20}),
    "forward_return": Labels(source="forward_return", parameters={"horizon": 20}),
    "triple_barrier": Labels(
        source="triple_barrier",
        parameters={
            "pt_multiplier": 2.0,
            "sl_multiplier": 1.0,
            "max_holding_period": 25,
            "vol_span": 20,
            "vol_method": "atr",
        },
    ),
    "direction": Labels(source="direction", parameters={"horizon": 1, "threshold": 0.0}),
}


def stock_bars(ticker: str) -> Bars:
    with gzip.open(_STOCKS, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Ticker"] == ticker]
    return Bars(
        ticker,
        Timeframe("1d"),
        np.array([row["Date"] for row in rows], dtype="datetime64[ns]"),
        *(np.array([float(row[name]) for row in rows]) for name in ("Open", "High", "Low", "Close", "Volume")),
    )


def begins_of_parts(n: int, data_split: DataSplit) -> dict[str, int]:
    """First bar of each part as the shares say, embargo included; ``n`` for a part without bars."""
    return {
        "train": 0,
        "validation": round(data_split.train * n) if data_split.validation else n,
        "test": round((data_split.train + data_split.validation) * n) if data_split.test else n,
    }


def leaks(
    split: SymbolSplit, warm: np.ndarray, labels: LabelSet, data_split: DataSplit, embargo: float, window: int
) -> list[str]:
    """Return what is wrong with a split, sample by sample, without the code under test."""
    n = len(labels)
    begins = begins_of_parts(n, data_split)
    found = []
    for part in PARTS:
        later = [begin for name, begin in begins.items() if PARTS.index(name) > PARTS.index(part)]
        end = min([*later, n])
        for row in getattr(split, part).tolist():
            if math.isnan(labels.values[row]):
                found.append(f"{part} row {row} has no label")
            if row - window + 1 < 0 or not all(warm[row - window + 1 : row + 1]):
                found.append(f"{part} row {row} has no complete window")
            if row < begins[part]:
                found.append(f"{part} row {row} lies before its part")
            if begins[part] > 0 and row < begins[part] + embargo * n - 1e-6:
                found.append(f"{part} row {row} is under embargo")
            if labels.span_end[row] >= end:
                found.append(f"{part} row {row} has a label made from bars of a later part")
            if row + labels.look_ahead >= end:
                found.append(f"{part} row {row} is kept because its label was settled early")
    rows = np.concatenate([getattr(split, part) for part in PARTS])
    if (np.diff(rows) <= 0).any():
        found.append("rows are not ascending over the parts, or shared")
    return found


def slow_rows(
    warm: np.ndarray, labels: LabelSet, data_split: DataSplit, embargo: float, window: int
) -> dict[str, list[int]]:
    n = len(labels)
    begins = begins_of_parts(n, data_split)
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    for row in range(n):
        part = max((name for name in PARTS if begins[name] <= row), key=PARTS.index)
        end = min([begin for name, begin in begins.items() if begin > begins[part]] + [n])
        if (
            not math.isnan(labels.values[row])
            and row >= window - 1
            and all(warm[row - window + 1 : row + 1])
            and row + labels.look_ahead < end
            and (part == "train" or row >= begins[part] + math.ceil(round(embargo * n, 6)))
        ):
            rows[part].append(row)
    return rows


SPLITS = [
    DataSplit(),
    DataSplit(train=0.5, validation=0.25, test=0.25),
    DataSplit(train=0.8, validation=0.0, test=0.2),
    DataSplit(train=0.6, validation=0.4, test=0.0),
    DataSplit(train=1.0, validation=0.0, test=0.0),
    DataSplit(train=0.34, validation=0.33, test=0.33),
]


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    n = draw(st.integers(30, 200))
    look_ahead = draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    rows = np.arange(n)
    span_end = np.minimum(rows + random.integers(1, look_ahead + 1, n), n - 1)
    values = random.integers(0, 3, n).astype(np.float64)
    values[(random.random(n) < draw(st.sampled_from([0.0, 0.1]))) | (span_end <= rows)] = np.nan
    warm = (rows >= draw(st.integers(0, 10))) & (random.random(n) >= draw(st.sampled_from([0.0, 0.03])))
    return {
        "warm": warm,
        "labels": LabelSet(values, span_end, look_ahead, CLASSES),
        "data_split": draw(st.sampled_from(SPLITS)),
        "embargo": draw(st.sampled_from([0.0, 0.01, 0.05])),
        "window": draw(st.sampled_from([1, 2, 7])),
    }


def call(case: dict[str, Any]) -> SymbolSplit:
    return split_rows(
        "X", case["warm"], case["labels"], case["data_split"], embargo=case["embargo"], window=case["window"]
    )


@given(case=cases())
def test_no_label_crosses_a_boundary_and_no_sample_is_lost(case: dict[str, Any]):
    slow = slow_rows(**case)
    empty = [part for part in PARTS if getattr(case["data_split"], part) > 0 and not slow[part]]
    if empty:
        with pytest.raises(BadInputError, match=f"X has no {empty[0]} sample"):
            call(case)
        return
    split = call(case)
    assert leaks(split, **case) == []
    assert {part: getattr(split, part).tolist() for part in PARTS} == slow
    assert all(getattr(split, part).dtype == np.int64 for part in PARTS)


@pytest.mark.parametrize("source", SECTIONS)
@pytest.mark.parametrize("window", [1, 20])
@pytest.mark.parametrize("bars", [sample_bars(), stock_bars("FB")], ids=["EURUSD 1h", "FB 1d"])
def test_no_label_crosses_a_boundary_in_real_data(source: str, window: int, bars: Bars):
    warm = np.arange(len(bars)) >= 26
    case = {
        "warm": warm,
        "labels": make_labels(SECTIONS[source], bars),
        "data_split": DataSplit(),
        "embargo": 0.01,
        "window": window,
    }
    split = call(case)
    assert leaks(split, **case) == []
    assert {part: getattr(split, part).tolist() for part in PARTS} == slow_rows(**case)


def _real_case() -> dict[str, Any]:
    bars = sample_bars()
    return {
        "warm": np.arange(len(bars)) >= 26,
        "labels": make_labels(SECTIONS["triple_barrier"], bars),
        "data_split": DataSplit(),
        "embargo": 0.01,
        "window": 5,
    }


def _unpurged(case: dict[str, Any], split: SymbolSplit) -> SymbolSplit:
    """Every row that has a label, ignoring that labels look ahead."""
    rows = np.flatnonzero(case["labels"].labelled & case["warm"])
    parts = {part: rows[(rows >= first) & (rows < end)] for part, (first, end) in split.ranges.items()}
    return replace(split, **{part: own[own >= 40] for part, own in parts.items()})


def _validation_unpurged(case: dict[str, Any], split: SymbolSplit) -> SymbolSplit:
    return replace(split, validation=np.append(split.validation, split.ranges["validation"][1] - 1))


def _settled_early(case: dict[str, Any], split: SymbolSplit) -> SymbolSplit:
    """Purged by each label's own span."""
    end, labels = split.ranges["train"][1], case["labels"]
    rows = np.flatnonzero((labels.span_end < end) & labels.labelled)
    return replace(split, train=rows[rows > 40])


def _no_embargo(case: dict[str, Any], split: SymbolSplit) -> SymbolSplit:
    return replace(split, test=np.concatenate(([round(0.85 * len(case["warm"]))], split.test)))


def _shuffled(case: dict[str, Any], split: SymbolSplit) -> SymbolSplit:
    rows = np.random.default_rng(0).permutation(np.concatenate((split.train, split.validation)))
    return replace(split, train=np.sort(rows[:4000]), validation=np.sort(rows[4000:]))


def _too_early(case: dict[str, Any], split: SymbolSplit) -> SymbolSplit:
    return replace(split, train=np.concatenate(([27], split.train)))


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (_unpurged, "made from bars of a later part"),
        (_validation_unpurged, "made from bars of a later part"),
        (_settled_early, "settled early"),
        (_no_embargo, "under embargo"),
        (_shuffled, "made from bars of a later part"),
        (_too_early, "no complete window"),
    ],
)
def test_a_broken_split_is_caught(broken: Callable[[dict[str, Any], SymbolSplit], SymbolSplit], complaint: str):
    case = _real_case()
    split = call(case)
    assert leaks(split, **case) == []
    assert any(complaint in found for found in leaks(broken(case, split), **case))


def test_parts_depend_on_the_data_and_the_shares_alone():
    """Strategies with other indicators, windows and labels are evaluated on the same bars."""
    case = _real_case()
    other = case | {
        "warm": np.arange(len(case["warm"])) >= 900,
        "labels": make_labels(SECTIONS["direction"], sample_bars()),
        "window": 60,
    }
    assert call(case).ranges == call(other).ranges == part_ranges(6225, DataSplit(), 0.01)


@pytest.mark.parametrize(
    ("n", "shares", "embargo", "expected"),
    [
        (100, (0.7, 0.15, 0.15), 0.0, [(0, 70), (70, 85), (85, 100)]),
        (100, (0.7, 0.15, 0.15), 0.02, [(0, 70), (72, 85), (87, 100)]),
        # 0.01 * 5700 is 57.00000000000001 in floating point, and 57 bars.
        (5700, (0.7, 0.15, 0.15), 0.01, [(0, 3990), (4047, 4845), (4902, 5700)]),
        (150, (0.7, 0.15, 0.15), 0.01, [(0, 105), (107, 128), (130, 150)]),
        (100, (0.8, 0.0, 0.2), 0.05, [(0, 80), (80, 80), (85, 100)]),
        (100, (0.8, 0.2, 0.0), 0.05, [(0, 80), (85, 100), (100, 100)]),
        (100, (1.0, 0.0, 0.0), 0.05, [(0, 100), (100, 100), (100, 100)]),
        (10, (0.7, 0.15, 0.15), 0.3, [(0, 7), (8, 8), (10, 10)]),
        (0, (0.7, 0.15, 0.15), 0.01, [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_ranges_of_the_parts(
    n: int, shares: tuple[float, float, float], embargo: float, expected: list[tuple[int, int]]
):
    data_split = DataSplit(train=shares[0], validation=shares[1], test=shares[2])
    assert list(part_ranges(n, data_split, embargo).values()) == expected


def test_a_validation_window_may_begin_in_the_training_part():
    case = _real_case() | {"embargo": 0.0, "window": 50}
    split = call(case)
    first, _ = split.ranges["validation"]
    assert split.validation[0] == first
    assert first - 50 + 1 < split.ranges["train"][1]


def test_periods_are_from_the_first_open_to_the_last_close():
    case, bars = _real_case(), sample_bars()
    split = call(case)
    periods = split_periods(split, bars)
    assert periods.validation is not None
    assert periods.test is not None
    assert periods.train.start == dt.datetime(2017, 1, 1, 22, tzinfo=dt.UTC)
    assert periods.test.end == dt.datetime(2017, 12, 29, 22, tzinfo=dt.UTC)
    for part in PARTS:
        first, end = split.ranges[part]
        period = getattr(periods, part)
        assert period.start.replace(tzinfo=None) == bars.time[first].astype("datetime64[us]").item()
        assert period.end - dt.timedelta(hours=1) == bars.time[end - 1].astype("datetime64[us]").item().replace(
            tzinfo=dt.UTC
        )
    gap = bars.between(
        np.datetime64(periods.train.end.replace(tzinfo=None)),
        np.datetime64(periods.validation.start.replace(tzinfo=None)),
    )
    assert len(gap) == math.ceil(0.01 * len(bars))


def test_a_part_without_a_share_has_no_period():
    case = _real_case() | {"data_split": DataSplit(train=0.8, validation=0.2, test=0.0)}
    split = call(case)
    assert len(split.test) == 0
    assert split_periods(split, sample_bars()).test is None


def _tiny(n: int, look_ahead: int) -> LabelSet:
    rows = np.arange(n)
    values = np.where(rows + look_ahead < n, 1.0, np.nan)
    return LabelSet(values, np.minimum(rows + look_ahead, n - 1), look_ahead, CLASSES)


@pytest.mark.parametrize(
    ("warmup", "look_ahead", "embargo", "message"),
    [
        (80, 1, 0.0, "X has no train sample: none of its 70 bars has complete features and a label; "),
        (0, 16, 0.0, "X has no validation sample: every label in its 15 bars may reach past their end, as labels look"),
        (0, 1, 0.2, "X has no validation sample: an embargo of 0.2 leaves it no bars; "),
    ],
)
def test_a_part_without_samples_is_refused_with_the_reason(warmup: int, look_ahead: int, embargo: float, message: str):
    with pytest.raises(BadInputError) as caught:
        split_rows("X", np.arange(100) >= warmup, _tiny(100, look_ahead), DataSplit(), embargo=embargo)
    assert str(caught.value).startswith(message)
    assert "`training.data_split`" in str(caught.value)


def test_features_and_labels_of_different_bars_are_refused():
    with pytest.raises(ValueError, match="99 rows of features, 100 labels"):
        split_rows("X", np.ones(99, dtype=np.bool_), _tiny(100, 1), DataSplit(), embargo=0.0)
