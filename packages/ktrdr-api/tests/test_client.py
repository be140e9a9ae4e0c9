"""`--server`: a command that runs its work on a real server behaves as if it ran here.

Nothing is trained: a double of the engine stands in for Dask and its workers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import threading
import time

import pytest

from ktrdr.api.engine.port import WorkerLostError
from ktrdr.api.routes.strategies import EXAMPLE
from ktrdr.core.cli.main import main
from ktrdr.core.client import Client, follow
from ktrdr.core.client.following import ServerEvent, parse_events
from ktrdr.core.client.http import ServerAwayError
from ktrdr.core.errors import BadInputError, CancelledError, KtrdrError, NotFoundError, record_of
from ktrdr.core.work.cancellation import Cancellation


@pytest.fixture
def engine(engine_double):
    return engine_double(capabilities=("backtest", "ml-torch", "ml-example"))


@pytest.fixture
def server(engine, Server, home, made_home):
    for name in ("models", "runs", "data", "evaluations"):
        shutil.copytree(made_home.path / name, home / name)
    with Server(engine) as server:
        yield server


@pytest.fixture
def address(server):
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
def run(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run


@pytest.fixture
def strategy_file(tmp_path):
    path = tmp_path / "rsi_reversion.yaml"
    path.write_text(EXAMPLE)
    return path


@pytest.fixture
def work(engine):
    """Return a function that plays a worker, beside the command: it begins what comes, and ends it with this news."""
    threads = []

    def begin(*news):
        def play():
            seen = 0
            while engine.listener is not None:
                while seen < len(engine.submitted):
                    attempt = engine.submitted[seen]
                    seen += 1
                    engine.tell("started", attempt, "tcp://w")
                    for step in range(1, 4):
                        progress = {
                            "step": "training",
                            "done": step,
                            "total": 3,
                            "unit": "epochs",
                            "fraction": step / 3,
                        }
                        engine.tell("progress", attempt, {**progress, "metrics": {"loss": 1 / step}})
                        time.sleep(0.3)
                    engine.tell(news[0], attempt, *news[1:])
                time.sleep(0.02)

        threads.append(threading.Thread(target=play, daemon=True))
        threads[-1].start()

    return begin


TRAINED = {
    "model": "waves/1",
    "directory": "/srv/ktrdr/models/waves/1",
    "device": "cpu",
    "samples": {"train": {"EURUSD": 100}, "validation": {"EURUSD": 20}, "test": {"EURUSD": 20}},
    "epochs": 3,
    "best_epoch": 2,
    "resumed": False,
}


def test_train_on_a_server(run, address, work, strategy_file):
    work("completed", TRAINED)
    code, out, err = run("train", strategy_file, "--epochs", "3", "--server", address)
    assert code == 0, err
    assert "waves/1" in out
    assert "Kept: epoch 2 of 3" in out
    assert f"Stored on {address}" in out
    assert "training: 3/3 epochs" in err
    assert "loss 0.333" in err
    assert "/srv/ktrdr" not in out + err


def test_train_on_a_server_for_programs(run, address, work, strategy_file):
    work("completed", TRAINED)
    code, out, err = run("train", strategy_file, "--json", "--server", address)
    assert (code, json.loads(out)["model"]) == (0, "waves/1")
    # Where no plugin is installed, a warning says that the strategy could not be checked in full; no progress.
    assert [line for line in err.splitlines() if not line.startswith("Warning: ")] == []


def test_a_failure_there_is_a_failure_here(run, address, work, strategy_file):
    work("failed", record_of(BadInputError("there are no bars of EURUSD 1h; import some")))
    code, _, err = run("train", strategy_file, "--server", address)
    assert code == 2
    assert "Error: there are no bars of EURUSD 1h; import some" in err
    assert "Traceback" not in err


def test_a_worker_lost_for_good_is_no_fault_of_the_input(run, address, work, strategy_file):
    work("failed", record_of(WorkerLostError("3 attempts were lost")))
    assert run("train", strategy_file, "--server", address)[0] == 1


def test_ctrl_c_cancels_there_and_resume_goes_on(run, address, engine, strategy_file, eventually):
    def interrupt():
        (attempt,) = eventually(lambda: engine.submitted, len)
        engine.tell("started", attempt, "tcp://w")
        os.kill(os.getpid(), signal.SIGINT)
        eventually(lambda: engine.stopped, len)
        engine.tell("cancelled", attempt)

    thread = threading.Thread(target=interrupt)
    thread.start()
    code, _, err = run("train", strategy_file, "--seed", "5", "--server", address)
    thread.join()
    assert code == 130
    assert "Cancelled. Continue with `ktrdr train" in err
    assert f"--seed 5 --server {address} --resume" in err

    def go_on():
        attempt = eventually(lambda: engine.submitted[1:], len)[0]
        engine.tell("started", attempt, "tcp://w")
        engine.tell("completed", attempt, TRAINED)

    first = engine.submitted[0]
    thread = threading.Thread(target=go_on)
    thread.start()
    code, _, err = run("train", strategy_file, "--seed", "5", "--server", address, "--resume")
    thread.join()
    assert code == 0, err
    assert engine.submitted[1] == type(first)(first.operation_id, 2)
    code, _, err = run("train", strategy_file, "--seed", "6", "--server", address, "--resume")
    assert code == 2
    assert "no interrupted training of this strategy with these settings" in err


def test_backtest_on_a_server_is_the_same_run_here(run, address, work, made_home, home, tmp_path):
    from ktrdr.core.backtesting.results import read_result

    work("completed", made_home.result)
    output, report = tmp_path / "out", tmp_path / "report.html"
    code, out, err = run("backtest", "waves", "--server", address, "--output", output, "--report", report)
    assert code == 0, err
    assert "buy and hold" in out
    assert f"Files   {output}" in out
    assert report.read_text().lower().lstrip().startswith("<!doctype html>")
    ours, theirs = read_result(output), read_result(made_home.run)
    assert ours.to_json() == theirs.to_json()
    assert ours.trade_rows() == theirs.trade_rows()
    for file in made_home.run.iterdir():
        assert (output / file.name).read_bytes() == file.read_bytes(), file.name


def test_evaluate_on_a_server_is_the_same_evaluation_here(
    run, address, work, made_home, home, strategy_file, tmp_path, monkeypatch
):
    from ktrdr.core.validation.stored_evaluation import load_evaluation

    told = {key: value for key, value in made_home.evaluated.items() if key != "looks"}
    work("completed", told)
    theirs = load_evaluation("waves/1", made_home.path / "evaluations")
    report = tmp_path / "report.html"
    code, out, err = run("evaluate", strategy_file, "--seeds", "2", "--report", report, "--server", address)
    assert code == 0, err
    # Client and server of this test share a home, in which the copy is the next evaluation.
    assert re.search(rf"^Evaluation +waves/2 \(on {address}: waves/1\)$", out, re.MULTILINE)
    assert f"Next: `ktrdr train --from waves/1 --server {address}`" in out
    assert "training: 3/3 epochs" in err
    assert report.read_text().lower().lstrip().startswith("<!doctype html>")
    ours = load_evaluation("waves/2")
    assert ours.facts.model_copy(update={"evaluation": "waves/1"}) == theirs.facts
    assert (ours.curves.equity == theirs.curves.equity).all()
    assert ours.text == theirs.text
    code, out, _ = run("evaluate", strategy_file, "--seeds", "3", "--json", "--server", address)
    assert (code, json.loads(out)["evaluation_on_server"]) == (0, "waves/1")


def test_judge_on_a_server_is_the_same_verdict_here(run, address, work, strategy_file, home, made_home, judged):
    from ktrdr.core.verdicts.stored_verdict import load_verdict

    shutil.copytree(made_home.path / "verdicts", home / "verdicts")
    work("completed", {key: value for key, value in judged.items() if key != "looks"})
    code, out, err = run("verdict", strategy_file, "--quick", "--commission", "0.0001", "--server", address)
    assert code == 3, err
    # Client and server of this test share a home, in which the copies are the next ones.
    assert f"Verdict     waves/2 (on {address}: waves/1)" in out
    assert "Evaluation  waves/2" in out
    ours, theirs = (load_verdict(name) for name in ("waves/2", "waves/1"))
    assert ours.facts.word == theirs.facts.word == "NOT PROVEN"
    assert ours.facts.nulls == theirs.facts.nulls
    assert ours.facts.evaluation.evaluation == "waves/2"
    assert ours.text == theirs.text
    assert (ours.curves.accounts == theirs.curves.accounts).all()
    assert (home / "verdicts" / "waves" / "2" / "report.html").is_file()
    code, out, _ = run("verdict", strategy_file, "--json", "--server", address)
    assert (code, json.loads(out)["verdict_on_server"]) == (3, "waves/1")


def test_ctrl_c_cancels_an_evaluation_there_and_resume_goes_on(
    run, address, engine, strategy_file, eventually, made_home
):
    def interrupt():
        (attempt,) = eventually(lambda: engine.submitted, len)
        engine.tell("started", attempt, "tcp://w")
        os.kill(os.getpid(), signal.SIGINT)
        eventually(lambda: engine.stopped, len)
        engine.tell("cancelled", attempt)

    thread = threading.Thread(target=interrupt)
    thread.start()
    code, _, err = run("evaluate", strategy_file, "--seeds", "2", "--server", address)
    thread.join()
    assert code == 130
    command = f"ktrdr evaluate {strategy_file} --seeds 2 --server {address} --resume"
    assert f"Cancelled; the finished trainings are kept. Continue with `{command}`." in err

    def go_on():
        attempt = eventually(lambda: engine.submitted[1:], len)[0]
        engine.tell("started", attempt, "tcp://w")
        engine.tell("completed", attempt, made_home.evaluated)

    thread = threading.Thread(target=go_on)
    thread.start()
    code, _, err = run(*command.split()[1:])
    thread.join()
    assert code == 0, err
    first = engine.submitted[0]
    assert engine.submitted[1] == type(first)(first.operation_id, 2)
    code, _, err = run("evaluate", strategy_file, "--seeds", "4", "--server", address, "--resume")
    assert code == 2
    assert "no interrupted evaluation of this strategy with these settings" in err


def test_sweep_on_a_server(run, address, work):
    row = {
        "trial": 1,
        "settings": {"risk.stop_loss.atr": 2},
        "metrics": {
            "sharpe": 1.5,
            "total_return": 0.01,
            "deflated_sharpe": 0.6,
            "max_drawdown": -0.02,
            "trades": 7,
            "trials": 1,
        },
    }
    swept = {
        "model": "waves/1",
        "symbols": ["EURUSD"],
        "timeframe": "1h",
        "start": "2017-10-01T21:00:00Z",
        "end": "2017-12-29T21:00:00Z",
        "period": "what it has not seen",
        "bars": 1545,
        "metric": "sharpe",
        "trials": 1,
        "rows": [row],
    }
    work("completed", swept)
    code, out, err = run("sweep", "waves", "--set", "risk.stop_loss.atr=2", "--server", address)
    assert code == 0, err
    assert "waves/1: 1 combinations on 1,545 bars of EURUSD 1h" in out
    assert "training: 3/3" in err
    code, out, _ = run("sweep", "waves", "--set", "risk.stop_loss.atr=2", "--server", address, "--json")
    assert (code, json.loads(out)) == (0, swept)
    code, _, err = run("sweep", "waves", "--set", "risk.stop_loss=x", "--server", address)
    assert code == 2
    assert "risk.stop_loss" in err


def test_what_only_works_here_is_said(run, address, strategy_file):
    code, _, err = run("backtest", strategy_file, "--server", address)
    assert code == 2
    assert "name one of its models, such as `name` or `name/3`" in err
    code, _, err = run("backtest", "absent", "--server", address)
    assert code == 2
    assert "no model `absent`" in err


def test_what_nobody_can_run_says_what_it_waits_for(run, Server, engine_double, strategy_file, eventually):
    engine = engine_double(capabilities=None)

    def interrupt():
        # What pytest captures of this process, while the command runs in it.
        eventually(lambda: sys.stderr.getvalue(), lambda said: "waits for" in said)
        os.kill(os.getpid(), signal.SIGINT)

    with Server(engine) as server:
        threading.Thread(target=interrupt).start()
        code, _, err = run("train", strategy_file, "--server", f"127.0.0.1:{server.port}")
        assert code == 130
        assert "waits for a worker with plugin `torch`" in err


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9", "no KTRDR server answers"),
        ("ftp://x", "not the address"),
        ("http://u:p@x", "no password"),
    ],
)
def test_no_server_is_one_sentence(run, strategy_file, url, message, monkeypatch):
    monkeypatch.setattr("ktrdr.core.client.http._TRIES", 1)
    code, _, err = run("train", strategy_file, "--server", url)
    assert code in (1, 2)
    assert message in err
    assert "Traceback" not in err


def test_the_token_is_sent(Server, engine, monkeypatch, home):
    monkeypatch.setenv("KTRDR_API_TOKEN", "s3cret")
    with Server(engine) as server:
        url = f"http://127.0.0.1:{server.port}"
        assert Client(url).last_stopped("training", {}) is None
        with pytest.raises(BadInputError, match="set KTRDR_API_TOKEN"):
            Client(url, token="other").operation("01K9ZJ5T3C8E6W2V4R7Q1M0N8B")
        monkeypatch.delenv("KTRDR_API_TOKEN")
        with pytest.raises(BadInputError, match="needs a token"):
            Client(url).operation("01K9ZJ5T3C8E6W2V4R7Q1M0N8B")


def test_a_server_that_restarts_is_waited_for(Server, engine_double, eventually, home):
    first, second = engine_double(), engine_double()
    with Server(first) as server:
        port, client = server.port, Client(server.url)
        operation = client.start("training", {"strategy_text": EXAMPLE})
        (attempt,) = eventually(lambda: first.submitted, len)
        first.tell("started", attempt, "tcp://w")
        heard, outcome = [], []
        thread = threading.Thread(
            target=lambda: outcome.append(follow(client, operation["id"], progress=heard.append)), daemon=True
        )
        thread.start()
        eventually(lambda: server.app.state.services.operations.broadcast.listeners, bool)
    second.known = {attempt}
    with Server(second, port):
        second.tell("progress", attempt, {"step": "training", "done": 2, "fraction": 0.5})
        eventually(lambda: [event for event in heard if event.step == "training"], len)
        second.tell("completed", attempt, {"model": "x/1"})
        thread.join(20)
    assert outcome == [{"model": "x/1"}]


class Answers:
    """A transport that answers with what it is given, one after the other, and counts."""

    def __init__(self, *answers):
        import httpx2

        self.requests = []
        self.answers = list(answers)
        self.transport = httpx2.MockTransport(self.answer)

    def answer(self, request):
        import httpx2

        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer[0], json=answer[1])


def test_a_start_is_asked_for_again_with_the_same_key(monkeypatch):
    import httpx2

    monkeypatch.setattr("ktrdr.core.client.http.time.sleep", lambda seconds: None)
    answers = Answers(
        httpx2.ReadTimeout("lost"), (503, {"detail": "busy"}), (429, {"detail": "slow"}), (202, {"id": "x"})
    )
    assert Client("http://x", transport=answers.transport).start("training", {"strategy": "a"}) == {"id": "x"}
    assert len({request.headers["idempotency-key"] for request in answers.requests}) == 1
    assert len(answers.requests) == 4


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((404, {"detail": "there is no model `x`"}), NotFoundError, "no model"),
        ((422, {"detail": "wrong"}), BadInputError, "wrong"),
        ((500, {"detail": "a fault"}), KtrdrError, "failed: a fault"),
        ((404, {"no": "problem"}), KtrdrError, "is not a KTRDR server"),
        ((502, ["<html>"]), KtrdrError, "is not a KTRDR server: it answered 502"),
    ],
)
def test_what_answers_mean(answer, error, message):
    with pytest.raises(error, match=message):
        Client("http://x", transport=Answers(answer).transport).operation("x")


def test_who_stays_away_is_given_up(monkeypatch):
    import httpx2

    monkeypatch.setattr("ktrdr.core.client.http.time.sleep", lambda seconds: None)
    answers = Answers(*[httpx2.ConnectError("refused")] * 4)
    with pytest.raises(ServerAwayError, match="no KTRDR server answers at http://x"):
        Client("http://x", transport=answers.transport).operation("x")


def test_a_cancellation_elsewhere_is_one_here(server, address, engine, eventually):
    client = Client(address)
    operation = client.start("training", {"strategy_text": EXAMPLE})
    client.cancel(operation["id"])
    assert client.cancel(operation["id"])["state"] == "cancelled"
    with pytest.raises(CancelledError):
        follow(client, operation["id"], cancellation=Cancellation())


def test_the_stream_is_read_as_the_standard_says():
    text = (
        ': comment\n\nid: 1\nevent: queued\ndata: {"a":\ndata: 1}\n\nevent: nothing\n\n'
        "data:{}\n\nid:2\nevent:x\ndata: []\n"
        'retry: 3\nunknown: y\n\nid: 9\ndata: {"cut": 1}\n'
    )
    assert list(parse_events(text.split("\n")[:-1])) == [
        ServerEvent("1", "queued", {"a": 1}),
        ServerEvent("1", "message", {}),
        ServerEvent("2", "x", []),
    ]


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", ".x", "a\\b"])
def test_a_run_with_names_that_lead_elsewhere_is_refused(tmp_path, name):
    import zipfile

    from ktrdr.core.files.result_archive import unpack_result

    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(BadInputError, match="the run that was sent cannot be read: .* is not a plain file name"):
        unpack_result(tmp_path / "run.zip", tmp_path / "place", "run")
    assert not (tmp_path / "place").exists()
