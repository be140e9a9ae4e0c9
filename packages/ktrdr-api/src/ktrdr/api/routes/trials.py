"""The ledger of trials: what was tried, and among how many trials a result was chosen."""

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
    """A row of the ledger: one look at out-of-sample results, and who recorded it when."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, _told("The first 16 digits of its hash")]
    hash: Annotated[str, _told("sha256 of the row")]
    ledger: Annotated[str, _told("Id of the ledger that recorded it; rows of other ledgers are copies")]
    time: Annotated[dt.datetime, _told("When it was recorded")]
    kind: Annotated[str, _told("`training` (its validation and test part), `backtest` or `sweep` (one of its cells)")]
    trial: Annotated[str, _told("Hash of the choice that could have been picked: rows of one trial count once")]
    fitted: Annotated[str, _told("Hash of the choice of a model, which a training and a backtest of it share")]
    strategy: Annotated[str, _told("Hash of the strategy without its name, description and seed")]
    changes: Annotated[dict[str, JsonValue], _told("What differs from the strategy file, by dotted key")]
    parent: Annotated[str | None, _told("`strategy` of what was changed; null where nothing was")]
    seed: Annotated[int | None, _told("Of every random choice; null for several models together")]
    training_data: Annotated[str, _told("Fingerprint of the data the model was fitted to")]
    data: Annotated[str, _told("Fingerprint of the bars looked at")]
    symbols: Annotated[list[str], _told("Whose bars were looked at")]
    timeframe: Annotated[str, _told("Of these bars")]
    start: Annotated[dt.datetime, _told("Open of the first bar looked at")]
    end: Annotated[dt.datetime, _told("Close of the last one")]
    world: Annotated[str, _told("Empty for bars that were imported; synthetic bars have a world of their own")]
    account: Annotated[dict[str, float], _told("Capital and costs; empty for a training")]
    metrics: Annotated[dict[str, JsonValue], _told("What was seen")]
    model: Annotated[str, _told("`name/version`")]
    chosen_among: Annotated[int | None, _told("Cells of the sweep that it belongs to; null outside of one")]
    operation: Annotated[str | None, _told("The operation it was taken in; null on the command line")]
    before_ledger: Annotated[bool, _told("It was taken before there was this ledger")]


class TrialItem(TrialView):
    """A row in a list."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_SHOWN, "number": 17}]})

    number: Annotated[int, _told("Its place in this server's ledger, by which a list goes on")]


class TrialPage(BaseModel):
    """Rows, newest first; pass ``next`` as ``before`` for the following page."""

    model_config = ConfigDict(extra="forbid")

    ledger: Annotated[str, _told("Id of this server's ledger")]
    total: Annotated[int, _told("All rows there are, whatever the list was narrowed to")]
    items: list[TrialItem]
    next: int | None


class ReturnsView(BaseModel):
    """Net returns on consecutive calendar days (UTC)."""

    model_config = ConfigDict(extra="forbid")

    first: Annotated[str, _told("The first of the days")]
    float32: Annotated[str, _told("Base64 of the values, little-endian, compressed with zlib")]


class TrialDetail(TrialView):
    """A whole row, with the strategy file as it was written."""

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
    returns: Annotated[ReturnsView | None, _told("Per day; null for a training")]
    previous: Annotated[str, _told("Hash of the row before it in its ledger")]


class TrialCountView(BaseModel):
    """What the ledger knows of the trials that looked at these bars."""

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

    number: Annotated[int, _told("Trials that are counted: those known, and those made elsewhere")]
    known: Annotated[int, _told("Distinct trials that are known to the ledger")]
    elsewhere: Annotated[int, _told("Trials that somebody says were made elsewhere; the ledger knows of none")]
    ledger: Annotated[str, _told("Id of the ledger")]
    spread: Annotated[
        float | None,
        _told("Standard deviation of their annualized Sharpe ratios; null where fewer than two have one"),
    ]
    effective: Annotated[
        float | None, _told("Number of trials unlike each other that they come to; null where that cannot be told")
    ]
    chosen_among: Annotated[
        int | None, _told("Settings of the largest sweep with the strategy that was asked for; null without one")
    ]
    broken: Annotated[str, _told("One sentence where the ledger is known to be damaged, else empty")]
    statement: Annotated[str, _told("The number, in words")]


@router.get("/trials")
def list_trials(
    opened: Opened,
    symbol: Annotated[
        str | None,
        Query(pattern=f"^{SYMBOL_PATTERN}$", examples=["EURUSD"], description="Only those that looked at its bars"),
    ] = None,
    before: Annotated[
        int | None, Query(ge=1, le=2**63 - 1, description="Only those with a smaller number: `next` of a page")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> TrialPage:
    """List what was tried, newest first."""
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
        str, Query(pattern=_LIST, examples=["EURUSD,GBPUSD"], description="Whose bars, separated by commas")
    ],
    start: Annotated[Day, Query(examples=["2017-10-01"], description="The first day (UTC)")],
    end: Annotated[Day, Query(examples=["2017-12-31"], description="The last day, included")],
    model: Annotated[
        str | None,
        Query(
            pattern=f"^{NAME_PATTERN}/{VERSION_PATTERN}$",
            examples=["rsi_reversion/1"],
            description="The model in question: of one from before the ledger, no fewer are counted than its version",
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        Query(pattern="^[0-9a-f]{64}$", description="Hash of the strategy in question, for `chosen_among`"),
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
    return TrialCountView(**count.to_json(), statement=count.statement)


@router.get("/trials/{trial_id}", responses=_MISSING)
def get_trial(
    trial_id: Annotated[
        str,
        Path(
            pattern="^[0-9a-f]{4,64}$",
            examples=["3f0c9a52be7d1846"],
            description="Its id, its hash, or as much of it as tells it from others",
        ),
    ],
    opened: Opened,
) -> TrialDetail:
    """Return one row whole, with the text of its strategy."""
    row, text = opened.trials.get(trial_id)
    return TrialDetail(**row.model_dump(), strategy_text=text)
