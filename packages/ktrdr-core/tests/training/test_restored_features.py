"""Features from the cache are the computed ones, to the last bit, and depend on nothing that their key lacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.resample import resample
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.features import symbol_cache
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.indicators import computation
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.model import DataSplit, Strategy
from ktrdr.core.training.sample_set import Samples, prepare_samples
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS
from ktrdr.core.work.steps import Steps

STEPS = Steps(NO_PROGRESS, Cancellation())
TEXT = """
name: keyed
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: multi_timeframe, list: [1h, 4h], base_timeframe: 1h}
  history_required: 60
indicators:
  rsi_14: {type: rsi, period: 14}
  macd_x: {type: macd}
  obv_x: {type: obv}
fuzzy_sets:
  rsi:
    indicator: rsi_14
    low: [0, 25, 45]
    high: {type: sigmoid, parameters: [60, 0.3]}
nn_inputs:
  - {fuzzy_set: rsi, timeframes: [1h, 4h], lags: [1]}
  - {raw_indicator: macd_x.signal, timeframes: [1h], normalization: robust}
  - {raw_indicator: obv_x, timeframes: [4h], lags: [2]}
model: {type: mlp}
decisions: {output_format: classification}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  seed: 3
"""


NORMALIZATIONS = st.sampled_from(["none", "zscore", "robust", "minmax"])


def hourly(first: int = 0, last: int = 1500) -> Bars:
    return sample_bars()[first:last]


def with_hours(base: Bars) -> dict[str, Bars]:
    return {"1h": base, "4h": resample(base, "4h")}


def strategy_of(*changes: str, text: str = TEXT) -> Strategy:
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    return load_strategy_text(text).strategy


def prepare(
    strategy: Strategy,
    bars: Mapping[str, Bars],
    cache: ArrayCache,
    *,
    window: int = 1,
    crisp: bool = False,
) -> tuple[Samples, dict[str, Any]]:
    pipeline = FeaturePipeline(strategy, crisp=crisp)
    own = {name: bars[name] for name in pipeline.timeframes}
    caches = {"EURUSD": SymbolCache(cache, own)}
    samples = prepare_samples(pipeline, strategy.training, {"EURUSD": own}, window, caches, STEPS)
    return samples, pipeline.normalizers()


def same(one: tuple[Samples, dict[str, Any]], other: tuple[Samples, dict[str, Any]]) -> None:
    (left, left_fit), (right, right_fit) = one, other
    assert left.features.tobytes() == right.features.tobytes()
    assert (left.features.dtype, left.features.shape) == (right.features.dtype, right.features.shape)
    assert left.features.flags.c_contiguous
    assert right.features.flags.c_contiguous
    for part in ("train", "validation", "test"):
        assert left.rows(part)["EURUSD"].tolist() == right.rows(part)["EURUSD"].tolist()
    assert left.losses == right.losses
    assert left_fit == right_fit


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The types of the indicators that were computed."""
    calls: list[str] = []
    honest = computation.compute_indicator
    monkeypatch.setattr(computation, "compute_indicator", lambda kind, *rest: calls.append(kind) or honest(kind, *rest))
    return calls


@pytest.fixture
def cache(tmp_path) -> ArrayCache:
    def fail(note: str) -> None:
        pytest.fail(note)

    return ArrayCache(tmp_path / "cache", 10**9, note=fail)


# Equality.

_SOURCES = {
    "rsi_5": ("rsi", "rsi_5", (20.0, 80.0)),
    "macd_x": ("macd", "macd_x.histogram", (-0.001, 0.001)),
    "bb_x": ("bollinger_bands", "bb_x.upper", (1.0, 1.3)),
    "obv_x": ("obv", "obv_x", (-1e5, 1e5)),
    "sma_9": ("sma", "sma_9", (1.0, 1.3)),
    "roc_2": ("roc", "roc_2", (-0.5, 0.5)),
}


@st.composite
def strategy_texts(draw: st.DrawFn) -> str:
    """Strategies with random indicators, sets, lags, timeframes, normalizations, labels and parts."""
    chosen = draw(st.lists(st.sampled_from(sorted(_SOURCES)), min_size=1, max_size=4, unique=True))
    indicators, sets, inputs = [], [], []
    for name in chosen:
        kind, reference, (low, high) = _SOURCES[name]
        period = draw(st.integers(2, 20))
        parameters = "" if kind in ("macd", "obv") else f", period: {period}"
        indicators.append(f"  {name}: {{type: {kind}{parameters}}}")
        frames = draw(st.sampled_from(["[1h]", "[4h]", "[1h, 4h]"]))
        lags = draw(st.sampled_from(["", ", lags: [1]", ", lags: [2, 3]"]))
        if draw(st.booleans()):
            middle = draw(st.floats(low, high, exclude_min=True, exclude_max=True))
            points = f"below: [{low}, {low}, {middle}], above: [{low}, {middle}, {high}]"
            sets.append(f"  s_{name}: {{indicator: {reference}, {points}}}")
            inputs.append(f"  - {{fuzzy_set: s_{name}, timeframes: {frames}{lags}}}")
        else:
            method = draw(st.sampled_from(["zscore", "minmax", "robust", "none"]))
            raw = f"raw_indicator: {reference}, normalization: {method}"
            inputs.append(f"  - {{{raw}, timeframes: {frames}{lags}}}")
    fuzzy = "\n".join(["fuzzy_sets:", *sets]) if sets else ""
    history = draw(st.sampled_from(["", "  history_required: 100\n"]))
    horizon = draw(st.integers(1, 8))
    return f"""
name: drawn
training_data:
  symbols: {{mode: single, symbol: EURUSD}}
  timeframes: {{mode: multi_timeframe, list: [1h, 4h], base_timeframe: 1h}}
{history}indicators:
{chr(10).join(indicators)}
{fuzzy}
nn_inputs:
{chr(10).join(inputs)}
model: {{type: mlp}}
decisions: {{output_format: classification}}
training:
  labels: {{source: direction, horizon: {horizon}, threshold: 0.0005}}
"""


@given(
    text=strategy_texts(),
    first=st.integers(0, 3000),
    missing=st.lists(st.integers(0, 699), max_size=3),
    window=st.integers(1, 5),
    crisp=st.booleans(),
)
def test_restored_features_are_the_computed_ones(tmp_path_factory, text, first, missing, window, crisp):
    strategy = load_strategy_text(text).strategy
    base = hourly(first, first + 700)
    volume = base.volume.copy()
    volume[missing] = np.nan
    bars = with_hours(dataclasses.replace(base, volume=volume))
    cache = ArrayCache(tmp_path_factory.mktemp("cache"), 10**9, note=pytest.fail)
    expected = prepare(strategy, bars, NO_CACHE, window=window, crisp=crisp)
    same(prepare(strategy, bars, cache, window=window, crisp=crisp), expected)
    restored = prepare(strategy, bars, cache, window=window, crisp=crisp)
    assert not restored[0].features.flags.writeable  # it is the file of the cache
    same(restored, expected)
    # Other training rows: the same features, normalized otherwise.
    parts = DataSplit(train=0.5, validation=0.25, test=0.25)
    later = strategy.model_copy(update={"training": strategy.training.model_copy(update={"data_split": parts})})
    same(
        prepare(later, bars, cache, window=window, crisp=crisp),
        prepare(later, bars, NO_CACHE, window=window, crisp=crisp),
    )


def test_another_split_normalizes_anew_and_computes_no_indicator(cache, computed):
    bars = with_hours(hourly())
    prepare(strategy_of(), bars, cache)
    computed.clear()
    shifted = strategy_of("  seed: 3", "  data_split: {train: 0.5, validation: 0.25, test: 0.25}")
    found = prepare(shifted, bars, cache)
    assert computed == []
    same(found, prepare(shifted, bars, NO_CACHE))
    assert found[1] != prepare(strategy_of(), bars, NO_CACHE)[1]


def test_the_second_preparation_computes_no_indicator(cache, computed):
    bars = with_hours(hourly())
    prepare(strategy_of(), bars, cache)
    # RSI and OBV on one or two timeframes, MACD on one.
    assert sorted(computed) == ["macd", "obv", "rsi", "rsi"]
    computed.clear()
    prepare(strategy_of(), bars, cache)
    assert computed == []


def test_where_volume_is_missing_the_restored_statement_names_the_strategys_own_indicators(cache):
    base = hourly()
    volume = base.volume.copy()
    volume[700] = np.nan
    bars = with_hours(dataclasses.replace(base, volume=volume))
    first, _ = prepare(strategy_of(), bars, cache)
    assert "`obv_x` (obv)" in first.losses[0]
    renamed, _ = prepare(strategy_of("obv_x", "mine"), bars, cache)
    assert not renamed.features.flags.writeable
    assert renamed.losses == (first.losses[0].replace("`obv_x`", "`mine`"),)


# Keys.


def changed(bars: Bars, **columns: np.ndarray) -> dict[str, Bars]:
    return with_hours(dataclasses.replace(bars, **columns))


def nudged(values: np.ndarray) -> np.ndarray:
    """Return ``values`` with another last bit in one of them, whatever the features make of it."""
    values = values.copy()
    values[750] = np.nextafter(values[750], np.inf)
    return values


OTHER_STRATEGIES: dict[str, tuple[str, ...]] = {
    "period": ("type: rsi, period: 14", "type: rsi, period: 15"),
    "source": ("type: rsi, period: 14", "type: rsi, period: 14, source: open"),
    "type": ("type: rsi, period: 14", "type: cci, period: 14"),
    "output": ("macd_x.signal", "macd_x.histogram"),
    "point of a set": ("low: [0, 25, 45]", "low: [0, 25, 45.5]"),
    "kind of a set": ("low: [0, 25, 45]", "low: {type: gaussian, parameters: [25, 45]}"),
    "order of the sets": ("low: [0, 25, 45]\n    high: {type: sigmoid, parameters: [60, 0.3]}",
                          "high: {type: sigmoid, parameters: [60, 0.3]}\n    low: [0, 25, 45]"),
    "lag": ("lags: [2]", "lags: [3]"),
    "timeframe": ("macd_x.signal, timeframes: [1h]", "macd_x.signal, timeframes: [4h]"),
    "history": ("history_required: 60", "history_required: 61"),
    "inputs": (
        "  - {raw_indicator: macd_x",
        "  - {raw_indicator: obv_x, timeframes: [1h]}\n  - {raw_indicator: macd_x",
        "  - {raw_indicator: obv_x, timeframes: [4h], lags: [2]}\n",
        "",
    ),
    "raw": ("fuzzy_set: rsi,", "raw_indicator: rsi_14,"),
}  # fmt: skip
OTHER_NORMALIZATION: dict[str, tuple[str, ...]] = {
    "method": ("normalization: robust", "normalization: minmax"),
    "none": ("normalization: robust", "normalization: none"),
    "labels": ("horizon: 4", "horizon: 5"),
    "parts": ("  seed: 3", "  data_split: {train: 0.5, validation: 0.25, test: 0.25}"),
    "embargo": ("  seed: 3", "  data_split: {train: 0.8, validation: 0.1, test: 0.1}\n  embargo: 0.01"),
}
SAME_FEATURES: dict[str, tuple[str, ...]] = {
    "a comment": ("name: keyed", "# a remark\nname: keyed   # another"),
    "white space": ("lags: [1]", "lags:  [ 1 ]"),
    "the name": ("name: keyed", "name: renamed"),
    "names of indicators": ("rsi_14", "mine"),
    "the name of a set": ("fuzzy_set: rsi", "fuzzy_set: own", "  rsi:\n", "  own:\n"),
    "the name of a membership": ("    low:", "    deep:"),
    "the seed": ("seed: 3", "seed: 4"),
    "epochs": ("  seed: 3", "  seed: 3\n  epochs: 7"),
    "the model": ("{type: mlp}", "{type: mlp, architecture: {hidden_layers: [4]}}"),
    "a default that is written": ("type: rsi, period: 14", "type: rsi, period: 14, source: close"),
    "an indicator that nothing reads": ("  obv_x: {type", "  unread: {type: sma, period: 9}\n  obv_x: {type"),
    "the first output by name": ("raw_indicator: obv_x", "raw_indicator: obv_x.obv"),
}
OTHER_BARS: dict[str, Callable[[Bars], dict[str, Bars]]] = {
    "open": lambda bars: changed(bars, open=nudged(bars.open)),
    "high": lambda bars: changed(bars, high=nudged(bars.high)),
    "low": lambda bars: changed(bars, low=nudged(bars.low)),
    "close": lambda bars: changed(bars, close=nudged(bars.close)),
    "volume": lambda bars: changed(bars, volume=nudged(bars.volume)),
    "time": lambda bars: changed(bars, time=bars.time + np.timedelta64(4, "h")),
    "one bar less at the end": lambda bars: with_hours(bars[:-1]),
    "one bar less at the start": lambda bars: with_hours(bars[1:]),
    "the other timeframe": lambda bars: with_hours(bars) | {"4h": resample(bars, "4h")[:-1]},
}


class Keys:
    """The keys that a preparation asks the cache for, by kind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._found: dict[str, set[str]] = {}
        honest = SymbolCache.key

        def key(cache: SymbolCache, kind: str, *parts: Any) -> str:
            made = honest(cache, kind, *parts)
            self._found.setdefault(kind, set()).add(made)
            return made

        monkeypatch.setattr(SymbolCache, "key", key)

    def of(self, strategy: Strategy, bars: Mapping[str, Bars], cache: ArrayCache, **more: Any) -> dict[str, set[str]]:
        self._found = {}
        prepare(strategy, bars, cache, **more)
        return self._found


@pytest.fixture
def keys(monkeypatch, tmp_path) -> Callable[..., dict[str, set[str]]]:
    """Return ``keys(strategy, bars, ...)``, those of a preparation that finds nothing."""
    recorded, number = Keys(monkeypatch), iter(range(100))

    def run(strategy: Strategy, bars: Mapping[str, Bars], **more: Any) -> dict[str, set[str]]:
        return recorded.of(strategy, bars, ArrayCache(tmp_path / str(next(number)), 10**9), **more)

    return run


@pytest.mark.parametrize("changes", OTHER_STRATEGIES.values(), ids=OTHER_STRATEGIES)
def test_each_choice_of_the_inputs_is_part_of_the_key(keys, changes):
    bars = with_hours(hourly())
    one, other = keys(strategy_of(), bars), keys(strategy_of(*changes), bars)
    assert not one["rows"] & other["rows"]
    assert not one["matrix"] & other["matrix"]


@pytest.mark.parametrize("changes", OTHER_NORMALIZATION.values(), ids=OTHER_NORMALIZATION)
def test_the_normalization_and_its_rows_are_part_of_the_key_of_the_matrix_alone(keys, changes):
    bars = with_hours(hourly())
    one, other = keys(strategy_of(), bars), keys(strategy_of(*changes), bars)
    assert one["rows"] == other["rows"]
    assert one["indicator"] == other["indicator"]
    assert not one["matrix"] & other["matrix"]


def test_the_window_is_part_of_the_key_of_a_normalized_matrix(keys):
    bars = with_hours(hourly())
    one, other = keys(strategy_of(), bars), keys(strategy_of(), bars, window=2)
    assert one["rows"] == other["rows"]
    assert not one["matrix"] & other["matrix"]


def test_the_parts_are_not_part_of_the_key_where_nothing_is_normalized(keys):
    text = "\n".join(line for line in TEXT.splitlines() if "raw_indicator" not in line)
    bars = with_hours(hourly())
    one = keys(strategy_of(text=text), bars)
    assert one == keys(strategy_of("horizon: 4", "horizon: 9", text=text), bars, window=3)


@pytest.mark.parametrize("changes", SAME_FEATURES.values(), ids=SAME_FEATURES)
def test_what_features_do_not_depend_on_is_no_part_of_the_key(keys, changes):
    bars = with_hours(hourly())
    assert keys(strategy_of(), bars) == keys(strategy_of(*changes), bars)


@given(methods=st.lists(st.tuples(NORMALIZATIONS, NORMALIZATIONS, NORMALIZATIONS), min_size=2, max_size=2))
def test_two_strategies_that_differ_in_normalization_do_not_share_a_matrix(tmp_path_factory, methods):
    cache, bars = ArrayCache(tmp_path_factory.mktemp("shared"), 10**9), with_hours(hourly(0, 400))
    for three in methods:
        inputs = [
            f"  - {{raw_indicator: {name}, timeframes: [1h], normalization: {method}}}"
            for name, method in zip(("rsi_14", "macd_x.signal", "obv_x"), three, strict=True)
        ]
        head, _, rest = TEXT.partition("nn_inputs:\n")
        text = f"{head}nn_inputs:\n" + "\n".join(inputs) + "\nmodel:" + rest.partition("model:")[2]
        strategy = strategy_of(text=text)
        same(prepare(strategy, bars, cache), prepare(strategy, bars, NO_CACHE))


@pytest.mark.parametrize("change", OTHER_BARS.values(), ids=OTHER_BARS)
def test_every_bit_of_the_bars_is_part_of_the_key(keys, change):
    bars = hourly()
    one, other = keys(strategy_of(), with_hours(bars)), keys(strategy_of(), change(bars))
    assert not one["rows"] & other["rows"]
    assert not one["matrix"] & other["matrix"]


def test_crisp_values_are_other_features(keys):
    bars = with_hours(hourly())
    one, other = keys(strategy_of(), bars), keys(strategy_of(), bars, crisp=True)
    assert not one["rows"] & other["rows"]
    assert one["indicator"] == other["indicator"]


def test_the_versions_are_part_of_every_key(keys, monkeypatch):
    bars = with_hours(hourly())
    one = keys(strategy_of(), bars)
    monkeypatch.setattr(symbol_cache, "computation_version", lambda: ("ktrdr-core 9.9.9",))
    other = keys(strategy_of(), bars)
    assert one.keys() == other.keys() == {"rows", "indicator", "matrix"}
    for kind, own in one.items():
        assert not own & other[kind]


def test_nothing_that_code_of_others_computes_is_kept(cache, computed, monkeypatch):
    class Registry:
        def is_foreign(self, name: str) -> bool:
            return name == "rsi"

    monkeypatch.setattr(symbol_cache, "default_registry", Registry)
    bars = with_hours(hourly())
    prepare(strategy_of(), bars, cache)
    computed.clear()
    samples, _ = prepare(strategy_of(), bars, cache)
    assert sorted(computed) == ["rsi", "rsi"]  # the others are from the cache
    assert samples.features.flags.writeable
