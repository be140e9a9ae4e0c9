"""The fallback for a backend without populations, and the check of the members."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.limits import POPULATION_MEMORY
from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins import EpochRecord, Member, ModelType, Resources, Split, TrainingData, TrainingTask
from ktrdr.core.training import population
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.training.population import default_resources, train_members, train_population
from ktrdr.core.training.stored_members import MemberStore
from ktrdr.core.work import NO_PROGRESS, Cancellation, ProgressEvent

KIND = ModelType(
    name="sums",
    description="Adds up labels.",
    architecture=(Parameter("width", "int", 2), Parameter("dropout", "float", 0.0)),
    member_parameters=frozenset({"dropout"}),
)
RESOURCES = Resources(memory=1, cores=1)


@dataclass
class Sum:
    """A model whose weight is the sum of its training labels, seed times the sum of a step per epoch."""

    value: float
    history: tuple[EpochRecord, ...] = ()
    best_epoch: int = 1

    def predictor(self) -> Any:
        raise NotImplementedError


@dataclass
class SumTrainer:
    """A backend without populations: five epochs, a checkpoint after each."""

    started: list[int] = field(default_factory=list)
    stop_after: tuple[int, int] | None = None

    def train(self, task, data, *, progress, cancellation, checkpoint):
        self.started.append(task.seed)
        if task.settings.get("diverges"):
            raise BadInputError("the loss became NaN")
        epoch, value = 0, 0.0
        if checkpoint is not None and (latest := checkpoint.latest()) is not None:
            epoch, value = json.loads((latest / "sum.json").read_text())
        for number in range(epoch, 5):
            if self.stop_after == (task.seed, number):
                cancellation_of_all.cancel("stopped")
            if cancellation.requested:
                cancellation.raise_if_requested()
            value += task.seed * float(data.train.labels.sum())
            progress(ProgressEvent("training", number + 1, 5, "epochs", (number + 1) / 5))
            if checkpoint is not None and checkpoint.due(number + 1):
                text = json.dumps([number + 1, value])
                checkpoint.save(number + 1, lambda directory, text=text: (directory / "sum.json").write_text(text))
        return Sum(value)


cancellation_of_all = Cancellation()


@pytest.fixture(autouse=True)
def _fresh_cancellation():
    global cancellation_of_all
    cancellation_of_all = Cancellation()


def member(seed: int = 1, samples: int = 3, architecture: dict[str, Any] | None = None, **changes: Any) -> Member:
    shape = {"width": 2, "dropout": 0.0, **(architecture or {})}
    task = TrainingTask("sums", shape, "classification", ("a", "b"), ("x",), {}, seed=seed)
    rows = np.arange(samples)
    part = Split(rows, rows % 2, np.ones(samples, np.float32))
    cancellation = changes.pop("cancellation", None)
    return Member(
        replace(task, **changes), TrainingData(np.zeros((9, 1), np.float32), part, part), cancellation=cancellation
    )


def train(members, trainer=None, *, progress=NO_PROGRESS, checkpoint=None):
    return train_members(
        trainer or SumTrainer(),
        KIND,
        members,
        progress=progress,
        cancellation=cancellation_of_all,
        checkpoint=checkpoint,
        resources=RESOURCES,
    )


def test_without_the_ability_members_are_trained_one_after_another():
    trainer, events = SumTrainer(), []
    outcomes = train([member(3), member(1), member(2)], trainer, progress=events.append)
    assert [outcome.value for outcome in outcomes] == [15.0, 5.0, 10.0]
    assert trainer.started == [3, 1, 2]
    assert [event.fraction for event in events] == pytest.approx(np.arange(1, 16) / 15)
    assert [event.done for event in events] == [0] * 4 + [1] * 5 + [2] * 5 + [3]
    assert {(event.step, event.total, event.unit) for event in events} == {("training", 3, "members")}


def test_with_the_ability_the_backend_gets_all_members():
    class Many(SumTrainer):
        def train_many(self, members, **rest):
            self.rest = rest
            return tuple(Sum(each.task.seed) for each in members)

    trainer = Many()
    assert [outcome.value for outcome in train([member(3), member(1)], trainer)] == [3, 1]
    assert set(trainer.rest) == {"progress", "cancellation", "checkpoint", "resources"}
    assert trainer.started == []


def test_an_error_or_cancellation_of_a_member_is_its_outcome():
    ended = Cancellation()
    ended.cancel("not needed")
    outcomes = train([member(1), member(2, settings={"diverges": True}), member(3, cancellation=ended), member(4)])
    assert [type(outcome) for outcome in outcomes] == [Sum, BadInputError, CancelledError, Sum]
    assert str(outcomes[2]) == "not needed"
    assert outcomes[3].value == 20.0


def test_a_cancelled_population_of_one_resumes_where_it_was(tmp_path):
    checkpoint = DirectoryCheckpoint(tmp_path)
    with pytest.raises(CancelledError, match="stopped"):
        train([member(2)], SumTrainer(stop_after=(2, 3)), checkpoint=checkpoint)
    cancellation_of_all.__init__()
    seen = []
    (outcome,) = train([member(2)], progress=seen.append, checkpoint=DirectoryCheckpoint(tmp_path))
    assert outcome.value == 10.0
    assert len(seen) == 2


def test_a_cancelled_population_of_several_leaves_no_checkpoint_that_a_member_could_mistake_for_its_own(tmp_path):
    checkpoint = DirectoryCheckpoint(tmp_path)
    with pytest.raises(CancelledError, match="stopped"):
        train([member(1), member(2), member(3)], SumTrainer(stop_after=(2, 3)), checkpoint=checkpoint)
    assert checkpoint.latest() is None
    cancellation_of_all.__init__()
    outcomes = train([member(1), member(2), member(3)], checkpoint=checkpoint)
    assert [outcome.value for outcome in outcomes] == [5.0, 10.0, 15.0]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (member(architecture={"width": 3}), "`architecture.width: 3` where the first has `2`"),
        (member(feature_ids=("y",)), r"`feature_ids: \['y'\]` where the first has `\['x'\]`"),
        (member(classes=("a", "b", "c")), "`classes: "),
        (member(model_type="other"), "`model_type: other`"),
        (member(output="regression"), "`output: regression`"),
        (member(device="cuda:0"), "`device: cuda:0` where the first has `auto`"),
        (member(samples=0), "no training samples; leave it out"),
    ],
)
def test_members_that_do_not_fit_together_are_refused(changed, told):
    trainer = SumTrainer()
    with pytest.raises(BadInputError, match=f"member 3 of the population has {told}"):
        train([member(), member(5), changed], trainer)
    assert trainer.started == []


def test_members_may_differ_in_seed_settings_and_member_parameters():
    outcomes = train([member(1), member(2, architecture={"dropout": 0.5}), member(3, settings={"learning_rate": 1.0})])
    assert [outcome.value for outcome in outcomes] == [5.0, 10.0, 15.0]


def test_a_population_without_members_is_refused():
    with pytest.raises(BadInputError, match="has no members; give at least one"):
        train([])


def test_the_default_resources_are_this_machine_and_the_stated_memory():
    assert default_resources().memory == POPULATION_MEMORY
    assert default_resources().cores >= 1


# Populations in chunks.


class SumStorage:
    def save(self, model, directory):
        (directory / "weights.txt").write_text(str(model.value))
        return {}


@dataclass
class ManyTrainer(SumTrainer):
    """A backend with populations: ten steps of all members, a checkpoint after each that is due."""

    stacks: list[list[int]] = field(default_factory=list)
    began_at: list[int] = field(default_factory=list)
    cancel_at: tuple[int, int] | None = None

    def train_many(self, members, *, progress, cancellation, checkpoint, resources):
        seeds = [each.task.seed for each in members]
        self.stacks.append(seeds)
        latest = checkpoint.latest()
        step, values, of = json.loads((latest / "sum.json").read_text()) if latest else (0, [0.0] * len(seeds), seeds)
        assert of == seeds, "the checkpoint is of another run"
        self.began_at.append(step)
        for number in range(step, 10):
            if self.cancel_at == (len(self.stacks), number):
                cancellation.cancel("stopped")
            if cancellation.requested:
                text = json.dumps([number, values, seeds])
                checkpoint.save(number, lambda directory, text=text: (directory / "sum.json").write_text(text))
                cancellation.raise_if_requested()
            values = [value + seed for value, seed in zip(values, seeds, strict=True)]
            progress(ProgressEvent("training", 0, len(seeds), "members", (number + 1) / 10))
        progress(ProgressEvent("training", len(seeds), len(seeds), "members", 1.0))
        return [Sum(value) for value in values]


def train_all(run, members, trainer, *, progress=NO_PROGRESS, kind=KIND, cores=1):
    store = MemberStore(run, SumStorage(), lambda directory: float((directory / "weights.txt").read_text()))
    outcomes = train_population(
        trainer,
        kind,
        members,
        store=store,
        checkpoint=DirectoryCheckpoint(run),
        progress=progress,
        cancellation=cancellation_of_all,
        resources=Resources(memory=1, cores=cores),
    )
    return [outcome.predictor() if not isinstance(outcome, Exception) else outcome for outcome in outcomes]


def test_a_population_is_trained_in_chunks_of_64(tmp_path):
    trainer, events = ManyTrainer(), []
    found = train_all(tmp_path, [member(seed) for seed in range(150)], trainer, progress=events.append)
    assert found == [10.0 * seed for seed in range(150)]
    assert trainer.stacks == [[*range(64)], [*range(64, 128)], [*range(128, 150)]]
    assert [event.done for event in events if event.done] == [64] * 11 + [128] * 11 + [150]
    assert [event.fraction for event in events] == sorted(event.fraction for event in events)
    assert (events[0].fraction, events[-1].fraction) == (0.0, 1.0)
    assert {(event.total, event.unit) for event in events} == {(150, "members")}


@pytest.mark.parametrize(("epochs", "size"), [(3_000, 64), (100_000, 2), (1_000_000, 1)])
def test_the_histories_of_a_chunk_fit_into_a_checkpoint(tmp_path, epochs, size):
    trainer = ManyTrainer()
    members = [member(seed) for seed in range(70)]
    long = replace(members[7].task, settings={**members[7].task.settings, "epochs": epochs})
    members[7] = replace(members[7], task=long)
    train_all(tmp_path, members, trainer)
    assert max(len(stack) for stack in trainer.stacks) == size


def test_without_checkpoints_a_chunk_is_two_members_per_core(tmp_path):
    trainer, kind = ManyTrainer(), replace(KIND, writes_checkpoints=False)
    train_all(tmp_path, [member(seed) for seed in range(9)], trainer, kind=kind, cores=2)
    assert [len(stack) for stack in trainer.stacks] == [4, 4, 1]


def test_a_backend_without_populations_stores_every_member_and_checkpoints_the_one_at_work(tmp_path):
    trainer = SumTrainer(stop_after=(3, 2))
    with pytest.raises(CancelledError, match="stopped"):
        train_all(tmp_path, [member(seed) for seed in (1, 2, 3, 4)], trainer)
    assert sorted(path.name for path in (tmp_path / "members").iterdir()) == ["0000", "0001"]
    cancellation_of_all.__init__()
    again = SumTrainer()
    assert train_all(tmp_path, [member(seed) for seed in (1, 2, 3, 4)], again) == [5.0, 10.0, 15.0, 20.0]
    assert again.started == [3, 4]


def test_an_interrupted_chunk_is_continued_from_its_checkpoint(tmp_path):
    members = [member(seed) for seed in range(100)]
    with pytest.raises(CancelledError, match="stopped"):
        train_all(tmp_path, members, ManyTrainer(cancel_at=(2, 7)))
    cancellation_of_all.__init__()
    again, events = ManyTrainer(), []
    assert train_all(tmp_path, members, again, progress=events.append) == [10.0 * seed for seed in range(100)]
    assert (again.stacks, again.began_at) == ([[*range(64, 100)]], [7])
    assert (events[0].done, events[0].message) == (64, "64 of 100 are already trained")


@pytest.mark.parametrize(
    ("stored", "stacks", "began_at"),
    [
        (range(5), [[*range(64)], [*range(64, 70)]], [3, 0]),  # killed while the members of the chunk were stored
        (range(64), [[*range(64, 70)]], [0]),  # killed before the checkpoint was replaced by one of the next chunk
        (range(70), [], []),
    ],
)
def test_a_chunk_is_continued_as_a_whole_until_all_its_members_are_stored(tmp_path, stored, stacks, began_at):
    members = [member(seed) for seed in range(70)]
    with pytest.raises(CancelledError, match="stopped"):
        train_all(tmp_path, members, ManyTrainer(cancel_at=(1, 3)))
    cancellation_of_all.__init__()
    store = MemberStore(tmp_path, SumStorage(), float)
    for seed in stored:
        store.put(seed, Sum(10.0 * seed))
    again, events = ManyTrainer(), []
    found = train_all(tmp_path, members, again, progress=events.append)
    assert found == [10.0 * seed for seed in range(70)]
    assert (again.stacks, again.began_at) == (stacks, began_at)
    assert all(event.done <= 70 and event.fraction <= 1 for event in events)


@pytest.mark.parametrize(("seconds", "written"), [(population.SECONDS_BETWEEN_CHECKPOINTS, 0), (0.0, 15)])
def test_members_that_train_faster_than_a_disk_syncs_write_no_checkpoints(tmp_path, monkeypatch, seconds, written):
    saved, save = [], DirectoryCheckpoint.save
    monkeypatch.setattr(population, "SECONDS_BETWEEN_CHECKPOINTS", seconds)
    monkeypatch.setattr(DirectoryCheckpoint, "save", lambda own, *given: (saved.append(given[0]), save(own, *given)))
    monkeypatch.setattr(population.time, "monotonic", lambda: 17.0)
    assert train_all(tmp_path, [member(seed) for seed in (1, 2, 3)], SumTrainer()) == [5.0, 10.0, 15.0]
    assert len(saved) == written


def test_the_error_of_a_member_is_kept_and_a_damaged_member_is_trained_again(tmp_path):
    members = [member(1), member(2, settings={"diverges": True}), member(3)]
    found = train_all(tmp_path, members, SumTrainer())
    assert str(found[1]) == "the loss became NaN"
    (tmp_path / "members" / "0002" / "weights.txt").write_text("16.0")
    again = SumTrainer()
    assert [str(each) for each in train_all(tmp_path, members, again)] == ["5.0", "the loss became NaN", "15.0"]
    assert again.started == [3]


def test_members_of_different_chunks_must_fit_together(tmp_path):
    trainer = SumTrainer()
    with pytest.raises(BadInputError, match="member 2 of the population has `architecture.width: 3`"):
        train_all(tmp_path, [member(1), member(2, architecture={"width": 3})], trainer)
    assert trainer.started == []
