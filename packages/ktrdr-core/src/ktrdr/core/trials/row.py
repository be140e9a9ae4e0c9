"""Rows of the ledger of trials: a look, its ledger and time, and the hash of the row before."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from ktrdr.core.errors import BadInputError
from ktrdr.core.short_texts import short_repr
from ktrdr.core.trials.look import Look, Span, canonical_json, look_summary

__all__ = ["LEDGER_PATTERN", "TrialRow", "content_of", "first_link", "hash_of", "text_hash"]

LEDGER_PATTERN = r"[0-9a-f]{12}"
"""Pattern of the id of a ledger."""

_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Word = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
# Far more cells than a sweep may have, and within the integers of every database.
_MOST_CELLS = 10**9
_DEEPEST = 32


def _in_seconds(value: Any) -> Any:
    """Refuse other formats of a time, so that every reader understands a row in the same way."""
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
        raise ValueError("a time is written as 2026-01-31T23:59:59Z")
    if not isinstance(value, str | dt.datetime):
        raise ValueError("a time is text")
    return value


_Time = Annotated[AwareDatetime, BeforeValidator(_in_seconds)]


class TrialRow(BaseModel):
    """A row of the ledger: one look at out-of-sample results.

    Attributes:
        id: the first 16 digits of its hash.
        hash: sha256 of its content.
        ledger: id of the ledger that recorded it.
        time: when it was recorded.
        kind: ``training`` (its validation and test part), ``evaluation`` or ``verdict`` (all its folds and seeds),
            ``backtest``, or ``sweep`` (one of its cells).
        trial: see :attr:`ktrdr.core.trials.look.Look.trial`: rows of the same trial count once.
        fitted: see :attr:`ktrdr.core.trials.look.Look.fitted`.
        strategy: hash of the resolved strategy, without its name, description and seed.
        text: hash of the strategy file, which is kept once.
        changes: what differs from the strategy file, by dotted key.
        parent: hash of the strategy that was changed, ``None`` if nothing was.
        seed: seed of every random choice; ``None`` for an evaluation of several seeds.
        training_data: fingerprint of the data that the model was fitted to.
        data: fingerprint of the bars that were looked at.
        symbols: of these bars.
        timeframe: of these bars.
        start: open of the first bar.
        end: close of the last bar.
        world: empty for imported bars, the name of a synthetic market otherwise.
        account: capital and costs; empty for a training.
        metrics: numbers by name; ``sharpe``, annualized, among those of an account.
        returns: net returns per day, packed; ``None`` for a training.
        model: ``name/version``; ``name`` for a training.
        chosen_among: cells of the sweep it belongs to; ``None`` outside a sweep.
        operation: id of the operation on a server; ``None`` without one.
        before_ledger: True if the result was stored before this ledger was made.
        previous: hash of the row before it in its ledger; of the first one :func:`first_link`.

    Example:
        >>> import ktrdr.core as kt
        >>> row = kt.trials.load(kt.trials.list().id.iloc[0]).row
        >>> row.kind, row.symbols, row.timeframe
        ('backtest', ('EURUSD',), '1h')
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: str
    hash: _Hash
    ledger: Annotated[str, Field(pattern=f"^{LEDGER_PATTERN}$")]
    time: _Time
    kind: Annotated[str, Field(pattern=r"^[a-z_]{1,32}$")]
    trial: _Hash
    fitted: _Hash
    strategy: _Hash
    text: _Hash
    changes: dict[str, JsonValue]
    parent: _Hash | None
    seed: int | None
    training_data: _Word
    data: _Word
    symbols: Annotated[tuple[_Word, ...], Field(min_length=1, max_length=1000)]
    timeframe: _Word
    start: _Time
    end: _Time
    world: _Word
    account: dict[str, float]
    metrics: dict[str, JsonValue]
    returns: dict[str, str] | None
    model: _Word
    chosen_among: Annotated[int, Field(strict=True, ge=1, le=_MOST_CELLS)] | None
    operation: _Word | None
    before_ledger: bool
    previous: _Hash

    @model_validator(mode="after")
    def _in_order(self) -> TrialRow:
        if self.end < self.start:
            raise ValueError("its bars end before they start")
        return self

    @property
    def span(self) -> Span:
        """The bars that were looked at."""
        return Span(self.symbols, int(self.start.timestamp()), int(self.end.timestamp()), self.world)

    @property
    def summary(self) -> str:
        """Kind, model, bars and Sharpe ratio on one line."""
        return look_summary(self.kind, self.model, self.span, self.timeframe, self.metrics)

    def __repr__(self) -> str:
        return short_repr(f"TrialRow {self.id}: {self.summary}")

    __str__ = __repr__

    @classmethod
    def read(cls, content: str) -> TrialRow:
        """Read a row.

        Args:
            content: JSON text of the row, as the ledger stores it.

        Returns:
            The row.

        Raises:
            BadInputError: ``content`` is not the content of a row.
        """
        try:
            digest = hash_of(content)
            fields = json.loads(content)
            _check_depth(fields)
            # The canonical text has no NaN, no repeated key and no lone surrogate.
            if canonical_json(fields) != content or not fields.keys().isdisjoint(("id", "hash")):
                raise ValueError("it is not the canonical text")
            return cls.model_validate({**fields, "id": digest[:16], "hash": digest})
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            reason = (
                error.errors()[0]["msg"]
                if isinstance(error, ValidationError)
                else "it is not a JSON map in canonical form"
            )
            raise BadInputError(f"a row of the ledger cannot be read: {reason}; update KTRDR if it is older") from None


def _check_depth(value: JsonValue, levels: int = _DEEPEST) -> None:
    """Raise ``ValueError`` for a value that is nested too deep for other readers."""
    if levels < 0:
        raise ValueError("it is nested too deep")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(each, levels - 1)


def content_of(look: Look, *, ledger: str, time: dt.datetime, previous: str) -> str:
    """Return the content of a new row, as the canonical JSON text that is hashed."""
    span = look.span
    return canonical_json(
        {
            "ledger": ledger,
            "time": _text(time),
            "kind": look.kind,
            "trial": look.trial,
            "fitted": look.fitted,
            "strategy": look.strategy,
            "text": text_hash(look.text),
            "changes": dict(look.changes),
            "parent": look.parent,
            "seed": look.seed,
            "training_data": look.training_data,
            "data": look.data,
            "symbols": sorted(span.symbols),
            "timeframe": look.timeframe,
            "start": _seconds_text(span.start),
            "end": _seconds_text(span.end),
            "world": span.world,
            "account": dict(look.account),
            "metrics": dict(look.metrics),
            "returns": None if look.returns is None else look.returns.to_json(),
            "model": look.model,
            "chosen_among": look.chosen_among,
            "operation": look.operation,
            "before_ledger": look.before_ledger,
            "previous": previous,
        }
    )


def hash_of(content: str) -> str:
    """Return the sha256 (hex) of the content of a row."""
    return hashlib.sha256(content.encode()).hexdigest()


def text_hash(text: str) -> str:
    """Return the sha256 (hex) of a strategy file, which identifies it in the ledger."""
    return hashlib.sha256(text.encode()).hexdigest()


def first_link(ledger: str) -> str:
    """Return the value of ``previous`` for the first row of a ledger."""
    return hashlib.sha256(f"ktrdr trials {ledger}".encode()).hexdigest()


def _text(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds_text(seconds: int) -> str:
    return _text(dt.datetime.fromtimestamp(seconds, dt.UTC))
