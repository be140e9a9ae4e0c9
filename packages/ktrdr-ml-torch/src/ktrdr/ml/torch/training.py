"""The training loop. Data is on the device, batches are numbers into it; no Python per sample."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ktrdr.core.errors import BadInputError, one_line
from ktrdr.core.plugins import CheckpointWriter, EpochRecord, TrainingTask
from ktrdr.core.work import Cancellation
from ktrdr.ml.torch.checkpoints import State, read_state, write_state
from ktrdr.ml.torch.losses import make_loss
from ktrdr.ml.torch.networks import use_generator
from ktrdr.ml.torch.optimizers import load_optimizer_state, make_optimizer, optimizer_state
from ktrdr.ml.torch.reporting import Reporter
from ktrdr.ml.torch.samples import Matrix, Samples
from ktrdr.ml.torch.schedules import EarlyStopping, make_schedule
from ktrdr.ml.torch.tensors import on_cpu

__all__ = ["Run", "block_rows"]

# Batches that are put in order, and whose scores are kept, before they are counted: one by one that would cost as much
# as a small layer, all at once as much memory as the features.
_BLOCK_BATCHES, _BLOCK_SAMPLES = 256, 1 << 16
_SECONDS_BETWEEN_QUESTIONS = 1.0
_BLOCK_VALUES = 1 << 20


def block_rows(network: Any, window: int) -> int:
    """Return how many samples to evaluate at once so that a layer's values take about 4 MiB."""
    return max(_BLOCK_VALUES // (network.width * window), 64)


class _Block:
    """Shuffled batches from number ``first`` of an epoch on, and what came of them: losses and scores, not yet counted.

    Blocks begin at multiples of ``per_block``; the first one of a resumed epoch begins inside.
    """

    def __init__(self, samples: Samples, order: Any, size: int, per_block: int, first: int) -> None:
        self._first, self._size = first, size
        self.end = (first // per_block + 1) * per_block
        taken = order[first * size : self.end * size]
        self.starts, self.labels = samples.starts[taken], samples.labels[taken]
        self.weights = None if samples.weights is None else samples.weights[taken]
        self.losses: list[Any] = []
        self.scores: list[Any] = []

    def place(self, number: int) -> slice:
        """Return where the samples of batch ``number`` are."""
        return slice((number - self._first) * self._size, (number - self._first + 1) * self._size)


class Run:
    """One training run, which can be stopped after any batch and go on later.

    Args:
        task: what to train.
        network: initialized, on its device.
        matrix: the features.
        train, validation: the samples.
        window: rows of a sample.
        shuffle: generator of the CPU, for the order of the samples.
        dropout: generator of the device.
        reporter, cancellation, checkpoint: see the plugin contract.
        fingerprint: of the run, for its checkpoints.
    """

    def __init__(
        self,
        task: TrainingTask,
        network: Any,
        matrix: Matrix,
        train: Samples,
        validation: Samples,
        *,
        window: int,
        shuffle: Any,
        dropout: Any,
        reporter: Reporter,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
        fingerprint: str,
    ) -> None:
        settings = task.settings
        self._network, self._matrix, self._train, self._validation = network, matrix, train, validation
        self._window, self._classifies = window, task.output == "classification"
        self._shuffle, self._dropout = shuffle, dropout
        self._reporter, self._cancellation = reporter, cancellation
        self._checkpoint, self._fingerprint = checkpoint, fingerprint
        self._epochs, self._clip = settings["epochs"], settings["gradient_clip"]
        self._loss = make_loss(settings, task.output)
        self._optimizer = make_optimizer(network, settings)
        self._schedule = make_schedule(settings)
        self._stopping = EarlyStopping(settings, validates=len(validation) > 0, classifies=self._classifies)
        device = next(network.parameters()).device.type
        # bfloat16 spans what float32 does: losses need no scaling to stay in range.
        reduced = task.architecture.get("precision") == "bfloat16"
        self._precision = partial(torch.autocast, device, torch.bfloat16) if reduced else nullcontext
        self._batch_size = min(settings["batch_size"], len(train))
        self._batches = self._count_batches()
        use_generator(network, dropout)
        self.history: list[EpochRecord] = []
        self.best: dict[str, Any] = {}
        # Of the present epoch: batches done, their losses, samples predicted right, the shuffle's start.
        self._batch, self._losses, self._correct = 0, torch.empty(0), 0
        self._epoch_start = shuffle.get_state()
        self._asked = time.monotonic()

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, that :attr:`best` is of."""
        return self._stopping.best_epoch

    def _count_batches(self) -> int:
        whole, rest = divmod(len(self._train), self._batch_size)
        if not any(isinstance(module, torch.nn.BatchNorm1d) for module in self._network.modules()):
            return whole + (rest > 0)
        if self._batch_size == 1:
            raise BadInputError(
                "`model.architecture.batch_norm` needs batches of at least two samples; raise `training.batch_size`"
            )
        # A lone sample has no variance: whichever the shuffle puts last sits the epoch out.
        return whole + (rest > 1)

    def resume(self, directory: Path) -> None:
        """Go on where the checkpoint in ``directory`` was written.

        Raises:
            BadInputError: it does not fit this run.
        """
        state = read_state(directory, self._fingerprint)
        try:
            self._network.load_state_dict(state.network)
            load_optimizer_state(self._optimizer, state.optimizer)
            self._shuffle.set_state(state.random["shuffle"])
            self._dropout.set_state(state.random["dropout"])
            for record in state.history:
                self._conclude(record)
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            reason = one_line(error).rstrip(".")
            raise BadInputError(
                f"the checkpoint in {directory} cannot be resumed: {reason}; train without resuming to start afresh"
            ) from error
        self._epoch_start = state.random["shuffle"]
        self._batch, self._losses, self._correct = state.batch, state.losses, state.correct
        device = next(self._network.parameters()).device
        self.best = {name: tensor.to(device) for name, tensor in state.best.items()}

    def train(self) -> None:
        """Train until the last epoch, or until waiting is over.

        Raises:
            CancelledError: on request, after a checkpoint.
            BadInputError: the numbers have left what can be computed with.
        """
        while len(self.history) < self._epochs and not self._stopping.over:
            self._epoch()
        early = self._stopping.over and len(self.history) < self._epochs
        self._reporter.finish(len(self.history), "stopped early" if early else "")

    def _epoch(self) -> None:
        epoch = len(self.history)
        rate = self._schedule.rate(epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._epoch_start = self._shuffle.get_state()
        self._network.train()
        self._train_batches()
        total = self._losses.double()
        sizes = torch.full_like(total, self._batch_size)
        sizes[-1] = min(len(self._train) - (self._batches - 1) * self._batch_size, self._batch_size)
        metrics = {"train_loss": float(total @ sizes / sizes.sum())}
        if self._classifies:
            metrics["train_accuracy"] = self._correct / int(sizes.sum())
        if len(self._validation):
            metrics |= self._evaluate()
        metrics["learning_rate"] = rate
        self._check_finite(epoch + 1, metrics)
        record = EpochRecord(epoch + 1, metrics)
        if self._conclude(record):
            self.best = {name: tensor.clone() for name, tensor in self._network.state_dict().items()}
        self._batch, self._losses, self._correct = 0, torch.empty(0), 0
        self._epoch_start = self._shuffle.get_state()
        self._reporter.report(time.monotonic(), epoch + 1, 0.0)
        if self._checkpoint is not None and self._checkpoint.due(epoch + 1):
            self._save()

    def _conclude(self, record: EpochRecord) -> bool:
        """Add a complete epoch and return True if it is the best so far."""
        self.history.append(record)
        self._reporter.metrics = record.metrics
        self._schedule.update(record.metrics.get("val_loss", record.metrics["train_loss"]))
        return self._stopping.update(record.epoch, record.metrics)

    def _train_batches(self) -> None:
        """Train the rest of the present epoch."""
        samples, size = self._train, self._batch_size
        order = torch.randperm(len(samples), generator=self._shuffle).to(samples.starts.device)
        per_block = max(min(_BLOCK_BATCHES, _BLOCK_SAMPLES // size), 1)
        network, gather, loss_of, step = self._network, self._matrix.gather, self._loss, self._optimizer.step
        parameters, clip, precision = list(network.parameters()), self._clip, self._precision
        block = _Block(samples, order, size, per_block, self._batch)
        for number in range(self._batch, self._batches):
            if self._cancellation.requested:
                self._count(block)
                self._stop()
            if number == block.end:
                self._count(block)
                block = _Block(samples, order, size, per_block, number)
            at = block.place(number)
            with precision():
                score = network(gather(block.starts[at]))
            score = score.float()
            if block.weights is None:
                loss = loss_of(score, block.labels[at], reduction="mean")
            else:
                # Weights have mean 1 over all samples: a batch of light ones makes a small step, as it should.
                loss = (loss_of(score, block.labels[at], reduction="none") * block.weights[at]).mean()
            for parameter in parameters:
                parameter.grad = None
            loss.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, clip)
            step()
            block.losses.append(loss.detach())
            block.scores.append(score.detach())
            now = time.monotonic()
            if self._reporter.due(now):
                self._reporter.report(now, len(self.history), (number + 1) / self._batches)
            if now - self._asked >= _SECONDS_BETWEEN_QUESTIONS and self._checkpoint is not None:
                self._asked = now
                if self._checkpoint.due(len(self.history)):
                    self._count(block)
                    self._save()
        self._count(block)

    def _count(self, block: _Block) -> None:
        """Take in the batches of ``block`` that were trained since it was last counted."""
        if not block.losses:
            return
        new = torch.stack(block.losses).cpu()
        if not bool(torch.isfinite(new).all()):
            self._refuse("training loss", len(self.history) + 1)
        self._losses = torch.cat([self._losses, new])
        if self._classifies:
            chosen = torch.cat(block.scores).argmax(1)
            start = block.place(self._batch).start
            self._correct += int((chosen == block.labels[start : start + len(chosen)]).sum())
        self._batch += len(block.losses)
        block.losses.clear()
        block.scores.clear()

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        """Return the loss and accuracy of the validation samples."""
        self._network.eval()
        samples, rows = self._validation, block_rows(self._network, self._window)
        total, weight, correct = 0.0, 0.0, 0
        for start in range(0, len(samples), rows):
            if self._cancellation.requested:
                self._stop()
            at = slice(start, start + rows)
            labels = samples.labels[at]
            score = self._network(self._matrix.gather(samples.starts[at]))
            losses = self._loss(score, labels, reduction="none").cpu().double()
            weights = torch.ones_like(losses) if samples.weights is None else samples.weights[at].cpu().double()
            total, weight = total + float(losses @ weights), weight + float(weights.sum())
            if self._classifies:
                correct += int((score.argmax(1) == labels).sum())
        found = {"val_loss": total / weight}
        return {**found, "val_accuracy": correct / len(samples)} if self._classifies else found

    def _check_finite(self, epoch: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            if not math.isfinite(value):
                self._refuse("validation loss" if name == "val_loss" else name.replace("_", " "), epoch)
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self._network.parameters()):
            self._refuse("weights", epoch)

    def _refuse(self, what: str, epoch: int) -> None:
        rate = self._schedule.rate(epoch - 1)
        raise BadInputError(
            f"the {what} left the range of numbers in epoch {epoch}; lower `training.learning_rate` (it was {rate:g}) "
            "or set `training.gradient_clip: 1.0`"
        )

    def _stop(self) -> None:
        if self._checkpoint is not None:
            self._save()
        self._cancellation.raise_if_requested()

    def _save(self) -> None:
        assert self._checkpoint is not None
        state = State(
            network=on_cpu(self._network.state_dict()),
            best=on_cpu(self.best),
            optimizer=on_cpu(optimizer_state(self._optimizer)),
            random={"shuffle": self._epoch_start, "dropout": self._dropout.get_state()},
            losses=self._losses,
            correct=self._correct,
            batch=self._batch,
            history=self.history,
        )
        self._checkpoint.save(len(self.history), lambda directory: write_state(directory, state, self._fingerprint))
