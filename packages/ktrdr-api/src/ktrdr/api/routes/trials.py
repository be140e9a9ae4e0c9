"""The ledger of trials: every choice whose results were looked at, and how many there were."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ktrdr.api.http.problems import Problem, ProblemError
from ktrdr.api.services import Opened
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import Day
from ktrdr.core.names import NAME_PATTERN, SYMBOL_PATTERN, VERSION_PATTERN, check_symbol

__all__ = ["router"]

router = APIRouter(tags=["trials"])

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such trial"}}

_SHOWN: dict[str, Any] = {
    "id": "3f0c9a52be7d1846",
    "hash": "3f0c9a52be7d1846d0a1c35f7b29e8640c1d5a7be93f2846d0b1c35f7a29e864",
    "ledger": "5d41c0a97e3b",
    "time": "2026-03-02T09:15:40Z",
    "kind": "backtest",
    "trial": "9b2f1c4e7a6d8035f1e2d3c4b5a697887a6d80359b2f1c4ef1e2d3c4b5a69788",
    "fitted": "b5a697887a6d80359b2f1c4ef1e2d3c49b2f1c4e7a6d8035f1e2d3c4b5a69788",
    "strategy": "7a6d8035f1e2d3c4b5a697889b2f1c4e7a6d8035f1e2d3c4b5a697889b2f1c4e",
    "changes": {"risk.stop_loss.atr": 2},
    "parent": None,
    "seed": 1,
    "training_data": "sha256:0c1d5a7b",
    "data": "sha256:e93f2846",
    "symbols": ["EURUSD"],
    "timeframe": "1h",
    "start": "2017-10-01T21:00:00Z",
    "end": "2017-12-29T22:00:00Z",
    "world": "",
    "account": {"capital": 10000.0, "commission": 0.00002},
    "metrics": {"sharpe": 0.81, "trades": 42},
    "model": "rsi_reversion/1",
    "chosen_among": None,
    "operation": "01K9ZJ5T3C8E6W2V4R7Q1M0N8B",
    "before_ledger": False,
}


def _told(description: str) -> Any:
    return Field(description=description)


class TrialView(BaseModel):
    """A row of the ledger: one look at out-of-sample results."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, _told("First 16 digits of `hash`")]
    hash: Annotated[str, _told("SHA-256 of the row")]
    ledger: Annotated[str, _told("Id of the ledger that recorded it; rows of other ledgers are copies")]
    time: Annotated[dt.datetime, _told("Time of recording")]
    kind: Annotated[
        str,
        _told(
            "`training` (validation and test part), `evaluation`, `verdict`, `backtest` or `sweep` (one of its"
            " combinations)"
        ),
    ]
    trial: Annotated[str, _told("Hash of the choice; rows with the same `trial` count once")]
    fitted: Annotated[
        str, _told("Hash of the choices in the fitted model; a training and the backtests of its model share it")
    ]
    strategy: Annotated[str, _told("Hash of the strategy without its name, description and seed")]
    changes: Annotated[dict[str, JsonValue], _told("Settings that differ from the strategy file, by dotted key")]
    parent: Annotated[str | None, _told("`strategy` before the changes; null without changes")]
    seed: Annotated[int | None, _told("Seed of all random choices; null for several models together")]
    training_data: Annotated[str, _told("Fingerprint of the data that the model was fitted to")]
    data: Annotated[str, _told("Fingerprint of the bars looked at")]
    symbols: Annotated[list[str], _told("Symbols whose bars were looked at")]
    timeframe: Annotated[str, _told("Timeframe of these bars")]
    start: Annotated[dt.datetime, _told("Open of the first bar looked at")]
    end: Annotated[dt.datetime, _told("Close of the last bar looked at")]
    world: Annotated[str, _told("Empty for imported bars; synthetic bars have an identifier of their own")]
    account: Annotated[dict[str, float], _told("Capital and costs; empty for a training")]
    metrics: Annotated[dict[str, JsonValue], _told("The metrics that were looked at")]
    model: Annotated[str, _told("`name/version`")]
    chosen_among: Annotated[int | None, _told("Number of combinations of its sweep; null outside a sweep")]
    operation: Annotated[str | None, _told("Id of the operation that made the trial; null for the command line")]
    before_ledger: Annotated[bool, _told("The trial was made before this ledger existed")]


class TrialItem(TrialView):
    """A row in a list."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_SHOWN, "number": 17}]})

    number: Annotated[int, _told("Position in this server's ledger; pass it as `before` to continue a list")]


class TrialPage(BaseModel):
    """Rows, newest first; pass ``next`` as ``before`` for the following page."""

    model_config = ConfigDict(extra="forbid")

    ledger: Annotated[str, _told("Id of this server's ledger")]
    total: Annotated[int, _told("Number of all rows in the ledger, without the filters of the request")]
    items: list[TrialItem]
    next: int | None


class ReturnsView(BaseModel):
    """Net returns on consecutive calendar days (UTC)."""

    model_config = ConfigDict(extra="forbid")

    first: Annotated[str, _told("The first day")]
    float32: Annotated[str, _told("The values as little-endian float32, compressed with zlib, in Base64")]


class TrialDetail(TrialView):
    """A whole row with its strategy file."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_SHOWN,
                    "text": "f1e2d3c4b5a697887a6d80359b2f1c4e9b2f1c4e7a6d8035f1e2d3c4b5a69788",
                    "strategy_text": "name: rsi_reversion\n...",
                    "returns": {"first": "2017-10-01", "float32": "eJxjYGBgAAAABAAB"},
                    "previous": "c35f7a29e8640c1d5a7be93f2846d0b13f0c9a52be7d1846d0a1c35f7b29e864",
                }
            ]
        }
    )

    text: Annotated[str, _told("Hash of the strategy file")]
    strategy_text: Annotated[str, _told("The strategy file")]
    returns: Annotated[ReturnsView | None, _told("Daily returns; null for a training")]
    previous: Annotated[str, _told("Hash of the previous row in its ledger")]


class TrialCountView(BaseModel):
    """The number of trials in the ledger that looked at these bars."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "number": 14,
                    "known": 14,
                    "elsewhere": 0,
                    "ledger": "5d41c0a97e3b",
                    "spread": 0.42,
                    "effective": 3.7,
                    "chosen_among": None,
                    "broken": "",
                    "statement": "14 trials known to this ledger",
                }
            ]
        },
    )

    number: Annotated[int, _told("All trials: `known` and `elsewhere` together")]
    known: Annotated[int, _told("Distinct trials in the ledger")]
    elsewhere: Annotated[
        int, _told("Trials that a request declared as made elsewhere; the ledger does not contain them")
    ]
    ledger: Annotated[str, _told("Id of the ledger")]
    spread: Annotated[
        float | None,
        _told(
            "Standard deviation of the annualized Sharpe ratios of the trials on bars as long as these; null if fewer"
            " than two have one"
        ),
    ]
    effective: Annotated[float | None, _told("Equivalent number of independent trials; null if it cannot be computed")]
    chosen_among: Annotated[
        int | None, _told("Number of combinations in the largest sweep with the given strategy; null without one")
    ]
    broken: Annotated[str, _told("A sentence about the damage if the ledger is known to be damaged, else empty")]
    statement: Annotated[str, _told("The number as a sentence")]


@router.get("/trials")
def list_trials(
    opened: Opened,
    symbol: Annotated[
        str | None,
        Query(
            pattern=f"^{SYMBOL_PATTERN}$",
            examples=["EURUSD"],
            description="Only trials that looked at bars of this symbol",
        ),
    ] = None,
    before: Annotated[
        int | None,
        Query(ge=1, le=2**63 - 1, description="Only trials with a smaller `number`: `next` of the previous page"),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> TrialPage:
    """List the trials, newest first."""
    found = opened.trials.page(symbol=symbol, before=before, limit=limit + 1)
    items = [
        TrialItem(number=listed.number, **listed.row.model_dump(exclude={"text", "returns", "previous"}))
        for listed in found[:limit]
    ]
    return TrialPage(
        ledger=opened.trials.id,
        total=opened.trials.rows(),
        items=items,
        next=items[-1].number if len(found) > limit else None,
    )


_LIST = f"^{SYMBOL_PATTERN}(,{SYMBOL_PATTERN}){{0,99}}$"


@router.get("/trials/count")
def count_trials(
    opened: Opened,
    symbols: Annotated[
        str, Query(pattern=_LIST, examples=["EURUSD,GBPUSD"], description="Symbols, separated by commas")
    ],
    start: Annotated[Day, Query(examples=["2017-10-01"], description="The first day (UTC)")],
    end: Annotated[Day, Query(examples=["2017-12-31"], description="The last day (UTC), included")],
    model: Annotated[
        str | None,
        Query(
            pattern=f"^{NAME_PATTERN}/{VERSION_PATTERN}$",
            examples=["rsi_reversion/1"],
            description="The model to judge; for a model that is older than the ledger at least its version is counted",
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        Query(pattern="^[0-9a-f]{64}$", description="Hash of the strategy, for `chosen_among`"),
    ] = None,
) -> TrialCountView:
    """Count the distinct trials that looked at any bar of these symbols from the first day to the last."""
    from ktrdr.core.trials.look import Span

    names = {check_symbol(symbol) for symbol in symbols.split(",")}
    try:
        span = Span.of_days(names, start, end)
    except BadInputError as error:
        raise ProblemError(
            422, "bad-input", "The request cannot be carried out", str(error), field="query.end"
        ) from None
    count = opened.trials.count(span, model=model or "", strategy=strategy or "")
    found = count.to_json()
    # Bars are counted here, and no result that could have opened a reserve.
    del found["reserve_opened"]
    return TrialCountView(**found, statement=count.statement)


@router.get("/trials/{trial_id}", responses=_MISSING)
def get_trial(
    trial_id: Annotated[
        str,
        Path(
            pattern="^[0-9a-f]{4,64}$",
            examples=["3f0c9a52be7d1846"],
            description="The id or the hash of the trial, or an unambiguous beginning of it",
        ),
    ],
    opened: Opened,
) -> TrialDetail:
    """Return one whole row, with the text of its strategy."""
    row, text = opened.trials.get(trial_id)
    return TrialDetail(**row.model_dump(), strategy_text=text)
