"""`ktrdr data`, run as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import install_sample

Run = Callable[..., tuple[int, str, str]]

STOCKS = Path(__file__).parents[1] / "data" / "files" / "US_stocks_1d_2000_2013.csv.gz"
HEAD = "time,open,high,low,close,volume\n"
ROWS = [f"2017-01-02 {hour:02}:00,1.1,1.3,1.0,1.2,5\n" for hour in range(4)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def execute(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(("data", *arguments))
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return execute


@pytest.fixture
def stored(home: Path) -> None:
    """The sample, EURUSD 1h."""
    install_sample(default_store())


def cells(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


def test_a_vendors_file_with_several_symbols(run: Run, home: Path):
    status, out, err = run("import", str(STOCKS))
    assert status == 0
    assert "FB 1d: 196 bars added, 0 replaced, 0 already there; 196 stored.\n" in out
    assert "  warning: 2 jumps look like splits that prices were not adjusted for: 2000-06-21 00:00 (2 to 1)" in out
    assert "  warning: 1 jump looks like a split that prices were not adjusted for: 2003-02-18 00:00 (2 to 1)" in out
    assert "reading: US_stocks_1d_2000_2013.csv.gz" in err
    assert "writing: 5/5 symbols  MSFT" in err

    status, out, _ = run("import", str(STOCKS), "--symbol", "FB")
    assert "FB 1d: 0 bars added, 0 replaced, 196 already there; 196 stored.\n" in out

    status, out, _ = run("list")
    assert status == 0
    assert ["AAPL", "1d", "3,270", "2000-03-01", "00:00", "2013-03-01", "24:00"] in [row[:7] for row in cells(out)]
    listed = json.loads(run("list", "--json")[1])
    assert [(entry["symbol"], entry["rows"]) for entry in listed] == [
        ("AAPL", 3270),
        ("FB", 196),
        ("GOOG", 2148),
        ("IBM", 3270),
        ("MSFT", 3270),
    ]
    assert (listed[1]["start"], listed[1]["end"]) == ("2012-05-18T00:00:00Z", "2013-03-02T00:00:00Z")

    status, out, _ = run("check")
    assert status == 0
    assert "AAPL 1d: 3,270 bars, no errors; gaps by the calendar XNYS: 591 weekend, 118 holiday\n" in out


def test_several_files_of_which_some_are_bad(run: Run, tmp_path: Path):
    (tmp_path / "GOOD.csv").write_text(HEAD + "".join(ROWS))
    (tmp_path / "BAD.csv").write_text(HEAD + "".join(ROWS).replace("1.3", "0.3"))
    status, out, err = run("import", "GOOD.csv", "BAD.csv", "GONE.csv")
    assert status == 2
    assert "GOOD 1h: 4 bars added" in out
    assert "Error: BAD.csv, line 2: the bar of 2017-01-02 00:00 has its high 0.3 below its low 1 (and 3 more)" in err
    assert "Error: GONE.csv does not exist: check its name\n" in err
    assert err.endswith("2 of 3 files were not imported.\n")
    assert [info.symbol for info in default_store().datasets()] == ["GOOD"]
    status, out, err = run("import", "GOOD.csv", "BAD.csv", "--json")
    assert status == 2
    good, bad = json.loads(out)
    assert good["datasets"][0]["unchanged"] == 4
    assert bad["error"].startswith("BAD.csv, line 2")


def test_a_bad_file_leaves_no_home_behind(run: Run, home: Path, tmp_path: Path):
    for name, text in {"A": "", "B": "a;b\n1;2\n", "C": HEAD, "D": "symbol," + HEAD + "../x," + ROWS[0]}.items():
        (tmp_path / f"{name}.csv").write_text(text)
        status, out, err = run("import", f"{name}.csv", "--json")
        assert (status, out) == (2, "")
        assert err.startswith(f"Error: {name}.csv")
        assert err.count("\n") == 1
    assert not home.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "EURUSD.csv", "--symbol", "../x"),
        ("show", "../x", "1h"),
        ("check", "../x"),
        ("check", "../x", "1h"),
        ("resample", "../x", "--to", "4h"),
        ("export", "../x", "1h", "x.csv"),
        ("delete", "../x", "--yes"),
        ("delete", "../x", "1h", "--yes"),
    ],
)
def test_a_symbol_with_a_path_in_it_is_refused_everywhere(run: Run, home: Path, tmp_path: Path, arguments):
    (tmp_path / "EURUSD.csv").write_text(HEAD + "".join(ROWS))
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("Error: '../x' cannot be a symbol: ")
    assert not home.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["EURUSD.csv"]


def test_options_of_import(run: Run, tmp_path: Path):
    (tmp_path / "x.csv").write_text("when|px|h|l|c\n02/01/2017 10:00|1.1|1.3|1.0|1.2\n02/01/2017 11:00|1.1|1.3|1|1.2\n")
    columns = [f"--column={role}" for role in ("time=when", "open=px", "high=h", "low=l", "close=c")]
    status, out, _ = run(
        "import", "x.csv", "--symbol", "GBPUSD", "--dates", "day-first", "--timezone", "+02:00", "--label", "close",
        "--calendar", "24/7", *columns,
    )  # fmt: skip
    assert status == 0, out
    assert "warning: no bar has a volume" in out
    shown = json.loads(run("show", "GBPUSD", "1h", "--json")[1])
    assert shown["bars"][0] == {
        "time": "2017-01-02T07:00:00Z",
        "open": 1.1,
        "high": 1.3,
        "low": 1.0,
        "close": 1.2,
        "volume": None,
    }
    assert run("import", "x.csv", "--column", "open")[0] == 2


def test_skip_bad_says_what_it_left_out(run: Run, tmp_path: Path):
    (tmp_path / "EURUSD.csv").write_text(HEAD + ROWS[0] + ROWS[1].replace("1.3", "abc") + ROWS[2] + ROWS[3])
    assert run("import", "EURUSD.csv")[0] == 2
    status, out, _ = run("import", "EURUSD.csv", "--skip-bad")
    assert status == 0
    assert "3 bars added" in out
    assert "  warning: 1 row is no bar and was left out: line 3: high 'abc' is not a number\n" in out


def test_short_bars_at_the_start_of_sessions(run: Run, tmp_path: Path):
    clocks = [
        f"{day} {clock}" for day in ("2017-01-03", "2017-01-04") for clock in ("14:30", "15:00", "16:00", "17:00")
    ]
    file = tmp_path / "AAPL.csv"
    file.write_text(HEAD + "".join(f"{clock},1.1,1.3,1.0,1.2,5\n" for clock in clocks))
    status, _, err = run("import", str(file))
    assert status == 2
    assert "line 3: the bar of 2017-01-03 15:00 opens before the one of 2017-01-03 14:30 has closed (and 1 more)" in err
    assert "--align puts them on the grid and merges 0 with the grid's bar" in err
    status, out, _ = run("import", str(file), "--align")
    assert status == 0
    assert (
        "  warning: 2 short bars were put on the grid, 0 of them merged with the grid's bar of the same slot\n" in out
    )


def test_a_shifted_clock_is_named_by_import_and_check(run: Run, tmp_path: Path):
    clocks = [f"2017-01-{day:02} {hour:02}:00" for day in (3, 4, 5, 6, 9, 10) for hour in range(9, 16)]
    file = tmp_path / "AAPL.csv"
    file.write_text(HEAD + "".join(f"{clock},1.1,1.3,1.0,1.2,5\n" for clock in clocks))
    _, out, _ = run("import", str(file))
    assert "delete the data set and import it again with --timezone America/New_York\n" in out
    _, out, _ = run("check", "AAPL")
    assert "if it was imported without --timezone, delete the data set and import it again with --timezone Amer" in out
    run("delete", "AAPL", "--yes")
    _, out, _ = run("import", str(file), "--timezone", "America/New_York")
    assert "warning" not in out
    run("delete", "AAPL", "--yes")
    _, out, _ = run("import", str(file), "--timezone", "-05:00")
    assert "warning" not in out


def test_a_row_with_two_faults_is_left_out_once(run: Run, tmp_path: Path):
    opening = ROWS[1].partition(",")[0]
    (tmp_path / "EURUSD.csv").write_text(HEAD + ROWS[0] + f"{opening},1.9,1.3,1.0,0.5,5\n" + ROWS[2] + ROWS[3])
    status, out, _ = run("import", "EURUSD.csv", "--skip-bad")
    assert status == 0
    assert out.count("left out") == 1
    assert "1 row is no bar and was left out" in out


def test_show(run: Run, stored: None):
    status, out, _ = run("show", "EURUSD", "1h", "--rows", "4")
    assert status == 0
    assert out.startswith("EURUSD 1h: 6,225 bars")
    rows = cells(out)
    assert ["2017-01-01", "22:00", "1.05236", "1.05253", "1.05221", "1.05227", "143,539,993"] in rows
    assert ["..."] in rows
    assert len([row for row in rows if row and row[0].startswith("2017-")]) == 4
    _, out, _ = run("show", "EURUSD", "1d", "--start", "2017-03-06", "--end", "2017-03-08", "--json")
    made = json.loads(out)
    assert [bar["time"] for bar in made["bars"]] == ["2017-03-06T00:00:00Z", "2017-03-07T00:00:00Z"]
    assert len(json.loads(run("show", "EURUSD", "1h", "--rows", "0", "--json")[1])["bars"]) == 6225
    status, _, err = run("show", "EURUSD", "1h", "--start", "yesterday")
    assert (status, err) == (
        2,
        "Error: --start: 'yesterday' is not a date: write it as 2017-01-31 or 2017-01-31T14:00 (UTC)\n",
    )


def test_a_timeframe_that_is_no_integer_multiple(run: Run, stored: None):
    for arguments in (("show", "EURUSD", "30m"), ("resample", "EURUSD", "--to", "30m")):
        status, _, err = run(*arguments)
        assert status == 2
        assert err.startswith(
            "Error: EURUSD: 30m bars are not stored and cannot be made of the stored ones (1h), since"
        )
    status, _, err = run("show", "EURUSD", "3h")
    assert status == 2
    assert "unknown timeframe `3h`; known: 1m, 5m" in err


def test_resample_stores_coarser_bars(run: Run, stored: None):
    status, out, _ = run("resample", "EURUSD", "--to", "4h")
    assert (status, out) == (0, "EURUSD 4h: 1,608 bars added, 0 replaced, 1,608 stored.\n")
    status, _, err = run("resample", "EURUSD", "--to", "4h")
    assert (status, err) == (2, "Error: EURUSD 4h is stored already; name the timeframe to resample from with --from\n")
    report = json.loads(run("resample", "EURUSD", "--to", "1d", "--from", "4h", "--json")[1])
    assert (report["timeframe"], report["rows"], report["added"]) == ("1d", 311, 311)
    status, _, err = run("resample", "EURUSD", "--to", "2h", "--from", "4h")
    assert status == 2
    assert "2h is no integer multiple of 4h" in err


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_export_and_import_give_the_same_bars(run: Run, stored: None, tmp_path: Path, suffix: str):
    name = f"EURUSD{suffix}"
    status, out, _ = run("export", "EURUSD", "1h", name, "--start", "2017-06-01")
    assert (status, out) == (0, f"3,630 bars of EURUSD 1h written to {name}\n")
    status, _, err = run("export", "EURUSD", "1h", name)
    assert status == 2
    assert "exists already: name another file, or overwrite it with --force" in err
    assert json.loads(run("export", "EURUSD", "1h", name, "--force", "--json")[1])["rows"] == 6225
    status, out, _ = run("import", name)
    assert "0 bars added, 0 replaced, 6,225 already there" in out
    status, _, err = run("export", "EURUSD", "1h", "x.xls")
    assert (status, err) == (2, "Error: x.xls: write to a file that ends in .csv, .csv.gz, .parquet\n")


def test_check_says_what_is_odd(run: Run, tmp_path: Path):
    (tmp_path / "EURUSD.csv").write_text(HEAD + ROWS[0] + ROWS[1] + ROWS[3])
    run("import", "EURUSD.csv")
    status, out, _ = run("check", "EURUSD")
    assert status == 0
    assert "3 bars, no errors; gaps by the calendar FX: 1 unexpected" in out
    assert "  warning: 1 bar is missing in 1 gap while FX was open" in out
    (report,) = json.loads(run("check", "--json")[1])
    assert (report["missing_bars"], report["gaps"]["unexpected"], report["ok"]) == (1, 1, True)
    status, _, err = run("check", "--calendar", "XNYX")
    assert status == 2
    assert "unknown calendar `XNYX`, did you mean `XNYS`?" in err


def test_check_names_damaged_data_and_goes_on(run: Run, stored: None, home: Path, tmp_path: Path):
    (tmp_path / "GBPUSD.csv").write_text(HEAD + "".join(ROWS))
    run("import", "GBPUSD.csv")
    next((home / "data" / "EURUSD").rglob("*.parquet")).write_bytes(b"PAR1 cut off")
    status, out, err = run("check")
    assert status == 2
    assert "GBPUSD 1h: 4 bars, no errors" in out
    assert "the stored 1h bars of EURUSD are damaged" in err
    assert [entry["ok"] for entry in json.loads(run("check", "--json")[1])] == [False, True]
    status, out, err = run("show", "EURUSD", "1h")
    assert (status, out) == (2, "")
    assert "`ktrdr data delete EURUSD 1h` and import them again" in err


def test_delete(run: Run, stored: None, monkeypatch: pytest.MonkeyPatch):
    import io
    import sys

    run("resample", "EURUSD", "--to", "4h")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    status, _, _ = run("delete", "EURUSD", "4h")
    assert status == 130
    assert default_store().has("EURUSD", "4h")
    assert run("delete", "EURUSD", "4h", "--yes") == (0, "EURUSD 4h deleted.\n", "")
    assert json.loads(run("delete", "EURUSD", "--yes", "--json")[1]) == [{"symbol": "EURUSD", "timeframe": "1h"}]
    status, _, err = run("delete", "EURUSD", "--yes")
    assert status == 2
    assert "no 1h bars of EURUSD" in err


def test_without_data(run: Run, home: Path):
    for command in ("list", "check"):
        assert run(command) == (0, "No data is stored; `ktrdr data import FILE` adds some.\n", "")
        assert json.loads(run(command, "--json")[1]) == []
    for arguments in (("show", "EURUSD", "1h"), ("check", "EURUSD"), ("export", "EURUSD", "1h", "x.csv")):
        status, _, err = run(*arguments)
        assert status == 2
        assert "no 1h bars of EURUSD" in err
        assert "`ktrdr data import FILE` adds some" in err
    assert not home.exists()


def test_the_calendar_of_a_symbol(run: Run, stored: None, tmp_path: Path):
    (tmp_path / "SOL_1d.csv").write_text(HEAD + "".join(f"2024-03-0{day},1.1,1.3,1.0,1.2,5\n" for day in (4, 5, 6)))
    status, out, err = run("import", "SOL_1d.csv")
    assert (status, out) == (2, "")
    assert "say which with --calendar 24/7 or --calendar XNYS" in err
    assert run("import", "SOL_1d.csv", "--calendar", "nyse")[0] == 0
    assert run("calendar", "SOL") == (0, "SOL: XNYS, stored with the data\n", "")
    assert run("calendar", "EURUSD") == (0, "EURUSD: FX, derived from the symbol's name, not stored\n", "")
    status, out, _ = run("list")
    assert [row[7] for row in cells(out) if len(row) == 10 and row[1] in ("1h", "1d")] == ["(FX)", "XNYS"]
    assert out.endswith("Calendars in parentheses are not stored; they are derived from the symbol's name.\n")

    assert run("calendar", "EURUSD", "fx") == (0, "EURUSD: FX, stored with the data\n", "")
    assert [(each["calendar"], each["calendar_stored"]) for each in json.loads(run("list", "--json")[1])] == [
        ("FX", True),
        ("XNYS", True),
    ]
    assert "parentheses" not in run("list")[1]
    assert json.loads(run("calendar", "SOL", "24/7", "--json")[1]) == {
        "symbol": "SOL", "calendar": "24/7", "told_by": "stored", "choices": [], "warning": "",
    }  # fmt: skip
    assert "by the calendar 24/7" in run("check", "SOL")[1]
    status, _, err = run("calendar", "SOL", "moon")
    assert (status, "unknown calendar `MOON`" in err) == (2, True)
    status, _, err = run("calendar", "ABC", "FX")
    assert (status, "no bars of ABC in" in err) == (2, True)


def test_an_export_keeps_the_calendar_or_says_that_it_cannot(run: Run, stored: None):
    assert "calendar" not in run("export", "EURUSD", "1h", "a.csv")[1]
    run("calendar", "EURUSD", "24/7")
    assert run("export", "EURUSD", "1h", "b.csv")[1] == (
        "6,225 bars of EURUSD 1h written to b.csv\n"
        "A CSV file does not store the calendar; import it with --calendar 24/7\n"
    )
    assert run("export", "EURUSD", "1h", "b.parquet")[1] == "6,225 bars of EURUSD 1h written to b.parquet\n"
    run("import", "b.parquet", "--symbol", "COPY")
    assert run("calendar", "COPY")[1] == "COPY: 24/7, stored with the data\n"


def test_a_ticker_that_is_unclear_is_marked_in_the_list(run: Run, bars_of_three_days: None):
    out = run("list")[1]
    assert [row[7] for row in cells(out) if row[:2] == ["SOL", "1d"]] == ["?"]
    assert out.endswith("? is ambiguous: `ktrdr data calendar SOL` shows more.\n")
    assert json.loads(run("list", "--json")[1])[0]["calendar"] is None
    assert "or `ktrdr data calendar SOL XNYS`" in run("calendar", "SOL")[1]


@pytest.fixture
def bars_of_three_days(run: Run, tmp_path: Path, home: Path) -> None:
    """Bars of SOL as they were stored before there was a calendar to store."""
    (tmp_path / "SOL_1d.csv").write_text(HEAD + "".join(f"2024-03-0{day},1.1,1.3,1.0,1.2,5\n" for day in (4, 5, 6)))
    run("import", "SOL_1d.csv", "--calendar", "XNYS")
    manifest = home / "data" / "SOL" / "1d" / "manifest.json"
    document = json.loads(manifest.read_text())
    del document["calendar"]
    manifest.write_text(json.dumps(document))


@pytest.mark.parametrize("command", ["import", "list", "calendar", "show", "check", "resample", "export", "delete"])
def test_help(run: Run, command: str):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert "--json" in out
