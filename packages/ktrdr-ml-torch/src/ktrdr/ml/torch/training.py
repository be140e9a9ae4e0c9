"""The training loop. Data is on the device, batches are indices into it; no Python code runs per sample."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ktrdr.core.errors import BadInputError, one_line
from ktrdr.core.plugins import CheckpointWriter, EpochRecord, TrainingTask
from ktrdr.core.work import Cancellation
from ktrdr.ml.torch.anfis import Anfis
from ktrdr.ml.torch.checkpoints import State, read_state, write_state
from ktrdr.ml.torch.consequents import ConsequentSolver
from ktrdr.ml.torch.losses import make_loss
from ktrdr.ml.torch.membership_order import MembershipOrder
from ktrdr.ml.torch.networks import use_generator
from ktrdr.ml.torch.optimizers import load_optimizer_state, make_optimizer, optimizer_state
from ktrdr.ml.torch.reporting import Reporter
from ktrdr.ml.torch.samples import Matrix, Samples
from ktrdr.ml.torch.schedules import EarlyStopping, make_schedule
from ktrdr.ml.torch.tensors import on_cpu

__all__ = ["Run", "block_rows"]

# Batches whose samples are gathered, and whose scores are kept, at once. For single batches the cost would be that of a
# small layer; for the whole epoch the memory would be that of the features.
_BLOCK_BATCHES, _BLOCK_SAMPLES = 256, 1 << 16
_SECONDS_BETWEEN_QUESTIONS = 1.0
_BLOCK_VALUES = 1 << 20
# With least squares only: training ends when an epoch lowers the loss by a smaller share than this.
_LEAST_GAIN = 1e-7


def block_rows(network: Any, window: int) -> int:
    """Return the number of samples to evaluate at once, so that the values of a layer take about 4 MiB."""
    return max(_BLOCK_VALUES // (network.width * window), 64)


class _Block:
    """Shuffled batches of an epoch from number ``first`` on, with their losses and scores that are not counted yet.

    Blocks begin at multiples of ``per_block``; only the first block of a resumed epoch may begin inside.
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
        """Return the slice of the samples of batch ``number``."""
        return slice((number - self._first) * self._size, (number - self._first + 1) * self._size)


class Run:
    """One training run, which can be stopped after any batch and resumed.

    Args:
        task: to train.
        network: initialized, on its device.
        matrix: the features.
        train: the training samples.
        validation: the validation samples; may be empty.
        window: number of rows of a sample.
        shuffle: generator of the CPU, for the order of the samples.
        dropout: generator of the device.
        reporter: of progress.
        cancellation: see the plugin contract.
        checkpoint: see the plugin contract.
        fingerprint: of the run, for its checkpoints.
        order: constraints on the memberships after every step, if they are learned.
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
        order: MembershipOrder | None = None,
    ) -> None:
        settings = task.settings
        self._network, self._matrix, self._train, self._validation = network, matrix, train, validation
        self._window, self._classifies = window, task.output == "classification"
        self._shuffle, self._dropout = shuffle, dropout
        self._reporter, self._cancellation = reporter, cancellation
        self._checkpoint, self._fingerprint = checkpoint, fingerprint
        self._epochs, self._clip = settings["epochs"], settings["gradient_clip"]
        self._loss = make_loss(settings, task.output)
        self._order, self._solver, self._solves = order, None, False
        if isinstance(network, Anfis):
            self._solves = network.solves_consequents
            network.consequents.requires_grad_(not self._solves)
            self._solver = ConsequentSolver(
                network, matrix, train, loss=self._loss, settings=settings, output=task.output, ask=self._raise_if_asked
            )
        self._optimizer = make_optimizer(network, settings)
        self._schedule = make_schedule(settings)
        self._stopping = EarlyStopping(settings, validates=len(validation) > 0, classifies=self._classifies)
        device = next(network.parameters()).device.type
        # bfloat16 has the range of float32, so losses need no scaling.
        reduced = task.architecture.get("precision") == "bfloat16"
        self._precision = partial(torch.autocast, device, torch.bfloat16) if reduced else nullcontext
        self._batch_size = min(settings["batch_size"], len(train))
        self._batches = self._count_batches()
        use_generator(network, dropout)
        self.history: list[EpochRecord] = []
        self.best: dict[str, Any] = {}
        # Of the current epoch: finished batches, their losses, correct samples, state of the shuffle at its start.
        self._batch, self._losses, self._correct = 0, torch.empty(0), 0
        self._epoch_start = shuffle.get_state()
        self._asked = time.monotonic()
        self._started = False
        # The consequents before the current epoch solved for them, until the epoch is complete.
        self._unsolved: Any = None

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, of the weights in :attr:`best`."""
        return self._stopping.best_epoch

    def _count_batches(self) -> int:
        whole, rest = divmod(len(self._train), self._batch_size)
        if not any(isinstance(module, torch.nn.BatchNorm1d) for module in self._network.modules()):
            return whole + (rest > 0)
        if self._batch_size == 1:
            raise BadInputError(
                "`model.architecture.batch_norm` needs batches of at least two samples; raise `training.batch_size`"
            )
        # A batch of one sample has no variance: the sample that the shuffle puts last is left out of the epoch.
        return whole + (rest > 1)

    def resume(self, directory: Path) -> None:
        """Continue from the checkpoint in ``directory``.

        Raises:
            BadInputError: the checkpoint does not fit this run.
        """
        state = read_state(directory, self._fingerprint)
        try:
            self._network.load_state_dict(state.network)
            load_optimizer_state(self._optimizer, state.optimizer)
            if self._solver is not None:
                self._solver.ridge = float(state.solver["ridge"])
            self._shuffle.set_state(state.random["shuffle"])
            self._dropout.set_state(state.random["dropout"])
            for record in state.history:
                self._conclude(record)
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            reason = one_line(error).rstrip(".")
            raise BadInputError(
                f"the checkpoint in {directory} cannot be resumed: {reason}; train without resuming to start again"
            ) from error
        self._epoch_start = state.random["shuffle"]
        self._batch, self._losses, self._correct = state.batch, state.losses, state.correct
        device = next(self._network.parameters()).device
        self.best = {name: tensor.to(device) for name, tensor in state.best.items()}
        self._started = True

    def train(self) -> None:
        """Train until the last epoch, or until early stopping ends the training.

        Raises:
            CancelledError: on request, after a checkpoint was written.
            BadInputError: a loss or a weight is not finite.
        """
        self._start()
        while len(self.history) < self._epochs and not self._stopping.over and not self._solved:
            self._epoch()
        early = len(self.history) < self._epochs
        message = "" if not early else "stopped early" if self._stopping.over else "nothing left to learn"
        self._reporter.finish(len(self.history), message)

    def _start(self) -> None:
        """Set the consequents of rules to a least-squares solution."""
        if self._solver is not None and not self._started:
            self._network.eval()
            validates = len(self._validation) > 0
            judged = self._validation if validates else self._train
            self._solver.start(lambda: self._evaluate(judged)[0], validates=validates)
        self._started = True

    @property
    def _solved(self) -> bool:
        """True if only consequents are learned, by least squares, and further epochs would not improve them."""
        if self._optimizer is not None or self._solver is None or not self.history:
            return False
        losses = [record.metrics["train_loss"] for record in self.history[-2:]]
        return self._solver.exact or (len(losses) == 2 and losses[0] - losses[1] <= _LEAST_GAIN * abs(losses[0]))

    def _epoch(self) -> None:
        epoch = len(self.history)
        if self._optimizer is not None:
            for group in self._optimizer.param_groups:
                group["lr"] = self._schedule.rate(epoch)
        metrics = self._alternate() if self._solves else self._descend()
        if len(self._validation):
            metrics |= self._named("val", *self._evaluate(self._validation))
        if self._optimizer is not None:
            metrics["learning_rate"] = self._schedule.rate(epoch)
        self._check_finite(epoch + 1, metrics)
        record = EpochRecord(epoch + 1, metrics)
        if self._conclude(record):
            self.best = {name: tensor.clone() for name, tensor in self._network.state_dict().items()}
        self._batch, self._losses, self._correct, self._unsolved = 0, torch.empty(0), 0, None
        self._epoch_start = self._shuffle.get_state()
        self._reporter.report(time.monotonic(), epoch + 1, 0.0)
        if self._checkpoint is not None and self._checkpoint.due(epoch + 1):
            self._save()

    def _alternate(self) -> dict[str, float]:
        """Take one step of the memberships, if they are learned, and solve for the consequents (Jang 1993)."""
        assert self._solver is not None
        if self._optimizer is not None and not self._batch:
            self._step_memberships()
            self._batch = 1
        self._unsolved = self._network.consequents.detach().clone()
        if not self._solver.step(moved=self._optimizer is not None):
            self._refuse("memberships", len(self.history) + 1)
        return self._named("train", *self._evaluate(self._train))

    def _step_memberships(self) -> None:
        """Take one step along the gradient of all training samples, for which the consequents are optimal."""
        self._network.train()
        samples, rows = self._train, block_rows(self._network, 1)
        parameters = [parameter for parameter in self._network.parameters() if parameter.requires_grad]
        for parameter in parameters:
            parameter.grad = None
        for start in range(0, len(samples), rows):
            self._raise_if_asked()
            at = slice(start, start + rows)
            score = self._network(self._matrix.gather(samples.starts[at]))
            losses = self._loss(score, samples.labels[at], reduction="none")
            if samples.weights is not None:
                losses = losses * samples.weights[at]
            (losses.sum() / len(samples)).backward()
        self._step(parameters)

    def _step(self, parameters: Sequence[Any]) -> None:
        if self._clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, self._clip)
        self._optimizer.step()
        if self._order is not None:
            self._order.restore()

    def _descend(self) -> dict[str, float]:
        """Train the remaining batches of the current epoch; return the metrics of all its batches."""
        self._epoch_start = self._shuffle.get_state()
        self._network.train()
        self._train_batches()
        total = self._losses.double()
        sizes = torch.full_like(total, self._batch_size)
        sizes[-1] = min(len(self._train) - (self._batches - 1) * self._batch_size, self._batch_size)
        metrics = {"train_loss": float(total @ sizes / sizes.sum())}
        if self._classifies:
            metrics["train_accuracy"] = self._correct / int(sizes.sum())
        return metrics

    def _named(self, part: str, loss: float, accuracy: float) -> dict[str, float]:
        found = {f"{part}_loss": loss}
        return {**found, f"{part}_accuracy": accuracy} if self._classifies else found

    def _conclude(self, record: EpochRecord) -> bool:
        """Add a complete epoch and return True if it is the best so far."""
        self.history.append(record)
        self._reporter.metrics = record.metrics
        self._schedule.update(record.metrics.get("val_loss", record.metrics["train_loss"]))
        return self._stopping.update(record.epoch, record.metrics)

    def _train_batches(self) -> None:
        """Train the remaining batches of the current epoch."""
        samples, size = self._train, self._batch_size
        order = torch.randperm(len(samples), generator=self._shuffle).to(samples.starts.device)
        per_block = max(min(_BLOCK_BATCHES, _BLOCK_SAMPLES // size), 1)
        network, gather, loss_of, precision = self._network, self._matrix.gather, self._loss, self._precision
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
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
                # Weights have mean 1 over all samples, so a batch of small weights makes a small step.
                loss = (loss_of(score, block.labels[at], reduction="none") * block.weights[at]).mean()
            for parameter in parameters:
                parameter.grad = None
            loss.backward()
            self._step(parameters)
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
        """Count the batches of ``block`` that were trained since the last call."""
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
    def _evaluate(self, samples: Samples) -> tuple[float, float]:
        """Return the mean loss of ``samples`` and the share of correct predictions, which is 0 for a regression."""
        self._network.eval()
        rows = block_rows(self._network, self._window)
        total, weight, correct = 0.0, 0.0, 0
        for start in range(0, len(samples), rows):
            self._raise_if_asked()
            at = slice(start, start + rows)
            labels = samples.labels[at]
            score = self._network(self._matrix.gather(samples.starts[at]))
            losses = self._loss(score, labels, reduction="none").cpu().double()
            weights = torch.ones_like(losses) if samples.weights is None else samples.weights[at].cpu().double()
            total, weight = total + float(losses @ weights), weight + float(weights.sum())
            if self._classifies:
                correct += int((score.argmax(1) == labels).sum())
        return total / weight, correct / len(samples)

    def _raise_if_asked(self) -> None:
        if self._cancellation.requested:
            self._stop()

    def _check_finite(self, epoch: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            if not math.isfinite(value):
                self._refuse("validation loss" if name == "val_loss" else name.replace("_", " "), epoch)
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self._network.parameters()):
            self._refuse("weights", epoch)

    def _refuse(self, what: str, epoch: int) -> None:
        rate = self._schedule.rate(epoch - 1)
        raise BadInputError(
            f"the {what} became infinite or NaN in epoch {epoch}; lower `training.learning_rate` (it was {rate:g}) "
            "or set `training.gradient_clip: 1.0`"
        )

    def _stop(self) -> None:
        # Before the start there is no state to save.
        if self._checkpoint is not None and self._started:
            self._save()
        self._cancellation.raise_if_requested()

    def _save(self) -> None:
        assert self._checkpoint is not None
        network = self._network.state_dict()
        if self._unsolved is not None:
            # The resumed run solves for them again, so the checkpoint contains those from before the solution.
            network = {**network, "consequents": self._unsolved}
        state = State(
            network=on_cpu(network),
            best=on_cpu(self.best),
            optimizer=on_cpu(optimizer_state(self._optimizer)),
            solver={} if self._solver is None else {"ridge": torch.tensor(self._solver.ridge, dtype=torch.float64)},
            random={"shuffle": self._epoch_start, "dropout": self._dropout.get_state()},
            losses=self._losses,
            correct=self._correct,
            batch=self._batch,
            history=self.history,
        )
        self._checkpoint.save(len(self.history), lambda directory: write_state(directory, state, self._fingerprint))
