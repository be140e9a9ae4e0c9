"""Stored verdicts from Python: what ``ktrdr.core.verdicts`` offers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ktrdr.core.errors import BadInputError
from ktrdr.core.face.verdict_face import Verdict
from ktrdr.core.typed_frame import typed_frame
from ktrdr.core.verdicts.stored_verdict import list_verdicts, load_verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["list", "load"]

_COLUMNS = {
    **dict.fromkeys(("strategy", "word", "symbols", "timeframe"), "str"),
    "made": "datetime64[ns, UTC]",
    "quick": "bool",
    **dict.fromkeys(("sharpe", "low", "high", "deflated_sharpe"), "float64"),
    "trials": "Int64",
    "choice": "str",
}


def list() -> pd.DataFrame:
    """Return the stored verdicts, sorted by name.

    A verdict whose files are damaged is left out, and told as a Python warning.

    Returns:
        Index ``verdict``; columns ``strategy``, ``word``, ``symbols``, ``timeframe`` (text), ``made`` (aware, UTC),
        ``quick`` (bool), ``sharpe``, ``low`` and ``high`` (annual Sharpe ratio of the median account and its 90 %
        interval, float64), ``deflated_sharpe`` (probability, float64), ``trials`` (Int64) and ``choice`` (hash of the
        strategy without its name, description and seed). Numbers are missing where a verdict has none.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.verdicts.list().index.name
        'verdict'
    """
    names, rows = [], []
    for entry in list_verdicts():
        if entry.facts is None:
            warnings.warn(entry.problem, UserWarning, stacklevel=2)
            continue
        facts, found = entry.facts, entry.facts.deflation
        names.append(facts.verdict)
        rows.append(
            (
                facts.strategy,
                facts.word,
                " ".join(facts.symbols),
                facts.timeframe,
                facts.made,
                facts.quick,
                *(
                    (None,) * 5
                    if found is None
                    else (found.sharpe, found.low, found.high, found.probability, found.trials)
                ),
                facts.choice,
            )
        )
    return typed_frame(_COLUMNS, rows, names, index="verdict", index_dtype="str")


def load(verdict: str) -> Verdict:
    """Load a stored verdict.

    Args:
        verdict: ``"name/3"``, or ``"name"`` for the latest verdict on that strategy.

    Returns:
        The verdict, as :func:`ktrdr.core.verdict` returned it.

    Raises:
        NotFoundError: there is no such verdict; the message says which there are.
        BadInputError: its files are damaged, or ``verdict`` is no text.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.verdicts.load("neuro_mean_reversion").verdict
        'neuro_mean_reversion/1'
    """
    if not isinstance(verdict, str):
        raise BadInputError(f"give the name of a verdict, such as `name/3`, not a {type(verdict).__name__}")
    return Verdict(load_verdict(verdict))
