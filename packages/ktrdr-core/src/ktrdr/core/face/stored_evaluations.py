"""Stored evaluations from Python: what ``ktrdr.core.evaluations`` offers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ktrdr.core.errors import BadInputError
from ktrdr.core.face.evaluation_face import Evaluation
from ktrdr.core.typed_frame import typed_frame
from ktrdr.core.validation.stored_evaluation import list_evaluations, load_evaluation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["list", "load"]

_METRICS = ("total_return", "sharpe", "max_drawdown")
_COLUMNS = {
    **dict.fromkeys(("strategy", "validation", "symbols", "timeframe"), "str"),
    **dict.fromkeys(("start", "end"), "datetime64[ns, UTC]"),
    **dict.fromkeys(("folds", "seeds"), "int64"),
    **dict.fromkeys(_METRICS, "float64"),
}


def list() -> pd.DataFrame:
    """Return the stored evaluations, sorted by name.

    An evaluation whose files are damaged is left out, and told as a Python warning.

    Returns:
        Index ``evaluation``; columns ``strategy``, ``validation`` (kind of the folds), ``symbols``, ``timeframe``
        (text), ``start`` and ``end`` (aware, UTC: open of the first tested bar, close of the last), ``folds`` and
        ``seeds`` (int64), ``total_return``, ``sharpe`` and ``max_drawdown`` (medians over all accounts, float64).

    Example:
        >>> import ktrdr.core as kt
        >>> kt.evaluations.list().index.name
        'evaluation'
    """
    names, rows = [], []
    for entry in list_evaluations():
        if entry.facts is None:
            warnings.warn(entry.problem, UserWarning, stacklevel=2)
            continue
        facts = entry.facts
        names.append(facts.evaluation)
        rows.append(
            (
                facts.strategy,
                facts.validation.type,
                " ".join(facts.symbols),
                facts.timeframe,
                facts.tested.start,
                facts.tested.end,
                len(facts.folds),
                len(facts.seeds),
                *(facts.spread[name].median if name in facts.spread else None for name in _METRICS),
            )
        )
    return typed_frame(_COLUMNS, rows, names, index="evaluation", index_dtype="str")


def load(evaluation: str) -> Evaluation:
    """Load a stored evaluation.

    Args:
        evaluation: ``"name/3"``, or ``"name"`` for the latest evaluation of that strategy.

    Returns:
        The evaluation, as :func:`ktrdr.core.evaluate` returned it.

    Raises:
        NotFoundError: there is no such evaluation; the message says which there are.
        BadInputError: its files are damaged, or ``evaluation`` is no text.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.evaluations.load("neuro_mean_reversion").evaluation
        'neuro_mean_reversion/1'
    """
    if not isinstance(evaluation, str):
        raise BadInputError(f"give the name of an evaluation, such as `name/3`, not a {type(evaluation).__name__}")
    return Evaluation(load_evaluation(evaluation))
