"""Result of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktrdr.core.files.json_values import plain_json
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_warnings import warnings_of
from ktrdr.core.plugins.contract import Device
from ktrdr.core.short_texts import short_repr
from ktrdr.core.trials.look import Look
from ktrdr.core.trials.trial_count import TrialCount

__all__ = ["TrainingResult"]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished training. Metrics, baselines, importance and warnings are in ``bundle.manifest``.

    Attributes:
        bundle: the stored model.
        device: the device that it was trained on.
        samples: number of samples of each symbol, by part.
        epochs: number of epochs that were run, of an ensemble the largest of its members.
        best_epoch: epoch whose weights were kept, counted from 1; ``None`` for an ensemble, each of whose members has
            its own.
        resumed: True if the run resumed from a checkpoint.
        trial_count: number of trials on its validation and test part, including this one; ``None`` without these parts.
        look: record of this trial for the ledger of trials; ``None`` without these parts.
    """

    bundle: Bundle
    device: Device
    samples: Mapping[str, Mapping[str, int]]
    epochs: int
    best_epoch: int | None
    resumed: bool = False
    trial_count: TrialCount | None = None
    look: Look | None = None

    def __repr__(self) -> str:
        epochs = f"{self.epochs:,} epoch{'' if self.epochs == 1 else 's'} on {self.device.name}"
        best = "an ensemble" if self.best_epoch is None else f"best epoch {self.best_epoch:,}"
        return short_repr(f"TrainingResult {self.bundle.ref}: {epochs}, {best}")

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON-ready map."""
        manifest = self.bundle.manifest
        return plain_json(
            {
                "model": self.bundle.ref,
                "directory": str(self.bundle.directory),
                "weights_hash": manifest.weights_hash,
                "evaluation": None if manifest.evaluation is None else manifest.evaluation.model_dump(mode="json"),
                "plugin": manifest.plugin.name,
                "model_type": manifest.model_type,
                "device": self.device.name,
                "seed": manifest.seed,
                "members": [member.model_dump(mode="json") for member in manifest.members],
                "samples": self.samples,
                "epochs": self.epochs,
                "best_epoch": self.best_epoch,
                "resumed": self.resumed,
                "trial_count": None if self.trial_count is None else self.trial_count.to_json(),
                "metrics": manifest.metrics,
                "baselines": manifest.baselines,
                "importance": manifest.importance,
                "warnings": list(warnings_of(manifest)),
            }
        )
