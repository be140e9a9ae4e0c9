"""The public names of `ktrdr.core.data`: files, the sample, list, check, delete."""

from __future__ import annotations

import ast
import importlib
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ktrdr.core.data as data
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.python_words import in_python, python_messages
from ktrdr.core.errors import BadInputError, CancelledError, NotFoundError, StoreError

GOOD = "time,open,high,low,close,volume\n" + "".join(
    f"2020-01-06 {hour:02}:00,1.1,1.3,1.0,1.2,5\n" for hour in range(6)
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    directory = tmp_path / "home"
    monkeypatch.setenv("KTRDR_HOME", str(directory))
    return directory


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "EURUSD_1h.csv"
    path.write_text(GOOD)
    return path


def test_importing_the_rooms_loads_the_standard_library_alone():
    code = (
        "import sys, ktrdr.core.data, ktrdr.core.indicators;"
        "heavy = {'numpy', 'pandas', 'duckdb', 'pydantic', 'talib', 'click', 'yaml', 'pluggy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_import_shows_its_progress_and_an_interrupt_stops_it(file, capsys):
    events = []
    data.import_files(file, progress=events.append)
    assert {event.step for event in events} >= {"reading"}
    assert capsys.readouterr().err == ""

    def stop(event):
        if len(events) == 1:
            signal.raise_signal(signal.SIGINT)
        events.append(event)

    events[:] = [None]
    with pytest.raises(CancelledError):
        data.import_files(file, symbol="GBPUSD", progress=stop)
    assert data.list()["symbol"].tolist() == ["EURUSD"]


@pytest.mark.parametrize("room", ["ktrdr.core.data", "ktrdr.core.indicators"])
def test_each_public_name_is_there_whatever_was_imported_before(room):
    package = importlib.import_module(room)
    (folder,) = package.__path__
    modules = {path.stem for path in Path(folder).iterdir()}
    assert not modules & set(package.__all__), "a module would take the place of the name once it is imported"
    assert sorted(package.__all__) == sorted(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None


class TestImportFiles:
    def test_one_file(self, file):
        result = data.import_files(file)
        assert repr(result) == "<ImportResult EURUSD 1h: 6 bars added, 0 replaced, 6 stored>"
        assert result.table.to_dict("records") == [
            {"symbol": "EURUSD", "timeframe": "1h", "added": 6, "replaced": 0, "unchanged": 0, "stored": 6}
        ]
        assert result.notes == ("symbol EURUSD is taken from the file's name",)
        assert result.warnings == ()

    def test_every_option_of_the_command_line_is_an_argument(self):
        from ktrdr.core.cli.data import import_
        from ktrdr.core.data.importing import import_files

        options = {parameter.name for parameter in import_.params} - {"files", "as_json"}
        assert options == set(import_files.__annotations__) - {"paths", "progress", "return"}

    def test_several_files_and_one_row_per_data_set(self, file, tmp_path):
        other = tmp_path / "GBPUSD.csv"
        other.write_text(GOOD)
        result = data.import_files([file, str(other)])
        assert result.table["symbol"].tolist() == ["EURUSD", "GBPUSD"]
        assert repr(result) == "<ImportResult 2 data sets: 12 bars added, 0 replaced>"
        assert result.notes[1] == f"{other}: symbol GBPUSD is taken from the file's name"

    def test_of_several_files_the_right_ones_are_stored_and_the_others_named(self, file, tmp_path):
        bad = tmp_path / "GBPUSD.csv"
        bad.write_text(GOOD.replace("1.3", "0.9", 1))
        message = (
            r"^2 of 3 files were not imported, the others are stored: .*GBPUSD.csv, line 2: .* skip_bad=True; .*nix"
        )
        with pytest.raises(BadInputError, match=message):
            data.import_files([bad, file, tmp_path / "nix.csv"])
        assert data.list()["symbol"].tolist() == ["EURUSD"]

    def test_a_store_that_cannot_be_written_is_that_error(self, file, home):
        home.write_text("in the way")
        with pytest.raises(StoreError, match="nothing was changed"):
            data.import_files([file, file])

    def test_warnings_name_the_data_set_and_the_argument(self, file):
        shifted = [f"2020-01-{day:02} {hour:02}:00,1.1,1.3,1.0,1.2,5\n" for day in (6, 7, 8) for hour in range(24)]
        shifted += [f"2020-01-11 {hour:02}:00,1.1,1.3,1.0,1.2,5\n" for hour in range(24)]
        file.write_text(GOOD.splitlines(keepends=True)[0] + "".join(shifted))
        result = data.import_files(file)
        assert result.warnings
        assert all(text.startswith("EURUSD 1h: ") and "--" not in text for text in result.warnings)
        assert repr(result).endswith("warnings>")
        assert "<table" in result._repr_html_()
        assert "warning: EURUSD 1h" in result._repr_html_()

    def test_options_reach_the_importer(self, file):
        file.write_text(GOOD.replace("open", "PX").replace("2020-01-06", "06/02/2020"))
        options = {"columns": {"open": "PX"}, "dates": "day-first", "timezone": "+01:00", "label": "close"}
        data.import_files(file, symbol="GBPUSD", **options)
        assert data.load("GBPUSD", "1h").index[0] == pd.Timestamp("2020-02-05 22:00", tz="UTC")

    @pytest.mark.parametrize(
        ("change", "options", "message"),
        [
            ({"1.3": "0.9"}, {}, "leave such rows out with skip_bad=True$"),
            ({"low": "least"}, {}, r'Say which it is with columns=\{"low": "NAME"\}$'),
            ({}, {"timeframe": "4h"}, "leave out `timeframe`: they look like 1h$"),
            ({}, {"timezone": "Mars"}, "unknown time zone `Mars`"),
            ({"2020-01-06": "06/01/2020"}, {}, 'say dates="day-first" or dates="month-first"$'),
            (
                {"1.1,1.3,1.0,1.2,5": "1.234,1.239,1.231,1.235,", ",": ";"},
                {},
                'decimal="point" for 1.23',
            ),
        ],
    )
    def test_remedies_name_arguments(self, file, change, options, message):
        text = GOOD
        for old, new in change.items():
            text = text.replace(old, new)
        file.write_text(text)
        with pytest.raises(BadInputError, match=message):
            data.import_files(file, **options)

    def test_no_file(self):
        with pytest.raises(BadInputError, match="give at least one path"):
            data.import_files([])


def _message_literals():
    """Every text of the room's source that names an option, docstrings apart."""
    folder = Path(data.__path__[0])
    for path in set(folder.rglob("*.py")) - {folder / "python_words.py"}:
        tree = ast.parse(path.read_text("utf-8"))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docs:
                yield node.value


def test_no_message_of_the_room_names_an_option_in_python():
    texts = [text for text in _message_literals() if "--" in text and "\n" not in text and "(?" not in text]
    assert len(texts) > 25
    for text in texts:
        if "--force" not in text:  # of an export, which has no function here
            assert "--" not in in_python(text), text


@pytest.mark.parametrize(
    ("said", "python"),
    [
        ("leave out --timezone", "leave out `timezone`"),
        ("with --timezone Europe/Athens --label close", 'with timezone="Europe/Athens", label="close"'),
        ("--timezone +02:00 fits", 'timezone="+02:00" fits'),
        ("so --align changed nothing", "so align=True changed nothing"),
        ("--column open=2 or", 'columns={"open": "2"} or'),
        ("take one with --symbol AAA", 'take one with symbol="AAA"'),
        ("--symbol gives another name", "`symbol` gives another name"),
        ("--calendar us_futures or --calendar 24/7", 'calendar="us_futures" or calendar="24/7"'),
        ("say --timeframe if", "say `timeframe` if"),
        ("a--symbol b.csv does not exist", "a--symbol b.csv does not exist"),
        ("`ktrdr data delete EURUSD 1h` and", '`kt.data.delete("EURUSD", "1h")` and'),
        ("`ktrdr data import FILE` adds some", "`kt.data.import_files(FILE)` adds some"),
    ],
)
def test_options_in_python(said, python):
    assert in_python(said) == python


def test_an_error_keeps_its_class_and_its_attributes():
    with pytest.raises(NotFoundError, match='^symbol="A"$') as caught, python_messages():
        raise NotFoundError("--symbol A")
    assert caught.value.exit_status == 2


class TestStored:
    def test_the_sample(self):
        assert repr(data.import_sample()) == "<ImportResult EURUSD 1h: 6,225 bars added, 0 replaced, 6,225 stored>"
        again = data.import_sample()
        assert again.table.loc[0, ["added", "unchanged"]].tolist() == [0, 6225]

    def test_nothing_is_stored(self):
        found = data.list()
        assert found.empty
        assert str(found["start"].dtype) == "datetime64[ns, UTC]"

    def test_list(self):
        data.import_sample()
        row = data.list().iloc[0]
        assert (row["symbol"], row["timeframe"], row["bars"], row["calendar"]) == ("EURUSD", "1h", 6225, "FX")
        assert row["start"] == pd.Timestamp("2017-01-01 22:00", tz="UTC")
        assert row["end"] == pd.Timestamp("2017-12-29 22:00", tz="UTC")
        assert not row["calendar_stored"]
        assert row["bytes"] > 1000

    def test_delete_one_timeframe_or_all(self, file):
        data.import_sample()
        default_store().write(default_store().read("EURUSD", "1h")[:1])
        data.import_files(file, symbol="GBPUSD")
        data.delete("EURUSD", "1h")
        assert data.list()["symbol"].tolist() == ["GBPUSD"]
        data.delete("GBPUSD")
        assert data.list().empty
        for arguments in (("GBPUSD",), ("GBPUSD", "1h")):
            with pytest.raises(NotFoundError, match=r"none are stored.*kt.data.import_files"):
                data.delete(*arguments)

    def test_delete_with_a_timeframe_that_there_is_not(self):
        with pytest.raises(BadInputError, match="unknown timeframe `1y`"):
            data.delete("EURUSD", "1y")


class TestCheck:
    @pytest.fixture
    def odd(self, make_bars):
        """Bars with a weekend gap, a gap of 5 bars, a split and a price out of all proportion."""
        bars = make_bars(24 * 14, "2017-01-02")
        weekday = (bars.time.astype("datetime64[D]").astype(np.int64) + 3) % 7 < 5
        keep = weekday & ~((bars.time >= np.datetime64("2017-01-04T03")) & (bars.time < np.datetime64("2017-01-04T08")))
        columns = {name: getattr(bars, name)[keep].copy() for name in ("open", "high", "low", "close")}
        for name in columns:
            columns[name][100:] /= 2
            columns[name][150:] *= 9.1
        kept = type(bars)("AAA", bars.timeframe, bars.time[keep], *columns.values(), bars.volume[keep], calendar="FX")
        default_store().write(kept)
        return kept

    def test_what_the_command_shows(self, odd):
        found = data.check("AAA", "1h")
        assert found.passed
        assert (found.symbol, found.timeframe, found.bars, found.calendar) == ("AAA", "1h", len(odd), "FX")
        assert "gap" in found.findings["kind"].tolist()
        assert set(found.findings["severity"]) == {"warning"}
        assert found.warnings == tuple(found.findings["message"])
        assert repr(found).startswith(f"<DataCheck AAA 1h: {len(odd)} bars, no errors, ")
        assert "\n" not in repr(found)
        assert "<table" in found._repr_html_()

    def test_gaps(self, odd):
        gaps = data.check("AAA", "1h").gaps
        (unexpected,) = gaps[gaps["missing"] == 5].to_dict("records")
        assert unexpected["start"] == pd.Timestamp("2017-01-04 03:00", tz="UTC")
        assert unexpected["end"] == pd.Timestamp("2017-01-04 08:00", tz="UTC")
        assert unexpected["kind"] == "unexpected"
        steps = odd.time[1:] - odd.time[:-1]
        assert len(gaps) == int((steps > np.timedelta64(1, "h")).sum())

    def test_jumps(self, odd):
        jumps = data.check("AAA", "1h").jumps
        assert jumps["time"].tolist() == [pd.Timestamp(odd.time[row], tz="UTC") for row in (100, 150)]
        assert jumps["kind"].tolist() == ["split_like_jump", "large_jump"]
        assert jumps["before"].tolist() == odd.close[[99, 149]].tolist()
        np.testing.assert_allclose(jumps["after"] / jumps["before"], [0.5, 9.1], rtol=0.1)

    def test_another_calendar_for_this_check_alone(self, odd):
        assert data.check("AAA", "1h", calendar="24/7").calendar == "24/7"
        assert data.check("AAA", "1h").calendar == "FX"
        with pytest.raises(BadInputError, match="unknown calendar `MARS`"):
            data.check("AAA", "1h", calendar="mars")

    def test_what_is_not_stored(self):
        with pytest.raises(NotFoundError, match="no 1h bars of AAA"):
            data.check("AAA", "1h")
