"""Storage of models: `weights.safetensors` and `model.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ktrdr.core.plugins import TrainedModel
from ktrdr.ml.torch.tensors import write_tensors
from ktrdr.ml.torch.torch_model import RuleTorchPredictor, TorchModel

__all__ = ["MODEL_FILE", "WEIGHTS_FILE", "TorchStorage"]

WEIGHTS_FILE = "weights.safetensors"
MODEL_FILE = "model.json"


class TorchStorage:
    """Writes models as tensors and JSON, with equal bytes for equal models."""

    def save(self, model: TrainedModel, directory: Path) -> dict[str, Any]:
        """Write the weights and the description of the network; return a few facts for the manifest."""
        if not isinstance(model, TorchModel):
            raise TypeError(f"not a model of this backend: {type(model).__name__}")
        write_tensors(directory / WEIGHTS_FILE, model.tensors)
        description = json.dumps(model.description.model_dump(mode="json"), indent=1, allow_nan=False)
        (directory / MODEL_FILE).write_text(description + "\n", encoding="utf-8")
        predictor = model.predictor()
        facts: dict[str, Any] = {
            "torch": str(torch.__version__),
            "device": str(model.device),
            "parameters": predictor.parameters,
            "best_epoch": model.best_epoch,
        }
        if isinstance(predictor, RuleTorchPredictor) and (learned := predictor.learned_memberships()):
            facts["learned_memberships"] = learned
        return facts
