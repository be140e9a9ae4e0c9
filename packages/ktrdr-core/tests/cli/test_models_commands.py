"""`ktrdr models` end to end, in a process of its own where the exit status matters."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from ktrdr.core.cli.main import cli, main
from ktrdr.core.models.manifest import DataReference, Environment, ManifestFields, PluginReference
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.strategy.loader import load_strategy_text

TEXT = """\
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
indicators: {rsi_14: {type: rsi, period: 14}}
nn_inputs: [{raw_indicator: rsi_14, timeframes: all}]
model: {type: mlp}
decisions: {output_format: classification}
training: {labels: {source: direction, horizon: 4, threshold: 0.001}, seed: 42}
"""
NORMALIZERS = {"EURUSD": {"1h_rsi_14_raw": {"method": "zscore", "offset": 50.0, "scale": 10.0}}}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    return default_model_store()


@pytest.fixture
def add(store):
    def run():
        fields = ManifestFields(
            plugin=PluginReference(name="torch", version="0.1.0", contract="2.0", distribution="ktrdr-ml-torch"),
            model_type="mlp",
            architecture={"hidden_layers": [8, 4]},
            input_size=1,
            feature_ids=("1h_rsi_14_raw",),
            output="classification",
            classes=("BUY", "HOLD", "SELL"),
            strategy=load_strategy_text(TEXT).strategy,
            data=DataReference(
                fingerprint="0" * 64,
                symbols=("EURUSD",),
                timeframes=("1h",),
                base_timeframe="1h",
                start=dt.datetime(2017, 1, 1, tzinfo=dt.UTC),
                end=dt.datetime(2017, 9, 30, tzinfo=dt.UTC),
                rows={"EURUSD": 4600},
            ),
            seed=42,
            environment=Environment(python="3.11.9", platform="Linux"),
            metrics={"test": {"accuracy": 0.51234, "confusion": [[1, 2], [3, 4]]}},
        )
        with store.create("waves") as writer:
            writer.write_strategy(TEXT)
            writer.write_normalizers(NORMALIZERS)
            writer.write_history([])
            (writer.directory / "weights.json").write_text("[1]")
            return writer.commit(fields)

    return run


@pytest.fixture
def ktrdr(capsys):
    """Run the command line in this process; return (exit status, standard output, standard error)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["models", *map(str, arguments)])
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


def test_an_empty_store_says_how_to_fill_it(ktrdr, store):
    status, out, _ = ktrdr("list")
    assert status == 0
    assert "There are no models" in out
    assert "ktrdr train" in out
    assert ktrdr("list", "--json") == (0, "[]\n", "")


def test_models_are_listed(ktrdr, add):
    add(), add()
    status, out, _ = ktrdr("list")
    assert status == 0
    assert "waves/1" in out
    assert "waves/2" in out
    status, out, _ = ktrdr("list", "--json")
    assert [(row["model"], row["state"], row["input_size"]) for row in json.loads(out)] == [
        ("waves/1", "ok", 1),
        ("waves/2", "ok", 1),
    ]


def test_a_broken_model_is_listed_with_its_reason(ktrdr, add):
    (add().directory / "manifest.json").write_text("{}")
    add()
    status, out, _ = ktrdr("list")
    assert status == 0
    assert "broken" in out
    assert "waves/2" in out
    assert "model waves/1 is refused: manifest.json is not valid" in out
    rows = json.loads(ktrdr("list", "--json")[1])
    assert [row["state"] for row in rows] == ["broken", "ok"]


def test_show_says_what_a_model_is(ktrdr, add):
    bundle = add()
    status, out, _ = ktrdr("show", "waves")
    assert status == 0
    for text in ("mlp, classification", "1h_rsi_14_raw", "accuracy 0.5123", "ktrdr-ml-torch 0.1.0", "to 2017-09-29"):
        assert text in out
    shown = json.loads(ktrdr("show", "waves/1", "--json")[1])
    assert shown["metrics"]["test"]["confusion"] == [[1, 2], [3, 4]]
    assert shown["weights_hash"] == bundle.manifest.weights_hash


@pytest.mark.parametrize("command", ["show", "verify", "delete"])
def test_a_model_that_is_not_there_is_one_sentence(ktrdr, add, command):
    add()
    status, out, err = ktrdr(command, "wavs", *(["--yes"] if command == "delete" else []))
    assert (status, out) == (2, "")
    assert err.startswith("Error: there is no model `wavs`")
    assert "did you mean `waves`?" in err
    assert err.count("\n") == 1


def test_verify_finds_a_flipped_byte(ktrdr, add):
    bundle = add()
    assert ktrdr("verify", "waves") == (0, "waves/1: ok\n", "")
    (bundle.directory / "weights.json").write_text("[2]")
    status, out, err = ktrdr("verify", "waves")
    assert (status, out) == (2, "")
    assert "weights.json was changed after it was saved" in err
    status, out, _ = ktrdr("verify", "waves", "--json")
    assert status == 2
    assert json.loads(out)[0]["state"] == "broken"


def test_verify_all_reports_every_one(ktrdr, add):
    add(), add(), add()
    (default_model_store().root / "waves" / "2" / "weights.json").write_text("[2]")
    status, out, _ = ktrdr("verify", "--all")
    assert status == 2
    assert [line.partition(":")[0] for line in out.splitlines()] == ["waves/1", "waves/2", "waves/3"]
    assert out.count(": ok") == 2
    status, _, err = ktrdr("verify")
    assert status == 2
    assert "give a model, or --all" in err


def test_delete_asks_and_deletes_one(ktrdr, add, store):
    add(), add()
    answer = CliRunner().invoke(cli, ["models", "delete", "waves/1"], input="n\n")
    assert answer.exit_code == 1
    assert store.versions("waves") == (1, 2)
    assert ktrdr("delete", "waves/1", "--yes") == (0, "Deleted waves/1.\n", "")
    assert json.loads(ktrdr("delete", "waves/2", "--json")[1]) == {"deleted": "waves/2"}
    assert store.list() == ()


def test_export_and_import(ktrdr, add, store, tmp_path):
    add()
    status, out, _ = ktrdr("export", "waves", tmp_path / "model.zip")
    assert status == 0
    assert str(tmp_path / "model.zip") in out.replace("\n", "")
    assert ktrdr("export", "waves", tmp_path / "model.zip")[0] == 2
    assert ktrdr("export", "waves", tmp_path / "model.zip", "--force")[0] == 0
    said = f"{tmp_path / 'model.zip'} is already stored as waves/1; nothing was added.\n"
    assert ktrdr("import", tmp_path / "model.zip") == (0, said, "")
    again = json.loads(ktrdr("import", tmp_path / "model.zip", "--json")[1])
    assert (again["model"], again["added"], again["origin"]) == ("waves/1", False, None)
    assert store.versions("waves") == (1,)
    store.delete("waves/1")
    said = "Imported waves/2; its name in the store that trained it is waves/1.\n"
    assert ktrdr("import", tmp_path / "model.zip") == (0, said, "")
    assert "waves/1 in the store that trained it" in ktrdr("show", "waves")[1]
    (row,) = json.loads(ktrdr("list", "--json")[1])
    assert (row["model"], row["origin"]) == ("waves/2", "waves/1")
    assert "origin" in ktrdr("list")[1]
    (tmp_path / "junk.zip").write_text("junk")
    status, out, err = ktrdr("import", tmp_path / "junk.zip")
    assert (status, out) == (2, "")
    assert "junk.zip is not an exported model" in err


def test_listing_imports_no_framework_in_a_process_of_its_own(add, store):
    add()
    code = (
        "import sys\nfrom ktrdr.core.cli.main import main\n"
        "try:\n    main(['models', 'list', '--json'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'torch', 'sklearn', 'skops', 'pandas', 'duckdb'}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ}, capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.splitlines()[-1] == "[]"
