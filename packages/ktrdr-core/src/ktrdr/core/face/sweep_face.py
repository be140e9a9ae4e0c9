"""Sweeps from Python: a trained model traded under every combination of some settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ktrdr.core.backtesting.metrics import format_metric
from ktrdr.core.data.python_words import python_messages
from ktrdr.core.data.times import last_day, parse_time
from ktrdr.core.errors import BadInputError
from ktrdr.core.face.arguments import DayLike, SymbolsLike, settings_of
from ktrdr.core.face.model_argument import ModelLike, find_bundle, model_server, remote_name
from ktrdr.core.face.result_html import result_block, table_html, warning_list
from ktrdr.core.jobs.job_settings import Inference, SweepSettings, Value
from ktrdr.core.work.progress import Progress
from ktrdr.core.work.watching import watched

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Sweep", "sweep"]

_SHOWN = ("sharpe", "total_return", "deflated_sharpe", "max_drawdown", "trades")
_ROWS_IN_HTML = 10


class Sweep:
    """A ranked sweep. :func:`ktrdr.core.sweep` makes it.

    Example:
        >>> import ktrdr.core as kt
        >>> values = {"decisions.confidence_threshold": [0.52, 0.54]}
        >>> sweep = kt.sweep("neuro_mean_reversion/1", values, progress=False)
        >>> sweep.table.index.tolist(), list(sweep.best)
        ([1, 2], ['decisions.confidence_threshold'])
    """

    def __init__(self, result: Mapping[str, Any]) -> None:
        self._result = result

    @property
    def model(self) -> str:
        """The model that was traded, ``name/version``."""
        return str(self._result["model"])

    @property
    def table(self) -> pd.DataFrame:
        """One row per combination, the best first; index ``rank`` from 1.

        Columns: one per key that was swept, then the metrics of the backtest, float64, NaN where one is not defined.
        The interval of the Sharpe ratio (``sharpe_low``, ``sharpe_high``) is there for the first ``top`` rows.
        """
        import pandas as pd

        rows = self._result["rows"]
        settings = pd.DataFrame([row["settings"] for row in rows])
        metrics = pd.DataFrame([row["metrics"] for row in rows]).astype(float)
        frame = pd.concat([settings, metrics], axis=1)
        frame.index = pd.RangeIndex(1, len(rows) + 1, name="rank")
        return frame

    @property
    def best(self) -> dict[str, Any]:
        """Settings of the first row, as :meth:`Strategy.replace` takes them."""
        return dict(self._result["rows"][0]["settings"])

    @property
    def trials(self) -> int | None:
        """Trials that looked at the same bars, every row of this sweep included."""
        count = self._result.get("trial_count")
        return None if count is None else int(count["number"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to doubt the figures, one sentence each."""
        return tuple(self._result.get("warnings", ()))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-ready data, as ``ktrdr sweep --json`` prints it."""
        return dict(self._result)

    def _title(self) -> str:
        found = self._result
        return (
            f"{self.model}: {len(found['rows']):,} combinations on {', '.join(found['symbols'])} {found['timeframe']},"
            f" {found['start'][:10]} to {last_day(parse_time(found['end']))}"
        )

    def __repr__(self) -> str:
        best = self._result["rows"][0]["metrics"][self._result["metric"]]
        return f"<Sweep {self._title()}, best {self._result['metric']} {format_metric(self._result['metric'], best)}>"

    def _repr_html_(self) -> str:
        names = list(self._result["rows"][0]["settings"])
        columns = [*names, *dict.fromkeys([self._result["metric"], *_SHOWN])]
        table = table_html(self.table[columns].head(_ROWS_IN_HTML), ".4g")
        return result_block(self._title(), warning_list(self.warnings), table)


def sweep(
    model: ModelLike,
    values: Mapping[str, Sequence[Value]],
    *,
    metric: str = "sharpe",
    top: int = 20,
    symbols: SymbolsLike = None,
    start: DayLike = None,
    end: DayLike = None,
    capital: float = 10_000.0,
    commission: float = 0.0,
    slippage: float = 0.0,
    trials: int | None = None,
    device: str = "auto",
    inference: Inference = "auto",
    server: str | None = None,
    progress: bool | Progress = True,
) -> Sweep:
    """Trade a trained model under every combination of some settings, record each as a trial, and rank them.

    Only what decides and trades can change without training again: keys below ``decisions`` and ``risk``. The deflated
    Sharpe ratio of each row counts every trial that is known to have looked at the same bars.

    Args:
        model: what :func:`train` returned, a bundle, ``"name"``, ``"name/3"``, or the path of a strategy file.
        values: maps dotted keys to the values to try, such as ``{"risk.stop_loss.atr": [2, 3, 4]}``; at most 20 keys
            and 10,000 combinations.
        metric: the rows are ordered by it, the best first.
        top: rows, from the first, whose interval of the Sharpe ratio is computed; 1 to 10,000.
        symbols: one or more symbols to trade, instead of the strategy's; they share the capital.
        start: first day, UTC and inclusive. Without days: the bars that the model has not seen.
        end: last day, UTC and inclusive.
        capital: cash at the start, in the prices' currency, above 0.
        commission: share of the traded value, per side, 0 to below 1; two basis points are 0.0002.
        slippage: share of the price by which every fill is worse, 0 to below 1; two basis points are 0.0002.
        trials: trials made elsewhere, which count beside those that the ledger of trials knows.
        device: where the model predicts: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        inference: what predicts: the model's twin in core (``portable``), its ML framework (``native``), or the twin
            where there is one and no GPU is asked for (``auto``).
        server: address of a KTRDR server to run it on; by default the one that ``model`` was trained on, if any.
        progress: True shows a bar (in a notebook, on a terminal) or lines (elsewhere); False shows nothing; a function
            is called with every progress event.

    Returns:
        The sweep: ``.table`` is a DataFrame, ``.best`` the settings of its first row.

    Raises:
        BadInputError: the model, the data, a key or a value does not allow it; nothing was tried.
        CancelledError: it was interrupted; nothing is recorded.
        KtrdrError: the result cannot be recorded, or it failed on the server.

    Example:
        >>> import ktrdr.core as kt
        >>> bars = kt.data.import_sample()
        >>> training = kt.train(kt.example_strategy(), epochs=2, progress=False)
        >>> sweep = kt.sweep(training, {"decisions.confidence_threshold": [0.52, 0.54]}, progress=False)
        >>> sweep.table.shape[0], sweep.trials
        (2, 2)
    """
    from ktrdr.core.workflows.places import plugins_or_all
    from ktrdr.core.workflows.run_sweep import sweep as run

    settings = settings_of(
        SweepSettings,
        symbols,
        start,
        end,
        settings={key: _tried(key, tried) for key, tried in values.items()},
        metric=metric,
        top=top,
        capital=capital,
        commission=commission,
        slippage=slippage,
        trials=trials,
        device=device,
        inference=inference,
    )
    address = server if server is not None else model_server(model)
    if address is not None:
        from ktrdr.core.face.server_runs import running_on

        with running_on(address, progress) as runs:
            return Sweep(runs.sweep(remote_name(model), settings))
    plugins = plugins_or_all(None)
    bundle = find_bundle(model, plugins)
    with python_messages(), watched(progress) as (receive, cancellation):
        return Sweep(run(bundle, settings, plugins=plugins, progress=receive, cancellation=cancellation).to_json())


def _tried(key: str, values: Sequence[Value]) -> tuple[Value, ...]:
    """Return the values of a key; text is one value, not a sequence of letters."""
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise BadInputError(f"{key}: give a list of values to try, such as [{values!r}]")
    # Numbers of numpy become Python's.
    return tuple(getattr(value, "item", lambda value=value: value)() for value in values)
