"""Storage of weights in one .npz file of plain arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ktrdr.core import BadInputError
from ktrdr.core.plugins import TrainedModel
from ktrdr_ml_example.model import SoftmaxModel, SoftmaxPredictor
from ktrdr_ml_example.training import require_cpu

__all__ = ["Loader", "Storage"]

_FILE = "weights.npz"


class Storage:
    """Writes models."""

    def save(self, model: TrainedModel, directory: Path) -> dict[str, Any]:
        """Write the weights; numpy writes equal bytes for equal arrays."""
        if not isinstance(model, SoftmaxModel):
            raise TypeError(f"not a model of this backend: {type(model).__name__}")
        np.savez(directory / _FILE, weights=model.weights)
        return {"best_epoch": model.best_epoch}


class Loader:
    """Reads models."""

    def load(self, directory: Path, device: str = "auto") -> SoftmaxPredictor:
        """Read the weights. ``allow_pickle=False`` refuses arrays of Python objects, which could run code."""
        require_cpu(device)
        try:
            with np.load(directory / _FILE, allow_pickle=False) as arrays:
                weights = arrays["weights"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise BadInputError(f"{directory / _FILE} is not a model of plugin `example`: {error}") from None
        if weights.dtype != np.float64 or weights.ndim != 2 or min(weights.shape) < 2:
            raise BadInputError(f"{directory / _FILE} holds weights of the wrong shape or type")
        return SoftmaxPredictor(weights)
