"""The kit's tests of populations, on a backend in numpy that keeps the promise, and wrong ones that each break it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins import EpochRecord, ModelType, PluginInfo
from ktrdr.core.strategy.model import Training
from ktrdr.core.testing import MLBackendConformance
from ktrdr.core.testing.learning_problems import NOT_SETTINGS
from ktrdr.core.testing.population_problems import CHOICES, NEVER, draw_population
from ktrdr.core.work import ProgressEvent

LINEAR = ModelType(
    name="linear",
    description="A sum of columns, learned by noisy gradient steps.",
    outputs=("regression",),
    architecture=(
        Parameter("hidden_layers", "int_list", (3,), minimum=1, maximum=100),
        Parameter("noise", "float", 0.001, minimum=0),
    ),
    training_keys=frozenset(
        {"epochs", "batch_size", "learning_rate", "weight_decay", "gradient_clip", "early_stopping"}
    ),
    member_parameters=frozenset({"noise"}),
)


@dataclass
class Model:
    weights: np.ndarray
    history: tuple[EpochRecord, ...]
    best_epoch: int

    def predictor(self) -> Any:
        raise NotImplementedError


class Storage:
    def save(self, model, directory):
        (directory / "weights.bin").write_bytes(model.weights.tobytes())
        return {}


@dataclass
class Run:
    """The training of one member, an epoch at a time. Everything random is a function of seed and epoch."""

    task: Any
    data: Any
    weights: np.ndarray = field(init=False)
    best: np.ndarray = field(init=False)
    losses: list[float] = field(default_factory=list)

    def __post_init__(self):
        # Each layer of the architecture is one more value, so that architectures differ.
        width = len(self.task.feature_ids) + sum(self.task.architecture["hidden_layers"])
        self.weights = self.best = np.random.default_rng(self.task.seed).normal(0, 0.1, width)

    @property
    def over(self):
        settings, stopping = self.task.settings, self.task.settings["early_stopping"]
        waited = len(self.losses) - (int(np.argmin(self.losses)) + 1 if self.losses else 0)
        return len(self.losses) >= settings["epochs"] or bool(stopping and waited >= stopping["patience"])

    def epoch(self, random=None):
        settings, split = self.task.settings, self.data.train
        random = random or np.random.default_rng([self.task.seed, len(self.losses)])
        order = random.permutation(len(split))
        columns = len(self.task.feature_ids)
        with np.errstate(all="ignore"):
            for first in range(0, len(order), settings["batch_size"]):
                rows = order[first : first + settings["batch_size"]]
                x = self.data.features[split.rows[rows]].astype(np.float64)
                error = (x @ self.weights[:columns] - split.labels[rows]) * split.weights[rows]
                gradient = x.T @ error / len(rows) + settings["weight_decay"] * self.weights[:columns]
                if settings["gradient_clip"]:
                    gradient *= min(1.0, settings["gradient_clip"] / max(np.linalg.norm(gradient), 1e-12))
                noise = random.normal(0, self.task.architecture["noise"], columns)
                self.weights = self.weights.copy()
                self.weights[:columns] -= settings["learning_rate"] * (gradient + noise)
            x = self.data.features[split.rows].astype(np.float64)
            loss = float(np.mean((x @ self.weights[:columns] - split.labels) ** 2))
        if not np.isfinite(loss):
            raise BadInputError(f"the loss became infinite or NaN in epoch {len(self.losses) + 1}")
        if not self.losses or loss < min(self.losses):
            self.best = self.weights
        self.losses.append(loss)

    def model(self):
        records = tuple(EpochRecord(number, {"train_loss": loss}) for number, loss in enumerate(self.losses, 1))
        return Model(self.best, records, int(np.argmin(self.losses)) + 1)

    def state(self):
        return [self.weights.tolist(), self.best.tolist(), self.losses]

    def restore(self, state):
        self.weights, self.best, self.losses = np.array(state[0]), np.array(state[1]), state[2]


class Trainer:
    """Trains a population in turns, an epoch of each member; every method is one that a wrong backend gets wrong."""

    def train(self, task, data, *, progress, cancellation, checkpoint):
        cancellation.raise_if_requested()
        run = Run(task, data)
        while not run.over:
            if cancellation.requested:
                cancellation.raise_if_requested()
            run.epoch()
        return run.model()

    def train_many(self, members, *, progress, cancellation, checkpoint, resources):
        self.check(resources)
        runs = self.start(members)
        outcomes: list[Any] = [None] * len(runs)
        self.resume(members, runs, outcomes, checkpoint)
        while unfinished := [number for number, outcome in enumerate(outcomes) if outcome is None]:
            if cancellation.requested:
                if checkpoint:
                    checkpoint.save(0, lambda directory: self.write(members, runs, outcomes, directory))
                cancellation.raise_if_requested()
            for number in unfinished:
                outcomes[number] = self.turn(members[number], runs[number], number, len(unfinished))
            done = sum(outcome is not None for outcome in outcomes)
            self.tell(progress, done, len(members))
            if checkpoint and checkpoint.due(1):
                checkpoint.save(0, lambda directory: self.write(members, runs, outcomes, directory))
        return outcomes

    def check(self, resources):
        if resources.memory < 5_000:
            raise BadInputError(f"{resources.memory} bytes of memory are too few for one member; give at least 5000")

    def start(self, members):
        return [Run(member.task, member.data) for member in members]

    def turn(self, member, run, number, others):
        try:
            if member.cancellation and member.cancellation.requested:
                member.cancellation.raise_if_requested()
            self.epoch(run, number, others)
        except (BadInputError, CancelledError) as error:
            return error
        return run.model() if self.over(run) else None

    def epoch(self, run, number, others):
        run.epoch()

    def over(self, run):
        return run.over

    def tell(self, progress, done, total):
        if done == total:
            progress(ProgressEvent("training", done, total, "members", 1.0))

    def write(self, members, runs, outcomes, directory):
        errors = [
            [type(outcome).__name__, str(outcome)] if isinstance(outcome, Exception) else None for outcome in outcomes
        ]
        seeds = [member.task.seed for member in members]
        text = json.dumps([seeds, [run.state() for run in runs], errors])
        (directory / "population.json").write_text(text, encoding="utf-8")

    def resume(self, members, runs, outcomes, checkpoint):
        latest = checkpoint.latest() if checkpoint else None
        if latest is None:
            return
        seeds, states, errors = json.loads((latest / "population.json").read_text(encoding="utf-8"))
        if seeds != [member.task.seed for member in members]:
            raise BadInputError("the checkpoint is of another population")
        for number, (run, state, error) in enumerate(zip(runs, states, errors, strict=True)):
            run.restore(state)
            if error:
                outcomes[number] = (BadInputError if error[0] == "BadInputError" else CancelledError)(error[1])
            elif run.losses and run.over:
                outcomes[number] = run.model()


@dataclass
class Plugins:
    """The kit with this backend, called as pytest does."""

    trainer: Any

    def kit(self):
        trainer = self.trainer

        class Kit(MLBackendConformance):
            plugin = "toy"
            population_architectures = {"linear": ({"hidden_layers": [7]}, {"hidden_layers": [13, 50]})}

            @classmethod
            def _info(cls):
                return PluginInfo(name="toy", version="1", contract="2.1", model_types=(LINEAR,))

            def _trainer(self):
                return trainer()

            def _storage(self):
                return Storage()

        return Kit()


def random_ones(kit, path):
    for number in (*range(6), 20, 40):
        (path / f"population {number}").mkdir()
        kit.test_members_of_random_populations_are_as_alone(
            LINEAR, range(number, number + 1), path / f"population {number}"
        )


def early(kit, path):
    kit.test_a_member_that_ends_early_does_not_touch_the_others(LINEAR, path)


def order(kit, path):
    kit.test_order_neighbours_and_resources_have_no_effect(LINEAR, path)


def budget(kit, path):
    kit.test_a_budget_for_no_member_is_refused(LINEAR, path)


def counted(kit, path):
    kit.test_progress_counts_members(LINEAR)


def cancelled_first(kit, path):
    kit.test_a_population_that_is_cancelled_before_it_starts(LINEAR)


def resumed(kit, path):
    for share in (0.1, 0.4, 0.7, 0.95):
        (path / str(share)).mkdir()
        kit.test_a_cancelled_population_resumes(LINEAR, share, share < 0.5, path / str(share))


def any_checkpoint(kit, path):
    kit.test_a_population_resumes_from_any_checkpoint(LINEAR, True, path)


def threaded(kit, path):
    kit.test_a_population_trains_in_a_thread(LINEAR, path)


def refused(kit, path):
    kit.test_members_of_other_architectures_are_refused(LINEAR)


TESTS = (
    random_ones, early, order, budget, counted, cancelled_first, resumed, any_checkpoint, threaded, refused
)  # fmt: skip


class OneByOne(Trainer):
    """Without the ability."""

    train_many = None

    def __getattribute__(self, name):
        if name == "train_many":
            raise AttributeError(name)
        return super().__getattribute__(name)

    def train(self, task, data, *, progress, **rest):
        model = super().train(task, data, progress=progress, **rest)
        progress(ProgressEvent("training", 1, 1, "epochs", 1.0))
        return model


@pytest.mark.parametrize("trainer", [Trainer, OneByOne])
@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
def test_a_backend_that_keeps_the_promise_passes(trainer, test, tmp_path):
    test(Plugins(trainer).kit(), tmp_path)


class TouchedByDivergence(Trainer):
    """The loss of one member reaches the weights of all."""

    def start(self, members):
        self.broken = False
        return super().start(members)

    def epoch(self, run, number, others):
        if self.broken:
            run.weights = run.weights * (1 + 1e-15)
        try:
            run.epoch()
        except BadInputError:
            self.broken = True
            raise


class CommonGenerator(Trainer):
    """One generator for all members."""

    def start(self, members):
        self.random = np.random.default_rng(members[0].task.seed)
        return super().start(members)

    def epoch(self, run, number, others):
        run.epoch(self.random)


class DependsOnOrder(Trainer):
    """The second member is a bit different from the first."""

    def epoch(self, run, number, others):
        run.epoch()
        if number == 1:
            run.weights = np.nextafter(run.weights, 1)


class DependsOnNumber(Trainer):
    """A sum over a large stack is in another order."""

    def epoch(self, run, number, others):
        run.epoch()
        if others > 32:
            run.losses[-1] = float(np.nextafter(run.losses[-1], 1))


class StopsTogether(Trainer):
    """All members train as many epochs as the one with the fewest."""

    def start(self, members):
        self.fewest = min(member.task.settings["epochs"] for member in members)
        return super().start(members)

    def over(self, run):
        return run.over or len(run.losses) >= self.fewest


class SettingsOfTheFirst(Trainer):
    """All members have the learning rate of the first."""

    def start(self, members):
        rate = members[0].task.settings["learning_rate"]
        return [
            Run(replace(each.task, settings={**each.task.settings, "learning_rate": rate}), each.data)
            for each in members
        ]


class SamplesOfTheFirst(Trainer):
    """All members have the validation and training rows of the first."""

    def start(self, members):
        return [Run(each.task, members[0].data) for each in members]


class KeepsTheLast(Trainer):
    """The weights are those of the last epoch, not of the best."""

    def over(self, run):
        run.best = run.weights
        return run.over


class RaisesForAll(Trainer):
    """An error of one member ends the population."""

    def turn(self, member, run, number, others):
        outcome = super().turn(member, run, number, others)
        if isinstance(outcome, BadInputError):
            raise outcome
        return outcome


class IgnoresItsMembersCancellations(Trainer):
    def turn(self, member, run, number, others):
        return super().turn(replace(member, cancellation=None), run, number, others)


class ForgetsWhatItWasTold(Trainer):
    """Asks, and trains on."""

    def turn(self, member, run, number, others):
        if member.cancellation:
            assert member.cancellation.requested is not None
        return super().turn(replace(member, cancellation=None), run, number, others)


class ChangesATask(Trainer):
    def start(self, members):
        for member in members:
            member.task.settings["epochs"] = min(member.task.settings["epochs"], 1000)
            member.task.settings["seen"] = True
        return super().start(members)


class NeedsNoMemory(Trainer):
    def check(self, resources):
        pass


class TooMuchMemory(Trainer):
    def check(self, resources):
        if resources.memory < 2**40:
            raise BadInputError("the memory does not suffice; give 2**40 bytes")


class CountsEpochs(Trainer):
    def tell(self, progress, done, total):
        progress(ProgressEvent("training", done, total, "epochs", done / total))


class TellsTooOften(Trainer):
    def tell(self, progress, done, total):
        for _ in range(12):
            progress(ProgressEvent("training", done, total, "members", done / total))


class NeverTellsTheEnd(Trainer):
    def tell(self, progress, done, total):
        progress(ProgressEvent("training", 0, total, "members", 0.0))


class HearsNothing(Trainer):
    """Trains to the end whatever its cancellation says."""

    def train_many(self, members, *, cancellation, **rest):
        assert cancellation.requested in (False, True)
        assert cancellation.requested in (False, True)
        return super().train_many(members, cancellation=type("Deaf", (), {"requested": False})(), **rest)


class NoCheckpoint(Trainer):
    def train_many(self, members, *, checkpoint, **rest):
        return super().train_many(members, checkpoint=None, **rest)


class LosesHistory(Trainer):
    """A resumed member has lost the epochs before."""

    def resume(self, members, runs, outcomes, checkpoint):
        super().resume(members, runs, outcomes, checkpoint)
        for run in runs:
            run.losses = run.losses[-1:]


class TakesAnyCheckpoint(Trainer):
    def write(self, members, runs, outcomes, directory):
        super().write([], [], [], directory)

    def resume(self, members, runs, outcomes, checkpoint):
        pass


WRONG = [
    (TouchedByDivergence, early),
    (TouchedByDivergence, random_ones),
    (CommonGenerator, random_ones),
    (CommonGenerator, order),
    (CommonGenerator, threaded),
    (DependsOnOrder, random_ones),
    (DependsOnOrder, order),
    (DependsOnNumber, random_ones),
    (StopsTogether, random_ones),
    (SettingsOfTheFirst, random_ones),
    (SamplesOfTheFirst, random_ones),
    (KeepsTheLast, random_ones),
    (RaisesForAll, early),
    (RaisesForAll, random_ones),
    (IgnoresItsMembersCancellations, early),
    (ForgetsWhatItWasTold, early),
    (ChangesATask, random_ones),
    (NeedsNoMemory, budget),
    (TooMuchMemory, budget),
    (CountsEpochs, counted),
    (TellsTooOften, counted),
    (NeverTellsTheEnd, counted),
    (HearsNothing, cancelled_first),
    (HearsNothing, resumed),
    (NoCheckpoint, resumed),
    (NoCheckpoint, any_checkpoint),
    (LosesHistory, resumed),
    (LosesHistory, any_checkpoint),
    (TakesAnyCheckpoint, any_checkpoint),
]


@pytest.mark.parametrize(
    ("trainer", "test"), WRONG, ids=[f"{trainer.__name__}-{test.__name__}" for trainer, test in WRONG]
)
def test_a_backend_that_breaks_the_promise_fails(trainer, test, tmp_path):
    # A refusal of the whole population, and the absence of one, are seen as what they are.
    with pytest.raises((AssertionError, BadInputError, pytest.fail.Exception)):
        test(Plugins(trainer).kit(), tmp_path)


def test_every_setting_of_a_training_is_drawn():
    assert set(CHOICES) == set(Training.model_fields) - NOT_SETTINGS


def test_a_population_is_drawn_by_its_number_alone():
    first, again, other = (draw_population(LINEAR, number) for number in (3, 3, 4))
    for one, two in zip(first.members, again.members, strict=True):
        assert one.task == two.task
        np.testing.assert_array_equal(one.data.train.rows, two.data.train.rows)
        np.testing.assert_array_equal(one.data.features, two.data.features)
    assert [each.task for each in first.members] != [each.task for each in other.members][: len(first.members)]


def test_the_200_populations_have_what_a_stack_may_stumble_over():
    drawn = [member for number in range(200) for member in draw_population(LINEAR, number).members]
    sizes = [len(draw_population(LINEAR, number).members) for number in range(200)]
    assert {1, 5, 64} <= set(sizes)
    assert {len(each.task.feature_ids) for each in drawn} >= {1, 7, 13, 50}
    assert {width for each in drawn for width in each.task.architecture["hidden_layers"]} >= {7, 13, 50}
    batches = [(each.task.settings["batch_size"], len(each.data.train)) for each in drawn]
    assert any(batch == 37 and count % batch == 1 and count > batch for batch, count in batches)
    assert any(count < batch for batch, count in batches)
    for name in LINEAR.training_keys:
        assert len({json.dumps(each.task.settings[name]) for each in drawn}) > 2, name
    assert {each.cancelled_at for each in drawn} >= {NEVER, 0, 1, 2}
    assert any(not len(each.data.validation) for each in drawn)
    assert any(each.task.settings["learning_rate"] > 1 for each in drawn)
    for each in drawn:
        train, validation = set(each.data.train.rows), set(each.data.validation.rows)
        assert not train & validation
        assert max(train | validation) < len(each.data.features)
    # Rows of the two parts lie between each other, in one shared matrix.
    assert sum(np.diff(each.data.train.rows).max() > 1 for each in drawn) > len(drawn) * 0.9
    shared = draw_population(LINEAR, 20).members
    assert 1 < len({id(each.data.features) for each in shared}) < len(shared) / 2
