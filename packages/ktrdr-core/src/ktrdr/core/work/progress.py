"""What long work reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["NO_PROGRESS", "Progress", "ProgressEvent"]


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One report of progress.

    Attributes:
        step: name of the step, such as ``"training"``.
        done: units of the step finished so far (epochs, bars, files).
        total: units of the whole step; 0 if not known.
        unit: what is counted.
        fraction: share of the step finished, 0 to 1, finer than ``done / total`` where there is something finer
            (batches inside an epoch).
        message: a few words for a person, or empty.
        metrics: numbers worth showing beside the bar (loss, accuracy).
    """

    step: str
    done: int = 0
    total: int = 0
    unit: str = ""
    fraction: float = 0.0
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready map; metrics that are not finite are left out."""
        return {
            "step": self.step,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "fraction": round(float(self.fraction), 6),
            "message": self.message,
            "metrics": {name: value for name, value in self.metrics.items() if math.isfinite(value)},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ProgressEvent:
        """Return the event that :meth:`to_json` described, and defaults for what ``data`` lacks."""
        return cls(
            step=str(data.get("step", "")),
            done=int(data.get("done", 0)),
            total=int(data.get("total", 0)),
            unit=str(data.get("unit", "")),
            fraction=float(data.get("fraction", 0.0)),
            message=str(data.get("message", "")),
            metrics=data.get("metrics", {}),
        )


Progress: TypeAlias = Callable[[ProgressEvent], None]
"""Receives progress; must return quickly and must not raise."""


def _discard(event: ProgressEvent) -> None:
    pass


NO_PROGRESS: Progress = _discard
"""A progress receiver that discards every event."""
