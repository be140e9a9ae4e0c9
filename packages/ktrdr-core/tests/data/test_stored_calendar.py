"""A calendar that is stored with a data set: written, read, changed, exported and imported again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.exporter import export_bars
from ktrdr.core.data.loading import bars_digest, load_bars
from ktrdr.core.data.resample import resample
from ktrdr.core.data.stored_calendar import change_calendar, listed_calendar, stored_calendar
from ktrdr.core.data.validation import validate_bars
from ktrdr.core.data.vendor.importer import import_file
from ktrdr.core.errors import BadInputError

HEAD = "Date,Open,High,Low,Close,Volume\n"


@pytest.fixture
def store(tmp_path) -> BarStore:
    return BarStore(tmp_path / "store")


@pytest.fixture
def with_calendar(make_bars):
    import dataclasses

    def make(calendar, n=48, **options):
        return dataclasses.replace(make_bars(n, **options), calendar=calendar)

    return make


def write(path: Path, dates: list[str]) -> Path:
    path.write_text(HEAD + "".join(f"{date},10,12,9,11,100\n" for date in dates))
    return path


def weekdays(first: str, count: int) -> list[str]:
    every = np.datetime64(first) + np.arange(2 * count + 4)
    return [str(day) for day in every[np.is_busday(every)][:count]]


def manifest(store: BarStore, symbol: str, timeframe: str) -> Path:
    return store.root / symbol / timeframe / "manifest.json"


def test_it_is_written_read_and_kept_by_what_is_made_of_bars(store, with_calendar):
    bars = with_calendar("XNYS", symbol="SOL")
    store.write(bars)
    read = store.read("SOL", "1h")
    assert read.calendar == store.info("SOL", "1h").calendar == store.calendar("SOL") == "XNYS"
    assert read[3:9].calendar == read.between(read.time[2], None).calendar == "XNYS"
    assert resample(read, "4h").calendar == resample(read[:0], "4h").calendar == "XNYS"
    assert load_bars(store, "SOL", "2h").calendar == "XNYS"
    assert type(read).from_frame("SOL", "1h", read.to_frame(), calendar="XNYS").calendar == "XNYS"
    assert validate_bars(read).calendar == "XNYS"
    assert validate_bars(read, "24/7").calendar == "24/7"


def test_the_fingerprint_is_that_of_the_values_alone(with_calendar, make_bars):
    assert bars_digest(with_calendar("XNYS")) == bars_digest(make_bars(48))


def test_all_timeframes_of_a_symbol_have_the_same(store, make_bars, with_calendar):
    store.write(make_bars(48))
    store.write(make_bars(24, timeframe="4h"))
    store.write(make_bars(48, symbol="GBPUSD"))
    assert store.calendar("EURUSD") is None
    before = store.read("EURUSD", "1h")
    store.write(with_calendar("24/7", n=20, timeframe="1d"))
    assert [store.info("EURUSD", timeframe).calendar for timeframe in ("1h", "4h", "1d")] == ["24/7"] * 3
    store.write(make_bars(30, timeframe="2h"))  # says none, gets that of the others
    assert store.info("EURUSD", "2h").calendar == "24/7"
    assert store.set_calendar("EURUSD", "nyse") == "XNYS"
    assert {info.calendar for info in store.datasets() if info.symbol == "EURUSD"} == {"XNYS"}
    assert store.calendar("GBPUSD") is None
    assert np.array_equal(store.read("EURUSD", "1h").close, before.close)
    # The same bars again change nothing but the calendar.
    report = store.write(with_calendar("FX"))
    assert (report.added, report.replaced, store.calendar("EURUSD")) == (0, 0, "FX")
    assert [store.info("EURUSD", timeframe).calendar for timeframe in ("1h", "2h", "4h", "1d")] == ["FX"] * 4


def test_several_data_sets_of_a_symbol_in_one_write(store, with_calendar, make_bars):
    store.write(make_bars(10, timeframe="1d"))
    store.write_all([with_calendar("24/7"), with_calendar("24/7", timeframe="4h"), make_bars(9, symbol="GBPUSD")])
    assert {(info.symbol, info.timeframe): info.calendar for info in store.datasets()} == {
        ("EURUSD", "1h"): "24/7", ("EURUSD", "4h"): "24/7", ("EURUSD", "1d"): "24/7", ("GBPUSD", "1h"): None,
    }  # fmt: skip


def test_a_failed_write_leaves_the_calendar_of_the_others(store, with_calendar, make_bars, tree):
    store.write(make_bars(48))
    before = tree(store.root)

    def each():
        yield with_calendar("24/7", timeframe="4h")
        raise BadInputError("no")

    with pytest.raises(BadInputError, match="no"):
        store.write_all(each())
    assert tree(store.root) == before


def test_keys_of_a_later_ktrdr_are_kept(store, make_bars):
    store.write(make_bars(48))
    path = manifest(store, "EURUSD", "1h")
    document = json.loads(path.read_text())
    assert "calendar" not in document
    later = {"splits": [{"time": "2020-08-31", "ratio": 4}], "revisions": {"kept": True}}
    path.write_text(json.dumps({**document, **later}))
    store.write(make_bars(60))
    store.set_calendar("EURUSD", "FX")
    kept = json.loads(path.read_text())
    assert {key: kept[key] for key in later} == later
    assert (kept["calendar"], store.info("EURUSD", "1h").rows) == ("FX", 60)


def test_unknown_calendars_and_symbols_are_refused(store, make_bars):
    store.write(make_bars(4))
    with pytest.raises(BadInputError, match="unknown calendar `MOON`"):
        store.set_calendar("EURUSD", "moon")
    with pytest.raises(BadInputError, match=r"no bars of GBPUSD in .* \(stored are EURUSD 1h\)"):
        store.set_calendar("GBPUSD", "FX")
    with pytest.raises(BadInputError, match="no bars of GBPUSD"):
        stored_calendar(store, "GBPUSD")


@pytest.mark.parametrize("offset", ["", " 00:00:00-05:00"])
def test_a_share_with_the_name_of_a_coin(store, tmp_path, offset):
    dates = [date + offset for date in weekdays("2024-01-02", 12)]
    report = import_file(write(tmp_path / "DASH_1d.csv", dates), store)
    assert report.validations[0].calendar == "XNYS"
    assert report.validations[0].findings == ()
    assert str(store.read("DASH", "1d").time[0]) == "2024-01-02T00:00:00.000000000"
    assert (
        "by the times of its bars DASH is a share (XNYS); `ktrdr data calendar DASH NAME` changes that" in report.notes
    )
    assert store.calendar("DASH") == "XNYS"


def test_a_coin_with_the_name_of_a_share(store, tmp_path):
    every = [str(np.datetime64("2024-03-01") + i) for i in range(5)]
    assert import_file(write(tmp_path / "SOL_1d.csv", every), store).validations[0].calendar == "24/7"
    assert store.calendar("SOL") == "24/7"


def test_a_ticker_that_could_be_both_is_asked_about_and_each_answer_works(store, tmp_path, tree):
    path = write(tmp_path / "SOL_1d.csv", weekdays("2024-03-04", 3))
    message = (
        f"{path}: SOL could be a coin (24/7) or a share (XNYS), and the times of its bars do not decide: "
        "say which with --calendar 24/7 or --calendar XNYS"
    )
    with pytest.raises(BadInputError) as caught:
        import_file(path, store)
    assert str(caught.value) == message
    assert not store.root.exists()
    for name in ("24/7", "XNYS"):
        fresh = BarStore(tmp_path / name.replace("/", ""))
        assert import_file(path, fresh, calendar=name).validations[0].calendar == name
        # What is stored is not asked for again.
        more = import_file(write(tmp_path / "SOL.csv", weekdays("2024-03-07", 2)), fresh, symbol="SOL", timeframe="1d")
        assert more.validations[0].calendar == fresh.calendar("SOL") == name


def test_what_is_stored_under_such_a_name_from_before_tells_for_a_short_file(store, bars_at, tmp_path):
    stored = np.array(weekdays("2024-01-02", 15), dtype="datetime64[s]")
    store.write(bars_at(stored, "1d", symbol="SUI"))
    path = write(tmp_path / "SUI.csv", weekdays("2024-03-04", 2))
    assert import_file(path, store, symbol="SUI", timeframe="1d").validations[0].calendar == "XNYS"
    assert store.calendar("SUI") == "XNYS"


def test_closes_are_no_bars_of_the_day_after(store, tmp_path):
    closes = [str(np.datetime64(day) + 1) for day in weekdays("2024-01-02", 12)]  # Friday's is that of Saturday, 00:00
    report = import_file(write(tmp_path / "APT_1d.csv", closes), store, label="close")
    assert report.validations[0].calendar == "XNYS"
    assert str(store.info("APT", "1d").start)[:10] == "2024-01-02"


def test_one_of_several_symbols_in_a_file_is_asked_about_by_itself(store, tmp_path):
    path = tmp_path / "all.csv"
    rows = [f"{symbol},2024-03-0{day},10,12,9,11,100\n" for symbol in ("EURUSD", "SOL") for day in (4, 5, 6)]
    path.write_text("symbol,date,open,high,low,close,volume\n" + "".join(rows))
    with pytest.raises(BadInputError) as caught:
        import_file(path, store)
    assert str(caught.value).endswith(
        "import it by itself with --symbol SOL and --calendar 24/7 or --calendar XNYS, then the file"
    )
    assert not store.root.exists()
    import_file(path, store, symbol="SOL", calendar="XNYS")
    import_file(path, store)
    assert (store.calendar("SOL"), store.calendar("EURUSD")) == ("XNYS", None)


def test_a_zone_that_is_given_counts(store, tmp_path):
    # Hours of New York, written by a clock in Tokyo: Friday's session ends there on Saturday.
    opens = [
        str(np.datetime64(f"{day}T14:00") + np.timedelta64(9 + hour, "h"))
        for day in weekdays("2024-01-02", 5)
        for hour in range(7)
    ]
    path = write(tmp_path / "LINK_1h.csv", opens)
    assert import_file(path, store, timezone="Asia/Tokyo").validations[0].calendar == "XNYS"


def test_an_explicit_calendar_is_stored_under_its_own_name(store, tmp_path):
    path = write(tmp_path / "ACME_1d.csv", weekdays("2024-03-04", 12))
    import_file(path, store)
    assert store.calendar("ACME") is None
    import_file(path, store, calendar="jpx")
    assert store.calendar("ACME") == "XTKS"
    assert import_file(path, store).validations[0].calendar == "XTKS"


def test_an_exported_parquet_file_brings_it_along(store, with_calendar, tmp_path):
    path, csv = tmp_path / "SOL_1h.parquet", tmp_path / "SOL_1h.csv"
    bars = with_calendar("XNYS", n=3, symbol="SOL", start="2024-03-05T15:00")
    export_bars(bars, path)
    assert import_file(path, store).validations[0].calendar == store.calendar("SOL") == "XNYS"
    # What was changed since is not changed back.
    store.set_calendar("SOL", "24/7")
    report = import_file(path, store)
    assert store.calendar("SOL") == "24/7"
    assert report.notes[-1] == ("the file notes the calendar XNYS; that of SOL stays 24/7, --calendar XNYS changes it")
    assert import_file(path, store, calendar="XNYS").validations[0].calendar == "XNYS"
    export_bars(bars, csv)
    with pytest.raises(BadInputError, match="SOL could be a coin"):
        import_file(csv, BarStore(tmp_path / "other"))
    export_bars(with_calendar("MOON", n=3), path, overwrite=True)
    with pytest.raises(BadInputError, match=r"SOL_1h.parquet notes a calendar: unknown calendar `MOON`.*--calendar"):
        import_file(path, store, symbol="MOON")


def test_showing_and_changing_it(store, bars_at, make_bars):
    monday = np.array(weekdays("2024-01-02", 15), dtype="datetime64[s]") + np.timedelta64(5, "h")
    store.write(bars_at(monday, "1d", symbol="DASH"))
    store.write(bars_at(monday[:3], "1d", symbol="LTC"))
    store.write(make_bars(4))
    assert (stored_calendar(store, "EURUSD").calendar, stored_calendar(store, "EURUSD").told_by) == ("FX", "name")
    assert stored_calendar(store, "DASH").statement == "XNYS, derived from the times of its bars, not stored"
    unclear = stored_calendar(store, "LTC")
    assert (unclear.calendar, unclear.told_by) == ("XNYS", "times")  # 05:00 is midnight in New York
    changed = change_calendar(store, "DASH", "nasdaq")
    assert (changed.calendar, changed.told_by) == ("XNYS", "stored")
    assert changed.warning == (
        "15 of its daily bars are not labelled with the date of their session (the first with 05:00): "
        "`ktrdr data delete DASH 1d`, and import them again with --calendar XNYS"
    )
    assert change_calendar(store, "EURUSD", "FX").warning == ""
    assert listed_calendar("EURUSD", None) == {"calendar": "FX", "calendar_stored": False}
    assert listed_calendar("SOL", None) == {"calendar": None, "calendar_stored": False}
    assert listed_calendar("SOL", "XNYS") == {"calendar": "XNYS", "calendar_stored": True}


def test_a_name_that_could_be_both_with_bars_that_do_not_tell(store, bars_at):
    store.write(bars_at(np.array(weekdays("2024-03-04", 3), dtype="datetime64[s]"), "1d", symbol="SOL"))
    found = stored_calendar(store, "SOL")
    assert (found.calendar, found.told_by, found.choices) == ("24/7", "name", ("24/7", "XNYS"))
    assert "set it with `ktrdr data calendar SOL 24/7` or `ktrdr data calendar SOL XNYS`" in found.statement
