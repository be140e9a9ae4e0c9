"""The result of an import from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from ktrdr.core.data.bar_store import WriteReport
from ktrdr.core.data.python_words import in_python
from ktrdr.core.data.validation import ValidationReport

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ImportResult", "import_result"]


@dataclass(frozen=True, slots=True, repr=False)
class ImportResult:
    """What an import changed in the store.

    Attributes:
        writes: changes in the store, one per data set.
        warnings: findings about the bars and rows that were left out; sentences that begin with the data set.
        notes: assumptions about the file or the frame, and columns that were left out; sentences.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.data.import_sample().table[["added", "stored"]]
           added  stored
        0   6225    6225
    """

    writes: tuple[WriteReport, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row per data set.

        Columns: ``symbol``, ``timeframe``; int64 numbers of bars: ``added`` that were not stored before, ``replaced``
        that were stored with other values, ``unchanged`` that were stored with the same values, and ``stored`` in the
        data set now.
        """
        import pandas as pd

        columns = ("symbol", "timeframe", "added", "replaced", "unchanged", "stored")
        rows = [
            (each.symbol, each.timeframe, each.added, each.replaced, each.unchanged, each.rows) for each in self.writes
        ]
        return pd.DataFrame(rows, columns=list(columns))

    def __repr__(self) -> str:
        added, replaced = (sum(getattr(each, name) for each in self.writes) for name in ("added", "replaced"))
        counts = f"{added:,} {'bar' if added == 1 else 'bars'} added, {replaced:,} replaced"
        if len(self.writes) == 1:
            (write,) = self.writes
            what = f"{write.symbol} {write.timeframe}: {counts}, {write.rows:,} stored"
        else:
            what = f"{len(self.writes):,} data sets: {counts}"
        warned = len(self.warnings)
        return f"<ImportResult {what}{'' if not warned else '; 1 warning' if warned == 1 else f'; {warned} warnings'}>"

    def _repr_html_(self) -> str:
        lines = [f"warning: {text}" for text in self.warnings] + [f"note: {text}" for text in self.notes]
        return self.table.to_html(index=False) + "".join(f"<div>{escape(line)}</div>" for line in lines)


def import_result(
    writes: Sequence[WriteReport],
    validations: Sequence[ValidationReport],
    notes: Sequence[str],
    *,
    noun: str = "file",
) -> ImportResult:
    """Return the result of an import, its sentences in the words of Python.

    Args:
        writes: changes in the store.
        validations: the findings, one report per data set.
        notes: assumptions.
        noun: the imported thing: ``file`` or ``frame``.
    """
    warnings = (
        f"{report.symbol} {report.timeframe}: {in_python(finding.message, noun=noun)}"
        for report in validations
        for finding in report.findings
    )
    return ImportResult(tuple(writes), tuple(warnings), tuple(in_python(note, noun=noun) for note in notes))
