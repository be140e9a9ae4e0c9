"""Result: what a training run comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktrdr.core.files.json_values import plain_json
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.plugins.contract import Device
from ktrdr.core.short_texts import short_repr
from ktrdr.core.trials.look import Look
from ktrdr.core.trials.trial_count import TrialCount

__all__ = ["TrainingResult"]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished training. Metrics, baselines, importance and warnings stand in ``bundle.manifest``.

    Attributes:
        bundle: the stored model.
        device: it was trained on.
        samples: per part, how many each symbol gave.
        epochs: that were run.
        best_epoch: whose weights were kept, from 1.
        resumed: True if it went on from a checkpoint.
        trial_count: trials that looked at its validation and test part, itself among them; ``None`` if it has neither.
        look: it is at these, for the ledger of trials.
    """

    bundle: Bundle
    device: Device
    samples: Mapping[str, Mapping[str, int]]
    epochs: int
    best_epoch: int
    resumed: bool = False
    trial_count: TrialCount | None = None
    look: Look | None = None

    def __repr__(self) -> str:
        epochs = f"{self.epochs:,} epoch{'' if self.epochs == 1 else 's'} on {self.device.name}"
        return short_repr(f"TrainingResult {self.bundle.ref}: {epochs}, best epoch {self.best_epoch:,}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        manifest = self.bundle.manifest
        return plain_json(
            {
                "model": self.bundle.ref,
                "directory": str(self.bundle.directory),
                "weights_hash": manifest.weights_hash,
                "plugin": manifest.plugin.name,
                "model_type": manifest.model_type,
                "device": self.device.name,
                "seed": manifest.seed,
                "samples": self.samples,
                "epochs": self.epochs,
                "best_epoch": self.best_epoch,
                "resumed": self.resumed,
                "trial_count": None if self.trial_count is None else self.trial_count.to_json(),
                "metrics": manifest.metrics,
                "baselines": manifest.baselines,
                "importance": manifest.importance,
                "warnings": list(manifest.warnings),
            }
        )
