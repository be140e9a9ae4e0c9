"""Rules learned by least squares and by the optimizer, against bare least squares; and their prediction errors.

    python benchmarks/rules.py [--quick] [--only TEXT] [--json FILE]

The series is that of :mod:`ktrdr.core.testing.mackey_glass`, predicted as by J.-S. R. Jang (1993): from four values
six steps apart, the value six steps later. The first 500 samples are for training and the next 500 for the test. Two
memberships per input, which cross in the middle at 1/2, give 16 rules.

- *ktrdr* is `TorchTrainer.train` of an `anfis` with default settings, including the choice of the ridge, the losses
  and the copy of the best epoch.
- *ktrdr, gradient* is the same with `learning: gradient`, 100 epochs in batches of 32.
- *bare least squares* is a plain implementation: memberships and products in numpy, and `numpy.linalg.lstsq`.

Each has one thread. Both solve for 80 coefficients; ours does so for each ridge that it tries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from harness import Contest, Figure, main
from training import task_of

from ktrdr.core.plugins import CrispInput, Split, TrainingData
from ktrdr.core.testing.mackey_glass import mackey_glass
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.torch.torch_trainer import TorchTrainer

NAME = "training, anfis, 16 rules"
TRAINED = 500


class Problem:
    """The data: ``samples`` training samples, and 500 test samples."""

    def __init__(self, samples: int) -> None:
        x, t = mackey_glass(samples + TRAINED + 124), np.arange(118, 118 + samples + TRAINED)
        self.samples = samples
        self.features = np.stack([x[t - 18], x[t - 12], x[t - 6], x[t]], 1).astype(np.float32)
        self.labels = x[t + 6]
        low, high = float(self.features[:samples].min()), float(self.features[:samples].max())
        self.places, self.width = (low, high), (high - low) / 2
        everything = np.arange(samples)
        parts = (everything, everything[:0])
        train, validation = (
            Split(part, self.labels[part].astype(np.float32), np.ones(len(part), np.float32)) for part in parts
        )
        self.data = TrainingData(self.features, train, validation)

    def errors(self, predicted: np.ndarray) -> tuple[float, float]:
        """Return the root mean squared errors of the training and of the test samples."""
        squares = (predicted - self.labels) ** 2
        return float(np.sqrt(squares[: self.samples].mean())), float(np.sqrt(squares[self.samples :].mean()))


def ours(problem: Problem, *, bells: bool = False, rate: float = 0.001, **architecture: Any) -> Any:
    """Train with the backend, with default settings except those given; return the model."""
    torch.set_num_threads(1)
    sigma = problem.width / math.sqrt(2 * math.log(2))
    functions = {
        name: ("bell", (problem.width, 2.0, place)) if bells else ("gaussian", (place, sigma))
        for name, place in zip(("low", "high"), problem.places, strict=True)
    }
    task = task_of("anfis", 32, 100, "cpu", **architecture)
    settings = {**task.settings, "loss": "mse", "learning_rate": rate}
    task = type(task)(
        model_type="anfis",
        architecture=task.architecture,
        output="regression",
        classes=(),
        feature_ids=("x18", "x12", "x6", "x0"),
        settings=settings,
        device="cpu",
        crisp_inputs=tuple(CrispInput(f"x{number}", number, functions) for number in range(4)),
    )
    return TorchTrainer().train(task, problem.data, progress=NO_PROGRESS, cancellation=Cancellation(), checkpoint=None)


def bare(problem: Problem) -> np.ndarray:
    """Solve with numpy; return the predictions."""
    x = problem.features.astype(np.float64)
    sigma = problem.width / math.sqrt(2 * math.log(2))
    fired = np.ones((len(x), 1))
    for column in range(4):
        degrees = np.exp(-0.5 * ((x[:, column, None] - np.array(problem.places)) / sigma) ** 2)
        fired = (fired[:, :, None] * degrees[:, None, :]).reshape(len(x), -1)
    fired /= fired.sum(axis=1, keepdims=True)
    inputs = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    design = (fired[:, :, None] * inputs[:, None, :]).reshape(len(x), -1)
    known = slice(problem.samples)
    return design @ np.linalg.lstsq(design[known], problem.labels[known], rcond=None)[0]


def agree(problem: Problem) -> None:
    """Fail if our error on the test samples is more than 10 % above that of the bare solution."""
    found = problem.errors(ours(problem).predictor().predict(problem.features))[1]
    wanted = problem.errors(bare(problem))[1]
    if not found <= 1.1 * wanted:
        raise SystemExit(f"rules.py: the error of ours is {found:.2g}, that of bare least squares {wanted:.2g}")


def contests(quick: bool) -> list[Contest]:
    """Return the contest: training at three sizes."""
    return [
        Contest(
            NAME,
            {
                "ktrdr": ours,
                "ktrdr, gradient": partial(ours, learning="gradient"),
                "bare least squares": bare,
            },
            Problem,
            sizes=(100, 200, 300) if quick else (500, 2_000, 8_000),
            unit="samples",
            rounds=1 if quick else 5,
            few={"ktrdr, gradient": 1},
            check=None if quick else agree,
        )
    ]


def figures(_: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield the errors of Jang's example with their limits."""
    if quick:
        return
    problem = Problem(TRAINED)

    def error(name: str, part: int, at_most: float | None, **changes: Any) -> Figure:
        found = problem.errors(ours(problem, **changes).predictor().predict(problem.features))[part]
        where = ("training", "test")[part]
        return Figure(f"root mean squared error, {where} samples: {name}", found, "", at_most=at_most)

    yield error("default settings", 1, 0.003)
    yield error("learning: gradient", 1, None, learning="gradient")
    learned = {"learn_memberships": True, "rate": 0.03, "bells": True}
    yield error("bells, memberships learned at a rate of 0.03", 0, 0.0016, **learned)
    yield error("bells, memberships learned at a rate of 0.03", 1, 0.003, **learned)


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)
