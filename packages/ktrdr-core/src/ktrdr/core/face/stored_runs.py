"""Stored backtests from Python: what ``ktrdr.core.runs`` offers."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ktrdr.core.backtesting.results import read_result
from ktrdr.core.data.times import parse_time
from ktrdr.core.errors import BadInputError
from ktrdr.core.face.backtest_face import Backtest
from ktrdr.core.face.result_frames import metrics_frame
from ktrdr.core.runs.run_store import find_run, run_name, runs_root, stored_runs
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.typed_frame import typed_frame
from ktrdr.core.workflows.compare_runs import summary_by_now

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare", "list", "load"]

_METRICS = ("total_return", "sharpe", "deflated_sharpe", "max_drawdown", "trades")
_COLUMNS = {
    **dict.fromkeys(("model", "symbols", "timeframe"), "str"),
    **dict.fromkeys(("start", "end"), "datetime64[ns, UTC]"),
    **dict.fromkeys(_METRICS, "float64"),
}


def list() -> pd.DataFrame:
    """Return the stored backtests, sorted by name, deflated by the number of trials that is known now.

    A run whose files are damaged is left out, and told as a Python warning.

    Returns:
        Index ``run``; columns ``model``, ``symbols``, ``timeframe`` (text), ``start`` and ``end`` (aware, UTC: open of
        the first bar, close of the last), ``total_return``, ``sharpe``, ``deflated_sharpe``, ``max_drawdown`` and
        ``trades`` (float64).

    Raises:
        KtrdrError: the ledger of trials cannot be read.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.runs.list().index.name
        'run'
    """
    found = {}
    for directory in stored_runs(runs_root()):
        try:
            found[run_name(directory)] = summary_by_now(directory)
        except BadInputError as error:
            warnings.warn(str(error), UserWarning, stacklevel=2)
    rows = [
        (
            each["model"],
            " ".join(each["symbols"]),
            each["timeframe"],
            *(parse_time(each[side]) for side in ("start", "end")),
            *(each["metrics"].get(name) for name in _METRICS),
        )
        for each in found.values()
    ]
    return typed_frame(_COLUMNS, rows, [*found], index="run", index_dtype="str")


def load(run: str | os.PathLike[str]) -> Backtest:
    """Load a stored backtest, its figures deflated by the number of trials that is known now.

    Args:
        run: name of the run, such as ``"neuro_mean_reversion/1-2"``, or the path of its directory.

    Returns:
        The backtest, as :func:`ktrdr.core.backtest` returned it.

    Raises:
        NotFoundError: there is no such run; the message says which there are.
        BadInputError: its files are damaged.
        KtrdrError: the ledger of trials cannot be read.

    Example:
        >>> import ktrdr.core as kt
        >>> bars = kt.data.import_sample()
        >>> training = kt.train(kt.example_strategy(), epochs=2, progress=False)
        >>> backtest = kt.backtest(training, progress=False)
        >>> kt.runs.load(backtest.run)
        <Backtest neuro_mean_reversion/1: EURUSD 1h, 2017-10-01 to 2017-12-29, return 0.49%, Sharpe 0.42, 103 trades>
    """
    directory = find_run(os.fspath(run))
    result, summary = read_result(directory), summary_by_now(directory)
    count = summary.get("trial_count")
    return Backtest(
        dataclasses.replace(
            result, metrics=summary["metrics"], trial_count=None if count is None else TrialCount.from_json(count)
        ),
        directory,
    )


def compare(runs: Iterable[str | os.PathLike[str] | Backtest]) -> pd.DataFrame:
    """Return the metrics of several backtests beside each other, deflated by the number of trials that is known now.

    Args:
        runs: names of runs, paths of their directories, or backtests.

    Returns:
        Index ``metric``; one column per run, float64, NaN where a metric is not defined.

    Raises:
        NotFoundError: there is no such run.
        BadInputError: its files are damaged, or no run is given.

    Example:
        >>> import ktrdr.core as kt
        >>> bars = kt.data.import_sample()
        >>> training = kt.train(kt.example_strategy(), epochs=2, progress=False)
        >>> runs = [kt.backtest(training, commission=cost, progress=False) for cost in (0.0, 0.0001)]
        >>> kt.runs.compare(runs).columns.tolist()
        ['neuro_mean_reversion/1-1', 'neuro_mean_reversion/1-2']
    """
    if isinstance(runs, str | os.PathLike | Backtest):
        runs = [runs]
    found = [run.directory if isinstance(run, Backtest) else find_run(os.fspath(run)) for run in runs]
    if not found:
        raise BadInputError("there is nothing to compare; give at least one run, such as `neuro_mean_reversion/1-1`")
    return metrics_frame({run_name(directory): summary_by_now(directory)["metrics"] for directory in found})
