"""`ktrdr backtest`, `ktrdr compare` and the backtest job, over real bars and a real small model."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ktrdr.core.backtesting.results import read_result
from ktrdr.core.cli.main import main
from ktrdr.core.errors import BadInputError
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.trials.look import LOOKS, Look
from ktrdr.core.trials.trial_database import TRIALS_FILE, default_database
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.workflows.run_job import run_job

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def ktrdr(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command as the console script does: status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return int(exit_.value.code or 0), output.out, output.err

    return run


def left_behind(home: Path) -> list[str]:
    """Return what there is in a home that was not there before, rows of its ledger of trials among it.

    The cache keeps indicator values of a backtest that fails, too.
    """
    known = ("cache", "data", "models", TRIALS_FILE)
    found = sorted(path.name for path in home.iterdir() if path.name not in known)
    return found + [f"trial {listed.row.kind}" for listed in TrialLedger(default_database()).page()]


class TestBacktest:
    def test_it_prints_metrics_beside_the_baselines_and_says_where_the_files_are(self, ktrdr, home, bundle):
        status, out, _ = ktrdr("backtest", bundle.ref, "--commission", "0.0001")
        assert status == 0
        for text in (
            "Sharpe ratio",
            "buy and hold",
            "majority class",
            "Majority class: always predicts",
            "Decisions on",
        ):
            assert text in out, text
        directory = home / "runs" / "waves" / f"{bundle.manifest.version}-1"
        assert str(directory) in out
        assert f"waves/{bundle.manifest.version}-1" in out
        assert read_result(directory).settings.commission == 0.0001

    def test_json(self, ktrdr, home, bundle):
        status, out, err = ktrdr("backtest", "waves", "--json", "--end", "2017-10-31", "--capital", "500")
        shown = json.loads(out)
        assert (status, err) == (0, "")
        assert shown["metrics"]["initial_equity"] == 500
        assert shown["end"] == "2017-11-01T00:00:00Z"  # the close of the last bar
        assert Path(shown["directory"]).is_dir()
        assert shown["run"] == f"waves/{bundle.manifest.version}-1"

    def test_what_must_be_said_of_a_result_is_said_on_every_output(self, ktrdr, home, bundle, tmp_path):
        """A few days: too few trades, at costs that no model earns."""
        asked = ("backtest", bundle.ref, "--start", "2017-10-09", "--end", "2017-10-13", "--commission", "0.01")
        report = tmp_path / "report.html"
        out = ktrdr(*asked, "--report", report)[1]
        said = re.findall(r"^Warning: (.*)\.$", out, re.MULTILINE)
        assert sum(re.match("the strategy is below .*: its total return is -", each) is not None for each in said) == 1
        assert sum("too few to judge by: the win rate" in each for each in said) == 1
        run = f"waves/{bundle.manifest.version}-1"
        assert json.loads(ktrdr(*asked, "--json")[1])["warnings"] == said
        assert json.loads(ktrdr("compare", run, "--json")[1])[run]["warnings"] == said
        page = html.unescape(report.read_text(encoding="utf-8"))
        above = page[: page.index("Total return")]
        assert all(f"{each[:1].upper()}{each[1:]}." in above for each in said)

    def test_nothing_is_green_in_a_terminal(self, ktrdr, bundle, monkeypatch):
        """No figure there has a colour, so none that is worse than its baseline has that of good ones."""
        monkeypatch.setattr("click.utils.should_strip_ansi", lambda *given, **named: False)
        monkeypatch.setenv("FORCE_COLOR", "1")
        out = ktrdr("backtest", bundle.ref, "--commission", "0.001")[1]
        codes = {code for each in re.findall(r"\x1b\[([\d;]*)m", out) for code in each.split(";")}
        # The warnings are yellow: colours do reach the output.
        assert "33" in codes
        assert not codes & {"32", "92", "42", "102", "38", "48"}

    def test_the_seed_moves_the_interval_and_nothing_else(self, ktrdr, bundle):
        first, again, other = (
            json.loads(ktrdr("backtest", bundle.ref, "--json", "--seed", seed)[1])["metrics"] for seed in (1, 1, 2)
        )
        assert first == again
        changed = {name for name in first if first[name] != other[name]}
        assert changed
        assert changed <= {"sharpe_low", "sharpe_high"}

    def test_runs_are_numbered(self, ktrdr, home, bundle):
        for _ in range(2):
            assert ktrdr("backtest", bundle.ref, "--json")[0] == 0
        version = bundle.manifest.version
        assert sorted(path.name for path in (home / "runs" / "waves").iterdir()) == [f"{version}-1", f"{version}-2"]

    def test_output_elsewhere(self, ktrdr, home, bundle, tmp_path):
        assert ktrdr("backtest", bundle.ref, "--output", tmp_path / "mine")[0] == 0
        assert read_result(tmp_path / "mine").manifest.ref == bundle.ref
        assert left_behind(home) == ["trial backtest"]
        status, _, err = ktrdr("backtest", bundle.ref, "--output", tmp_path / "mine")
        assert (status, "exists already" in err) == (2, True)

    def test_overlap_is_said_on_every_output(self, ktrdr, home, bundle):
        arguments = ("backtest", bundle.ref, "--start", "2017-02-01", "--end", "2017-03-01")
        assert "overlap the data the model was trained on" in ktrdr(*arguments)[1]
        assert "overlap" in json.loads(ktrdr(*arguments, "--json")[1])["warnings"][0]
        run = f"waves/{bundle.manifest.version}-1"
        assert "overlap" in ktrdr("compare", run)[1]
        assert "overlap" in json.loads(ktrdr("compare", run, "--json")[1])[run]["warnings"][0]

    def test_a_strategy_file_stands_for_its_latest_model(self, ktrdr, bundle, tmp_path):
        path = tmp_path / "waves.yaml"
        path.write_text(bundle.strategy_text + "\n# a remark changes nothing\n", encoding="utf-8")
        status, out, _ = ktrdr("backtest", path, "--json")
        assert (status, json.loads(out)["model"]) == (0, bundle.ref)

    def test_a_strategy_file_that_was_changed_since(self, ktrdr, home, bundle, tmp_path):
        path = tmp_path / "waves.yaml"
        path.write_text(bundle.strategy_text.replace("0.35", "0.9"), encoding="utf-8")
        status, _, err = ktrdr("backtest", path)
        assert status == 2
        assert f"is not what model {bundle.ref} was trained from: decisions differ" in err
        assert left_behind(home) == []

    def test_a_strategy_file_without_a_model(self, ktrdr, bundle, tmp_path):
        path = tmp_path / "new.yaml"
        path.write_text(bundle.strategy_text.replace("name: waves", "name: brandnew"), encoding="utf-8")
        status, _, err = ktrdr("backtest", path)
        assert (status, "no model was trained from" in err, "ktrdr train" in err) == (2, True, True)


class TestCompare:
    def test_side_by_side(self, ktrdr, home, bundle):
        for cost in ("0", "0.001"):
            ktrdr("backtest", bundle.ref, "--commission", cost)
        version = bundle.manifest.version
        status, out, _ = ktrdr("compare", f"waves/{version}-1", home / "runs" / "waves" / f"{version}-2")
        assert status == 0
        assert f"waves/{version}-2" in out
        assert "cannot be compared" not in out
        shown = json.loads(ktrdr("compare", f"waves/{version}-1", f"waves/{version}-2", "--json")[1])
        costs = [shown[f"waves/{version}-{number}"]["metrics"]["commission"] for number in (1, 2)]
        assert costs[0] == 0 < costs[1]

    def test_runs_of_other_bars_are_told_apart(self, ktrdr, bundle):
        ktrdr("backtest", bundle.ref)
        ktrdr("backtest", bundle.ref, "--end", "2017-10-31")
        version = bundle.manifest.version
        assert "cannot be compared directly" in ktrdr("compare", f"waves/{version}-1", f"waves/{version}-2")[1]

    @pytest.mark.parametrize("run", ["waves/7-7", "nowhere", "../waves/1-1"])
    def test_no_such_run(self, ktrdr, run):
        status, _, err = ktrdr("compare", run)
        assert (status, err.count("\n")) == (2, 1)
        assert "run" in err


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("nobody",), "there is no model `nobody`"),
            (("waves", "--capital", "-5"), "capital must be above 0, not -5"),
            (
                ("waves", "--commission", "1"),
                "--commission must be below 1, not 1 (share of the traded value, per side",
            ),
            (("waves", "--slippage", "nan"), "--slippage must be a finite number, not nan (share of the price"),
            (("waves", "--symbols", "AAPL"), "AAPL"),
            (("waves", "--symbols", ","), "--symbols ',' has an empty part"),
            (("waves", "--symbols", "A,,B"), "--symbols 'A,,B' has an empty part"),
            (("waves", "--symbols", "A,A"), "--symbols: `A` is given twice"),
            (("waves", "--seed", 2**40), "--seed must be at most 4,294,967,295"),
            (("waves", "--start", "2020-01-01"), "there are no 1h bars of EURUSD to trade"),
            (("waves", "--start", "2017-01-01", "--end", "2017-01-02"), "too short for its warm-up"),
            (("waves", "--start", "yesterday"), "--start: 'yesterday' is not a date: write it as 2017-01-31"),
            (("waves", "--end", "2017-02-01"), "give a start too"),
            (("waves", "--trials", "0"), "trials must be at least 1"),
            (("missing.yaml",), "missing.yaml"),
        ],
    )
    def test_one_sentence_status_2_and_nothing_left(self, ktrdr, home, arguments, message):
        status, out, err = ktrdr("backtest", *arguments)
        assert status == 2
        assert message in err
        assert "Traceback" not in err
        assert out == ""
        assert left_behind(home) == []

    def test_a_model_without_its_plugin(self, ktrdr, home, monkeypatch):
        monkeypatch.setenv("KTRDR_BLOCK_PLUGINS", "example")
        status, _, err = ktrdr("backtest", "waves", "--inference", "native")
        assert status == 2
        assert "example" in err
        assert left_behind(home) == []

    def test_a_broken_model(self, ktrdr, home, monkeypatch, predicting):
        class Broken:
            input_size, window = 7, 1

            def predict(self, features: Any) -> Any:
                return features[:, :3] * float("nan")

        predicting(Broken())
        status, _, err = ktrdr("backtest", "waves")
        assert (status, "predicted NaN on" in err) == (2, True)
        assert left_behind(home) == []

    def test_a_report_that_cannot_be_written_leaves_no_run(self, ktrdr, home, tmp_path):
        (tmp_path / "file").write_text("", encoding="utf-8")
        status, _, err = ktrdr("backtest", "waves", "--report", tmp_path / "file" / "report.html")
        assert status != 0
        assert "Traceback" not in err
        assert not list((home / "runs").glob("*/*"))


class TestJob:
    def test_it_leaves_a_run(self, home: Path, bundle: Bundle):
        result = run_job("backtest", {"model": bundle.ref, "commission": 0.0001})
        assert json.loads(json.dumps(result)) == result
        read = read_result(Path(result["directory"]))
        assert {key: result[key] for key in read.to_json()} == read.to_json()
        (told,) = result[LOOKS]
        (listed,) = TrialLedger(default_database()).page()
        assert (Look.from_json(told).trial, listed.row.model) == (listed.row.trial, bundle.ref)

    def test_bad_input(self, home: Path):
        with pytest.raises(BadInputError, match="capital"):
            run_job("backtest", {"model": "waves", "capital": -1})
        assert left_behind(home) == []


def test_help_imports_nothing_heavier_than_the_settings_it_describes():
    """Which are a pydantic model; `ktrdr --help` does without."""
    code = (
        "import sys\n"
        "from ktrdr.core.cli.main import cli\n"
        "cli.main(['backtest', '--help'], standalone_mode=False)\n"
        "heavy = {'numpy', 'pandas', 'rich', 'duckdb'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "[PATH]" in done.stdout


UNUSED = ("exchange_calendars", "jinja2", "pandas", "plotly", "polars", "pyarrow", "rich", "scipy", "sklearn", "torch")


def test_a_backtest_imports_nothing_that_it_does_not_use(home: Path, bundle: Bundle):
    """Each of these takes as long to import as a short backtest; the calendar of the market is KTRDR's own."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from ktrdr.core.cli.main import cli\n"
        f"cli.main(['backtest', {bundle.ref!r}, '--commission', '0.0001'], standalone_mode=False)\n"
        f"print(sorted(set({UNUSED!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Sharpe ratio" in done.stdout
    assert done.stderr.splitlines()[-1] == "[]"
