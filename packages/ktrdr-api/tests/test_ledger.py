"""The ledger, on SQLite and on PostgreSQL: transitions, attempts, events, idempotency, states that cannot be."""

from __future__ import annotations

import asyncio
import random

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from ktrdr.api.ledger.database import open_database, prepare_database
from ktrdr.api.ledger.ledger import Ledger
from ktrdr.api.ledger.records import (
    Idempotency,
    IdempotencyConflictError,
    LedgerUnavailableError,
    TransitionError,
    UnknownOperationError,
)
from ktrdr.api.ledger.states import TERMINAL
from ktrdr.core.errors import BadInputError, ErrorRecord

JOB = {"strategy": "name: x", "seed": 3}


@pytest.fixture
def run(database_url):
    """Return a function that runs ``work(ledger, database)`` against an empty ledger."""

    def run(work):
        async def go():
            await prepare_database(database_url)
            database = open_database(database_url)
            try:
                return await work(Ledger(database), database)
            finally:
                await database.close()

        return asyncio.run(go())

    return run


def test_an_operation_lives_through_its_states(run):
    async def work(ledger, database):
        created, new = await ledger.create("training", JOB, ["ml-torch"])
        assert new
        assert (created.state, created.attempt, created.job, created.requires) == ("queued", 1, JOB, ["ml-torch"])
        await ledger.set_waiting(created.id, "waits")
        assert (await ledger.get(created.id)).waiting_for == "waits"
        running = await ledger.start(created.id, 1, "tcp://w")
        assert (running.state, running.worker, running.waiting_for) == ("running", "tcp://w", None)
        assert await ledger.report(created.id, 1, {"step": "training", "fraction": 0.5})
        await ledger.beat({created.id: 1})
        ended = await ledger.finish(created.id, 1, "completed", result={"model": "x/1"})
        assert (ended.state, ended.result, ended.progress["fraction"]) == ("completed", {"model": "x/1"}, 0.5)
        assert ended.heartbeat_at >= running.heartbeat_at
        assert ended.created_at <= ended.started_at <= ended.finished_at
        (attempt,) = await ledger.attempts(created.id)
        assert (attempt.attempt, attempt.worker, attempt.outcome) == (1, "tcp://w", "completed")
        kinds = [event.kind for event in await ledger.events_after(0)]
        assert kinds == ["queued", "waiting", "running", "progress", "completed"]
        assert await ledger.counts() == {"completed": 1}

    run(work)


def test_what_is_late_or_out_of_order_changes_nothing(run):
    async def work(ledger, database):
        operation, _ = await ledger.create("training", JOB, [])
        for refused in (
            ledger.start(operation.id, 2, "w"),
            ledger.finish(operation.id, 1, "completed", result={}),
            ledger.requeue(operation.id, 1, "lost", counts=True),
            ledger.resume(operation.id),
        ):
            with pytest.raises(TransitionError) as error:
                await refused
            assert error.value.operation.state == "queued"
        assert not await ledger.report(operation.id, 1, {"fraction": 1})
        await ledger.start(operation.id, 1, "w")
        with pytest.raises(TransitionError):
            await ledger.start(operation.id, 1, "w")
        await ledger.requeue(operation.id, 1, "lost", counts=True)
        assert not await ledger.report(operation.id, 1, {"fraction": 1})
        with pytest.raises(TransitionError):
            await ledger.finish(operation.id, 1, "completed", result={})
        await ledger.start(operation.id, 2, "w")
        await ledger.finish(operation.id, 2, "failed", error=ErrorRecord("fault", "no", 1))
        for refused in (ledger.request_cancel(operation.id), ledger.finish(operation.id, 2, "cancelled")):
            with pytest.raises(TransitionError):
                await refused
        first, second = await ledger.attempts(operation.id)
        assert (first.outcome, first.counts, second.outcome, second.counts) == ("lost", True, "no", False)
        with pytest.raises(UnknownOperationError):
            await ledger.get("01K9ZJ5T3C8E6W2V4R7Q1M0N8B")

    run(work)


def test_cancel_and_resume(run):
    async def work(ledger, database):
        queued, _ = await ledger.create("training", JOB, [])
        assert (await ledger.request_cancel(queued.id)).state == "cancelled"
        running, _ = await ledger.create("training", JOB, [])
        await ledger.start(running.id, 1, "w")
        asked = await ledger.request_cancel(running.id)
        assert (asked.state, asked.cancel_requested) == ("running", True)
        await ledger.finish(running.id, 1, "cancelled")
        resumed = await ledger.resume(running.id)
        assert (resumed.state, resumed.attempt, resumed.cancel_requested, resumed.finished_at) == (
            "queued",
            2,
            False,
            None,
        )

    run(work)


def test_a_key_gives_the_same_operation_and_refuses_another_request(run):
    async def work(ledger, database):
        key = Idempotency.of("k1", "training", {"a": 1})
        first, new = await ledger.create("training", JOB, [], idempotency=key)
        again, second = await ledger.create("training", {"other": "by then"}, [], idempotency=key)
        assert (new, second, again.id, again.job) == (True, False, first.id, JOB)
        assert await ledger.find(key) == first
        assert await ledger.find(Idempotency.of("k2", "training", {})) is None
        with pytest.raises(IdempotencyConflictError):
            await ledger.create("training", JOB, [], idempotency=Idempotency.of("k1", "training", {"a": 2}))
        assert len(await ledger.page()) == 1

    run(work)


def test_of_many_at_once_with_one_key_one_wins(run):
    async def work(ledger, database):
        key = Idempotency.of("k", "training", {})
        answers = await asyncio.gather(*(ledger.create("training", JOB, [], idempotency=key) for _ in range(20)))
        assert len({operation.id for operation, _ in answers}) == 1
        assert sum(new for _, new in answers) == 1

    run(work)


def test_of_many_transitions_at_once_one_wins(run):
    async def work(ledger, database):
        operation, _ = await ledger.create("training", JOB, [])
        await ledger.start(operation.id, 1, "w")
        endings = [
            ledger.finish(operation.id, 1, "completed", result={}),
            ledger.finish(operation.id, 1, "failed", error=ErrorRecord("fault", "x", 1)),
            ledger.finish(operation.id, 1, "cancelled"),
            ledger.requeue(operation.id, 1, "lost", counts=False),
        ] * 3
        random.Random(7).shuffle(endings)
        # The same coroutine object cannot be awaited twice: make each anew.
        done = await asyncio.gather(*dict.fromkeys(endings), return_exceptions=True)
        assert sum(not isinstance(answer, BaseException) for answer in done) == 1
        assert all(isinstance(answer, TransitionError) for answer in done if isinstance(answer, BaseException))

    run(work)


def test_pages_filters_and_ids_sortable_by_time(run):
    async def work(ledger, database):
        made = []
        for number in range(7):
            kind = "training" if number % 2 else "backtest"
            made.append((await ledger.create(kind, JOB, []))[0])
            await asyncio.sleep(0.002)
        ids = [operation.id for operation in made]
        assert ids == sorted(ids)
        newest_first = ids[::-1]
        page = await ledger.page(limit=3)
        assert [operation.id for operation in page] == newest_first[:3]
        rest = await ledger.page(before=page[-1].id)
        assert [operation.id for operation in rest] == newest_first[3:]
        assert len(await ledger.page(kinds=["training"])) == 3
        await ledger.request_cancel(ids[0])
        assert [operation.id for operation in await ledger.page(states=["cancelled"])] == [ids[0]]
        assert not hasattr(page[0], "job")

    run(work)


def test_only_the_newest_progress_is_kept_as_an_event(run):
    async def work(ledger, database):
        operation, _ = await ledger.create("training", JOB, [])
        other, _ = await ledger.create("training", JOB, [])
        for each in (operation, other):
            await ledger.start(each.id, 1, "w")
            for step in range(5):
                await ledger.report(each.id, 1, {"done": step})
        events = [event for event in await ledger.events_after(0) if event.kind == "progress"]
        assert [(event.operation_id, event.data["done"]) for event in events] == [(operation.id, 4), (other.id, 4)]
        assert await ledger.last_event() == events[-1].seq

    run(work)


def test_who_has_seen_an_event_has_missed_none_before_it(run):
    """PostgreSQL gives numbers in one order and shows rows in another, unless writers take turns."""

    async def work(ledger, database):
        seen: list[int] = []
        writing = True

        async def listen():
            after = 0
            while writing or await ledger.events_after(after):
                for event in await ledger.events_after(after):
                    after = event.seq
                    seen.append(event.seq)
                await asyncio.sleep(0)

        listener = asyncio.create_task(listen())
        await asyncio.gather(*(ledger.create("training", JOB, []) for _ in range(60)))
        writing = False
        await listener
        assert seen == [event.seq for event in await ledger.events_after(0)]
        assert len(seen) == 60

    run(work)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE operations SET state = 'done'",
        "UPDATE operations SET state = 'running'",
        "UPDATE operations SET state = 'cancelled'",
        "UPDATE operations SET state = 'completed', finished_at = created_at",
        "UPDATE operations SET state = 'failed', finished_at = created_at",
        "UPDATE operations SET finished_at = created_at",
        "UPDATE operations SET state = 'cancelled', finished_at = created_at, waiting_for = 'x'",
        "UPDATE operations SET attempt = 0",
        "UPDATE operations SET result = '{}'",
        "INSERT INTO operation_events (operation_id, at, kind, data) VALUES ('none', '2026-01-01', 'x', '{}')",
    ],
)
def test_the_database_itself_refuses_states_that_cannot_be(run, statement):
    async def work(ledger, database):
        await ledger.create("training", JOB, [])
        with pytest.raises(IntegrityError):
            async with database.writing(may_conflict=True) as connection:
                await connection.execute(text(statement))
        (operation,) = await ledger.page()
        assert (operation.state, operation.attempt, operation.finished_at) == ("queued", 1, None)

    run(work)


def test_random_walks_end_in_possible_states(run):
    """Whatever is called in whatever order, the newest event of an operation says the state it is in."""

    async def work(ledger, database):
        dice = random.Random(11)
        ids = [(await ledger.create("training", JOB, []))[0].id for _ in range(6)]
        for _ in range(250):
            operation_id, attempt = dice.choice(ids), dice.randint(1, 3)
            step = dice.choice(["start", "finish", "requeue", "resume", "cancel", "report"])
            try:
                if step == "start":
                    await ledger.start(operation_id, attempt, "w")
                elif step == "finish":
                    state = dice.choice(["completed", "failed", "cancelled"])
                    given = {"completed": {"result": {}}, "failed": {"error": ErrorRecord("fault", "x", 1)}}.get(
                        state, {}
                    )
                    await ledger.finish(operation_id, attempt, state, **given)
                elif step == "requeue":
                    await ledger.requeue(operation_id, attempt, "lost", counts=False)
                elif step == "resume":
                    await ledger.resume(operation_id)
                elif step == "cancel":
                    await ledger.request_cancel(operation_id)
                else:
                    await ledger.report(operation_id, attempt, {"n": 1})
            except TransitionError:
                continue
        for operation_id in ids:
            operation = await ledger.get(operation_id)
            events = await ledger.events_after(0, operation_id=operation_id)
            states = [event for event in events if event.kind in {"queued", "running", *TERMINAL}]
            assert states[-1].kind == operation.state
            assert [attempt.attempt for attempt in await ledger.attempts(operation_id)] == sorted(
                {event.data["attempt"] for event in states if event.kind == "running"}
            )

    run(work)


def test_migrating_twice_and_at_once_is_once(database_url):
    async def go():
        await asyncio.gather(*(prepare_database(database_url) for _ in range(4)))
        database = open_database(database_url)
        async with database.reading() as connection:
            versions = (await connection.execute(text("SELECT version_num FROM alembic_version"))).all()
        await database.close()
        return versions

    assert asyncio.run(go()) == [("0001",)]


def test_a_ledger_of_a_newer_version_is_refused_in_one_sentence(run, database_url):
    async def work(ledger, database):
        async with database.writing() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    run(work)
    with pytest.raises(BadInputError, match=r"newer ktrdr-api.*update this one"):
        asyncio.run(prepare_database(database_url))


def test_sqlite_is_written_ahead(tmp_path):
    async def go():
        await prepare_database(f"sqlite:///{tmp_path}/below/ledger.sqlite")
        database = open_database(f"sqlite:///{tmp_path}/below/ledger.sqlite")
        async with database.reading() as connection:
            mode = (await connection.execute(text("PRAGMA journal_mode"))).scalar_one()
        await database.close()
        return mode

    assert asyncio.run(go()) == "wal"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "not a database URL"),
        ("sqlite://", "a restart would lose"),
        ("mysql://x/y", "SQLite and PostgreSQL are supported"),
        ("postgresql://nobody:secret@127.0.0.1:1/none", "cannot be used"),
        ("sqlite:////proc/ledger.sqlite", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_in_one_sentence(url, message):
    with pytest.raises(BadInputError, match=message) as error:
        asyncio.run(prepare_database(url))
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_database_that_goes_away_is_said_to_be_away():
    async def go():
        database = open_database("postgresql://nobody@127.0.0.1:1/none")
        try:
            await Ledger(database).page()
        finally:
            await database.close()

    with pytest.raises(LedgerUnavailableError):
        asyncio.run(go())
