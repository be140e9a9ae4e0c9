"""Which of several seeds is kept, and whole trainings with several seeds, by a real backend that needs only numpy."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.limits import LARGEST_SEED
from ktrdr.core.models.bundle import BundleError
from ktrdr.core.plugins import EpochRecord, TrainingTask
from ktrdr.core.training.run_checkpoint import NothingToResumeError
from ktrdr.core.training.seeds import judge_members, kept_number, monitored, seed_tasks
from ktrdr.core.work import NO_PROGRESS, Cancellation

TASK = TrainingTask("x", {}, "classification", ("a", "b"), ("f",), {"early_stopping": None}, seed=5)


@dataclass
class Model:
    history: tuple[EpochRecord, ...]
    best_epoch: int

    def predictor(self) -> Any:
        raise NotImplementedError


def model(value: float, name: str = "val_loss") -> Model:
    return Model((EpochRecord(1, {name: value, "train_loss": 1.0}),), 1)


def test_seeds_are_consecutive_and_begin_again_at_zero_after_the_largest():
    assert [task.seed for task in seed_tasks(TASK, 3)] == [5, 6, 7]
    assert [task.seed for task in seed_tasks(replace(TASK, seed=LARGEST_SEED), 3)] == [LARGEST_SEED, 0, 1]
    assert all(replace(task, seed=5) == TASK for task in seed_tasks(TASK, 3))


@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        ([3.0, 1.0, 2.0], 2),
        ([1.0, 2.0], 1),  # of the two in the middle the worse
        ([4.0, 1.0, 3.0, 2.0], 2),
        ([2.0, 2.0, 2.0], 1),  # equal ones keep their order
        ([1.0, math.nan, math.inf], 1),  # what is not finite is worse than any number
        ([5.0, math.nan, 1.0, 2.0], 0),
    ],
)
def test_the_lower_median_is_kept(losses, kept):
    assert kept_number([TASK] * len(losses), [model(loss) for loss in losses]) == kept


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_no_more_than_half_are_worse_than_the_kept_one_and_no_fewer_than_half_are_at_least_as_good(losses):
    kept = losses[kept_number([TASK] * len(losses), [model(loss) for loss in losses])]
    assert kept == statistics.median_high(losses)


def test_of_an_accuracy_more_is_better():
    task = replace(TASK, settings={"early_stopping": {"monitor": "val_accuracy"}})
    members = [model(share, "val_accuracy") for share in (0.1, 0.9, 0.5, 0.6)]
    assert kept_number([task] * 4, members) == 2


def test_the_monitored_metric_is_the_one_that_chooses_the_epoch_at_the_kept_epoch():
    records = tuple(
        EpochRecord(n, {"train_loss": 9.0 - n, "val_loss": 5.0 + n, "val_accuracy": n / 10}) for n in (1, 3)
    )
    assert monitored(TASK, Model(records, 1)) == ("val_loss", 6.0)
    assert monitored(TASK, Model(records, 2)) == ("val_loss", 6.0)  # of a backend that reports some epochs
    stopping = replace(TASK, settings={"early_stopping": {"monitor": "val_accuracy"}})
    assert monitored(stopping, Model(records, 3)) == ("val_accuracy", 0.3)
    unvalidated = Model((EpochRecord(1, {"train_loss": 2.0}),), 1)
    assert monitored(TASK, unvalidated) == ("train_loss", 2.0)
    assert math.isnan(monitored(TASK, Model((), 1))[1])


def test_members_without_a_model_count_as_the_worst():
    failed = BadInputError("the loss became NaN")
    tasks = seed_tasks(TASK, 5)
    assert kept_number(tasks, [failed, model(3.0), failed, model(1.0), model(2.0)]) == 1
    with pytest.raises(BadInputError) as caught:
        kept_number(tasks, [model(3.0), failed, failed, model(1.0), failed])
    assert str(caught.value) == (
        "3 of 5 seeds failed, so their median has no model; the first of them, seed 6: the loss became NaN"
    )
    with pytest.raises(BadInputError, match="1 of 2 seeds failed"):
        kept_number(tasks[:2], [model(3.0), failed])


def test_what_every_seed_fails_with_is_said_as_by_one():
    with pytest.raises(BadInputError) as caught:
        kept_number(seed_tasks(TASK, 3), [BadInputError("`min_lr` is above the rate") for _ in range(3)])
    assert str(caught.value) == "`min_lr` is above the rate"


def test_a_failed_member_is_told_and_left_out():
    tasks = seed_tasks(TASK, 3)
    seen = []

    def evaluate(kept, task):
        seen.append(task.seed)
        return {"test": {"accuracy": kept.history[0].metrics["val_loss"], "confusion_matrix": [[1]]}}

    events = []
    found = judge_members(
        tasks,
        [model(0.25), BadInputError("the loss became NaN; lower the rate"), model(0.5)],
        evaluate,
        progress=events.append,
        cancellation=Cancellation(),
    )
    assert seen == [5, 7]
    assert found.task.seed == 7
    assert found.metrics == {"test": {"accuracy": 0.5, "confusion_matrix": [[1]]}}
    assert [(member.seed, member.metrics) for member in found.members] == [
        (5, {"test": {"accuracy": 0.25}}),
        (7, {"test": {"accuracy": 0.5}}),
    ]
    assert found.warnings == ("seed 6 is left out, because its training failed: the loss became NaN; lower the rate",)
    assert [(member.monitor, member.monitored) for member in found.members] == [("val_loss", 0.25), ("val_loss", 0.5)]
    assert (events[-1].step, events[-1].done, events[-1].fraction) == ("evaluation", 3, 1.0)


def test_evaluation_can_be_cancelled():
    cancellation = Cancellation()
    cancellation.cancel("enough")
    with pytest.raises(CancelledError):
        judge_members(
            seed_tasks(TASK, 2),
            [model(1.0), model(2.0)],
            lambda *_: {},
            progress=NO_PROGRESS,
            cancellation=cancellation,
        )


# A whole training.


def test_the_kept_model_is_byte_for_byte_that_of_its_seed_alone(make_executor, load, model_store):
    events = []
    result = make_executor(load(), seeds=5, progress=events.append).execute()
    manifest = result.bundle.manifest
    assert manifest.ref == "waves/1"
    assert [member.seed for member in manifest.members] == [3, 4, 5, 6, 7]
    losses = {}
    for member in manifest.members:
        alone = make_executor(load(), seed=member.seed).execute().bundle
        assert member.best_epoch == alone.manifest.facts.get("best_epoch", member.best_epoch)
        for part in ("validation", "test"):
            own = alone.manifest.metrics[part]
            assert member.metrics[part] == {k: v for k, v in own.items() if isinstance(v, int | float)}
        losses[member.seed] = min(record.metrics["val_loss"] for record in alone.history())
        if member.seed == manifest.seed:
            kept = alone
    assert losses[manifest.seed] == statistics.median(losses.values())
    same = {"version", "created", "members"}
    assert manifest.model_dump(exclude=same) == kept.manifest.model_dump(exclude=same)
    for name in manifest.files:
        assert (result.bundle.directory / name).read_bytes() == (kept.directory / name).read_bytes()
    assert result.bundle.strategy.training.seed == manifest.seed
    model_store.verify("waves/1")
    training = [event for event in events if event.step == "training"]
    assert [event.fraction for event in training] == sorted(event.fraction for event in training)
    assert (training[-1].done, training[-1].total, training[-1].unit) == (5, 5, "members")


def test_it_is_one_trial_that_the_kept_seed_alone_repeats(make_executor, load, ledger):
    result = make_executor(load(), seeds=3).execute()
    assert result.trial_count.number == 1
    assert result.look.seed == result.bundle.manifest.seed
    assert result.look.changes == {"seeds": 3}
    kept = result.bundle.manifest.seed
    assert make_executor(load(), seed=kept).execute().trial_count.number == 1
    other = next(member.seed for member in result.bundle.manifest.members if member.seed != kept)
    assert make_executor(load(), seed=other).execute().trial_count.number == 2


def test_without_validation_samples_the_training_loss_is_monitored(make_executor, load):
    loaded = load("  epochs: 6\n", "  epochs: 6\n  data_split: {train: 1.0, validation: 0, test: 0}\n")
    result = make_executor(loaded, seeds=3).execute()
    assert {member.monitor for member in result.bundle.manifest.members} == {"train_loss"}
    assert [member.metrics for member in result.bundle.manifest.members] == [{}, {}, {}]


def test_json_has_the_members(make_executor, load):
    told = make_executor(load(), seeds=2).execute().to_json()
    assert [member["seed"] for member in told["members"]] == [3, 4]
    assert {member["monitor"] for member in told["members"]} == {"val_loss"}
    assert json.loads(json.dumps(told)) == told


class CancelAtLook(Cancellation):
    """Cancelled when it is looked at for the n-th time."""

    def __init__(self, looks):
        super().__init__()
        self.looks = looks

    @property
    def requested(self):
        self.looks -= 1
        if self.looks == 0:
            self.cancel("enough")
        return super().requested


@pytest.fixture
def trained_seeds(monkeypatch):
    """Seeds of the trainings that the backend began."""
    from ktrdr_ml_example.training import Trainer

    seen = []
    honest = Trainer.train
    monkeypatch.setattr(
        Trainer,
        "train",
        lambda self, task, *given, **more: seen.append(task.seed) or honest(self, task, *given, **more),
    )
    return seen


def test_cancelled_anywhere_and_resumed_it_ends_the_same_and_repeats_no_finished_member(
    make_executor, load, trained_seeds
):
    whole = make_executor(load(), seeds=3).execute().bundle.manifest
    trained_seeds.clear()
    cancelled = 0
    for looks in itertools.chain([40, 75, 90], itertools.repeat(10**9)):
        executor = make_executor(load(), seeds=3, resume=cancelled > 0, cancellation=CancelAtLook(looks))
        try:
            result = executor.execute()
            break
        except CancelledError:
            cancelled += 1
            assert executor.checkpoint is not None
    assert cancelled == 3
    assert result.resumed
    assert result.bundle.manifest.model_dump(exclude={"version", "created"}) == whole.model_dump(
        exclude={"version", "created"}
    )
    # Each interruption begins one member twice, and none that was finished.
    assert len(trained_seeds) <= 3 + cancelled
    assert trained_seeds == sorted(trained_seeds)
    assert executor.checkpoint is None


def test_cancelled_between_two_members_it_resumes_without_a_checkpoint(make_executor, load, trained_seeds):
    cancellation = Cancellation()
    executor = make_executor(
        load(),
        seeds=3,
        cancellation=cancellation,
        progress=lambda event: cancellation.cancel("enough") if event.step == "evaluation" else None,
    )
    with pytest.raises(CancelledError):
        executor.execute()
    assert executor.checkpoint is not None
    trained_seeds.clear()
    events = []
    assert make_executor(load(), seeds=3, resume=True, progress=events.append).execute().resumed
    assert trained_seeds == []
    assert "3 of 3 are already trained" in [event.message for event in events if event.step == "training"]


def test_the_members_of_another_number_of_seeds_are_another_run(make_executor, load):
    executor = make_executor(load(), seeds=3, cancellation=CancelAtLook(80))
    with pytest.raises(CancelledError):
        executor.execute()
    for changed in ({"seeds": 4}, {"seeds": 3, "seed": 4}, {}):
        with pytest.raises(NothingToResumeError):
            make_executor(load(), resume=True, **changed).execute()
    events = []
    result = make_executor(load(), seeds=3, progress=events.append).execute()
    assert not result.resumed
    assert any("is discarded" in event.message for event in events if event.step == "checkpoint")


def test_seeds_that_diverge_are_left_out_and_most_of_them_refused(make_executor, load, model_store, monkeypatch):
    from ktrdr_ml_example.training import Trainer

    honest = Trainer.train
    diverging = {4}

    def train(self, task, *given, **more):
        if task.seed in diverging:
            raise BadInputError(f"the loss of seed {task.seed} became NaN; lower `training.learning_rate`")
        return honest(self, task, *given, **more)

    monkeypatch.setattr(Trainer, "train", train)
    manifest = make_executor(load(), seeds=3).execute().bundle.manifest
    assert [member.seed for member in manifest.members] == [3, 5]
    assert manifest.warnings[0].startswith("seed 4 is left out, because its training failed: the loss of seed 4 became")
    diverging |= {3}
    with pytest.raises(BadInputError, match=r"^2 of 3 seeds failed, .*the first of them, seed 3: the loss of seed 3"):
        make_executor(load(), seeds=3).execute()
    assert model_store.versions("waves") == (1,)


def test_it_is_said_if_the_seed_changes_nothing(make_executor, load, monkeypatch):
    from ktrdr_ml_example.training import Trainer

    told = "the seed changes nothing for softmax_regression: all 3 models have the same metrics"
    assert told not in str(make_executor(load(), seeds=3).execute().bundle.manifest.warnings)
    honest = Trainer.train
    monkeypatch.setattr(
        Trainer, "train", lambda self, task, *given, **more: honest(self, replace(task, seed=3), *given, **more)
    )
    for ensemble in (False, True):
        manifest = make_executor(load(), seeds=3, ensemble=ensemble).execute().bundle.manifest
        assert told in str(manifest.warnings)
    assert told not in str(make_executor(load()).execute().bundle.manifest.warnings)


def test_features_are_made_once(make_executor, load):
    events = []
    make_executor(load(), seeds=4, progress=events.append).execute()
    assert [event.step for event in events if event.step in ("split", "features") and event.fraction == 1] == [
        "split",
        "features",
    ]


ENSEMBLE = ("{type: softmax_regression}", "{type: ensemble, of: {type: softmax_regression}, members: {seeds: 3}}")


def test_with_ensemble_all_are_kept_as_by_a_strategy_that_is_an_ensemble(make_executor, load, model_store):
    made = make_executor(load(), seeds=3, ensemble=True).execute()
    written = make_executor(load(*ENSEMBLE)).execute()
    assert made.bundle.strategy == written.bundle.strategy
    other = {"strategy.yaml"}
    files = [
        {name: own for name, own in each.bundle.manifest.files.items() if name not in other} for each in (made, written)
    ]
    assert files[0] == files[1]
    different = {"version", "created", "files"}
    assert made.bundle.manifest.model_dump(exclude=different) == written.bundle.manifest.model_dump(exclude=different)
    assert made.look.changes == {"seeds": 3, "ensemble": True}
    assert (made.look.trial, made.look.seed) == (written.look.trial, 3)
    model_store.verify("waves/1")
    for number, member in enumerate(made.bundle.manifest.members, 1):
        alone = make_executor(load(), seed=member.seed).execute().bundle
        weights = next(name for name in alone.manifest.files if name.startswith("weights."))
        assert made.bundle.manifest.files[f"members/{number:02d}/{weights}"] == alone.manifest.files[weights]


def test_an_ensemble_of_a_strategy_that_is_none_must_be_the_one_that_a_run_makes(make_executor, load):
    bundle = make_executor(load(), seeds=3, ensemble=True).execute().bundle
    forged = bundle.strategy.model_copy(update={"model": bundle.strategy.model.model_copy(update={"vote": "majority"})})
    with pytest.raises(BundleError, match="says 'average' for `model.vote`, manifest.json has 'majority'"):
        replace(bundle, manifest=bundle.manifest.model_copy(update={"strategy": forged})).verify()


def test_a_cancelled_ensemble_goes_on_with_the_members_that_are_finished(make_executor, load, trained_seeds):
    whole = make_executor(load(), seeds=3, ensemble=True).execute().bundle.manifest
    trained_seeds.clear()
    executor = make_executor(load(), seeds=3, ensemble=True, cancellation=CancelAtLook(100))
    with pytest.raises(CancelledError):
        executor.execute()
    # Written in the strategy or asked for: the same run.
    result = make_executor(load(*ENSEMBLE), resume=True).execute()
    assert result.resumed
    assert len(trained_seeds) == 4
    assert result.bundle.manifest.members == whole.members
    assert result.bundle.manifest.weights_hash == whole.weights_hash
