"""Bars know the synthetic market that they are from, and never mix with those of another market."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from ktrdr.core.data.bar_store import BarStore, default_store
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.exporter import export_bars
from ktrdr.core.data.loading import load_bars
from ktrdr.core.data.merging import merge
from ktrdr.core.data.resample import resample
from ktrdr.core.data.timeframe import TIMEFRAMES, Timeframe
from ktrdr.core.data.vendor.importer import import_file
from ktrdr.core.data.worlds import common_world
from ktrdr.core.errors import BadInputError
from ktrdr.core.synthetic.market import market_bars, synthetic_market
from ktrdr.core.synthetic.storing import store_market, synthesize

START = np.datetime64("2017-01-01", "ns")
HOUR = Timeframe("1h")
WALK = synthetic_market("walk", 3)


@pytest.fixture
def walk():
    return market_bars(WALK, "WALK", HOUR, START, 100)


def files_of(store):
    return {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file() and path.name != ".lock"}


def test_bars_keep_their_world(walk):
    assert walk.world == "walk-3"
    frame = Bars.from_frame("WALK", "1h", walk.to_frame(), world="walk-3")
    kept = (walk[5:], walk.between(START, None), merge(walk[:50], walk[40:])[0], resample(walk, "4h"), frame)
    assert {bars.world for bars in kept} == {"walk-3"}
    assert Bars.from_frame("WALK", "1h", walk.to_frame()).world == ""


def test_the_store_keeps_world_and_recipe(tmp_path):
    store = BarStore(tmp_path / "data")
    store_market(WALK, store, "WALK", HOUR, START, 100)
    assert store.world("WALK") == store.info("WALK", "1h").world == load_bars(store, "WALK", "4h").world == "walk-3"
    assert store.recipe("WALK", "1h") == {
        "version": 1,
        "process": "walk",
        "seed": 3,
        "parameters": {"price": 1.1, "volatility": 0.001},
        "start": "2017-01-01T00:00:00Z",
    }
    store.set_calendar("WALK", "FX")
    assert (store.world("WALK"), store.calendar("WALK")) == ("walk-3", "FX")
    assert store.recipe("WALK", "1h")["seed"] == 3


def test_a_longer_series_goes_on(tmp_path):
    store = BarStore(tmp_path / "data")
    store_market(WALK, store, "WALK", HOUR, START, 100)
    report = store_market(WALK, store, "WALK", HOUR, START, 150)
    assert (report.added, report.replaced, report.unchanged, report.rows) == (50, 0, 100, 150)


def test_bars_of_two_markets_do_not_mix(tmp_path, walk, make_bars):
    store = BarStore(tmp_path / "data")
    store.write(make_bars(50))
    store.write(walk, recipe=WALK.recipe(START))
    before = files_of(store)
    remedy = "use another symbol, or delete the stored ones first with `ktrdr data delete"
    cases = [
        (lambda: store_market(WALK, store, "EURUSD", HOUR, START, 9),
         f"EURUSD: bars of the synthetic market walk-3 cannot be stored beside imported bars: {remedy} EURUSD`"),
        (lambda: store_market(WALK, store, "EURUSD", Timeframe("1d"), START, 9), "beside imported bars"),
        (lambda: store.write(Bars.from_frame("WALK", "1h", walk.to_frame())),
         "WALK: imported bars cannot be stored beside bars of the synthetic market walk-3"),
        (lambda: store_market(synthetic_market("walk", 4), store, "WALK", HOUR, START, 9),
         "WALK: bars of the synthetic market walk-4 cannot be stored beside bars of the synthetic market walk-3"),
        (lambda: store_market(WALK, store, "WALK", HOUR, START + np.timedelta64(1, "D"), 9),
         "WALK 1h: the stored bars of the synthetic market walk-3 have another start"),
        (lambda: store_market(WALK, store, "WALK", Timeframe("4h"), START, 9),
         "WALK: 1h bars of the synthetic market walk-3 are stored, and 4h bars that are made separately have other "
         f"prices; longer bars are made from the stored ones: {remedy} WALK`"),
    ]  # fmt: skip
    for write, message in cases:
        with pytest.raises(BadInputError) as error:
            write()
        assert message in str(error.value)
        assert files_of(store) == before
    store.delete("EURUSD", "1h")
    store_market(WALK, store, "EURUSD", HOUR, START, 9)
    assert store.world("EURUSD") == "walk-3"
    store.delete("WALK", "1h")
    assert store_market(WALK, store, "WALK", Timeframe("4h"), START, 9).added == 9


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_the_default_start_works_in_every_timeframe(home, timeframe):
    assert synthesize("WALK", "walk", timeframe=timeframe, bars=2).writes[0].added == 2
    first = default_store().read("WALK", timeframe).time[0]
    assert first == np.datetime64("2017-01-02" if timeframe == "1w" else "2017-01-01")


def test_the_start_that_a_refusal_names_works(home):
    with pytest.raises(BadInputError, match="no open of a 1w bar; give the one before it as `start`: 2016-12-26T00:00"):
        synthesize("WALK", "walk", timeframe="1w", bars=2, start="2017-01-01")
    assert synthesize("WALK", "walk", timeframe="1w", bars=2, start="2016-12-26T00:00").writes[0].added == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bars": 2.5}, "the number of bars must be a whole number from 1 to 10,000,000, not 2.5"),
        ({"bars": "x"}, "the number of bars must be a whole number from 1 to 10,000,000, not 'x'"),
        ({"bars": True}, "the number of bars must be a whole number from 1 to 10,000,000, not True"),
        ({"process": ["walk"]}, "unknown process `['walk']`"),
        ({"process": None}, "unknown process `None`"),
        ({"symbol": 5}, "5 cannot be a symbol"),
        ({"seed": 1.0}, "the seed must be a whole number from 0 to 4294967295, not 1.0"),
        ({"start": 2017}, "start: 2017 is not a date"),
        ({"timeframe": ["1h"]}, "unknown timeframe `['1h']`"),
        ({"parameters": [1]}, "the parameters must be a dict by name, such as {'price': 2.0}, not [1]"),
        ({"parameters": 0}, "the parameters must be a dict by name"),
    ],
)
def test_arguments_of_other_types_are_one_sentence(home, given, message):
    with pytest.raises(BadInputError) as error:
        synthesize(**{"symbol": "WALK", "process": "walk", "bars": 9, **given})
    assert str(error.value).startswith(message)
    assert [info.symbol for info in default_store().datasets()] == ["EURUSD"]  # the sample


def test_a_world_that_is_no_name_is_refused(tmp_path):
    store = BarStore(tmp_path / "data")
    store_market(WALK, store, "WALK", HOUR, START, 10)
    path = store.root / "WALK" / "1h" / "manifest.json"
    for world in ("\x1b[2J", 3, "a/b"):
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"world": world}), encoding="utf-8")
        for read in (store.datasets, lambda: store.read("WALK", "1h")):
            with pytest.raises(BadInputError, match="is damaged"):
                read()


def test_an_exported_file_of_a_synthetic_market_is_not_imported(tmp_path, walk):
    store = BarStore(tmp_path / "data")
    export_bars(walk, tmp_path / "WALK_1h.parquet")
    with pytest.raises(BadInputError) as error:
        import_file(tmp_path / "WALK_1h.parquet", store)
    assert str(error.value).endswith(
        "has bars of the synthetic market 'walk-3', which are not imported; make them with `ktrdr data synthesize`"
    )
    assert not store.datasets()
    export_bars(dataclasses.replace(walk, world=""), tmp_path / "REAL_1h.parquet")
    assert import_file(tmp_path / "REAL_1h.parquet", store).writes[0].added == 100
    assert (store.world("REAL"), store.calendar("REAL")) == ("", "24/7")


def test_symbols_of_different_markets_are_one_sentence(walk, make_bars):
    assert common_world([walk, walk]) == "walk-3"
    with pytest.raises(BadInputError) as error:
        common_world([walk, make_bars(5)])
    assert str(error.value) == (
        "the symbols are of different markets: WALK has bars of the synthetic market walk-3, EURUSD imported bars; "
        "choose symbols of one market"
    )


def test_python_messages_name_functions(tmp_path, monkeypatch):
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path))
    assert repr(synthesize("A", "walk", bars=5)) == "<ImportResult A 1h: 5 bars added, 0 replaced, 5 stored>"
    assert synthesize("B", "walk", start="2017-01-02", end="2017-01-04", timeframe="4h").writes[0].added == 12
    with pytest.raises(BadInputError, match=r'delete the stored ones first with `kt.data.delete\("A"\)`'):
        synthesize("A", "walk", seed=8, bars=5)
    with pytest.raises(BadInputError, match="leave out `bars` or `end`"):
        synthesize("A", "walk", bars=5, end="2018-01-01")
