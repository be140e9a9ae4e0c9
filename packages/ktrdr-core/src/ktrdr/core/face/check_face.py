"""The search for look-ahead from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ktrdr.core.data.python_words import python_messages
from ktrdr.core.face.result_html import result_block, table_html
from ktrdr.core.face.strategy_face import Strategy, load_strategy
from ktrdr.core.features.causality import CheckReport
from ktrdr.core.work.progress import Progress
from ktrdr.core.work.watching import display_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Check", "check"]


class Check:
    """What a search for look-ahead found. :func:`ktrdr.core.check` makes it.

    Example:
        >>> import ktrdr.core as kt
        >>> found = kt.check(kt.example_strategy(), sample=True, cuts=5, progress=False)
        >>> found.passed, found.leaking
        (True, ())
    """

    def __init__(self, strategy: str, report: CheckReport) -> None:
        self._strategy = strategy
        self._report = report

    @property
    def passed(self) -> bool:
        """True if nothing depends on bars that were still to come."""
        return not self._report.leaking

    @property
    def leaking(self) -> tuple[str, ...]:
        """Names of the features that depend on later bars; ``label`` for the labels."""
        return self._report.leaking

    @property
    def findings(self) -> pd.DataFrame:
        """One row per feature, and one for the labels (``label``); index ``feature``.

        Columns: ``leaks`` (int64: at how many of the cuts a value changed), ``bars_ahead`` (int64: the most bars it
        reached ahead), ``settles_after`` (float64: bars of history after which the value no longer depends on where
        the data begin; NaN if it still did at the end).
        """
        import pandas as pd

        found = [*self._report.features, *([self._report.labels] if self._report.labels else [])]
        return pd.DataFrame(
            {
                "leaks": [each.leaks for each in found],
                "bars_ahead": [each.bars_ahead for each in found],
                "settles_after": pd.array([each.settles_after for each in found], dtype="Float64").to_numpy(
                    dtype=float, na_value=float("nan")
                ),
            },
            index=pd.Index([each.id for each in found], name="feature"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready data, as ``ktrdr check --json`` prints it."""
        return {"strategy": self._strategy, **self._report.to_json()}

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        report = self._report
        said = f"look-ahead in {', '.join(self.leaking)}" if self.leaking else "no look-ahead"
        return (
            f"<Check {self._strategy} on {report.symbol} {report.timeframe}: {said} found at {report.cuts} cuts of"
            f" {report.bars:,} bars>"
        )

    def _repr_html_(self) -> str:
        table = table_html(self.findings, ",.0f", "never")
        return result_block(repr(self)[1:-1], table)


def check(
    strategy: Strategy | str | os.PathLike[str] | Mapping[str, Any],
    *,
    symbol: str | None = None,
    sample: bool = False,
    cuts: int = 100,
    last: int = 20_000,
    seed: int = 0,
    progress: bool | Progress = True,
) -> Check:
    """Look for look-ahead in a strategy's features and labels.

    Cuts the data off at random bars, or gives the bars from there on other prices, computes every feature and label
    again, and compares: what changes was made from bars that were still to come.

    Args:
        strategy: a :class:`Strategy`, or whatever :func:`load_strategy` takes.
        symbol: whose bars; by default the strategy's first symbol.
        sample: use the shipped EURUSD sample instead of stored bars.
        cuts: random bars at which the data are cut off, and changed from there on, at least 1.
        last: most recent base bars that are used, at least 20.
        seed: of the random bars.
        progress: True shows a bar (in a notebook, on a terminal) or lines (elsewhere); False shows nothing; a function
            is called with every progress event.

    Returns:
        The findings; true in a condition if there is no look-ahead.

    Raises:
        BadInputError: the strategy has errors, there are no bars for it, or an argument is out of its range.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.check(kt.example_strategy(), sample=True, cuts=5, progress=False)
        <Check neuro_mean_reversion on EURUSD 1h: no look-ahead found at 5 cuts of 6,225 bars>
    """
    from ktrdr.core.workflows.run_check import check as run

    loaded = strategy if isinstance(strategy, Strategy) else load_strategy(strategy)
    with python_messages(), display_of(progress) as receive:
        report = run(loaded.loaded, symbol=symbol, sample=sample, cuts=cuts, last=last, seed=seed, progress=receive)
    return Check(loaded.name, report)
