"""Training: reproducible, with progress, cancellation and checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ktrdr.core import BadInputError
from ktrdr.core.plugins import CheckpointWriter, EpochRecord, Split, TrainingData, TrainingTask
from ktrdr.core.work import Cancellation, Progress, ProgressEvent
from ktrdr_ml_example.model import SoftmaxModel, probabilities

__all__ = ["Trainer", "require_cpu"]


def require_cpu(device: str) -> None:
    """Raise ``BadInputError`` for any other device; do not use the CPU silently instead."""
    if device not in ("auto", "cpu"):
        raise BadInputError(f"plugin `example` has no device `{device}`: it computes on `cpu`")


@dataclass(slots=True)
class _State:
    """Everything that the next epochs depend on, and the results of the finished epochs."""

    weights: np.ndarray
    velocity: np.ndarray
    best: np.ndarray
    best_epoch: int = 0
    best_loss: float = np.inf
    history: list[EpochRecord] = field(default_factory=list)

    def write(self, directory: Path) -> None:
        np.savez(directory / "arrays.npz", weights=self.weights, velocity=self.velocity, best=self.best)
        numbers = {
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss if np.isfinite(self.best_loss) else None,
            "history": [[record.epoch, dict(record.metrics)] for record in self.history],
        }
        (directory / "numbers.json").write_text(json.dumps(numbers), encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> _State:
        numbers = json.loads((directory / "numbers.json").read_text(encoding="utf-8"))
        loss = np.inf if numbers["best_loss"] is None else numbers["best_loss"]
        history = [EpochRecord(epoch, metrics) for epoch, metrics in numbers["history"]]
        with np.load(directory / "arrays.npz", allow_pickle=False) as arrays:
            return cls(arrays["weights"], arrays["velocity"], arrays["best"], numbers["best_epoch"], loss, history)


class Trainer:
    """Softmax regression by mini-batch gradient descent with momentum."""

    def train(
        self,
        task: TrainingTask,
        data: TrainingData,
        *,
        progress: Progress,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
    ) -> SoftmaxModel:
        """Train; see the plugin contract."""
        require_cpu(task.device)
        latest = checkpoint.latest() if checkpoint else None
        state = _State.read(latest) if latest else _start(task, data)
        last_report = time.monotonic()
        epochs = task.settings["epochs"]
        for epoch in range(len(state.history) + 1, epochs + 1):
            before = (state.weights.copy(), state.velocity.copy())
            # Seeded by the epoch, so that a resumed run shuffles like one that was not interrupted.
            order = np.random.default_rng([task.seed, epoch]).permutation(len(data.train))
            for rows in _batches(order, task.settings["batch_size"]):
                if cancellation.requested:
                    if checkpoint:
                        # A resumed run repeats the current epoch from its start.
                        state.weights, state.velocity = before
                        checkpoint.save(epoch - 1, state.write)
                    cancellation.raise_if_requested()
                _step(state, task, data, rows)
            _finish_epoch(state, data, epoch)
            if checkpoint and checkpoint.due(epoch):
                checkpoint.save(epoch, state.write)
            if epoch == epochs or time.monotonic() - last_report >= 0.1:
                last_report = time.monotonic()
                metrics = state.history[-1].metrics
                progress(ProgressEvent("training", epoch, epochs, "epochs", epoch / epochs, metrics=metrics))
        return SoftmaxModel(state.best, tuple(state.history), state.best_epoch)


def _start(task: TrainingTask, data: TrainingData) -> _State:
    if not len(data.train):
        raise BadInputError("there are no training samples; choose a longer date range or a larger training part")
    shape = (len(task.feature_ids) + 1, len(task.classes))
    weights = np.random.default_rng(task.seed).normal(0, 0.01, shape)
    return _State(weights, np.zeros(shape), weights)


def _batches(order: np.ndarray, size: int) -> Sequence[np.ndarray]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _step(state: _State, task: TrainingTask, data: TrainingData, rows: np.ndarray) -> None:
    split = data.train
    x = data.features[split.rows[rows]].astype(np.float64)
    w = split.weights[rows].astype(np.float64)
    error = probabilities(x, state.weights)
    error[np.arange(len(rows)), split.labels[rows]] -= 1
    error *= (w / max(w.sum(), 1e-12))[:, None]
    gradient = np.vstack([x.T @ error, error.sum(axis=0)])
    gradient[:-1] += task.architecture["l2"] * state.weights[:-1]
    state.velocity = task.settings["momentum"] * state.velocity + gradient
    # A new array, because `best` may refer to the old one.
    state.weights = state.weights - task.settings["learning_rate"] * state.velocity


def _finish_epoch(state: _State, data: TrainingData, epoch: int) -> None:
    metrics = {
        **_scores(state.weights, data, data.train, "train"),
        **_scores(state.weights, data, data.validation, "val"),
    }
    state.history.append(EpochRecord(epoch, metrics))
    # Without validation samples the last epoch counts.
    loss = metrics.get("val_loss", -float(epoch))
    if loss < state.best_loss:
        state.best, state.best_epoch, state.best_loss = state.weights, epoch, loss


def _scores(weights: np.ndarray, data: TrainingData, split: Split, part: str) -> dict[str, float]:
    if not len(split):
        return {}
    p = probabilities(data.features[split.rows], weights)
    loss = np.average(-np.log(p[np.arange(len(split)), split.labels]), weights=split.weights)
    return {f"{part}_loss": float(loss), f"{part}_accuracy": float(np.mean(p.argmax(axis=1) == split.labels))}
