"""Trained models and their predictors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ktrdr.core.plugins import EpochRecord, Rule, Twin
from ktrdr.core.plugins.prediction_refusals import check_features, not_finite
from ktrdr.ml.torch.anfis import Anfis
from ktrdr.ml.torch.contributions import STEPS, contributions, rules
from ktrdr.ml.torch.model_description import Description
from ktrdr.ml.torch.networks import MultilayerPerceptron, build_network, empty_network
from ktrdr.ml.torch.part_losses import block_rows
from ktrdr.ml.torch.samples import Matrix
from ktrdr.ml.torch.tensors import fill, on_cpu
from ktrdr.ml.torch.torch_twin import make_twin
from ktrdr.ml.torch.training_member import TrainingMember

__all__ = [
    "RuleTorchPredictor",
    "TorchModel",
    "TorchPredictor",
    "check_tensors",
    "finished_model",
    "make_predictor",
]


class TorchPredictor:
    """A network on a device, in evaluation mode. Several threads may use it at once.

    Args:
        description: of the network.
        network: with its weights, on the CPU; its normalization is folded.
        average: float32 ``(features,)``, the average training sample.
        device: to predict on.

    Attributes:
        description: of the network.
        parameters: number of learned weights.
    """

    def __init__(self, description: Description, network: Any, average: Any, device: Any) -> None:
        self.description = description
        self.parameters = sum(parameter.numel() for parameter in network.parameters())
        if isinstance(network, MultilayerPerceptron):
            network.fold_normalization()
        self._network = network.to(device).eval().requires_grad_(False)
        self._average = average
        self._device = device

    @property
    def input_size(self) -> int:
        """Number of feature columns."""
        return self.description.input_size

    @property
    def window(self) -> int:
        """Number of rows that one prediction uses."""
        return self.description.window

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict for every row of float32 ``(n, features)``; see the plugin contract.

        Raises:
            BadInputError: the number of columns is not that of the model, or a prediction is not finite.
        """
        rows = self._whole_windows(features)
        outputs = len(self.description.classes)
        result = np.full((len(features), outputs) if outputs else len(features), np.nan)
        if not len(rows):
            return result
        matrix = Matrix(features, self.window, self._device)
        block = block_rows(self._network.width, self.window)
        with torch.no_grad():
            for start in range(0, len(rows), block):
                at = rows[start : start + block]
                scores = self._network(matrix.gather(torch.from_numpy(at - (self.window - 1)).to(self._device)))
                answer = self._answer(scores.cpu().double())
                if not bool(torch.isfinite(answer).all()):
                    raise not_finite(f"{self.description.model_type} model", at[0], at[-1])
                result[at] = answer.numpy()
        return result

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Return the contributions of the features to predictions; see :class:`~ktrdr.core.plugins.Explainable`.

        Raises:
            BadInputError: the number of columns is not that of the model.
        """
        rows = self._whole_windows(features)
        result = np.full((len(features), self.input_size, self.description.outputs), np.nan)
        matrix = Matrix(features, self.window, self._device)
        average = self._average.to(self._device)
        block = max(block_rows(self._network.width, self.window) // STEPS, 1)
        for start in range(0, len(rows), block):
            at = rows[start : start + block]
            samples = matrix.gather(torch.from_numpy(at - (self.window - 1)).to(self._device))
            shares = contributions(self._network, samples, average, self._answer)
            result[at] = shares.cpu().double().numpy()
        return result

    def twin(self) -> Twin:
        """Return the model as data, see :class:`~ktrdr.core.plugins.Portable`.

        Raises:
            BadInputError: the network is too large for a twin.
        """
        return make_twin(self.description, self._network, self._average)

    def _answer(self, scores: Any) -> Any:
        """Turn scores into probabilities, or into values in the units of the labels."""
        if self.description.scaling is None:
            # Along the first axis, which is more than twice as fast as over rows of three classes.
            return torch.softmax(scores.T.contiguous(), 0).T
        return scores.squeeze(1) * self.description.scaling.scale + self.description.scaling.mean

    def _whole_windows(self, features: np.ndarray) -> np.ndarray:
        """Return int64 ``(m,)``: the rows whose window is complete and finite."""
        check_features(features, self.input_size)
        whole = np.cumsum(np.isfinite(features).all(axis=1))
        before = np.concatenate(([0], whole))[: max(len(features) - self.window + 1, 0)]
        return np.flatnonzero(whole[self.window - 1 :] - before == self.window) + (self.window - 1)


class RuleTorchPredictor(TorchPredictor):
    """A predictor whose network consists of rules."""

    def rules(self) -> Sequence[Rule]:
        """Return all rules, the largest weight first."""
        return rules(self.description, self._network, self._answer)

    def learned_memberships(self) -> dict[str, dict[str, list[Any]]]:
        """Return fuzzy input -> membership -> ``[type, [parameters]]``; empty if memberships were not learned."""
        learned = iter(self._network.learned_functions())
        return {
            variable.name: {
                name: [kind, list(parameters)]
                for (name, _, _), (kind, parameters) in zip(variable.functions, learned, strict=False)
            }
            for variable in self.description.fuzzy_variables
            if self._network.learns_memberships
        }


def make_predictor(description: Description, tensors: Mapping[str, Any], device: Any, name: str) -> TorchPredictor:
    """Return a predictor of ``tensors``: those of the network, and ``average``; ``name`` is for messages.

    Raises:
        BadInputError: the tensors do not fit the description.
    """
    weights = {key.removeprefix("network."): tensor for key, tensor in tensors.items() if key.startswith("network.")}
    network = build_network(description)
    fill(network, weights, name)
    kind = RuleTorchPredictor if isinstance(network, Anfis) else TorchPredictor
    return kind(description, network, tensors["average"], device)


@dataclass(frozen=True, slots=True, eq=False)
class TorchModel:
    """The result of a training; ``tensors`` are on the CPU."""

    description: Description
    tensors: Mapping[str, Any]
    history: Sequence[EpochRecord]
    best_epoch: int
    device: Any

    def predictor(self) -> TorchPredictor:
        """Return a predictor with a copy of the weights, on the device of the training."""
        copies = {name: tensor.clone() for name, tensor in self.tensors.items()}
        return make_predictor(self.description, copies, self.device, "the trained model")


def finished_model(
    member: TrainingMember, tensors: Mapping[str, Any], history: Sequence[EpochRecord], best_epoch: int, device: Any
) -> TorchModel:
    """Return the model of a member whose training has ended.

    Args:
        member: as it was trained.
        tensors: the learned tensors of its network and its running statistics, in the best epoch, on the CPU.
        history: all epochs.
        best_epoch: number of the best one, from 1.
        device: of the training.
    """
    state = dict(tensors)
    for name in tensors:
        if name.endswith("running_mean"):
            batches = torch.tensor(best_epoch * member.batches)
            state[name.replace("running_mean", "num_batches_tracked")] = batches
    if member.description.fuzzy_variables:
        state = _measured(member, state, device)
    weights = {f"network.{name}": tensor for name, tensor in state.items()}
    weights["average"] = torch.from_numpy(member.mean).float()
    return TorchModel(member.description, weights, tuple(history), best_epoch, device)


# What a training does not have: it follows from the rest.
_MEASURED = ("num_batches_tracked", "shares", "centers")


def check_tensors(member: TrainingMember, tensors: Mapping[str, Any]) -> None:
    """Raise a ``ValueError`` unless ``tensors`` of a checkpoint are those of a training of the member."""
    expected = build_network(member.description).state_dict()
    for name in sorted({*expected, *tensors}):
        if name not in tensors and name.endswith(_MEASURED):
            continue
        if name not in expected or name not in tensors or expected[name].shape != tensors[name].shape:
            raise ValueError(f"tensor {name!r} of a member is missing, unknown or of another shape")


@torch.no_grad()
def _measured(member: TrainingMember, tensors: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """Return all tensors of rules, with the share and the center of each rule over the training samples."""
    network: Any = empty_network(member.description)
    member.initialize(network)
    network.load_state_dict({**network.state_dict(), **tensors})
    network.to(device).eval()
    rows = block_rows(network.width, 1)
    weights, sums = 0.0, 0.0
    for start in range(0, len(member.train), rows):
        x = member.matrix.gather(member.train.starts[start : start + rows])
        firing, z = network.firing(x).cpu().double(), network.standardized(x).cpu().double()
        weights, sums = weights + firing.sum(0), sums + firing.T @ z
    network.set_measured(weights, sums)
    return on_cpu(network.state_dict())
