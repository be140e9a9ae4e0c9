"""Initial weights, drawn on the CPU from one generator, so that they are equal on every device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ktrdr.ml.torch.anfis import Anfis

__all__ = ["initialize"]


@torch.no_grad()
def initialize(network: nn.Module, generator: Any, center: Sequence[float], scale: Sequence[float]) -> None:
    """Set every weight, with the default distributions of torch's layers.

    Args:
        network: on the CPU, with uninitialized memory.
        generator: of the CPU.
        center: mean of each feature over the training samples.
        scale: standard deviation of each feature over the training samples.
    """
    for module in network.modules():
        match module:
            case nn.Linear():
                _uniform(module, 1 / math.sqrt(module.in_features), generator)
            case nn.LSTM() | nn.GRU():
                _uniform(module, 1 / math.sqrt(module.hidden_size), generator)
            case nn.BatchNorm1d():
                # Ones and zeros, without random numbers.
                module.reset_parameters()
            case Anfis():
                module.start(center, scale)


def _uniform(module: nn.Module, bound: float, generator: Any) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.uniform_(-bound, bound, generator=generator)
