"""The check of a stored data set, from Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendar_choice import calendar_of
from ktrdr.core.data.gaps import GAP_KINDS, find_gaps
from ktrdr.core.data.jumps import large_jumps, split_like_jumps
from ktrdr.core.data.python_words import in_python
from ktrdr.core.data.validation import ValidationReport, validate_bars
from ktrdr.core.names import named_market

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DataCheck", "check_data"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DataCheck:
    """What was found in a stored data set.

    Attributes:
        report: the findings as the command line prints them.
        gaps: one row per gap between bars. Columns: ``start``, the close of the bar before, and ``end``, the open of
            the bar after, ``datetime64[ns, UTC]``; ``kind``: ``weekend``, ``holiday``, ``session_break`` or
            ``unexpected``; ``missing``, int64: bars that the calendar expects in between, 0 unless ``unexpected``.
        jumps: one row per jump of the price that may be no move of the market. Columns: ``time``, the open of the bar,
            ``datetime64[ns, UTC]``; ``kind``: ``split_like_jump`` or ``large_jump``; ``before``, the close before it,
            and ``after``, the price after it, float64.

    Example:
        >>> import ktrdr.core as kt
        >>> _ = kt.data.import_sample()
        >>> found = kt.data.check("EURUSD", "1h")
        >>> found.passed, found.bars, found.calendar
        (True, 6225, 'FX')
        >>> found.gaps["kind"].value_counts().to_dict()
        {'weekend': 50, 'holiday': 2}
    """

    report: ValidationReport
    gaps: pd.DataFrame
    jumps: pd.DataFrame

    @property
    def symbol(self) -> str:
        """The symbol."""
        return self.report.symbol

    @property
    def timeframe(self) -> str:
        """The timeframe."""
        return self.report.timeframe

    @property
    def bars(self) -> int:
        """Number of bars."""
        return self.report.rows

    @property
    def calendar(self) -> str:
        """Name of the calendar that defines the expected gaps."""
        return self.report.calendar

    @property
    def passed(self) -> bool:
        """True if there are no errors; there may be warnings."""
        return self.report.ok

    @property
    def findings(self) -> pd.DataFrame:
        """One row per kind of finding.

        Columns: ``severity`` (``error`` or ``warning``), ``kind``, ``count`` (int64, how often) and ``message``.
        """
        import pandas as pd

        rows = [
            (finding.severity, finding.kind, finding.count, in_python(finding.message))
            for finding in self.report.findings
        ]
        found = pd.DataFrame(rows, columns=["severity", "kind", "count", "message"])
        return found.astype({"count": np.int64})

    @property
    def warnings(self) -> tuple[str, ...]:
        """The messages of all findings."""
        return tuple(in_python(finding.message) for finding in self.report.findings)

    def __repr__(self) -> str:
        gaps = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in self.report.gaps.items() if count)
        verdict = "no errors" if self.passed else "ERRORS"
        warned = sum(finding.severity == "warning" for finding in self.report.findings)
        return (
            f"<DataCheck {named_market(self.symbol, self.report.world)} {self.timeframe}: {self.bars:,} bars, "
            f"{verdict}, "
            f"{'1 warning' if warned == 1 else f'{warned} warnings'}; gaps by {self.calendar}: {gaps or 'none'}>"
        )

    def _repr_html_(self) -> str:
        from html import escape

        table = self.findings.to_html(index=False) if self.report.findings else ""
        return f"<div>{escape(repr(self).strip('<>'))}</div>{table}"


def check_data(bars: Bars, calendar: str | None) -> DataCheck:
    """Return the check of ``bars``, by the calendar of that name or else by that of the bars."""
    report = validate_bars(bars, calendar)
    sound = report.ok and len(bars) > 0
    return DataCheck(report, _gaps(bars if sound else bars[:0], calendar), _jumps(bars if sound else bars[:0]))


def _gaps(bars: Bars, calendar: str | None) -> pd.DataFrame:
    import pandas as pd

    found = find_gaps(bars, calendar_of(bars, calendar))
    frame = pd.DataFrame(
        {
            "start": pd.DatetimeIndex(found.start).tz_localize("UTC"),
            "end": pd.DatetimeIndex(found.end).tz_localize("UTC"),
            "kind": np.array(GAP_KINDS, dtype=object)[found.kind],
            "missing": found.missing,
        }
    )
    return frame.astype({"kind": "str"})


def _jumps(bars: Bars) -> pd.DataFrame:
    import pandas as pd

    splits, _ = split_like_jumps(bars)
    large, before, after = large_jumps(bars)
    rest = ~np.isin(large, splits)
    rows = np.concatenate((splits, large[rest]))
    order = np.argsort(rows, kind="stable")
    kinds = np.array(["split_like_jump"] * len(splits) + ["large_jump"] * int(rest.sum()), dtype=object)
    frame = pd.DataFrame(
        {
            "time": pd.DatetimeIndex(bars.time[rows[order]]).tz_localize("UTC"),
            "kind": kinds[order],
            "before": np.concatenate((bars.close[splits - 1], before[rest]))[order],
            "after": np.concatenate((bars.open[splits], after[rest]))[order],
        }
    )
    return frame.astype({"kind": "str"})
