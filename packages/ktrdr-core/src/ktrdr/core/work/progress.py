"""Progress reports of long work."""

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
        done: number of units finished so far (epochs, bars, files).
        total: number of units of the whole step; 0 if it is not known.
        unit: name of the unit.
        fraction: finished share of the step, 0 to 1; finer than ``done / total`` if the work can tell, such as by
            batches inside an epoch.
        message: a few words for a person, or empty.
        metrics: numbers to show beside the progress bar (loss, accuracy).
    """

    step: str
    done: int = 0
    total: int = 0
    unit: str = ""
    fraction: float = 0.0
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready map, without metrics that are not finite."""
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
        """Return the event that :meth:`to_json` described; missing keys get defaults."""
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
