"""Labels of one symbol, with the last bar that each label depends on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["LabelSet"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelSet:
    """Labels of one symbol's base bars.

    Attributes:
        values: float64 ``(n,)``: a class number (position in ``classes``), or the value to predict. NaN where there
            is no label, because the data lacks the later or the earlier bars that it needs.
        span_end: int64 ``(n,)``: position of the last bar that the label of a row depends on, 1 to ``look_ahead`` bars
            after the row. The label is known at the close of that bar, and no later bar changes it. It has no meaning
            where there is no label (``row + look_ahead``, limited by the data).
        look_ahead: largest number of bars ahead that any label of this source can depend on; the number of bars to
            purge.
        classes: class names; empty for values.
    """

    values: np.ndarray
    span_end: np.ndarray
    look_ahead: int
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.values)
        if self.values.dtype != np.float64 or self.values.shape != (n,):
            raise TypeError(f"values must be float64 of shape ({n},), not {self.values.dtype} {self.values.shape}")
        if self.span_end.dtype != np.int64 or self.span_end.shape != (n,):
            raise TypeError(f"span_end must be int64 of shape ({n},), not {self.span_end.dtype} {self.span_end.shape}")
        ahead = (self.span_end - np.arange(n))[self.labelled]
        # Splits are purged by `look_ahead`: a label that reaches further would leak into the next part.
        if len(ahead) and (ahead.min() < 1 or ahead.max() > self.look_ahead):
            raise ValueError(
                f"labels depend on {ahead.min()} to {ahead.max()} bars ahead, but declare 1 to {self.look_ahead}"
            )
        if len(ahead) and int(self.span_end[self.labelled].max()) >= n:
            raise ValueError("a label depends on bars after the last one")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def labelled(self) -> np.ndarray:
        """Mask of the rows that have a label, bool ``(n,)``."""
        return ~np.isnan(self.values)
