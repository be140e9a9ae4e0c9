"""Warnings of a training about its data: missing volume, and price jumps that may be no market moves."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.cli.train import print_trained
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.vendor.importer import import_file
from ktrdr.core.errors import BadInputError
from ktrdr.core.models.manifest import BUNDLE_FORMAT, Manifest
from ktrdr.core.strategy.loader import LoadedStrategy

SPLIT = (
    "AAPL 1d: 2 jumps look like splits that prices were not adjusted for: 2000-06-21 00:00 (2 to 1), 2005-02-28 00:00"
    " (2 to 1); features, labels and trades take such a jump for a move of the market: import adjusted prices, or"
    " choose dates without it"
)


def of_data(warnings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the warnings about the data, without those about the result and the number of samples."""
    return tuple(each for each in warnings if not re.search("too few to|is below|the epoch that was kept", each))


@pytest.fixture
def with_volume_input(load: Callable[..., LoadedStrategy]) -> Callable[..., LoadedStrategy]:
    """Return ``make(indicator)``: the strategy on hourly EURUSD, with this indicator in place of ``roc_5``."""
    return lambda indicator: load("roc_5: {type: roc, period: 5}", f"roc_5: {{{indicator}}}")


@pytest.fixture
def store_lacking(tmp_path: Path) -> Callable[[Any], BarStore]:
    """Return ``make(rows)``: a store of the sample without the volume of these rows."""

    def make(rows: Any) -> BarStore:
        bars = sample_bars()
        volume = bars.volume.copy()
        volume[rows] = np.nan
        store = BarStore(tmp_path / "lacking")
        store.write(dataclasses.replace(bars, volume=volume))
        return store

    return make


def write_csv(path: Path, *, volume: Callable[[int], str]) -> Path:
    random = np.random.default_rng(0)
    close = 1.1 * np.exp(np.cumsum(random.normal(0, 0.002, 1501)))
    lines = ["time,open,high,low,close,volume"]
    for row in range(1500):
        opened, closed = close[row], close[row + 1]
        time = np.datetime64("2023-01-02T00:00:00") + row * np.timedelta64(3600, "s")
        prices = (opened, max(opened, closed) * 1.001, min(opened, closed) * 0.999, closed)
        lines.append(",".join([str(time), *(f"{price:.6f}" for price in prices), volume(row)]))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_volume_with_gaps_that_leave_no_row(load, make_executor, model_store, tmp_path: Path):
    """The training is refused; then each of the two remedies in the message leads to a model."""
    symbol = ("symbol: EURUSD", "symbol: NANVUSDT", "  date_range: {start: 2017-01-01, end: 2017-03-31}\n", "")
    loaded = load(*symbol, "roc_5: {type: roc, period: 5}", "vr: {type: volume_ratio, period: 20}",
                  "raw_indicator: roc_5", "raw_indicator: vr")  # fmt: skip
    store = BarStore(tmp_path / "bars")
    report = import_file(
        write_csv(tmp_path / "NANVUSDT_1h.csv", volume=lambda row: "" if row % 7 == 3 else str(10 + row % 7)), store
    )
    assert [finding.message for finding in report.validations[0].findings] == ["214 bars have no volume"]
    with pytest.raises(BadInputError) as refused:
        make_executor(loaded, bar_store=store).execute()
    assert str(refused.value) == (
        "no bar of NANVUSDT 1h has all features: 214 of its 1,500 1h bars have no volume (the first: 2023-01-02 03:00),"
        " and `vr` (volume_ratio) needs 20 in a row, of which there are never more than 6; import bars that have a"
        " volume, or use an indicator that does not read it in place of `vr`"
    )
    assert not model_store.list()

    other = make_executor(load(*symbol), bar_store=store).execute()
    assert of_data(other.bundle.manifest.warnings) == ()
    import_file(write_csv(tmp_path / "NANVUSDT_1h.csv", volume=lambda row: str(10 + row % 7)), store)
    assert of_data(make_executor(loaded, bar_store=store).execute().bundle.manifest.warnings) == ()


@pytest.mark.parametrize("indicator", ["type: mfi, period: 14", "type: cmf, period: 21"])
def test_rows_lost_to_missing_volume_are_a_warning(indicator: str, with_volume_input, make_executor, store_lacking):
    result = make_executor(with_volume_input(indicator), bar_store=store_lacking([200, 900])).execute()
    needed = int(indicator[-2:]) + ("mfi" in indicator)
    (warning,) = of_data(result.bundle.manifest.warnings)
    assert warning.startswith(f"EURUSD 1h: {2 * needed} of ")
    assert "bars have no features for lack of volume: 2 of its 1,560 1h bars have no volume" in warning
    assert "(the first: 2017-01-12 06:00)" in warning
    assert result.to_json()["warnings"] == list(result.bundle.manifest.warnings)


def test_a_part_without_volume_is_refused_with_the_reason(with_volume_input, make_executor, store_lacking):
    loaded = with_volume_input("type: mfi, period: 14")
    with pytest.raises(BadInputError) as refused:
        make_executor(loaded, bar_store=store_lacking(slice(1000, None))).execute()
    assert str(refused.value) == (
        "EURUSD has no validation sample, as no bar there has all features: 560 of its 1,560 1h bars have no volume"
        " (the first: 2017-02-28 14:00), and `roc_5` (mfi) needs 15 in a row; import bars that have a volume, or use an"
        " indicator that does not read it in place of `roc_5`"
    )


def test_missing_volume_that_nothing_reads_gives_no_warning(load, make_executor, store_lacking):
    assert of_data(make_executor(load(), bar_store=store_lacking(slice(None))).execute().bundle.manifest.warnings) == ()


def test_splits_in_the_period_stand_in_bundle_result_and_output(load_stocks, make_executor, stock_store, capsys):
    result = make_executor(load_stocks(), bar_store=stock_store).execute()
    manifest = result.bundle.manifest
    splits, crash = of_data(manifest.warnings)
    assert splits == SPLIT
    assert crash.startswith(
        "AAPL 1d: 1 jump is far above what this series usually moves: 2000-09-29 00:00 (53.5 to 28."
    )
    assert json.loads((result.bundle.directory / "manifest.json").read_bytes())["warnings"] == list(manifest.warnings)
    assert result.to_json()["warnings"] == list(manifest.warnings)
    print_trained(result)
    assert f"Warning: {SPLIT}.\n" in capsys.readouterr().out


def test_a_split_before_the_period_is_not_in_it(load_stocks, make_executor, stock_store):
    executor = make_executor(load_stocks(), bar_store=stock_store, start="2005-03-01", symbols=["AAPL"])
    assert of_data(executor.execute().bundle.manifest.warnings) == ()


def test_a_bundle_of_format_1_which_had_no_warnings_is_read(load, make_executor, model_store):
    bundle = make_executor(load(), epochs=1).execute().bundle
    path = bundle.directory / "manifest.json"
    written = json.loads(path.read_bytes())
    assert written["schema_version"] == BUNDLE_FORMAT
    del written["warnings"]
    written["schema_version"] = 1
    path.write_text(json.dumps(written), encoding="utf-8")
    assert model_store.verify(bundle.ref).manifest.warnings == ()


def test_a_warning_in_a_bundle_cannot_move_the_cursor(load, make_executor):
    manifest = make_executor(load(), epochs=1).execute().bundle.manifest.model_dump(mode="json")
    with pytest.raises(ValueError, match="warnings"):
        Manifest.model_validate({**manifest, "warnings": ["all is well\x1b[2A"]})
