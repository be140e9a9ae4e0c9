"""A look at out-of-sample results, and the hashes that identify it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.names import named_market
from ktrdr.core.short_texts import first_words, short_repr
from ktrdr.core.trials.daily_returns import DailyReturns

__all__ = [
    "HIGHEST_SHARPE",
    "LOOKS",
    "REAL_BARS",
    "Look",
    "Span",
    "canonical_json",
    "digest",
    "look_summary",
    "sharpe_of",
]

LOOKS = "looks"
"""Key of a result with its looks, for a receiver that has another ledger than the sender."""

HIGHEST_SHARPE = 1e6
"""Sharpe ratios above this come from returns that hardly vary; they would dominate the spread of all others."""

REAL_BARS = ""
"""The world of imported bars. Synthetic bars have a world with a name, and are counted only in that world."""

_EPOCH = dt.date(1970, 1, 1).toordinal()
_SECONDS_OF_DAY = 86_400


def canonical_json(value: Any) -> str:
    """Return the canonical JSON text of a value: sorted keys, no spaces. Raises ``ValueError`` for NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 (hex) of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sharpe_of(metrics: Mapping[str, Any]) -> float | None:
    """Return the annualized Sharpe ratio of ``metrics``; ``None`` if it is missing or beyond the limit."""
    value = metrics.get("sharpe")
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= HIGHEST_SHARPE:
        return None
    return float(value)


def look_summary(kind: str, model: str, span: Span, timeframe: str, metrics: Mapping[str, Any]) -> str:
    """Return a look on one line: ``backtest of waves/1 on EURUSD 1h, 2017-10-01 to 2017-12-29, Sharpe 0.81``."""
    of_model = f" of {model}" if model else ""
    rated = None if kind == "training" else sharpe_of(metrics)
    text = f"{kind}{of_model} on {named_market(first_words(span.symbols), span.world)} {timeframe}, {span.days}"
    return text if rated is None else f"{text}, Sharpe {rated:.2f}"


@dataclass(frozen=True, slots=True)
class Span:
    """Symbols and period of the bars that were looked at.

    Attributes:
        symbols: symbols of the bars.
        start, end: open of the first bar and close of the last, in seconds since 1970-01-01 UTC.
        world: see :data:`REAL_BARS`.
    """

    symbols: tuple[str, ...]
    start: int
    end: int
    world: str = REAL_BARS

    @classmethod
    def of_days(cls, symbols: Iterable[str], first: dt.date, last: dt.date) -> Span:
        """Return the bars of these symbols on the days (UTC) from ``first`` to ``last``, both included.

        Raises:
            BadInputError: the last day is before the first.
        """
        if last < first:
            raise BadInputError(
                f"the last day, {last}, is before the first, {first}; give `start` and `end` in their order"
            )
        opens, closes = ((day.toordinal() - _EPOCH) * _SECONDS_OF_DAY for day in (first, last))
        return cls(tuple(sorted(set(symbols))), opens, closes + _SECONDS_OF_DAY)

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Span:
        """Return the span that :meth:`to_json` described."""
        symbols, start, end, world = data
        return cls(tuple(symbols), int(start), int(end), world)

    def to_json(self) -> list[Any]:
        """Return symbols, start, end and world as a JSON-ready list."""
        return [list(self.symbols), self.start, self.end, self.world]

    @property
    def days(self) -> str:
        """First and last day (UTC) with a bar: ``2017-10-01 to 2017-12-29``."""
        opens, closes = (dt.datetime.fromtimestamp(at, dt.UTC) for at in (self.start, max(self.start, self.end - 1)))
        return f"{opens:%Y-%m-%d} to {closes:%Y-%m-%d}"

    def __repr__(self) -> str:
        return short_repr(f"Span {named_market(first_words(self.symbols), self.world)}, {self.days}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One look at out-of-sample results.

    Attributes:
        kind: ``training`` (its validation and test part), ``evaluation`` or ``verdict`` (all its folds and seeds; the
            trial is the same), ``backtest`` or ``sweep`` (one cell of a sweep).
        strategy: hash of the resolved strategy, without its name, description and seed.
        text: the strategy file as it was written.
        changes: overrides of the strategy file, by dotted key.
        parent: ``strategy`` of the unchanged strategy; ``None`` if nothing was changed.
        seed: seed of every random choice; ``None`` if there are ``seeds``.
        seeds: of the models of an evaluation. Together they are one trial, and other seeds are another; in a row of a
            ledger they are in the members.
        training_data: fingerprint of the data the model was fitted to.
        data: fingerprint of the bars looked at.
        timeframe: timeframe of these bars.
        span: symbols and period of these bars.
        account: capital and costs; empty for a training.
        metrics: plain numbers; with the annualized ``sharpe`` if an account was simulated.
        returns: net returns per day; ``None`` for a training.
        model: ``name/version``, for display; ``name`` alone if a training is recorded before its model is stored.
        chosen_among: number of cells of the sweep; ``None`` outside a sweep.
        operation: id of the operation that took the look.
        before_ledger: True if it was taken before the ledger was made.
        reserve: the reserve that the look has opened, to count its openings; no part of the trial, and in no row of a
            ledger. ``None`` if it opened none.
    """

    kind: str
    strategy: str
    text: str
    changes: Mapping[str, Any]
    parent: str | None
    seed: int | None
    training_data: str
    data: str
    timeframe: str
    span: Span
    account: Mapping[str, float]
    metrics: Mapping[str, Any]
    returns: DailyReturns | None = None
    model: str = ""
    seeds: tuple[int, ...] = ()
    chosen_among: int | None = None
    operation: str | None = None
    before_ledger: bool = False
    reserve: Span | None = None

    @property
    def summary(self) -> str:
        """Kind, model, bars and Sharpe ratio on one line."""
        return look_summary(self.kind, self.model, self.span, self.timeframe, self.metrics)

    def __repr__(self) -> str:
        return short_repr(f"Look: {self.summary}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        fields = {name: getattr(self, name) for name in type(self).__dataclass_fields__}
        return {
            **fields,
            "span": self.span.to_json(),
            "reserve": None if self.reserve is None else self.reserve.to_json(),
            "changes": dict(self.changes),
            "seeds": list(self.seeds),
            "account": dict(self.account),
            "metrics": dict(self.metrics),
            "returns": None if self.returns is None else self.returns.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Look:
        """Return the look that :meth:`to_json` described.

        Raises:
            BadInputError: ``data`` is not such a map.
        """
        try:
            returns, reserve = data["returns"], data.get("reserve")
            return cls(
                **{
                    **data,
                    "span": Span.from_json(data["span"]),
                    "seeds": tuple(data.get("seeds", ())),
                    "reserve": None if reserve is None else Span.from_json(reserve),
                    "returns": None if returns is None else DailyReturns.from_json(returns),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(
                f"a worker reports a trial in an unknown format ({error}); update KTRDR on the older side"
            ) from None

    @property
    def fitted(self) -> str:
        """Hash of the choice of a model or of several seeds; a training and the backtests of its model share it."""
        return digest([self.strategy, list(self.seeds) or self.seed, self.training_data])

    @property
    def trial(self) -> str:
        """Hash of the trial: equal for the same choice on the same bars, in every ledger and at any time."""
        span = self.span
        return digest(
            [
                "training" if self.kind == "training" else "evaluation",
                self.fitted,
                self.data,
                sorted(span.symbols),
                self.timeframe,
                span.start,
                span.end,
                span.world,
                dict(self.account),
            ]
        )

    @property
    def sharpe(self) -> float | None:
        """The annualized Sharpe ratio; ``None`` for a training, or if it is missing."""
        return None if self.kind == "training" else sharpe_of(self.metrics)
