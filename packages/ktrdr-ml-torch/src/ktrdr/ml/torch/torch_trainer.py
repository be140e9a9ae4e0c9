"""The trainer of the plugin."""

from __future__ import annotations

from typing import Any

import torch

from ktrdr.core.plugins import CheckpointWriter, TrainingData, TrainingTask
from ktrdr.core.work import Cancellation, Progress
from ktrdr.ml.torch.anfis import Anfis
from ktrdr.ml.torch.checkpoints import fingerprint
from ktrdr.ml.torch.determinism import repeatable, threads_for
from ktrdr.ml.torch.devices import resolve_device
from ktrdr.ml.torch.initialization import initialize
from ktrdr.ml.torch.membership_order import MembershipOrder
from ktrdr.ml.torch.model_description import describe
from ktrdr.ml.torch.networks import build_network
from ktrdr.ml.torch.reporting import Reporter
from ktrdr.ml.torch.samples import Matrix, Samples, class_weights, extremes, label_scaling, moments, prepare
from ktrdr.ml.torch.tensors import on_cpu
from ktrdr.ml.torch.torch_model import TorchModel
from ktrdr.ml.torch.training import Run, block_rows

__all__ = ["TorchTrainer"]

# One random generator per purpose, so that the draws of one do not change the others.
_WEIGHTS, _SHUFFLE, _DROPOUT = range(3)


class TorchTrainer:
    """Trains networks."""

    def train(
        self,
        task: TrainingTask,
        data: TrainingData,
        *,
        progress: Progress,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
    ) -> TorchModel:
        """Train; see the plugin contract.

        Labels of a regression are standardized for training, so its losses and ``huber_delta`` are in standard
        deviations of the training labels.

        Raises:
            BadInputError: the device does not exist, a setting does not fit, there are not enough samples or classes,
                the loss is not finite, or the checkpoint is of another run.
            CancelledError: on request, after a checkpoint was written.
        """
        cancellation.raise_if_requested()
        device = resolve_device(task.device)
        # First, because it reports what is wrong with the samples in one sentence.
        per_class = class_weights(task, data.train)
        scaling = label_scaling(data.train) if task.output == "regression" else None
        description = describe(task, scaling)
        network = build_network(description).to_empty(device="cpu")
        parameters = sum(parameter.numel() for parameter in network.parameters())
        settings, window = task.settings, description.window
        with repeatable(device, threads_for(settings["batch_size"], window, parameters)):
            mean, deviation = moments(data)
            initialize(network, _generator(task.seed, _WEIGHTS), mean.tolist(), deviation.tolist())
            network.to(device)
            matrix = Matrix(data.features, window, device)
            weights = data.train.weights if per_class is None else data.train.weights * per_class[data.train.labels]
            unit = float(weights.mean(dtype="float64"))
            train, validation = (
                prepare(split, window, device, scaling=scaling, per_class=per_class, unit=unit)
                for split in (data.train, data.validation)
            )
            order = None
            if isinstance(network, Anfis) and network.learns_memberships:
                lowest, highest = ((values - mean) / deviation for values in extremes(data))
                columns = [variable.column for variable in description.fuzzy_variables]
                order = MembershipOrder(network.memberships, columns, lowest.tolist(), highest.tolist())
            reporter = Reporter(progress, settings["epochs"])
            run = Run(
                task,
                network,
                matrix,
                train,
                validation,
                window=window,
                shuffle=_generator(task.seed, _SHUFFLE),
                dropout=_generator(task.seed, _DROPOUT, device),
                reporter=reporter,
                cancellation=cancellation,
                checkpoint=checkpoint,
                fingerprint="" if checkpoint is None else fingerprint(task, data, device),
                order=order,
            )
            if checkpoint is not None and (latest := checkpoint.latest()) is not None:
                run.resume(latest)
            run.train()
            network.load_state_dict(run.best)
            if isinstance(network, Anfis):
                _measure_rules(network, matrix, train)
            tensors = {f"network.{name}": tensor for name, tensor in on_cpu(network.state_dict()).items()}
        tensors["average"] = torch.from_numpy(mean).float()
        return TorchModel(description, tensors, tuple(run.history), run.best_epoch, device)


def _generator(seed: int, purpose: int, device: Any = "cpu") -> Any:
    """Return a generator whose numbers are independent of those of another seed or purpose."""
    generator = torch.Generator(device=device)
    # Philox and the Mersenne twister both mix a seed well; the multiplier keeps purposes apart for all 32-bit seeds.
    generator.manual_seed(int(seed) * 4 + purpose)
    return generator


@torch.no_grad()
def _measure_rules(network: Anfis, matrix: Matrix, train: Samples) -> None:
    """Set the share and the center of each rule over the training samples."""
    network.eval()
    rows = block_rows(network, 1)
    weights, sums = 0.0, 0.0
    for start in range(0, len(train), rows):
        x = matrix.gather(train.starts[start : start + rows])
        firing, z = network.firing(x).cpu().double(), network.standardized(x).cpu().double()
        weights, sums = weights + firing.sum(0), sums + firing.T @ z
    network.set_measured(weights, sums)
