"""A look at out-of-sample results, and by what it is known again."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ktrdr.core.errors import BadInputError
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
"""Key of a result under which whoever has another ledger than the one who made it finds its looks."""

HIGHEST_SHARPE = 1e6
"""What is above comes from returns that hardly vary at all, and would make the spread of all others vanish."""

REAL_BARS = ""
"""The world of bars that somebody imported. Synthetic bars have a world of another name each, and count only there."""

_EPOCH = dt.date(1970, 1, 1).toordinal()
_SECONDS_OF_DAY = 86_400


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces. Raises ``ValueError`` for NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 (hex) of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sharpe_of(metrics: Mapping[str, Any]) -> float | None:
    """Return the annualized Sharpe ratio among metrics; ``None`` where there is none that counts."""
    value = metrics.get("sharpe")
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= HIGHEST_SHARPE:
        return None
    return float(value)


def look_summary(kind: str, model: str, span: Span, timeframe: str, metrics: Mapping[str, Any]) -> str:
    """Return a look on one line: ``backtest of waves/1 on EURUSD 1h, 2017-10-01 to 2017-12-29, Sharpe 0.81``."""
    of_model = f" of {model}" if model else ""
    rated = None if kind == "training" else sharpe_of(metrics)
    text = f"{kind}{of_model} on {first_words(span.symbols)} {timeframe}, {span.days}"
    return text if rated is None else f"{text}, Sharpe {rated:.2f}"


@dataclass(frozen=True, slots=True)
class Span:
    """Bars that were looked at.

    Attributes:
        symbols: whose bars.
        start, end: seconds since 1970-01-01 UTC: open of the first bar, close of the last.
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

    @property
    def days(self) -> str:
        """First and last day (UTC) with a bar: ``2017-10-01 to 2017-12-29``."""
        opens, closes = (dt.datetime.fromtimestamp(at, dt.UTC) for at in (self.start, max(self.start, self.end - 1)))
        return f"{opens:%Y-%m-%d} to {closes:%Y-%m-%d}"

    def __repr__(self) -> str:
        return short_repr(f"Span {first_words(self.symbols)}, {self.days}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One look at out-of-sample results.

    Attributes:
        kind: ``training`` (its validation and test part), ``backtest``, ``sweep`` (one of its cells).
        strategy: hash of the resolved strategy, without its name, description and seed.
        text: the strategy file as it was written.
        changes: what differs from it, by dotted key.
        parent: ``strategy`` of what was changed, ``None`` where nothing was.
        seed: of every random choice; ``None`` for an evaluation of several, whose seeds are members of one trial.
        training_data: fingerprint of the data the model was fitted to.
        data: fingerprint of the bars looked at.
        timeframe: of these.
        span: which they are.
        account: capital and costs; empty for a training, which trades nothing.
        metrics: plain numbers; ``sharpe``, annualized, among those of an account.
        returns: net, per day; ``None`` for a training.
        model: ``name/3``, for a person.
        chosen_among: cells of the sweep it belongs to; ``None`` outside of one.
        operation: id of the operation it was taken in.
        before_ledger: it was taken before there was this ledger.
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
    chosen_among: int | None = None
    operation: str | None = None
    before_ledger: bool = False

    @property
    def summary(self) -> str:
        """Kind, model, bars and Sharpe ratio on one line."""
        return look_summary(self.kind, self.model, self.span, self.timeframe, self.metrics)

    def __repr__(self) -> str:
        return short_repr(f"Look: {self.summary}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        fields = {name: getattr(self, name) for name in type(self).__dataclass_fields__}
        span = self.span
        return {
            **fields,
            "span": [list(span.symbols), span.start, span.end, span.world],
            "changes": dict(self.changes),
            "account": dict(self.account),
            "metrics": dict(self.metrics),
            "returns": None if self.returns is None else self.returns.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Look:
        """Return what :meth:`to_json` was called on.

        Raises:
            BadInputError: it is something else.
        """
        try:
            symbols, start, end, world = data["span"]
            returns = data["returns"]
            return cls(
                **{
                    **data,
                    "span": Span(tuple(symbols), int(start), int(end), world),
                    "returns": None if returns is None else DailyReturns.from_json(returns),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(
                f"a worker tells of a trial in a form that is not known here ({error}); update the older side"
            ) from None

    @property
    def fitted(self) -> str:
        """Hash of the choice of a model: a training and the first backtest of its model have it in common."""
        return digest([self.strategy, self.seed, self.training_data])

    @property
    def trial(self) -> str:
        """Hash of the choice that could have been picked: equal for the same choice, whoever makes it, and when."""
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
        """The annualized Sharpe ratio, ``None`` where there is none."""
        return None if self.kind == "training" else sharpe_of(self.metrics)
