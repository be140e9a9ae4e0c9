"""What a model has to beat beside buy and hold: the same rules on a prediction that needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.core.models.manifest import Manifest

__all__ = ["majority_class"]


def majority_class(manifest: Manifest) -> str | None:
    """Return the class that was the most frequent one in the training samples; ``None`` where the manifest does not
    tell: a regression, or a model that was trained without validation and test samples."""
    judged = manifest.baselines.get("majority")
    if not isinstance(judged, Mapping):
        return None
    for metrics in judged.values():
        predicted = _predicted(metrics, manifest.classes)
        if predicted:
            return max(predicted, key=lambda name: predicted[name])
    return None


def _predicted(metrics: Any, classes: Sequence[str]) -> dict[str, int]:
    """Return how often the baseline predicted each class: all of it falls on one."""
    per_class = metrics.get("per_class") if isinstance(metrics, Mapping) else None
    if not isinstance(per_class, Mapping) or set(per_class) != set(classes):
        return {}
    counts = {name: per_class[name].get("predicted", 0) for name in classes}
    return counts if any(counts.values()) else {}
