"""How a sweep is cut into chunks, and what becomes of it when chunks fail; workers are stood in for by a double."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from distributed import KilledWorker

from ktrdr.api.engine.fan_out import FanOut
from ktrdr.api.engine.port import Attempt
from ktrdr.core.trials.look import Look, Span, digest
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger

JOB = {"model": "m/1", "settings": {"risk.stop_loss.atr": list(range(1, 201))}}


class ClientDouble:
    """Carries out what is submitted on one thread of no time: ``answer(numbers)`` says what comes of a chunk."""

    def __init__(self, answer):
        self.answer = answer
        self.chunks = []
        self.resampled = []
        self.cancelled = []
        self.in_flight = self.most_in_flight = 0

    def submit(self, function, target, operation, attempt, job, numbers, resample, *, key, resources, retries, pure):
        assert target == "ktrdr.worker.chunks:run_chunk"
        assert (retries, pure) == (0, False)
        assert set(resources) == {"ktrdr-protocol-7", "backtest", "ml-torch"}
        (self.resampled if resample else self.chunks).append(numbers)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

        async def work():
            await asyncio.sleep(0)
            self.in_flight -= 1
            answer = intervals(numbers) if resample else self.answer(numbers)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        future = asyncio.ensure_future(work())
        future.key = key
        return future

    async def cancel(self, futures, force):
        self.cancelled += futures


def metrics_of(number):
    return {"sharpe": float(number % 7), "sharpe_error": 1.0, "deflated_sharpe": 0.5, "trials": 1}


LOOK = Look(
    kind="sweep",
    strategy="",
    text="name: m",
    changes={},
    parent=None,
    seed=0,
    training_data="t",
    data="d",
    timeframe="1h",
    span=Span(("EURUSD",), 0, 10**7),
    account={"capital": 1.0},
    metrics={},
    chosen_among=200,
).to_json()


def chunk(numbers, seconds_each=0.005, **facts):
    return {
        "metrics": [metrics_of(number) for number in numbers],
        "look": LOOK,
        "looks": [
            {"strategy": digest(number), "changes": {}, "metrics": metrics_of(number), "returns": None}
            for number in numbers
        ],
        "facts": {"model": "m/1", **facts},
        "seconds": seconds_each * len(numbers),
        "preparing": 0.0,
    }


def intervals(numbers):
    return {
        "intervals": [{"sharpe_low": float(number), "sharpe_high": float(number) + 1} for number in numbers],
        "facts": {"model": "m/1"},
        "seconds": 0.01,
        "preparing": 0.0,
    }


@pytest.fixture
def fan_out(tmp_path):
    ledger = TrialLedger(SQLiteDatabase(tmp_path / "trials.sqlite"))

    def run(answer, slots=2, stop_after=None):
        async def start():
            said = []
            client = ClientDouble(answer)

            async def judge(looks, model):
                assert model == "m/1"
                return ledger.judge(looks, model=model)

            fan = FanOut(client, Attempt("A", 1), JOB, ["backtest", "ml-torch"], lambda: slots, None, judge)

            async def heard(progress):
                said.append(progress)
                if stop_after is not None and progress["done"] >= stop_after:
                    fan.stopping.set()

            fan.report = heard
            return SimpleNamespace(ending=await fan.run(), client=client, said=said, recorded=ledger.rows())

        return asyncio.run(asyncio.wait_for(start(), 20))

    return run


def test_every_trial_is_run_once_and_the_table_is_whole(fan_out):
    found = fan_out(chunk)
    assert sorted(number for numbers in found.client.chunks for number in numbers) == list(range(200))
    assert found.ending["event"] == "completed"
    rows = found.ending["result"]["rows"]
    assert [row["metrics"]["sharpe"] for row in rows] == sorted((n % 7 for n in range(200)), reverse=True)
    # The deflated figure counts all of them; the interval is asked for afterwards, of the rows that are shown.
    assert all(row["metrics"]["sharpe"] == (row["trial"] - 1) % 7 for row in rows)
    assert {row["metrics"]["trials"] for row in rows} == {200} == {found.recorded}
    assert len({row["metrics"]["deflated_sharpe"] for row in rows}) == 7
    shown = sorted(row["trial"] - 1 for row in rows if "sharpe_low" in row["metrics"])
    assert shown == sorted(row["trial"] - 1 for row in rows[:20])
    assert sorted(number for numbers in found.client.resampled for number in numbers) == shown
    assert all(row["metrics"]["sharpe_low"] == row["trial"] - 1 for row in rows[:20])
    assert found.ending["result"]["resampled"] == 20
    assert found.ending["result"]["trial_count"]["number"] == 200
    assert (found.said[-1]["done"], found.said[-1]["fraction"]) == (200, 1.0)


def test_chunks_grow_to_a_quarter_of_a_second_and_shrink_at_the_end(fan_out):
    sizes = [len(numbers) for numbers in fan_out(chunk).client.chunks]
    assert sizes[0] == 4
    assert max(sizes) <= 50
    assert max(sizes) > 20
    assert sizes[-1] < max(sizes)
    assert {len(numbers) for numbers in fan_out(lambda numbers: chunk(numbers, 5.0)).client.chunks} == {1, 4}


@pytest.mark.parametrize("slots", [0, 1, 3])
def test_few_are_handed_out_at_a_time(fan_out, slots):
    assert fan_out(chunk, slots=slots).client.most_in_flight == 2 * max(slots, 1)


def test_a_lost_chunk_is_run_again(fan_out):
    losses = iter([True, False, True])

    def answer(numbers):
        return KilledWorker("task", None, 1) if next(losses, False) else chunk(numbers)

    found = fan_out(answer)
    assert found.ending["event"] == "completed"
    assert len(found.ending["result"]["rows"]) == 200
    assert sum(len(numbers) for numbers in found.client.chunks) > 200


def test_three_losses_under_the_same_backtests_fail_it(fan_out):
    found = fan_out(lambda numbers: KilledWorker("task", None, 1) if 0 in numbers else chunk(numbers))
    assert found.ending["event"] == "failed"
    assert found.ending["error"]["type"] == "WorkerLostError"
    assert sum(0 in numbers for numbers in found.client.chunks) == 3


def test_a_fault_of_ours_is_not_swallowed(fan_out):
    with pytest.raises(ZeroDivisionError):
        fan_out(lambda numbers: ZeroDivisionError("a fault"))


def test_what_a_worker_cannot_do_ends_it_in_its_words(fan_out):
    error = {"type": "BadInputError", "message": "there are no bars", "exit_status": 2}
    found = fan_out(lambda numbers: {"error": error})
    assert found.ending == {"event": "failed", "error": error}


def test_workers_that_see_other_bars_are_found_out(fan_out):
    found = fan_out(lambda numbers: chunk(numbers, data_fingerprint="a" if numbers[0] < 100 else "b"))
    assert found.ending["event"] == "failed"
    assert "do not have the same model and bars" in found.ending["error"]["message"]


def test_it_stops_between_chunks_and_takes_back_the_rest(fan_out):
    found = fan_out(chunk, stop_after=20)
    assert found.ending["event"] == "cancelled"
    assert found.recorded == 0
    assert sum(len(numbers) for numbers in found.client.chunks) < 200
    assert found.client.cancelled
