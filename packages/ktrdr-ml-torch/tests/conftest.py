"""Small problems, and short ways to train on them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ktrdr.core.plugins import Split
from ktrdr.core.testing.learning_problems import Problem, make_problem
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.torch.declaration import MODEL_TYPES
from ktrdr.ml.torch.torch_trainer import TorchTrainer

SMALL = {
    "mlp": {"hidden_layers": [16]},
    "lstm": {"sequence_length": 5, "hidden_size": 8},
    "gru": {"sequence_length": 5, "hidden_size": 8},
}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The networks here are small, and so are the machines that test them."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def first_optimizer():
    """Let torch's first one import what it needs, and compile it where all is new: it is no test's own work."""
    torch.optim.SGD([torch.zeros(1)], lr=1.0)


@pytest.fixture(scope="session")
def problem():
    """Return ``problem(model_type, output, architecture=, settings=, ...)``."""

    def make(name="mlp", output="classification", *, architecture=None, settings=None, **changes):
        return make_problem(
            MODEL_TYPES[name],
            output,
            architecture={**SMALL.get(name, {}), **(architecture or {})},
            settings={"early_stopping": None, **(settings or {})},
            **changes,
        )

    return make


@pytest.fixture(scope="session")
def train():
    """Return ``train(problem)``: the trained model."""

    def run(given, *, progress=NO_PROGRESS, cancellation=None, checkpoint=None):
        return TorchTrainer().train(
            given.task,
            given.data,
            progress=progress,
            cancellation=cancellation or Cancellation(),
            checkpoint=checkpoint,
        )

    return run


@pytest.fixture(scope="session")
def with_train():
    """Return ``with_train(problem, **fields)``: the same problem with another training part."""

    def change(given, **fields):
        return Problem(
            given.task, dataclasses.replace(given.data, train=dataclasses.replace(given.data.train, **fields))
        )

    return change


@pytest.fixture(scope="session")
def without_validation():
    """Return ``without_validation(problem)``."""

    def change(given):
        empty = Split(*(array[:0] for array in dataclasses.astuple(given.data.validation)))
        return Problem(given.task, dataclasses.replace(given.data, validation=empty))

    return change


@pytest.fixture(scope="session")
def same():
    """Return ``same(model, other)``: whether all their tensors are equal, bit for bit."""

    def compare(model, other):
        assert set(model.tensors) == set(other.tensors)
        return all(np.array_equal(model.tensors[name].numpy(), other.tensors[name].numpy()) for name in model.tensors)

    return compare


class CancelledAt(Cancellation):
    """Cancelled when it has been asked ``times`` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    @property
    def requested(self) -> bool:
        self.left -= 1
        if self.left == 0:
            self.cancel()
        return super().requested


@pytest.fixture
def cancelled_at() -> type[CancelledAt]:
    """A cancellation of the third time it is asked for, say: ``cancelled_at(3)``."""
    return CancelledAt
