"""Tables of results as DataFrames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ktrdr.core.backtesting.metrics import METRICS
from ktrdr.core.backtesting.tables import Table
from ktrdr.core.validation.evaluation_result import PathResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame_of", "metrics_frame", "paths_frame"]


def frame_of(table: Table, index: str) -> pd.DataFrame:
    """Return a table as a frame with one of its columns as the index; times are aware, UTC."""
    import pandas as pd

    columns = {
        name: pd.DatetimeIndex(values).tz_localize("UTC") if values.dtype.kind == "M" else values
        for name, values in table.items()
    }
    return pd.DataFrame(columns).set_index(index)


def metrics_frame(columns: Mapping[str, Mapping[str, Any]], names: Sequence[str] = ()) -> pd.DataFrame:
    """Return metrics as a float64 frame: one row per metric, NaN where one is not defined.

    Args:
        columns: maps headings to metrics.
        names: rows, in order; by default every metric of a backtest.
    """
    import pandas as pd

    rows = list(names) or [info.name for info in METRICS]
    frame = pd.DataFrame({name: [metrics.get(row) for row in rows] for name, metrics in columns.items()}, dtype=float)
    frame.index = pd.Index(rows, name="metric")
    return frame


def paths_frame(paths: Sequence[PathResult]) -> pd.DataFrame:
    """Return the metrics of accounts, float64: rows ``path`` and ``seed``; NaN where one is not defined."""
    import pandas as pd

    index = pd.MultiIndex.from_tuples([(each.path, each.seed) for each in paths], names=["path", "seed"])
    names = list(dict.fromkeys(name for each in paths for name in each.metrics))
    return pd.DataFrame({name: [each.metrics.get(name) for each in paths] for name in names}, index=index, dtype=float)
