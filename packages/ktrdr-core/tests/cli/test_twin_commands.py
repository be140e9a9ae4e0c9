"""`--inference`, `ktrdr models verify` and `ktrdr models twin`, with a real backend that offers twins."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.runs.run_store import find_run
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.workflows.run_training import train as train_strategy

REF = "waves/1"


@pytest.fixture
def model(home, write_strategy, example_plugins, monkeypatch):
    """A trained model, and no backend to predict with."""
    loaded = load_strategy_text(write_strategy("waves").read_text(encoding="utf-8"), plugins=example_plugins)
    bundle = train_strategy(loaded, plugins=example_plugins).bundle
    monkeypatch.setattr(manager, "default_manager", lambda: PluginManager(path=[], environ={}))
    monkeypatch.setenv("COLUMNS", "160")
    return bundle


@pytest.fixture
def run(capsys):
    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


def drop_twin(bundle):
    """Make the bundle one of format 4."""
    path = bundle.directory / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name in ("twin.json", "twin.safetensors", "probes.safetensors"):
        (bundle.directory / name).unlink()
        del manifest["files"][name]
    del manifest["twin"]
    path.write_text(json.dumps(manifest | {"schema_version": 4}), encoding="utf-8")


def plant(bundle, name, content):
    """Replace a file of a bundle, with the right hash in its manifest."""
    import hashlib

    (bundle.directory / name).write_bytes(content)
    path = bundle.directory / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_backtest_sweep_and_explain_need_no_backend(model, run):
    status, out, err = run("backtest", REF, "--report", "--json")
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert result["provenance"]["inference"] == "portable"
    assert result["settings"]["inference"] == "auto"
    page = (find_run("waves/1-1") / "report.html").read_text(encoding="utf-8")
    assert "the portable twin, in core" in page
    assert "There is no verdict on waves yet" in page
    status, out, _ = run("sweep", REF, "--set", "decisions.confidence_threshold=0.34,0.4", "--json")
    assert (status, json.loads(out)["inference"]) == (0, "portable")
    status, out, _ = run("explain", REF, "--json")
    assert status == 0
    explained = json.loads(out)
    assert sum(explained["outputs"].values()) == pytest.approx(1)


def test_native_needs_the_backend_and_gives_the_same_trades(model, run, example_plugins, monkeypatch):
    assert run("backtest", REF)[0] == 0
    status, _, err = run("backtest", REF, "--inference", "native")
    assert status == 2
    assert "no plugin `example` is installed" in err
    monkeypatch.setattr(manager, "default_manager", lambda: example_plugins)
    status, out, _ = run("backtest", REF, "--inference", "native", "--json")
    assert json.loads(out)["provenance"]["inference"] == "native"
    for name in ("trades.parquet", "equity.parquet"):
        assert (find_run("waves/1-1") / name).read_bytes() == (find_run("waves/1-2") / name).read_bytes()


@pytest.mark.parametrize("command", ["backtest", "explain", "sweep"])
def test_an_unknown_word_names_those_that_there_are(model, run, command):
    more = ["--set", "risk.lot_size=1"] if command == "sweep" else []
    status, _, err = run(command, REF, "--inference", "torch", *more)
    assert status == 2
    assert all(word in err for word in ("--inference", "auto", "portable", "native"))


def test_the_remedy_for_a_model_without_a_twin_works(model, run, example_plugins, monkeypatch):
    drop_twin(model)
    status, _, err = run("backtest", REF, "--inference", "portable")
    assert status == 2
    assert f"model {REF} has no portable twin; `ktrdr models twin {REF}` adds one where ktrdr-ml-example is" in err
    status, _, err = run("models", "twin", REF)
    assert status == 2
    assert "no plugin `example` is installed" in err
    monkeypatch.setattr(manager, "default_manager", lambda: example_plugins)
    status, out, _ = run("models", "twin", REF)
    assert status == 0
    assert out.startswith(f"{REF} has a portable twin: differs by at most ")
    assert run("backtest", REF, "--inference", "portable")[0] == 0
    status, _, err = run("models", "twin", REF)
    assert status == 2
    assert "has a portable twin already; `ktrdr models verify` compares it" in err


def test_a_twin_for_an_older_model_needs_the_bars_of_its_training(model, run, example_plugins, monkeypatch, home):
    drop_twin(model)
    monkeypatch.setattr(manager, "default_manager", lambda: example_plugins)
    default_store().delete("EURUSD", "1h")
    status, _, err = run("models", "twin", REF)
    assert status == 2
    assert "EURUSD" in err
    assert default_model_store().verify(REF).manifest.twin is None


def test_verify_compares_where_the_backend_is(model, run, example_plugins, monkeypatch):
    status, out, _ = run("models", "verify", REF)
    assert status == 0
    assert out.startswith(f"{REF}: ok; the twin was not compared: no plugin `example` is installed")
    monkeypatch.setattr(manager, "default_manager", lambda: example_plugins)
    status, out, _ = run("models", "verify", REF)
    rows = model.manifest.twin.rows
    assert out.startswith(f"{REF}: ok; the twin differs by at most ")
    assert f"from the backend in {rows:,} predictions, and in 0 of {rows:,} decisions" in out
    status, out, _ = run("models", "verify", "--all", "--json")
    (found,) = json.loads(out)
    assert found["twin"]["decisions"] == found["twin"]["rows"] == rows
    assert (found["state"], found["twin"]["differing"]) == ("ok", 0)


def test_verify_finds_a_twin_that_is_of_another_model(model, run, example_plugins, monkeypatch):
    from ktrdr.core.files.safetensors import read_safetensors, write_safetensors

    path = model.directory / "twin.safetensors"
    arrays = {name: array.copy() for name, array in read_safetensors(path, 2**20).items()}
    first = next(name for name, array in arrays.items() if array.ndim == 2)
    arrays[first] = arrays[first] + np.asarray(1e-3, arrays[first].dtype)
    arrays[first][0] += np.asarray(1.0, arrays[first].dtype)
    write_safetensors(path, arrays)
    plant(model, "twin.safetensors", path.read_bytes())
    assert run("models", "verify", REF)[0] == 0  # nothing here can know
    monkeypatch.setattr(manager, "default_manager", lambda: example_plugins)
    for words in (("models", "verify", REF), ("models", "verify", "--all")):
        status, out, err = run(*words)
        assert status == 2
        assert f"model {REF}: its portable twin is not its model: a prediction differs by" in out + err
        assert "predict with --inference native" in out + err
    assert run("backtest", REF, "--inference", "native")[0] == 0


def test_a_model_shows_its_twin(model, run):
    _, out, _ = run("models", "show", REF)
    line = next(line for line in out.splitlines() if line.startswith("portable twin"))
    assert f"from the backend, in {model.manifest.twin.rows:,} predictions" in line


def test_a_training_says_why_its_model_has_no_twin(home, write_strategy, run, monkeypatch):
    from ktrdr.core.inference.twin_error import TwinError

    def fail(*_):
        raise TwinError("a prediction differs by 0.5 from the backend's, and 1e-06 is allowed")

    monkeypatch.setattr("ktrdr.core.models.twins.compare", fail)
    status, out, _ = run("train", str(write_strategy("waves")))
    assert status == 0
    assert (
        "Warning: the model has no portable twin and predicts only where ktrdr-ml-example is installed: a prediction"
        " differs by 0.5"
    ) in " ".join(out.split())
    _, out, _ = run("models", "show", REF)
    assert "none: a prediction differs by 0.5" in out
