"""What several units of a population leave and report while they are trained side by side."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
import torch

from ktrdr.core.errors import CancelledError
from ktrdr.core.plugins import EpochRecord, Member, Resources
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.torch import population_keeper, reporting, torch_population
from ktrdr.ml.torch.checkpoints import fingerprint, read_state
from ktrdr.ml.torch.control import Snapshot
from ktrdr.ml.torch.population_keeper import Keeper
from ktrdr.ml.torch.reporting import Reporter
from ktrdr.ml.torch.torch_trainer import TorchTrainer

MEMORY = 512_000_000


@dataclass
class FakeMember:
    """As much of a member as the keeper looks at."""

    epochs: int = 10
    history: list = field(default_factory=list)
    over: bool = False


@pytest.fixture
def saved(monkeypatch):
    """The numbers of the units in each checkpoint that was written."""
    found = []
    monkeypatch.setattr(
        population_keeper,
        "write_state",
        lambda directory, state, run: found.append(sorted(snapshot.members[0] for snapshot in state.current)),
    )
    return found


def keeper_of(tmp_path, events=None, members=2):
    reporter = Reporter(NO_PROGRESS if events is None else events.append, members, "members")
    return Keeper(
        members,
        torch.device("cpu"),
        single=False,
        reporter=reporter,
        cancellation=Cancellation(),
        checkpoint=DirectoryCheckpoint(tmp_path),
        fingerprint="",
    )


def take_of(unit):
    return lambda: Snapshot([unit], {}, {}, [])


def test_a_checkpoint_has_the_state_of_units_that_another_one_is_faster_than(saved, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(population_keeper.time, "monotonic", lambda: now[0])
    keeper = keeper_of(tmp_path)
    for _ in range(4):
        now[0] += 2.5
        # The first unit always comes just before the second one, which is never the one that writes.
        keeper.after_epoch(0, [FakeMember()], take_of(0))
        keeper.after_epoch(1, [FakeMember()], take_of(1))
    assert saved == [[0], [0, 1], [0, 1], [0, 1]]


def test_progress_counts_all_units_and_never_falls(saved, tmp_path, monkeypatch):
    events = []
    keeper = keeper_of(tmp_path, events)
    members = [FakeMember(), FakeMember()]
    for epoch in range(1, 10):
        for unit, member in enumerate(members):
            monkeypatch.setattr(reporting, "_SECONDS_BETWEEN", 0.0)
            keeper.report(unit, [member], 0.5)
            # The end of an epoch counts for the reports of other units, also if none is due now.
            monkeypatch.setattr(reporting, "_SECONDS_BETWEEN", 1e9)
            member.history.append(EpochRecord(epoch, {"train_loss": 1.0}))
            keeper.after_epoch(unit, [member], take_of(unit))
    done = [share for epoch in range(9) for share in (2 * epoch + 0.5, 2 * epoch + 1.5)]
    assert [event.fraction for event in events] == pytest.approx([share / 20 for share in done])


def two_stacks(problem, epochs=40):
    """Return members of two stacks, whose batches differ."""
    given = [problem(settings={"epochs": epochs, "batch_size": size}, seed=size) for size in (8, 32)]
    return [Member(each.task, each.data) for each in given]


def train(members, checkpoint, cancellation, cores=2):
    return TorchTrainer().train_many(
        members,
        progress=NO_PROGRESS,
        cancellation=cancellation,
        checkpoint=checkpoint,
        resources=Resources(memory=MEMORY, cores=cores),
    )


@pytest.mark.parametrize("cores", [1, 2])
def test_a_resumed_population_keeps_the_states_of_units_that_wait(problem, cancelled_at, tmp_path, cores):
    members = two_stacks(problem)
    with pytest.raises(CancelledError):
        train(members, DirectoryCheckpoint(tmp_path), cancelled_at(60))
    run = fingerprint(members, torch.device("cpu"))
    before = read_state(DirectoryCheckpoint(tmp_path).latest(), run)
    assert len(before.current) == 2
    with pytest.raises(CancelledError):
        train(members, DirectoryCheckpoint(tmp_path), cancelled_at(4), cores)
    after = read_state(DirectoryCheckpoint(tmp_path).latest(), run)
    assert sorted(snapshot.members for snapshot in after.current) == [[0], [1]]
    for snapshot in after.current:
        (earlier,) = (each for each in before.current if each.members == snapshot.members)
        assert [len(each) for each in snapshot.histories] >= [len(each) for each in earlier.histories]


def test_no_member_is_begun_after_a_cancellation(problem, monkeypatch):
    cancellation, begun = Cancellation(), []
    honest = torch_population.Population._prepared
    lock = threading.Lock()

    def watched(self, number):
        with lock:
            begun.append(cancellation.requested)
            if len(begun) == 3:
                cancellation.cancel()
        return honest(self, number)

    monkeypatch.setattr(torch_population.Population, "_prepared", watched)
    given = problem("gru", settings={"epochs": 1})
    with pytest.raises(CancelledError):
        train([Member(given.task, given.data)] * 12, None, cancellation)
    assert len(begun) <= 4
