"""Backtests from Python."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrdr.core.backtesting.metrics import format_metric
from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.data.python_words import python_messages
from ktrdr.core.data.times import format_time, last_day
from ktrdr.core.face.arguments import DayLike, SymbolsLike, settings_of
from ktrdr.core.face.model_argument import ModelLike, find_bundle, model_server, remote_name
from ktrdr.core.face.result_frames import frame_of, metrics_frame
from ktrdr.core.face.result_html import card_row, line_picture, result_block, warning_list
from ktrdr.core.jobs.job_settings import BacktestSettings, Inference
from ktrdr.core.names import named_market
from ktrdr.core.work.progress import Progress
from ktrdr.core.work.watching import watched

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

__all__ = ["Backtest", "backtest"]


class Backtest:
    """A stored backtest. :func:`ktrdr.core.backtest` and :func:`ktrdr.core.runs.load` make it.

    Times are aware, UTC; a bar is labelled by its open.

    Example:
        >>> import ktrdr.core as kt
        >>> backtest = kt.runs.load("neuro_mean_reversion/1-1")
        >>> backtest.metrics.columns.tolist()
        ['strategy', 'buy and hold', 'majority class']
        >>> backtest.equity.index[0], len(backtest.equity)
        (Timestamp('2017-10-01 21:00:00+0000', tz='UTC'), 1545)
    """

    def __init__(self, result: BacktestResult, directory: Path) -> None:
        self._result = result
        self.directory = directory
        """Where the files of the run are stored."""

    @property
    def run(self) -> str:
        """Name of the stored run, such as ``name/1-2``: what :func:`ktrdr.core.runs.load` takes."""
        from ktrdr.core.runs.run_store import run_name

        return run_name(self.directory)

    @property
    def model(self) -> str:
        """The model that was traded, ``name/version``."""
        return self._result.manifest.ref

    @property
    def metrics(self) -> pd.DataFrame:
        """Figures of the account and its trades.

        Index: ``metric``, such as ``total_return`` or ``sharpe``; columns: ``strategy``, ``buy and hold`` and one per
        baseline; float64, NaN where a metric is not defined. Returns, drawdowns and rates are shares (0.01 is 1 %).
        """
        result = self._result
        columns = {"strategy": result.metrics, "buy and hold": result.benchmark}
        return metrics_frame(columns | {baseline.name: baseline.metrics for baseline in result.baselines})

    @property
    def trades(self) -> pd.DataFrame:
        """One row per trade, in the order of entries; index ``number`` from 1.

        Columns: symbol, side, times of decision, entry and exit (aware, UTC), bars held, units, prices, ``gross``,
        ``commission``, ``slippage`` and ``net`` in cash, ``return`` (net by notional), ``mae`` and ``mfe`` (shares of
        the entry price), ``exit_reason``.
        """
        return frame_of(self._result.trades, "number")

    @property
    def reasons(self) -> pd.DataFrame:
        """Why each trade was entered and left: index ``number`` as in :attr:`trades`.

        Columns ``<entry|exit>:<outputs|features|values|contributions>:<name>``, float64, at the bar of the decision;
        NaN where no signal asked for the exit.
        """
        return frame_of({"number": self._result.trades["number"], **self._result.reasons.to_table()}, "number")

    @property
    def equity(self) -> pd.DataFrame:
        """The account after each bar; index ``time``, the open of the bar (aware, UTC); values are at its close.

        Columns, float64: ``equity``, ``cash``, ``positions`` (value of them), ``drawdown`` (0 to -1, from the highest
        equity so far), ``benchmark`` (equity of buying at the first bar and holding, at the same costs).
        """
        return frame_of(self._result.equity, "time")

    @property
    def positions(self) -> pd.DataFrame:
        """One row per bar and symbol; index ``symbol`` and ``time``, the open of the bar (aware, UTC).

        Columns: ``open``, ``high``, ``low``, ``close``, ``signal`` (1 buy, 0 none, -1 sell, known at the close),
        ``units`` held at the close (negative: short), ``value`` of them in cash.
        """
        import pandas as pd

        frames = {symbol.symbol: frame_of(symbol.positions, "time") for symbol in self._result.symbols}
        return pd.concat(frames, names=["symbol"])

    @property
    def trials(self) -> int | None:
        """Trials that looked at the same bars, this one included; ``None`` in runs from before they were counted."""
        return None if self._result.trial_count is None else self._result.trial_count.number

    @property
    def reserve_opened(self) -> int | None:
        """Trials that looked at the reserve, this one included, by whatever strategy; ``None`` if it was not opened."""
        return None if self._result.trial_count is None else self._result.trial_count.reserve_opened

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to doubt the figures, one sentence each; without trades, also why there is none."""
        result = self._result
        return (*result.warnings, result.no_trades) if result.no_trades else tuple(result.warnings)

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked: capital, costs, days, symbols, as JSON-ready data."""
        return self._result.settings.model_dump(mode="json")

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the tables as JSON-ready data, as ``ktrdr backtest --json`` prints it."""
        return {**self._result.to_json(), "run": self.run, "directory": str(self.directory)}

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the report as one self-contained HTML file that needs no network.

        Args:
            path: of the file; by default ``report.html`` beside the other files of the run. A file that is there is
                replaced.

        Returns:
            The path.

        Raises:
            BadInputError: ``path`` is a directory.
            StoreError: the disk is full, or the place is not writable.

        Example:
            >>> import ktrdr.core as kt
            >>> bars = kt.data.import_sample()
            >>> training = kt.train(kt.example_strategy(), epochs=2, progress=False)
            >>> kt.backtest(training, progress=False).report("report.html").name
            'report.html'
        """
        from ktrdr.core.report import write_report
        from ktrdr.core.report.strategy_verdict import latest_verdict_of

        place = self.directory / "report.html" if path is None else Path(path)
        return write_report(self._result, place, verdict=latest_verdict_of(self._result))

    def plot(self) -> Figure:
        """Return equity, drawdown, prices with trades, and exposure as one interactive plotly figure.

        The axis of time has one place per bar and none for the time a market is closed. Of several symbols the first
        has its prices drawn; the report draws all.
        """
        from ktrdr.core.report.backtest_plot import backtest_plot

        return backtest_plot(self._result)

    def _title(self) -> str:
        result = self._result
        names = [symbol.symbol for symbol in result.symbols]
        shown = ", ".join(names) if len(names) <= 3 else f"{len(names)} symbols"
        market = f"{named_market(shown, result.world)} {result.timeframe}"
        return f"{self.model}: {market}, {format_time(result.start)[:10]} to {last_day(result.end)}"

    def __repr__(self) -> str:
        metrics = self._result.metrics
        return (
            f"<Backtest {self._title()}, return {format_metric('total_return', metrics['total_return'])}, Sharpe"
            f" {format_metric('sharpe', metrics['sharpe'])}, {metrics['trades']} trades>"
        )

    def _repr_html_(self) -> str:
        from ktrdr.core.report.content import cards_of

        result = self._result
        lines = {"strategy": result.equity["equity"], "buy and hold": result.equity["benchmark"]}
        return result_block(
            f"{self._title()}; run {self.run}",
            warning_list(self.warnings),
            card_row(cards_of(result)),
            line_picture(result.equity["time"], lines, "Equity"),
        )


def backtest(
    model: ModelLike,
    *,
    symbols: SymbolsLike = None,
    start: DayLike = None,
    end: DayLike = None,
    capital: float = 10_000.0,
    commission: float = 0.0,
    slippage: float = 0.0,
    trials: int | None = None,
    explain: int = 100,
    seed: int = 0,
    device: str = "auto",
    inference: Inference = "auto",
    reserve: bool = False,
    server: str | None = None,
    progress: bool | Progress = True,
) -> Backtest:
    """Trade a trained model on stored bars, record that as a trial, and store the result as a run.

    Decisions are made at the close of a bar and filled at the open of the next, with slippage against you and
    commission on both sides.

    Args:
        model: what :func:`train` returned, a bundle, ``"name"`` for the latest version of a model, ``"name/3"`` for
            one, or the path of a strategy file for the latest model trained from it.
        symbols: one or more symbols to trade, instead of the strategy's; they share the capital.
        start: first day, UTC and inclusive. Without days: the bars that the model has not seen; of a model that was
            trained from an evaluation, its out-of-sample path.
        end: last day, UTC and inclusive.
        capital: cash at the start, in the prices' currency, above 0.
        commission: share of the traded value, per side, 0 to below 1; two basis points are 0.0002.
        slippage: share of the price by which every fill is worse, 0 to below 1; two basis points are 0.0002.
        trials: trials made elsewhere, which count beside those that the ledger of trials knows.
        explain: trades, those with the largest results, whose decisions are split among the features.
        seed: of the resampling that the interval of the Sharpe ratio comes from.
        device: where the model predicts: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        inference: what predicts: the model's twin in core (``portable``), its ML framework (``native``), or the twin
            where there is one and no GPU is asked for (``auto``).
        reserve: open the reserve of the model's data: trade it, or days inside it. Each different look at it
            counts, see :attr:`Backtest.reserve_opened`.
        server: address of a KTRDR server to run it on; by default the one that ``model`` was trained on, if any. The
            files of the run are stored on this machine too.
        progress: True shows a bar (in a notebook, on a terminal) or lines (elsewhere); False shows nothing; a function
            is called with every progress event.

    Returns:
        The backtest: ``.metrics``, ``.trades``, ``.equity`` and ``.positions`` are DataFrames.

    Raises:
        BadInputError: the model, the data or a setting does not allow it.
        CancelledError: it was interrupted; nothing is stored.
        KtrdrError: the model fails to predict, the result cannot be recorded or stored, or it failed on the server.

    Example:
        >>> import ktrdr.core as kt
        >>> bars = kt.data.import_sample()
        >>> training = kt.train(kt.example_strategy(), progress=False)
        >>> backtest = kt.backtest(training, commission=0.00002, slippage=0.00002, progress=False)
        >>> backtest
        <Backtest neuro_mean_reversion/1: EURUSD 1h, 2017-10-01 to 2017-12-29, return -0.28%, Sharpe -0.20, 103 trades>
        >>> backtest.metrics.loc["trades", "strategy"]
        np.float64(103.0)
        >>> backtest.trades[["side", "entry_price", "net"]].shape
        (103, 3)
    """
    from ktrdr.core.runs.run_store import store_run
    from ktrdr.core.workflows.places import plugins_or_all
    from ktrdr.core.workflows.run_backtest import backtest as run

    settings = settings_of(
        BacktestSettings,
        symbols,
        start,
        end,
        capital=capital,
        commission=commission,
        slippage=slippage,
        trials=trials,
        explain=explain,
        seed=seed,
        device=device,
        inference=inference,
        reserve=reserve,
    )
    address = server if server is not None else model_server(model)
    if address is not None:
        from ktrdr.core.face.server_runs import running_on

        with running_on(address, progress) as runs:
            result = runs.backtest(remote_name(model), settings)
    else:
        plugins = plugins_or_all(None)
        bundle = find_bundle(model, plugins)
        with python_messages(), watched(progress) as (receive, cancellation):
            result = run(bundle, settings, plugins=plugins, progress=receive, cancellation=cancellation)
    return Backtest(result, store_run(result))
