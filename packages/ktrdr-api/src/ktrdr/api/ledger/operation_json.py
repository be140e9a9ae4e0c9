"""Operations in JSON for clients. Columns that the ledger stores as JSON are copied as text."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any

from ktrdr.api.ledger.records import PastAttempt
from ktrdr.api.ledger.states import STATES
from ktrdr.core.errors import ErrorRecord
from ktrdr.core.files.json_values import plain_json

__all__ = ["PATH_KEY", "detail_json", "page_json", "shown", "summary_json"]

PATH_KEY = "directory"
"""Key of a result: the directory of its files on the machine that made them. Clients do not see it."""

_NOT_TO_BE_SHOWN = (f'"{PATH_KEY}"', "NaN", "Infinity")

_SQLITE_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?", re.ASCII).fullmatch

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def shown(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result without paths of the server."""
    return {key: value for key, value in result.items() if key != PATH_KEY}


def summary_json(row: Sequence[Any]) -> str:
    """Return a row of the ledger as an element of a list, in JSON.

    Args:
        row: the values of an ``OperationSummary``, in its order; ``requires``, ``progress`` and ``error`` are JSON
            texts, and times are in the format of the database.

    Raises:
        ValueError: the row contains a value that no version of KTRDR has written.
    """
    return "{" + _summary(row) + "}"


def detail_json(row: Sequence[Any], attempts: Iterable[PastAttempt]) -> str:
    """Return a row with the values of an ``Operation`` and its attempts, in JSON.

    ``job`` and ``result`` are JSON texts too. Raises as :func:`summary_json`.
    """
    *summary, job, result = row
    # Results of older ledgers were stored with paths, and with numbers that JSON does not have.
    if result is not None and any(part in result for part in _NOT_TO_BE_SHOWN):
        result = _encode(plain_json(shown(json.loads(result))))
    past = ",".join(map(_attempt, attempts))
    return f'{{{_summary(summary)},"result":{result or "null"},"job":{job},"attempts":[{past}]}}'


def page_json(items: Iterable[str], following: str | None) -> str:
    """Return a page in JSON; ``items`` are JSON texts."""
    return f'{{"items":[{",".join(items)}],"next":{_encode(following)}}}'


def _summary(row: Sequence[Any]) -> str:
    # A page has hundreds of these values: the text is concatenated, and only free text is encoded.
    identifier, kind, state, attempt, requires, waiting_for, cancel_requested, retry_of, worker, *stored = row
    progress, error, created_at, started_at, heartbeat_at, finished_at = stored
    if state not in STATES:
        raise ValueError(f"{state!r} is not a state of an operation")
    if error is not None:
        error = _encode(ErrorRecord.from_json(json.loads(error)).to_json())
    return (
        f'"id":{_text(identifier)},"kind":{_text(kind)},"state":"{state}","attempt":{attempt:d},"requires":{requires},'
        f'"waiting_for":{_text(waiting_for)},"cancel_requested":{"true" if cancel_requested else "false"},'
        f'"retry_of":{_text(retry_of)},"worker":{_text(worker)},"progress":{progress or "null"},'
        f'"error":{error or "null"},"created_at":{_time(created_at)},"started_at":{_time(started_at)},'
        f'"heartbeat_at":{_time(heartbeat_at)},"finished_at":{_time(finished_at)}'
    )


def _attempt(attempt: PastAttempt) -> str:
    return (
        f'{{"attempt":{attempt.attempt:d},"worker":{_text(attempt.worker)},"started_at":{_time(attempt.started_at)},'
        f'"ended_at":{_time(attempt.ended_at)},"outcome":{_text(attempt.outcome)},'
        f'"counts":{"true" if attempt.counts else "false"}}}'
    )


def _text(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


def _time(time: dt.datetime | str | None) -> str:
    """Return a time in JSON. SQLite stores a time as text, in UTC without an offset."""
    if time is None:
        return "null"
    if not isinstance(time, str):
        return f'"{time.astimezone(dt.UTC).replace(tzinfo=None).isoformat()}Z"'
    if not _SQLITE_TIME(time):
        raise ValueError(f"{time!r} is not a time")
    return f'"{time[:10]}T{time[11:]}Z"'
