"""Results of backtests, and the reading and writing of their files.

The report, the command line and the API show the content of a :class:`BacktestResult`. Equal input gives files with
equal bytes. The only exception is the count of trials, which depends on the ledger of trials at that time.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ktrdr.core.backtesting.account_facts import account_facts
from ktrdr.core.backtesting.metrics import deflate
from ktrdr.core.backtesting.tables import Table, read_table, rows_of, time_text, write_table
from ktrdr.core.data.parquet import connect
from ktrdr.core.data.times import format_end, format_time
from ktrdr.core.errors import BadInputError, one_line
from ktrdr.core.files.durable import new_directory, write_atomically
from ktrdr.core.files.json_values import plain_json
from ktrdr.core.files.reading import FileError, parse_json
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.bundle import parse_manifest
from ktrdr.core.models.manifest import Manifest
from ktrdr.core.names import named_market
from ktrdr.core.plugins.contract import EpochRecord
from ktrdr.core.runs.run_store import RESULT_FILE
from ktrdr.core.short_texts import counted, first_words, object_repr
from ktrdr.core.trials.look import Look
from ktrdr.core.trials.trial_count import TrialCount

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = [
    "BacktestResult",
    "Baseline",
    "Reasons",
    "SymbolResult",
    "ValueHistogram",
    "read_model",
    "read_result",
    "read_summary",
    "recount",
]

_METRICS, _SETTINGS, _MODEL, _STRATEGY = "metrics.json", "settings.json", "model.json", "strategy.yaml"
_TRADES, _TRADES_JSON, _REASONS = "trades.parquet", "trades.json", "reasons.parquet"
_EQUITY, _POSITIONS = "equity.parquet", "positions.parquet"

# Columns of trades.parquet in older runs, and their names now.
_RENAMED_COLUMNS = {"entry_aim": "entry_reference_price", "exit_aim": "exit_reference_price"}

# Keys of the result's file that `to_json` does not have.
_NOT_IN_SUMMARY = ("history", "histograms")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class SymbolResult:
    """Result of one symbol of a backtest.

    Attributes:
        symbol: name of the symbol.
        bars: number of traded bars.
        start, end: ``datetime64[ns]``, UTC: open of the first bar, close of the last.
        passed: number of bars that are left after each step from a prediction to a trade, in order: ``bars``,
            ``predicted``, ``buy or sell``, ``confidence_threshold``, ... , ``executed``.
        positions: one row per bar: ``time`` (open of the bar), ``open``, ``high``, ``low`` (these three are absent in
            old results), ``close``, ``signal`` (int64: 1, 0, -1, known at the close), ``units`` held at the close
            (negative: short), ``value`` of the units in cash.
        calendar: name of the market's calendar, which annualizes figures if there are too few bars to measure the bars
            in a year; ``None`` in old results.
    """

    symbol: str
    bars: int
    start: np.datetime64
    end: np.datetime64
    passed: dict[str, int]
    positions: Table
    calendar: str | None = None

    def __repr__(self) -> str:
        span = f"{format_time(self.start)} to {format_end(self.end)}"
        return object_repr(self, self.symbol, counted(self.bars, "bar"), span, f"{self.passed['executed']:,} executed")


@dataclass(frozen=True, slots=True, eq=False)
class Reasons:
    """Reasons of entries and exits, one row per trade, in the order of the trades.

    Arrays hold the values at the bar of the decision; those of an exit are NaN if no signal caused it.

    Attributes:
        outputs: names of the model's outputs: the classes, or ``("value",)``.
        features: names of the model's inputs (degrees of membership, normalized values); for a model with its own
            membership functions, followed by the memberships that the strategy file defines.
        values: names of the indicator values that the features read, ``<timeframe>_<indicator>``.
        entry_outputs, exit_outputs: float64 ``(k, outputs)``.
        entry_features, exit_features: float64 ``(k, features)``.
        entry_values, exit_values: float64 ``(k, values)``.
        entry_contributions, exit_contributions: float64 ``(k, features)``: how much each feature added to the output
            that caused the order (the probability of ``BUY`` or ``SELL``, or the value). NaN if the model's plugin
            gives no contributions, and for all but the ``settings.explain`` trades with the largest profits and
            losses.
    """

    outputs: tuple[str, ...]
    features: tuple[str, ...]
    values: tuple[str, ...]
    entry_outputs: np.ndarray
    entry_features: np.ndarray
    entry_values: np.ndarray
    entry_contributions: np.ndarray
    exit_outputs: np.ndarray
    exit_features: np.ndarray
    exit_values: np.ndarray
    exit_contributions: np.ndarray

    def __repr__(self) -> str:
        names = {"output": self.outputs, "feature": self.features, "value": self.values}
        parts = (counted(len(part), noun) for noun, part in names.items())
        return object_repr(self, counted(len(self.entry_outputs), "trade"), *parts)

    def of(self, trade: int, moment: str) -> dict[str, dict[str, float]] | None:
        """Return outputs, features, values and contributions at one moment of a trade, each as a map by name.

        Args:
            trade: position of the trade, from 0.
            moment: ``entry`` or ``exit``.

        Returns:
            A map with the keys ``outputs``, ``features``, ``values`` and ``contributions``; unknown values and empty
            maps are left out. ``None`` for an exit that no signal caused.
        """
        parts = {}
        for part, names in self._parts().items():
            row = getattr(self, f"{moment}_{part}")[trade]
            known = {name: value for name, value in zip(names, row.tolist(), strict=True) if value == value}
            if known:
                parts[part] = known
        return parts or None

    def _parts(self) -> dict[str, tuple[str, ...]]:
        return {
            "outputs": self.outputs,
            "features": self.features,
            "values": self.values,
            "contributions": self.features,
        }

    def to_table(self) -> Table:
        """Return a table with columns ``<entry|exit>:<outputs|features|values|contributions>:<name>``."""
        return {
            f"{moment}:{part}:{name}": np.ascontiguousarray(getattr(self, f"{moment}_{part}")[:, position])
            for moment in ("entry", "exit")
            for part, names in self._parts().items()
            for position, name in enumerate(names)
        }

    @classmethod
    def from_table(cls, table: Table, trades: int) -> Reasons:
        """Return the reasons in a table that :meth:`to_table` made, for a number of ``trades``."""

        def names(part: str) -> tuple[str, ...]:
            prefix = f"entry:{part}:"
            return tuple(column.removeprefix(prefix) for column in table if column.startswith(prefix))

        outputs, features, values = names("outputs"), names("features"), names("values")

        def array(moment: str, part: str, wanted: tuple[str, ...]) -> np.ndarray:
            columns = [table[f"{moment}:{part}:{name}"] for name in wanted]
            return np.stack(columns, axis=1) if columns else np.empty((trades, 0))

        return cls(
            outputs=outputs,
            features=features,
            values=values,
            entry_outputs=array("entry", "outputs", outputs),
            entry_features=array("entry", "features", features),
            entry_values=array("entry", "values", values),
            entry_contributions=array("entry", "contributions", features),
            exit_outputs=array("exit", "outputs", outputs),
            exit_features=array("exit", "features", features),
            exit_values=array("exit", "values", values),
            exit_contributions=array("exit", "contributions", features),
        )


@dataclass(frozen=True, slots=True)
class ValueHistogram:
    """Histogram of the indicator values that a fuzzy set reads in the backtest.

    Attributes:
        timeframe, fuzzy_set, indicator: the fuzzy set, and the indicator and timeframe that it reads.
        edges: edges of the bins, one more than ``counts``.
        counts: bars per bin, of all symbols together.
    """

    timeframe: str
    fuzzy_set: str
    indicator: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def __repr__(self) -> str:
        read = f"{self.fuzzy_set} reads {self.indicator} on {self.timeframe}"
        return object_repr(self, read, counted(len(self.counts), "bin"), counted(sum(self.counts), "bar"))


@dataclass(frozen=True, slots=True)
class Baseline:
    """A simple strategy that the model should beat, traded on the same bars at the same costs.

    Attributes:
        name: name of the baseline, such as ``"majority class"``.
        statement: what it does; a sentence whose subject is the name.
        metrics: the same metrics as those of the model.
    """

    name: str
    statement: str
    metrics: dict[str, Any]

    def __repr__(self) -> str:
        return object_repr(self, self.name, *account_facts(self.metrics))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BacktestResult:
    """The result of a backtest.

    Attributes:
        manifest: manifest of the model: ref, strategy, training data, seed, environment, metrics of training,
            importance.
        strategy_text: the strategy file as the user wrote it.
        history: epochs of the training.
        settings: settings of the backtest.
        timeframe: timeframe of the traded bars.
        start, end: ``datetime64[ns]``, UTC: open of the first bar, close of the last, over all symbols.
        period: one sentence on how ``start`` and ``end`` were chosen.
        symbols: result of each symbol, in the order in which they were traded.
        trades: one row per trade in the order of entries. Columns: ``number`` (from 1), ``symbol``, ``side`` (``long``,
            ``short``), ``entry_decision_time``, ``entry_time``, ``exit_decision_time`` (NaT if the exit was inside a
            bar or at the end of the data), ``exit_time``, ``bars`` (number of bars held), ``units``,
            ``entry_reference_price``, ``entry_price``, ``exit_reference_price``, ``exit_price`` (a reference price is
            the price before slippage), ``notional`` (at the entry), ``gross``, ``commission``, ``slippage``, ``net``
            (cash), ``return`` (net divided by notional), ``mae``, ``mfe`` (largest move of the price against and in
            favour of the position while it was open, as shares of the entry price, both at least 0, see
            :func:`~ktrdr.core.backtesting.trades.excursions`), ``exit_reason``. Times are opens of bars, UTC.
        reasons: reasons of entry and exit, one row per trade.
        equity: one row per bar of all symbols together. Columns: ``time`` (open of the bar; values are those at its
            close), ``equity``, ``cash``, ``positions`` (their value), ``drawdown`` (0 to -1, from the highest equity so
            far), ``benchmark`` (equity of buying every symbol at its first bar and holding it, at the same costs).
        metrics: metrics of the strategy, see :mod:`ktrdr.core.backtesting.metrics`; ``None`` for undefined ones.
        benchmark: metrics of buying and holding: those of an account, without those of trades.
        baselines: other simple strategies to compare with.
        orders: counts of orders to enter: ``entries``, ``reduced``, ``refused_no_cash``, ``refused_lot``,
            ``refused_unknown``.
        histograms: histograms of the values that the fuzzy sets read.
        warnings: sentences that every output must show, such as that the period overlaps the training data.
        no_trades: why there are no trades; empty if there are some.
        world: name of the synthetic market that was traded; empty for imported bars.
        trial_count: number of trials that the backtest was chosen among; ``None`` for results from before trials were
            recorded.
        look: the row for the ledger of trials; ``None`` for a result that was read from its files.
        provenance: ``core_version``, ``numpy_version``, ``data_fingerprint`` (of the traded bars), ``weights_hash``,
            ``plugin``, ``plugin_version``, ``training_data_fingerprint``, ``training_git``, ``seed``, ``inference``
            (``portable``, ``native`` or ``out_of_sample``: what predicted); of an out-of-sample path also its
            ``evaluation`` and the number of the ``path``.
    """

    manifest: Manifest
    strategy_text: str
    history: tuple[EpochRecord, ...]
    settings: BacktestSettings
    timeframe: str
    start: np.datetime64
    end: np.datetime64
    period: str
    symbols: tuple[SymbolResult, ...]
    trades: Table
    reasons: Reasons
    equity: Table
    metrics: dict[str, Any]
    benchmark: dict[str, Any]
    baselines: tuple[Baseline, ...]
    orders: dict[str, int]
    histograms: tuple[ValueHistogram, ...] = ()
    warnings: tuple[str, ...] = ()
    no_trades: str = ""
    world: str = ""
    trial_count: TrialCount | None = None
    look: Look | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = first_words([symbol.symbol for symbol in self.symbols], 2)
        market = f"{named_market(names, self.world)} {self.timeframe}"
        bars = counted(sum(symbol.bars for symbol in self.symbols), "bar")
        return object_repr(self, self.manifest.ref, market, bars, *account_facts(self.metrics))

    def to_json(self) -> dict[str, Any]:
        """Return everything but the tables as a JSON-ready map."""
        start, end = time_text(np.array([self.start, self.end]))
        summary: dict[str, Any] = plain_json(
            {
                "model": self.manifest.ref,
                "strategy": self.manifest.strategy.name,
                "model_type": self.manifest.model_type,
                "timeframe": self.timeframe,
                "start": start,
                "end": end,
                "period": self.period,
                "world": self.world,
                "settings": self.settings.model_dump(mode="json"),
                "metrics": self.metrics,
                "benchmark": self.benchmark,
                "baselines": [dataclasses.asdict(baseline) for baseline in self.baselines],
                "symbols": {symbol.symbol: _symbol_json(symbol) for symbol in self.symbols},
                "orders": self.orders,
                "warnings": list(self.warnings),
                "no_trades": self.no_trades,
                "trial_count": None if self.trial_count is None else self.trial_count.to_json(),
                "provenance": self.provenance,
            }
        )
        return summary

    def counted(self, count: TrialCount) -> BacktestResult:
        """Return the result with this count of trials, and the deflated Sharpe ratio that follows from it."""
        metrics = deflate(self.metrics, count.number, count.spread)
        return dataclasses.replace(self, metrics=metrics, trial_count=count)

    def trade_rows(self) -> list[dict[str, Any]]:
        """Return one JSON-ready map per trade, with its reasons.

        The keys are the columns of ``trades``, and ``entry_because`` and ``exit_because``: see :meth:`Reasons.of`.
        """
        rows = rows_of(self.trades)
        for position, row in enumerate(rows):
            row["entry_because"] = self.reasons.of(position, "entry")
            row["exit_because"] = self.reasons.of(position, "exit")
        return rows

    def write(self, directory: Path) -> None:
        """Write the result's files to ``directory``, all of them or none. An empty directory is replaced.

        Raises:
            BadInputError: the path is a file, or a directory that is not empty.
            StoreError: the disk is full, or the path is not writable.
        """
        directory = Path(directory)
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise BadInputError(f"{directory} exists already and is not an empty directory; choose another path")
        directory.parent.mkdir(parents=True, exist_ok=True)
        with new_directory(directory) as temporary:
            self._write_files(temporary)

    def _write_files(self, directory: Path) -> None:
        summary = self.to_json()
        metrics = {name: summary.pop(name) for name in ("metrics", "benchmark", "baselines")}
        settings = summary.pop("settings")
        summary["history"] = [
            {"epoch": record.epoch, "metrics": plain_json(dict(record.metrics))} for record in self.history
        ]
        summary["histograms"] = [dataclasses.asdict(histogram) for histogram in self.histograms]
        _write_json(summary, directory / RESULT_FILE)
        _write_json(metrics, directory / _METRICS)
        _write_json(settings, directory / _SETTINGS)
        _write_json(self.manifest.model_dump(mode="json"), directory / _MODEL)
        (directory / _STRATEGY).write_text(self.strategy_text, encoding="utf-8")
        _write_json(self.trade_rows(), directory / _TRADES_JSON)
        reasons = {"trade": self.trades["number"], **self.reasons.to_table()}
        positions = {symbol.symbol: symbol.positions for symbol in self.symbols}
        with connect() as connection:
            write_table({"": self.trades}, directory / _TRADES, connection=connection)
            write_table({"": reasons}, directory / _REASONS, connection=connection)
            write_table({"": self.equity}, directory / _EQUITY, connection=connection)
            write_table(positions, directory / _POSITIONS, by_symbol=True, connection=connection)


def read_result(directory: Path) -> BacktestResult:
    """Return the result that :meth:`BacktestResult.write` wrote to ``directory``.

    Raises:
        BadInputError: there is no result, or it is damaged.
    """
    with connect() as connection:
        return _guarded(Path(directory), partial(_read, connection))


def read_summary(directory: Path) -> dict[str, Any]:
    """Return :meth:`BacktestResult.to_json` of the result in ``directory`` without reading its tables.

    Raises:
        BadInputError: there is no result, or it is damaged.
    """
    return _guarded(Path(directory), _read_summary)


def recount(directory: Path, metrics: Mapping[str, Any], count: TrialCount) -> None:
    """Replace the metrics and the count of trials in the files of a run.

    Args:
        directory: directory of the run.
        metrics: metrics of the strategy with the new count.
        count: the new count of trials.

    Raises:
        BadInputError: there is no result, or it is damaged.
        StoreError: the disk is full, or the path is not writable; each file then has its old or its new content.
    """
    summary, stored = _guarded(Path(directory), lambda place: (_load(place, RESULT_FILE), _load(place, _METRICS)))
    for content, name, part, new in (
        (stored, _METRICS, "metrics", dict(metrics)),
        (summary, RESULT_FILE, "trial_count", count.to_json()),
    ):
        if content.get(part) != new:
            write_atomically(Path(directory) / name, _json_bytes({**content, part: new}))


def read_model(directory: Path) -> tuple[Manifest, str]:
    """Return the model's manifest and the text of its strategy from the result in ``directory``.

    Raises:
        BadInputError: there is no result, or it is damaged.
    """
    return _guarded(Path(directory), _read_model)


def _guarded(directory: Path, read: Callable[[Path], T]) -> T:
    import duckdb

    if not (directory / RESULT_FILE).is_file():
        raise BadInputError(f"there is no backtest in {directory}: it has no {RESULT_FILE}")
    try:
        return read(directory)
    except (FileError, OSError, duckdb.Error, KeyError, TypeError, ValueError) as error:
        reason = one_line(error)
        raise BadInputError(f"the backtest in {directory} is damaged ({reason}); run it again") from error


def _load(directory: Path, name: str) -> Any:
    return parse_json((directory / name).read_bytes(), name)


def _read_summary(directory: Path) -> dict[str, Any]:
    summary = {key: value for key, value in _load(directory, RESULT_FILE).items() if key not in _NOT_IN_SUMMARY}
    return {**summary, **_load(directory, _METRICS), "settings": _load(directory, _SETTINGS)}


def _read_model(directory: Path) -> tuple[Manifest, str]:
    text = (directory / _STRATEGY).read_text(encoding="utf-8")
    return parse_manifest((directory / _MODEL).read_bytes()), text


def _read(connection: DuckDBPyConnection, directory: Path) -> BacktestResult:
    summary, metrics, settings = (_load(directory, name) for name in (RESULT_FILE, _METRICS, _SETTINGS))
    manifest, text = _read_model(directory)
    trades = {
        _RENAMED_COLUMNS.get(name, name): column
        for name, column in read_table(directory / _TRADES, connection=connection).items()
    }
    reasons = read_table(directory / _REASONS, connection=connection)
    del reasons["trade"]
    return BacktestResult(
        manifest=manifest,
        strategy_text=text,
        history=tuple(
            EpochRecord(
                record["epoch"],
                {key: np.nan if value is None else float(value) for key, value in record["metrics"].items()},
            )
            for record in summary["history"]
        ),
        settings=BacktestSettings.model_validate(settings),
        timeframe=summary["timeframe"],
        start=_time(summary["start"]),
        end=_time(summary["end"]),
        period=summary["period"],
        symbols=tuple(
            SymbolResult(
                symbol=symbol,
                bars=entry["bars"],
                start=_time(entry["start"]),
                end=_time(entry["end"]),
                passed=entry["passed"],
                positions=read_table(directory / _POSITIONS, symbol, connection=connection),
                calendar=entry.get("calendar"),
            )
            for symbol, entry in summary["symbols"].items()
        ),
        trades=trades,
        reasons=Reasons.from_table(reasons, len(trades["number"])),
        equity=read_table(directory / _EQUITY, connection=connection),
        metrics=metrics["metrics"],
        benchmark=metrics["benchmark"],
        baselines=tuple(Baseline(**baseline) for baseline in metrics["baselines"]),
        orders=summary["orders"],
        histograms=tuple(
            ValueHistogram(**histogram | {key: tuple(histogram[key]) for key in ("edges", "counts")})
            for histogram in summary["histograms"]
        ),
        warnings=tuple(summary["warnings"]),
        no_trades=summary["no_trades"],
        world=str(summary.get("world", "")),
        trial_count=_count(summary.get("trial_count")),
        provenance=summary["provenance"],
    )


def _symbol_json(symbol: SymbolResult) -> dict[str, Any]:
    start, end = time_text(np.array([symbol.start, symbol.end]))
    return {
        "bars": symbol.bars,
        "start": start,
        "end": end,
        "calendar": symbol.calendar,
        "passed": symbol.passed,
    }


def _count(data: dict[str, Any] | None) -> TrialCount | None:
    return None if data is None else TrialCount.from_json(data)


def _time(text: str) -> np.datetime64:
    return np.datetime64(text.removesuffix("Z"), "ns")


def _write_json(value: Any, path: Path) -> None:
    path.write_bytes(_json_bytes(value))


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
