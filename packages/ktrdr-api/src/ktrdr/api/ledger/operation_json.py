"""Operations as clients see them, in JSON. What the ledger stores as JSON is passed on as the text it is stored as."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ktrdr.api.ledger.records import PastAttempt
from ktrdr.api.ledger.states import STATES
from ktrdr.core.errors import ErrorRecord
from ktrdr.core.files.json_values import plain_json

__all__ = ["PATH_KEY", "detail_json", "page_json", "shown", "summary_json"]

PATH_KEY = "directory"
"""Of a result: where its files are on the machine that made them, which is no business of a client."""

_NOT_TO_BE_SHOWN = (f'"{PATH_KEY}"', "NaN", "Infinity")

_PLAIN = ("id", "kind", "state", "attempt", "waiting_for", "cancel_requested", "retry_of", "worker")
_TIMES = ("created_at", "started_at", "heartbeat_at", "finished_at")

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def shown(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result without the paths of the server."""
    return {key: value for key, value in result.items() if key != PATH_KEY}


def summary_json(row: Any) -> str:
    """Return a row of the ledger as an element of a list, in JSON.

    Args:
        row: has the columns of an operation but ``job`` and ``result`` as attributes; ``requires``, ``progress`` and
            ``error`` are texts of JSON.

    Raises:
        ValueError: it holds what no version of KTRDR has written.
    """
    return "{" + _summary(row) + "}"


def detail_json(row: Any, attempts: Iterable[PastAttempt]) -> str:
    """Return a whole row with its attempts, in JSON; ``job`` and ``result`` are texts too. See :func:`summary_json`."""
    result = row.result
    # Ledgers from before paths, and numbers that JSON has not, were left out when a result was stored.
    if result is not None and any(part in result for part in _NOT_TO_BE_SHOWN):
        result = _encode(plain_json(shown(json.loads(result))))
    past = ",".join(map(_attempt, attempts))
    return f'{{{_summary(row)},"result":{result or "null"},"job":{row.job},"attempts":[{past}]}}'


def page_json(items: Iterable[str], following: str | None) -> str:
    """Return a page of ``items``, which are JSON."""
    return f'{{"items":[{",".join(items)}],"next":{_encode(following)}}}'


def _summary(row: Any) -> str:
    if row.state not in STATES:
        raise ValueError(f"{row.state!r} is no state of an operation")
    plain = {name: getattr(row, name) for name in _PLAIN}
    plain |= {name: _time(getattr(row, name)) for name in _TIMES}
    error = row.error and _encode(ErrorRecord.from_json(json.loads(row.error)).to_json())
    stored = f'"requires":{row.requires},"progress":{row.progress or "null"},"error":{error or "null"}'
    return f"{_encode(plain)[1:-1]},{stored}"


def _attempt(attempt: PastAttempt) -> str:
    told = {
        "attempt": attempt.attempt,
        "worker": attempt.worker,
        "started_at": _time(attempt.started_at),
        "ended_at": _time(attempt.ended_at),
        "outcome": attempt.outcome,
        "counts": attempt.counts,
    }
    return _encode(told)


def _time(time: dt.datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")
