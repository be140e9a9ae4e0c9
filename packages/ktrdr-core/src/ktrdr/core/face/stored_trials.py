"""Functions over the ledger of trials of ``KTRDR_HOME``: list, load, count, verify, export and import trials."""

from __future__ import annotations

import datetime as dt
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrdr.core.data.symbol_spelling import missing_symbol
from ktrdr.core.dates import parse_day
from ktrdr.core.errors import BadInputError
from ktrdr.core.names import check_symbol
from ktrdr.core.short_texts import short_repr
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.trials.look import Span, sharpe_of
from ktrdr.core.trials.row import TrialRow
from ktrdr.core.trials.transfer import check_trials_export, export_trials, import_trials
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.trials.trial_ledger import Listed, TrialLedger
from ktrdr.core.typed_frame import typed_frame
from ktrdr.core.workflows.places import models_in, trials_in

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["StoredTrial", "count", "export", "import_file", "list", "load", "verify"]

_LIST_COLUMNS = {
    "id": "str",
    "time": "datetime64[us, UTC]",
    "kind": "str",
    "model": "str",
    "symbols": "str",
    "timeframe": "str",
    "start": "datetime64[us, UTC]",
    "end": "datetime64[us, UTC]",
    "world": "str",
    "sharpe": "float64",
    "changes": "object",
    "chosen_among": "Int64",
    "ledger": "str",
    "before_ledger": "bool",
}
_CHAIN_COLUMNS = {"own": "bool", "rows": "int64", "state": "str", "problem": "str"}
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """A row of the ledger of trials.

    Attributes:
        row: everything that was recorded: ``kind``, ``model``, ``symbols``, ``start``, ``end``, ``changes``,
            ``account``, ``metrics``, ``seed`` and hashes.
        strategy_text: the strategy file as it was written.
        imported: True if another ledger recorded the row.
        warnings: one sentence each where the ledger or this row is damaged.

    Example:
        >>> import ktrdr.core as kt
        >>> trial = kt.trials.load(kt.trials.list().id.iloc[-1])
        >>> trial.row.kind, trial.imported, trial.warnings
        ('training', False, ())
    """

    row: TrialRow
    strategy_text: str
    imported: bool = False
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return short_repr(f"StoredTrial {self.row.id}: {self.row.summary}")


def list(symbol: str | None = None, *, limit: int | None = None, before: int | None = None) -> pd.DataFrame:
    """Return what was tried, newest first: every training, evaluation, verdict and backtest, and every cell of a sweep.

    A ledger that is damaged, or a symbol that is close to one in the ledger, is told as a ``UserWarning``.

    Args:
        symbol: to return only trials that looked at bars of this symbol.
        limit: rows to return at most; all rows if None.
        before: to return only rows with a smaller number.

    Returns:
        One row per look at results. The index ``number`` (int64) is the place of the row in this ledger. Columns:

        - ``id`` (str): first 16 digits of the hash of the row; :func:`load` takes it.
        - ``time`` (datetime64[us, UTC]): when the row was recorded.
        - ``kind`` (str): ``training``, ``evaluation``, ``verdict``, ``backtest`` or ``sweep`` (one cell of a sweep).
        - ``model`` (str): ``name/version``.
        - ``symbols`` (str): symbols that were looked at, separated by spaces.
        - ``timeframe`` (str): of these bars.
        - ``start``, ``end`` (datetime64[us, UTC]): open of the first bar, close of the last.
        - ``world`` (str): empty for imported bars, the name of a synthetic market otherwise.
        - ``sharpe`` (float64): annualized Sharpe ratio, NaN for a training.
        - ``changes`` (dict): what differs from the strategy file, by dotted key.
        - ``chosen_among`` (Int64): cells of the sweep the row belongs to, missing outside a sweep.
        - ``ledger`` (str): id of the ledger that recorded the row; another one for imported rows.
        - ``before_ledger`` (bool): True for a model or a run that was stored before this ledger was made.

    Raises:
        BadInputError: ``symbol`` cannot be a symbol, or ``limit`` or ``before`` is below 1.
        StoreError: the ledger cannot be read.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.trials.list("EURUSD")[["kind", "model", "symbols", "timeframe"]]
                    kind                   model symbols timeframe
        number
        2       backtest  neuro_mean_reversion/1  EURUSD        1h
        1       training    neuro_mean_reversion  EURUSD        1h
    """
    for name, value in (("limit", limit), ("before", before)):
        if value is not None and value < 1:
            raise BadInputError(f"`{name}` must be at least 1, not {value}")
    ledger = trials_in(None)
    found = _listed(ledger, None if symbol is None else check_symbol(symbol), limit, before)
    for problem in ledger.warnings():
        warnings.warn(problem, stacklevel=2)
    if not found and symbol is not None:
        _warn_of_spelling(ledger, [symbol])
    rows = [[_cell(listed.row, column) for column in _LIST_COLUMNS] for listed in found]
    labels = [listed.number for listed in found]
    return typed_frame(_LIST_COLUMNS, rows, labels, index="number", index_dtype="int64")


def load(trial_id: str) -> StoredTrial:
    """Return one row of the ledger, and the strategy that was tried.

    Args:
        trial_id: as :func:`list` returns it; its first digits are enough, if no other row begins with them.

    Returns:
        The row and the text of its strategy.

    Raises:
        NotFoundError: there is no such row, or several begin with these digits.
        StoreError: the ledger cannot be read.

    Example:
        >>> import ktrdr.core as kt
        >>> trial = kt.trials.load(kt.trials.list().id.iloc[0])
        >>> trial.row.kind, trial.row.account["capital"]
        ('backtest', 10000.0)
        >>> trial.strategy_text.splitlines()[3]
        'name: neuro_mean_reversion'
    """
    ledger = trials_in(None)
    row, text = ledger.get(trial_id)
    changed = () if row.hash.startswith(trial_id.lower()) else (f"row {trial_id} was changed after it was written",)
    return StoredTrial(row, text, row.ledger != ledger.id, (*ledger.warnings(), *changed))


def count(
    symbols: str | Sequence[str], start: str | dt.date, end: str | dt.date, *, model: str | None = None
) -> TrialCount:
    """Return how many distinct trials looked at any bar of these symbols in a period.

    A training and the first backtest of its model count once, and so does the same trial in several ledgers.

    Args:
        symbols: one symbol or several.
        start: first day (UTC), ``YYYY-MM-DD`` or a date.
        end: last day (UTC), included.
        model: ``name/version`` of a stored model. Its strategy tells ``chosen_among``; of a model from before the
            ledger no fewer trials are counted than its version.

    Returns:
        The count: ``number``, ``statement`` (the number in words), ``spread`` (standard deviation of the annualized
        Sharpe ratios on bars as long as these) and ``effective`` (number of independent trials, by their correlation).

    Raises:
        BadInputError: a symbol or a day is malformed, or the last day is before the first.
        NotFoundError: ``model`` is not stored.
        StoreError: the ledger cannot be read.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.trials.count("EURUSD", "2017-10-01", "2017-12-31").statement
        '1 trial known to this ledger'
    """
    names = [check_symbol(symbol) for symbol in ([symbols] if isinstance(symbols, str) else symbols)]
    if not names:
        raise BadInputError("`symbols` is empty; name at least one, such as EURUSD")
    span = Span.of_days(names, _day(start, "start"), _day(end, "end"))
    ledger = trials_in(None)
    if model is None:
        found = ledger.count(span)
    else:
        manifest = models_in(None).get(model).manifest
        found = ledger.count(span, strategy=choice_hash(manifest.strategy), model=manifest.ref)
    if not found.known:
        _warn_of_spelling(ledger, names)
    return found


def verify() -> pd.DataFrame:
    """Check every row of the ledger.

    Each row has the hash of the row before it, so that a changed or missing row is noticed.

    Returns:
        One row per ledger: this one first, then those that rows were imported from. The index ``ledger`` (str) is the
        id of the ledger. Columns:

        - ``own`` (bool): True for the ledger of this ``KTRDR_HOME``.
        - ``rows`` (int64): number of rows.
        - ``state`` (str): ``ok`` or ``broken``.
        - ``problem`` (str): the first broken row and what is wrong with it, empty for ``ok``.

    Raises:
        StoreError: the ledger cannot be read.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.trials.verify().reset_index(drop=True)
            own  rows state problem
        0  True     2    ok
    """
    chains = trials_in(None).verify()
    rows = [(chain.own, chain.rows, "broken" if chain.problem else "ok", chain.problem) for chain in chains]
    return typed_frame(_CHAIN_COLUMNS, rows, [chain.ledger for chain in chains], index="ledger", index_dtype="str")


def export(path: str | os.PathLike[str], *, overwrite: bool = False) -> int:
    """Write all rows to a file, for :func:`import_file` in another ``KTRDR_HOME``; imported rows are written too.

    Args:
        path: of the file.
        overwrite: True to replace an existing file.

    Returns:
        The number of rows.

    Raises:
        BadInputError: the directory does not exist, or the file exists and ``overwrite`` is False.
        StoreError: the ledger cannot be read, or the disk is full or not writable.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.trials.export("mine.trials")
        2
    """
    target = Path(path).expanduser()
    ledger = trials_in(None)
    check_trials_export(target, overwrite=overwrite, remedy="overwrite=True")
    return export_trials(ledger, target)


def import_file(path: str | os.PathLike[str]) -> int:
    """Add the rows of a file that :func:`export` wrote.

    The whole file is checked first. Known rows are not added again, and no trial counts twice.

    Args:
        path: of the file.

    Returns:
        The number of rows that were added.

    Raises:
        BadInputError: the file is missing or not a file of trials, or a row is broken; nothing is added.
        StoreError: the ledger cannot be written.

    Example:
        >>> import ktrdr.core as kt
        >>> rows = kt.trials.export("mine.trials")
        >>> kt.trials.import_file("mine.trials")
        0
    """
    added, _ = import_trials(trials_in(None), Path(path).expanduser())
    return added


def _listed(ledger: TrialLedger, symbol: str | None, limit: int | None, before: int | None) -> Sequence[Listed]:
    """Return rows of the ledger, newest first, read a page at a time."""
    found: Sequence[Listed] = []
    while limit is None or len(found) < limit:
        size = _PAGE if limit is None else min(_PAGE, limit - len(found))
        page = ledger.page(symbol=symbol, before=before, limit=size)
        if not page:
            break
        found = [*found, *page]
        before = page[-1].number
    return found


def _cell(row: TrialRow, column: str) -> Any:
    match column:
        case "symbols":
            return " ".join(row.symbols)
        case "sharpe":
            return None if row.kind == "training" else sharpe_of(row.metrics)
        case _:
            return getattr(row, column)


def _day(value: str | dt.date, name: str) -> dt.date:
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo is None else value.astimezone(dt.UTC)).date()
    if isinstance(value, dt.date):
        return value
    try:
        return parse_day(str(value))
    except BadInputError as error:
        raise BadInputError(f"`{name}`: {error}") from None


def _warn_of_spelling(ledger: TrialLedger, symbols: Sequence[str]) -> None:
    """Warn of each symbol that no trial looked at, if the ledger has one that is spelt nearly the same."""
    known = set(ledger.symbols())
    for symbol in symbols:
        if symbol not in known and (meant := missing_symbol(symbol, known)):
            warnings.warn(f"no trial looked at bars of {symbol}{meant}", stacklevel=3)
