"""`ktrdr validate`, `ktrdr strategy features`, `ktrdr strategy schema`, `ktrdr migrate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from ktrdr.core.cli.main import main
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import install_sample
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager

Run = Callable[..., tuple[int, str, str]]

SAMPLE = str(files("ktrdr.core").joinpath("samples/neuro_mean_reversion.yaml"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugins: PluginManager) -> Path:
    """A home of its own, and the backend `neural` whatever else is installed."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(manager, "default_manager", lambda: plugins)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def execute(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(exit_.value.code or 0), captured.out, captured.err

    return execute


@pytest.fixture
def write(tmp_path: Path, make_text) -> Callable[..., str]:
    def save(changes=None, name: str = "mine.yaml") -> str:
        (tmp_path / name).write_text(make_text(changes), encoding="utf-8")
        return name

    return save


# --- validate


def test_a_valid_file(run, write):
    status, out, err = run("validate", write())
    assert (status, err) == (0, "")
    assert out == (
        "mine.yaml: valid; `base` has 7 features.\n"
        "mine.yaml: dead zones were not measured: no bars of EURUSD are stored; --sample uses the sample.\n"
    )


def test_the_shipped_sample_has_no_dead_zone(run):
    status, out, err = run("validate", "--sample", SAMPLE)
    assert (status, out, err) == (0, f"{SAMPLE}: valid; `neuro_mean_reversion` has 18 features.\n", "")


def test_errors_and_warnings_with_their_places(run, write):
    name = write({"indicators.unused": {"type": "atr"}, "training.epochs": 0, "risk": {"lot": 1}})
    status, out, err = run("validate", name)
    assert status == 2
    assert out.splitlines() == [
        "mine.yaml:18:3: warning: indicators.unused: indicator `unused` is not used: no fuzzy set and no raw input "
        "reads it"
    ]
    assert err.splitlines() == [
        "mine.yaml:48:3: error: training.epochs: `epochs` must be at least 1, not 0",
        "mine.yaml:50:3: error: risk.lot: unknown key `lot`, did you mean `lot_size`?",
        "mine.yaml: not valid, 2 errors, 1 warning.",
    ]


def test_the_plugin_s_declaration_counts(run, write):
    status, _, err = run("validate", write({"model.architecture": {"dropuot": 1}}))
    assert status == 2
    assert "model.architecture.dropuot: unknown key `dropuot`, did you mean `dropout`?" in err


def test_a_plugin_that_is_missing_is_a_warning(run, write):
    status, out, _ = run("validate", write({"model.type": "lstm"}))
    assert status == 0
    assert "warning: model.type: model type `lstm` needs plugin `torch`" in out


def test_dead_zones_on_stored_bars(run, write):
    install_sample(default_store())
    name = write({"fuzzy_sets.rsi": {"indicator": "rsi_14", "low": [0, 0, 35], "high": [60, 100, 100]}})
    status, out, _ = run("validate", name)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("mine.yaml:19:3: warning: fuzzy_sets.rsi: dead zone: on 6")
    assert "of 6,211 bars of EURUSD 1h every membership of `rsi` is 0; let its memberships overlap" in lines[0]
    assert "EURUSD 1d" in lines[1]
    assert lines[2] == "mine.yaml: valid; `base` has 5 features, 2 warnings."


def test_the_first_symbol_that_is_stored_is_measured(run, write):
    install_sample(default_store())
    symbols = {"mode": "multi_symbol", "list": ["AAPL", "EURUSD"]}
    status, out, _ = run("validate", write({"training_data.symbols": symbols, "fuzzy_sets.rsi.low": [0, 0, 1]}))
    assert status == 0
    assert "EURUSD 1h every membership" in out


def test_json(run, write):
    good, bad = write(), write({"training.epochs": 0}, "bad.yaml")
    status, out, err = run("validate", "--sample", "--json", good, bad, "nosuch.yaml")
    assert (status, err) == (2, "")
    found = json.loads(out)
    assert found["valid"] is False
    first, second, third = found["files"]
    assert (first["file"], first["valid"], first["name"], first["features"]) == ("mine.yaml", True, "base", 7)
    assert [(zone["fuzzy_set"], zone["timeframe"], zone["share"]) for zone in first["dead_zones"]] == [
        ("rsi", "1h", 0.0),
        ("rsi", "1d", 0.0),
    ]
    assert second["errors"] == [
        {
            "line": 46,
            "column": 3,
            "path": "training.epochs",
            "message": "`epochs` must be at least 1, not 0",
            "severity": "error",
        }
    ]
    assert third["errors"][0]["message"].startswith("there is no file `nosuch.yaml`")


def test_several_files_are_counted(run, write):
    status, out, err = run("validate", write(), write({"name": "b"}, "b.yaml"), write({"training.epochs": 0}, "c.yaml"))
    assert status == 2
    assert out.splitlines()[-1] == "2 of 3 files are valid."
    assert "c.yaml: not valid, 1 error." in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "Error: there is no file `x.yaml`; give the path of a strategy, such as my_strategy.yaml\n"),
        (
            b"",
            "x.yaml:1:1: error: the file is empty; a strategy begins with `name: ...`\nx.yaml: not valid, 1 error.\n",
        ),
        (
            b"\x89PNG\xff",
            "Error: `x.yaml` is not a text file: line 1 holds a byte that is not UTF-8; save it as UTF-8\n",
        ),
        (b"hello\n", "x.yaml:1:1: error: a strategy is a map that begins with `name: ...`, not `hello`\n"),
        (b"a: [\n", "x.yaml:1:4: error: not valid YAML: "),
    ],
)
@pytest.mark.parametrize("command", [("validate",), ("strategy", "features"), ("migrate",)])
def test_a_file_that_is_no_strategy(run, tmp_path, command, content, said):
    if content is not None:
        (tmp_path / "x.yaml").write_bytes(content)
    status, out, err = run(*command, "x.yaml")
    assert (status, out) == (2, "")
    if command == ("validate",):
        assert err.startswith(said)
    else:
        assert err.startswith("Error: ")
        assert "x.yaml" in err


@pytest.mark.parametrize("command", [("validate",), ("strategy", "features"), ("migrate",)])
def test_a_directory(run, tmp_path, command):
    status, _, err = run(*command, str(tmp_path))
    assert (status, err) == (2, f"Error: `{tmp_path}` is a directory; give the path of a strategy file in it\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--symbol", "AAPL"), "Error: no bars of `AAPL` are stored; `ktrdr data list` shows the stored symbols\n"),
        (
            ("--symbol", "AAPL", "--sample"),
            "Error: the sample holds EURUSD, not `AAPL`; leave out --symbol or --sample\n",
        ),
    ],
)
def test_bars_that_are_not_there(run, write, arguments, said):
    assert run("validate", write(), *arguments) == (2, "", said)


def test_bars_the_sample_cannot_give_are_a_note(run, write):
    name = write({"training_data.timeframes.list": ["1h", "1d", "5m"], "nn_inputs.0.timeframes": ["5m"]})
    status, out, _ = run("validate", "--sample", name)
    assert status == 0
    assert "dead zones were not measured: the sample holds 1h bars and cannot give 5m" in out


def test_damaged_bars_are_a_note(run, write, home):
    install_sample(default_store())
    for path in home.rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:1000])
    status, out, _ = run("validate", write())
    assert status == 0
    assert "mine.yaml: dead zones were not measured: " in out


def test_nothing_is_written_below_home(run, write, home):
    run("validate", write())
    assert not home.exists()


# --- strategy features


def test_features(run, write):
    status, out, err = run("strategy", "features", write({"nn_inputs.1.lags": [1, 10]}))
    assert (status, err) == (0, "")
    assert out == (
        "1  1h_rsi_low         rsi_14 on 1h\n"
        "2  1h_rsi_mid         rsi_14 on 1h\n"
        "3  1h_rsi_high        rsi_14 on 1h\n"
        "4  1d_rsi_low         rsi_14 on 1d\n"
        "5  1d_rsi_mid         rsi_14 on 1d\n"
        "6  1d_rsi_high        rsi_14 on 1d\n"
        "7  1h_macd_raw        macd on 1h, normalization zscore\n"
        "8  1h_macd_raw_lag1   macd on 1h, 1 base bar back, normalization zscore\n"
        "9  1h_macd_raw_lag10  macd on 1h, 10 base bars back, normalization zscore\n"
    )


def test_features_as_json(run, write):
    status, out, _ = run("strategy", "features", write(), "--json")
    found = json.loads(out)
    assert status == 0
    assert found["strategy"] == "base"
    assert [item["id"] for item in found["features"]][-1] == "1h_macd_raw"
    assert found["features"][0] == {
        "id": "1h_rsi_low",
        "kind": "membership",
        "timeframe": "1h",
        "indicator": "rsi_14",
        "fuzzy_set": "rsi",
        "membership": "low",
        "normalization": None,
        "lag": 0,
    }


def test_a_model_with_memberships_inside_sees_the_values_themselves(run, write):
    name = write({"model": {"type": "anfis", "architecture": {"rules": 3}}})
    status, out, _ = run("strategy", "features", name)
    assert status == 0
    assert out == (
        "1  1h_rsi_value  rsi_14 on 1h, unchanged, for fuzzy set rsi\n"
        "2  1d_rsi_value  rsi_14 on 1d, unchanged, for fuzzy set rsi\n"
        "3  1h_macd_raw   macd on 1h, normalization zscore\n"
    )
    assert "`base` has 3 features" in run("validate", name)[1]


def test_features_need_no_plugin(run, write):
    status, out, _ = run("strategy", "features", write({"model.type": "lstm"}))
    assert status == 0
    assert out.startswith("1  1h_rsi_low ")


def test_features_of_a_file_with_errors(run, write):
    status, out, err = run("strategy", "features", write({"training.epochs": 0}))
    assert (status, out) == (2, "")
    assert err == "Error: mine.yaml:46:3: training.epochs: `epochs` must be at least 1, not 0\n"


# --- strategy schema


def test_schema_is_printed_or_written(run, tmp_path):
    status, out, _ = run("strategy", "schema")
    assert status == 0
    assert json.loads(out)["title"] == "KTRDR strategy, version 3.0"
    assert run("strategy", "schema", "-o", "s.json") == (0, "Wrote s.json\n", "")
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == out
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


def test_schema_into_a_directory_that_is_not_there(run):
    status, _, err = run("strategy", "schema", "-o", "nosuch/s.json")
    assert status == 2
    assert err == "Error: cannot write `nosuch/s.json`: there is no directory nosuch; create it first\n"


# --- migrate

OLD = """\
name: old
scope: universal
data: {symbols: [EURUSD], timeframes: [1h]}
indicators: [{name: rsi, period: 14}, {name: sma}]
fuzzy_sets: {rsi: {low: [0, 0, 40], high: [30, 100, 100]}}
model: {type: mlp}
decisions: {}
training: {labels: {source: zigzag}}
"""


def test_migrate_prints_the_new_file_and_says_what_is_lost(run, tmp_path):
    (tmp_path / "old.yaml").write_text(OLD, encoding="utf-8")
    status, out, err = run("migrate", "old.yaml")
    assert status == 0
    assert yaml.safe_load(out)["nn_inputs"] == [{"fuzzy_set": "rsi", "timeframes": "all"}]
    assert err.splitlines() == [
        "old.yaml:2:1: scope: not carried over: `training_data.symbols` and `deployment` say it",
        "old.yaml: version 1 turned into version 3; 1 thing could not be carried over, see above.",
        "Warning: indicators.sma: indicator `sma` is not used: no fuzzy set and no raw input reads it",
    ]


def test_migrate_writes_a_file_that_validates_and_never_over_another(run, tmp_path):
    (tmp_path / "old.yaml").write_text(OLD, encoding="utf-8")
    status, out, err = run("migrate", "old.yaml", "-o", "new.yaml")
    assert (status, out) == (0, "")
    assert "old.yaml: version 1 turned into version 3, written to new.yaml; 1 thing could not" in err
    assert run("validate", "new.yaml")[0] == 0
    before = (tmp_path / "new.yaml").read_bytes()
    status, _, err = run("migrate", "old.yaml", "-o", "new.yaml")
    assert status == 2
    assert err.endswith("Error: `new.yaml` exists already; give another name, or remove it\n")
    assert (tmp_path / "new.yaml").read_bytes() == before
    status, _, err = run("migrate", "old.yaml", "-o", "nosuch/new.yaml")
    assert status == 2
    assert err.endswith("Error: cannot write `nosuch/new.yaml`: there is no directory nosuch; create it first\n")


def test_a_file_with_errors_is_not_migrated(run, tmp_path):
    (tmp_path / "old.yaml").write_text(OLD.replace("[0, 0, 40]", "[40, 0, 0]"), encoding="utf-8")
    status, out, err = run("migrate", "old.yaml", "-o", "new.yaml")
    assert (status, out) == (2, "")
    assert err.startswith("Error: old.yaml:5:20: fuzzy_sets.rsi.low: `triangular` needs a <= b <= c")
    assert not (tmp_path / "new.yaml").exists()


def test_a_file_of_version_3_is_not_migrated(run, write):
    status, out, err = run("migrate", write())
    assert (status, out) == (2, "")
    assert err.startswith("Error: `mine.yaml` is no file of version 1 or 2")


@pytest.mark.parametrize("command", [("validate",), ("migrate",), ("strategy", "features")])
def test_a_missing_argument(run, command):
    status, _, err = run(*command)
    assert status == 2
    assert "Missing argument" in err
