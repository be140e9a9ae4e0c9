"""Killed, cancelled, damaged: a resumed run ends as if nothing had happened, or says why it cannot go on."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
from types import MappingProxyType

import numpy as np
import pytest
import torch

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.plugins import EpochRecord, Member, Resources
from ktrdr.core.testing.learning_problems import Problem
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.torch import feed, population_keeper, stack
from ktrdr.ml.torch.checkpoints import Finished, State, fingerprint, read_state, write_state
from ktrdr.ml.torch.consequents import RIDGES
from ktrdr.ml.torch.torch_trainer import TorchTrainer

PLATEAU = {"type": "reduce_on_plateau", "parameters": {"factor": 0.5, "patience": 0, "threshold": 0.1, "min_lr": 0.0}}
STOPPING = {"patience": 30, "min_delta": 0.0, "monitor": "val_loss"}

CASES = {
    "mlp": (
        "mlp",
        {"dropout": 0.3, "batch_norm": True},
        {"lr_scheduler": PLATEAU, "early_stopping": STOPPING, "gradient_clip": 1.0},
    ),
    "gru": ("gru", {"dropout": 0.3}, {"optimizer": "sgd", "momentum": 0.9, "class_weights": "balanced"}),
    "anfis": (
        "anfis",
        {"learn_memberships": True, "learning": "gradient"},
        {"optimizer": "rmsprop", "momentum": 0.5, "learning_rate": 1e-3},
    ),
}


@pytest.fixture
def case(problem):
    def make(name, **settings):
        kind, architecture, given = CASES[name]
        return problem(kind, architecture=architecture, settings={**given, **settings})

    return make


CHILD = """
import json, os, signal, sys, threading, time
from pathlib import Path
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.core.testing.learning_problems import make_problem
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.ml.torch import population_keeper
from ktrdr.ml.torch.declaration import MODEL_TYPES
from ktrdr.ml.torch.torch_trainer import TorchTrainer
population_keeper._SECONDS_BETWEEN_QUESTIONS = 0.0
kind, architecture, settings = json.loads(sys.argv[1])
given = make_problem(MODEL_TYPES[kind], "classification", architecture=architecture, settings=settings)
directory, last = Path(sys.argv[2]), int(sys.argv[3])

def kill():
    while not any(int(path.name[-8:]) >= last for path in directory.glob("checkpoint-*")):
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
checkpoint = DirectoryCheckpoint(directory, every_seconds=1e-9)
TorchTrainer().train(given.task, given.data, progress=NO_PROGRESS, cancellation=Cancellation(), checkpoint=checkpoint)
"""


@pytest.mark.parametrize("name", ["mlp", "gru"])
def test_killed_at_a_random_batch_and_resumed(case, train, same, tmp_path, name):
    given = case(name, epochs=12)
    child = [
        sys.executable,
        "-c",
        CHILD,
        json.dumps([given.task.model_type, dict(given.task.architecture), dict(given.task.settings)]),
        tmp_path,
    ]
    # Eight batches and an evaluation make an epoch of nine checkpoints. The child kills itself: it goes no further
    # while it waits for a processor.
    kill = random.randrange(2, 40)
    done = subprocess.run([*child, str(kill)], env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL, kill
    checkpoint = DirectoryCheckpoint(tmp_path)
    state = json.loads((checkpoint.latest() / "state.json").read_text())
    resumed = train(given, checkpoint=checkpoint)
    expected = train(given)
    current = state["current"][0]["numbers"]
    place = f"killed at {kill}; resumed in epoch {current['epoch'] + 1}, batch {current['batch']}"
    assert resumed.history == expected.history, place
    assert same(resumed, expected), place


@pytest.mark.parametrize("name", sorted(CASES))
def test_cancelled_again_and_again(case, train, same, cancelled_at, tmp_path, name):
    """After every fifth question, in batches and in evaluations alike."""
    # The first solution of rules is kept whole, not in parts.
    questions = 5 if name != "anfis" else len(RIDGES) + 6
    given = case(name, epochs=4)
    interruptions = 0
    while True:
        try:
            resumed = train(given, cancellation=cancelled_at(questions), checkpoint=DirectoryCheckpoint(tmp_path))
            break
        except CancelledError:
            interruptions += 1
    assert interruptions >= (6 if name != "anfis" else 2)
    expected = train(given)
    assert same(resumed, expected)
    assert resumed.history == expected.history
    assert resumed.best_epoch == expected.best_epoch


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_every_optimizer_takes_its_state_along(problem, train, same, cancelled_at, tmp_path, optimizer, momentum):
    if optimizer in ("adam", "adamw"):
        momentum = 0.0
    given = problem(settings={"optimizer": optimizer, "momentum": momentum, "learning_rate": 1e-3})
    with pytest.raises(CancelledError):
        train(given, cancellation=cancelled_at(13), checkpoint=DirectoryCheckpoint(tmp_path))
    assert same(train(given, checkpoint=DirectoryCheckpoint(tmp_path)), train(given))


@pytest.mark.parametrize("batches", [1, 3, 8])
def test_neither_blocks_nor_where_they_are_cut_change_the_run(
    problem, train, same, cancelled_at, tmp_path, monkeypatch, batches
):
    """Batches are gathered, drawn and counted some at a time; a resumed epoch begins inside of a block."""
    given = problem(architecture={"dropout": 0.3}, settings={"class_weights": "balanced"})
    expected = train(given)
    samples = batches * given.task.settings["batch_size"]
    monkeypatch.setattr(feed, "_SAMPLES", 2 * samples)
    monkeypatch.setattr(feed, "_FEATURES", samples * len(given.task.feature_ids))
    monkeypatch.setattr(feed, "_MASKS", samples * sum(given.task.architecture["hidden_layers"]))
    monkeypatch.setattr(stack, "_BATCHES_BETWEEN_COUNTS", batches + 1)
    assert train(given).history == expected.history
    with pytest.raises(CancelledError):
        train(given, cancellation=cancelled_at(6), checkpoint=DirectoryCheckpoint(tmp_path))
    resumed = train(given, checkpoint=DirectoryCheckpoint(tmp_path))
    assert resumed.history == expected.history
    assert same(resumed, expected)


def test_a_finished_run_resumes_to_the_same_model(problem, train, same, tmp_path):
    given = problem()
    model = train(given, checkpoint=DirectoryCheckpoint(tmp_path))
    again = train(given, checkpoint=DirectoryCheckpoint(tmp_path))
    assert same(model, again)
    assert again.history == model.history


def test_no_batch_is_trained_after_cancellation(problem, train, monkeypatch):
    given = problem(settings={"epochs": 50})
    cancellation, seen = Cancellation(), []
    step = stack.Stack._step

    def watched(self, active, gradient):
        seen.append(cancellation.requested)
        if len(seen) == 21:
            cancellation.cancel()
        step(self, active, gradient)

    monkeypatch.setattr(stack.Stack, "_step", watched)
    with pytest.raises(CancelledError):
        train(given, cancellation=cancellation)
    assert len(seen) == 21


def test_a_long_epoch_is_saved_in_between(problem, train, tmp_path, monkeypatch):
    monkeypatch.setattr(population_keeper, "_SECONDS_BETWEEN_QUESTIONS", 0.0)
    saved = []

    class Often(DirectoryCheckpoint):
        def save(self, epoch, write):
            super().save(epoch, write)
            current = json.loads((self.latest() / "state.json").read_text())["current"]
            saved.append(current[0]["numbers"]["batch"] if current else None)

    train(problem(settings={"epochs": 1}), checkpoint=Often(tmp_path, every_seconds=1e-9))
    assert saved == [1, 2, 3, 4, 5, 6, 7, 8, None]


def test_a_checkpoint_of_another_run_is_refused(problem, train, with_train, tmp_path):
    given = problem()
    train(given, checkpoint=DirectoryCheckpoint(tmp_path))
    labels = given.data.train.labels.copy()
    labels[0] = (labels[0] + 1) % 3
    features = given.data.features.copy()
    features[0, 0] += 0.5
    others = [
        problem(seed=8),
        problem(settings={"learning_rate": 0.02}),
        problem(architecture={"dropout": 0.1}),
        with_train(given, labels=labels),
        Problem(given.task, dataclasses.replace(given.data, features=features)),
    ]
    for other in others:
        with pytest.raises(BadInputError, match="cannot be resumed: it is of a run with another strategy, other data"):
            train(other, checkpoint=DirectoryCheckpoint(tmp_path))
    train(given, checkpoint=DirectoryCheckpoint(tmp_path))


def test_a_fingerprint_depends_on_content_not_on_kinds_of_mappings(problem):
    given = problem("anfis")
    frozen = dataclasses.replace(
        given.task,
        architecture=MappingProxyType(dict(given.task.architecture)),
        settings=MappingProxyType({key: given.task.settings[key] for key in reversed(given.task.settings)}),
        crisp_inputs=tuple(
            dataclasses.replace(crisp, functions=MappingProxyType(dict(crisp.functions)))
            for crisp in given.task.crisp_inputs
        ),
    )
    cpu = torch.device("cpu")
    assert fingerprint([Member(frozen, given.data)], cpu) == fingerprint([Member(given.task, given.data)], cpu)


def test_a_checkpoint_of_many_members_can_be_read(tmp_path):
    def finished(number):
        if number % 100 == 1:
            return Finished({}, [], 0, "cancelled", cancelled=True)
        tensors = {f"layer {name}": torch.full((2, 3), float(number + name)) for name in range(40)}
        return Finished(tensors, [EpochRecord(1, {"train_loss": number / 7})], 1)

    state = State({number: finished(number) for number in (*range(900, 400, -1), 3)})
    write_state(tmp_path, state, "run")
    found = read_state(tmp_path, "run")
    assert list(found.finished) == list(state.finished)
    for number, own in found.finished.items():
        wanted = state.finished[number]
        assert (own.history, own.best_epoch, own.error, own.cancelled) == (
            wanted.history, wanted.best_epoch, wanted.error, wanted.cancelled
        )  # fmt: skip
        assert own.tensors.keys() == wanted.tensors.keys()
        assert all(torch.equal(own.tensors[name], tensor) for name, tensor in wanted.tensors.items())
        assert all(tensor.storage_offset() == 0 for tensor in own.tensors.values())


@pytest.mark.parametrize("file", ["state.json", "state.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "other", "strange"])
def test_a_damaged_checkpoint_is_refused_in_a_sentence(problem, train, tmp_path, file, damage):
    given = problem()
    train(given, checkpoint=DirectoryCheckpoint(tmp_path))
    path = DirectoryCheckpoint(tmp_path).latest() / file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        strange = b'{"format": 2}' if file == "state.json" else content.replace(b"finished.", b"finisher.")
        path.write_bytes(
            {"empty": b"", "half": content[: len(content) // 2], "other": b"[]", "strange": strange}[damage]
        )
    with pytest.raises(BadInputError, match="cannot be resumed: .*; train without resuming to start again") as caught:
        train(given, checkpoint=DirectoryCheckpoint(tmp_path))
    assert "\n" not in str(caught.value)


def test_weights_in_a_checkpoint_of_another_shape_are_refused(problem, train, tmp_path):
    from safetensors.numpy import load_file, save_file

    given = problem()
    train(given, checkpoint=DirectoryCheckpoint(tmp_path))
    path = DirectoryCheckpoint(tmp_path).latest() / "state.safetensors"
    tensors = load_file(path)
    tensors["finished.layers.0.weight"] = np.zeros((1, 3, 3), np.float32)
    save_file(tensors, path)
    with pytest.raises(BadInputError, match="cannot be resumed") as caught:
        train(given, checkpoint=DirectoryCheckpoint(tmp_path))
    assert "\n" not in str(caught.value)


POPULATION = """
import json, os, signal, sys, threading, time
from pathlib import Path
from ktrdr.core.plugins import Member, Resources
from ktrdr.core.testing.learning_problems import make_problem
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.torch import population_keeper, stack_plan
from ktrdr.ml.torch.declaration import MODEL_TYPES
from ktrdr.ml.torch.torch_trainer import TorchTrainer
population_keeper._SECONDS_BETWEEN_QUESTIONS = population_keeper._SECONDS_BETWEEN_CHECKPOINTS = 0.0
stack_plan._MOST_MEMBERS = 3
directory, last = Path(sys.argv[1]), int(sys.argv[2])
kind, architecture, settings = json.loads(sys.argv[3])
members = []
for seed in range(5):
    own = {**settings, "epochs": 2 + seed % 3, "learning_rate": 0.01 * (seed + 1)}
    given = make_problem(MODEL_TYPES[kind], "classification", architecture=architecture, settings=own, seed=seed)
    members.append(Member(given.task, given.data))

def kill():
    while not any(int(path.name[-8:]) >= last for path in directory.glob("checkpoint-*")):
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
TorchTrainer().train_many(
    members, progress=NO_PROGRESS, cancellation=Cancellation(),
    checkpoint=DirectoryCheckpoint(directory, every_seconds=1e-9), resources=Resources(memory=10**9, cores=2),
)
"""


def population_of(problem, name):
    kind, architecture, settings = CASES[name]
    return [
        problem(
            kind,
            architecture=architecture,
            settings={**settings, "epochs": 2 + seed % 3, "learning_rate": 0.01 * (seed + 1)},
            seed=seed,
        )
        for seed in range(5)
    ]


def train_many(problems, checkpoint=None, cancellation=None, cores=2):
    return TorchTrainer().train_many(
        [Member(one.task, one.data) for one in problems],
        progress=NO_PROGRESS,
        cancellation=cancellation or Cancellation(),
        checkpoint=checkpoint,
        resources=Resources(memory=10**9, cores=cores),
    )


@pytest.mark.parametrize(
    ("name", "kills"),
    [("mlp", 1), *(pytest.param(name, 10, marks=pytest.mark.slow) for name in ("mlp", "anfis"))],
)
def test_a_population_that_is_killed_at_random_batches_gives_the_same_models(
    problem, train, same, tmp_path, monkeypatch, name, kills
):
    """Each attempt resumes from the checkpoint of the one that was killed before it."""
    given = population_of(problem, name)
    task = given[0].task
    described = json.dumps([task.model_type, dict(task.architecture), dict(task.settings)])
    last = 0
    for _ in range(kills):
        # Two stacks with some twenty checkpoints of epochs, and those of each batch.
        last += random.randrange(2, 12)
        child = [sys.executable, "-c", POPULATION, tmp_path, str(last), described]
        done = subprocess.run(child, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300, check=False)
        assert done.returncode in (-signal.SIGKILL, 0), last
        if done.returncode == 0:
            break
    assert DirectoryCheckpoint(tmp_path).latest() is not None
    for outcome, one in zip(train_many(given, DirectoryCheckpoint(tmp_path)), given, strict=True):
        alone = train(one)
        assert same(outcome, alone), f"killed at {last}"
        assert outcome.history == alone.history
        assert outcome.best_epoch == alone.best_epoch


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_population_that_is_cancelled_again_and_again_gives_the_same_models(
    problem, train, same, cancelled_at, tmp_path, name
):
    questions = 7 if name != "anfis" else 5 * (len(RIDGES) + 6)
    given = population_of(problem, name)
    interruptions = 0
    while True:
        try:
            outcomes = train_many(given, DirectoryCheckpoint(tmp_path), cancelled_at(questions))
            break
        except CancelledError:
            interruptions += 1
    assert interruptions >= (5 if name != "anfis" else 1)
    for outcome, one in zip(outcomes, given, strict=True):
        alone = train(one)
        assert same(outcome, alone)
        assert outcome.history == alone.history
