"""The Python face with ``server=``: what runs on a real cluster gives what the same calls give here."""

from __future__ import annotations

import signal

import pytest

import ktrdr.core as kt

VALUES = {"decisions.confidence_threshold": [0.34, 0.36], "risk.stop_loss.atr": [2, 4]}
# Those depend on what the ledger of a home has seen.
COUNTED = ["trials", "deflated_sharpe"]


@pytest.fixture
def address(standing):
    return f"http://127.0.0.1:{standing.api_port}"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of this process's own, which has nothing but the sample."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    kt.data.import_sample()
    return tmp_path / "home"


def test_the_same_calls_give_the_same_results_there_and_here(address, home, sklearn_text):
    there = kt.train(sklearn_text, server=address, progress=False)
    assert there.server == address
    assert kt.models.list().empty
    here = kt.train(sklearn_text, progress=False)
    assert there.bundle.manifest.weights_hash == here.bundle.manifest.weights_hash
    assert there.metrics.equals(here.metrics)
    assert there.history.equals(here.history)
    assert there.samples.equals(here.samples)

    # Without a word on where, it runs where the model is.
    traded = kt.backtest(there, commission=0.0001, progress=False)
    own = kt.backtest(here, commission=0.0001, progress=False)
    assert traded.trades.equals(own.trades)
    assert traded.equity.equals(own.equity)
    assert traded.metrics.drop(COUNTED).equals(own.metrics.drop(COUNTED))
    assert kt.runs.load(traded.run).trades.equals(own.trades)

    swept, own_sweep = (kt.sweep(model, VALUES, progress=False) for model in (there, here))
    assert swept.table.drop(columns=COUNTED).equals(own_sweep.table.drop(columns=COUNTED))


def test_an_interrupt_cancels_there_and_resume_goes_on(address, home, strategy_text, undisturbed_hash):
    raised = []

    def stop(event):
        if event.step == "training" and event.done >= 3 and not raised:
            raised.append(event)
            signal.raise_signal(signal.SIGINT)

    strategy = kt.load_strategy(strategy_text)
    with pytest.raises(kt.CancelledError, match="call train with the same arguments and resume=True"):
        kt.train(strategy, server=address, progress=stop)
    resumed = kt.train(strategy, server=address, resume=True, progress=False)
    assert resumed.to_dict()["resumed"]
    assert resumed.bundle.manifest.weights_hash == undisturbed_hash


def test_what_is_wrong_is_said_in_the_same_words(address, home, sklearn_text):
    with pytest.raises(kt.NotFoundError, match="no_such_model"):
        kt.backtest("no_such_model", server=address)
    with pytest.raises(kt.BadInputError, match="commission must be below 1"):
        kt.backtest("plain", server=address, commission=2)
    with pytest.raises(kt.BadInputError, match="name one of its models, such as `name` or `name/3`, not my.yaml"):
        kt.backtest("my.yaml", server=address)
    with pytest.raises(kt.BadInputError, match="no interrupted training .* leave out resume=True"):
        kt.train(sklearn_text, server=address, resume=True, seed=987, progress=False)
    with pytest.raises(
        kt.KtrdrError, match=r"no KTRDR server answers at http://127.0.0.1:9 .* start one with `ktrdr up`"
    ):
        kt.sweep("plain", VALUES, server="127.0.0.1:9")
    with pytest.raises(kt.BadInputError, match="is not the address of a server"):
        kt.train(sklearn_text, server="ftp://x")


def test_what_needs_a_model_here_says_how_to_fetch_it(address, home, sklearn_text):
    there = kt.train(sklearn_text, server=address, progress=False)
    with pytest.raises(kt.BadInputError, match=r"is on the server .* import the file here with kt.models.import_file"):
        kt.explain(there)
