"""DataFrames whose columns have the same types with rows as without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["typed_frame"]


def typed_frame(
    columns: Mapping[str, str], rows: Sequence[Sequence[Any]], labels: Sequence[Any], *, index: str, index_dtype: str
) -> pd.DataFrame:
    """Return a DataFrame of rows that may be none.

    Args:
        columns: dtype of each column, by its name.
        rows: the cells of each row, in the order of ``columns``; ``None`` for a missing value.
        labels: of the rows.
        index: name of the index.
        index_dtype: dtype of the index.
    """
    import pandas as pd

    labels_index = pd.Index(labels, name=index, dtype=index_dtype)
    return pd.DataFrame(
        {
            name: pd.Series([cells[place] for cells in rows], index=labels_index, dtype=dtype)
            for place, (name, dtype) in enumerate(columns.items())
        },
        index=labels_index,
    )
