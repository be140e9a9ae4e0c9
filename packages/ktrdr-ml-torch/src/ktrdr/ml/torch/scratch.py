"""Memory that is written again and again: to take fresh memory from the system costs more than to write it."""

from __future__ import annotations

import math
from typing import Any

import torch

__all__ = ["Scratch"]


class Scratch:
    """Tensors by name; a tensor is valid until the next call with its name.

    Args:
        device: of the tensors.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._tensors: dict[str, Any] = {}

    def tensor(self, name: str, shape: tuple[int, ...], dtype: Any = torch.float32) -> Any:
        """Return a contiguous tensor. What is never written to is 0, as long as the last axis stays as long."""
        size = math.prod(shape)
        found = self._tensors.get(name)
        if found is None or len(found) < size:
            found = self._tensors[name] = torch.zeros(size, dtype=dtype, device=self._device)
        return found[:size].view(shape)
