"""Strategy files: list, read, store, delete and validate them, and list the features they define."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from ktrdr.api.http.problems import Problem, ProblemError
from ktrdr.api.http.security import changes_nothing
from ktrdr.api.routes._shared.strategy_loading import load, offered
from ktrdr.api.services import Opened
from ktrdr.api.strategy_files import ChangedError, StrategyStore
from ktrdr.core.limits import LONGEST_STRATEGY
from ktrdr.core.names import NAME_PATTERN

__all__ = ["StrategyName", "router", "strategy_store"]

router = APIRouter(tags=["strategies"])

YAML = "application/yaml"
EXAMPLE = """\
name: rsi_reversion
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
indicators:
  rsi_14: {type: rsi, period: 14}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 0, 35], middle: [30, 50, 70], high: [65, 100, 100]}
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all}
model: {type: mlp}
decisions: {output_format: classification}
training: {labels: {source: zigzag, zigzag_threshold: 0.01, label_lookahead: 24}}
"""

StrategyName = Annotated[str, Path(pattern=f"^{NAME_PATTERN}$", examples=["rsi_reversion"])]
IfMatch = Annotated[str | None, Header(description="ETag of the state to replace", max_length=80)]
IfNoneMatch = Annotated[str | None, Header(description="`*`: store only a new strategy", max_length=80)]

_TEXT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {YAML: {"schema": {"type": "string", "maxLength": LONGEST_STRATEGY}, "example": EXAMPLE}},
    }
}


class DiagnosticView(BaseModel):
    """An error or a warning in a strategy file; ``line`` and ``column`` count from 1, ``path`` is the key concerned."""

    line: int
    column: int
    path: str
    message: str
    severity: str


class StrategySummary(BaseModel):
    """A stored strategy; if the file is not valid, ``problem`` says why and the other details are ``null``."""

    name: str
    etag: str
    description: str | None = None
    model_type: str | None = None
    symbols: list[str] | None = None
    timeframes: list[str] | None = None
    problem: str = ""


class Stored(BaseModel):
    """The strategy is stored; it can be used in spite of ``warnings``."""

    name: str
    etag: str
    warnings: list[DiagnosticView]


class Validation(BaseModel):
    """``valid``: no errors among ``diagnostics``; ``features`` are then the inputs of the model, in order."""

    valid: bool
    name: str | None
    diagnostics: list[DiagnosticView]
    features: list[str]


class FeatureView(BaseModel):
    """One input of the model, and the indicator and fuzzy set that it is computed from."""

    id: str
    kind: str
    timeframe: str
    indicator: str
    fuzzy_set: str | None
    membership: str | None
    normalization: str | None
    lag: int


class Features(BaseModel):
    """The inputs of a strategy's model, in order. ``warmup``: number of bars before the first complete row."""

    strategy: str
    warmup: int = Field(ge=0)
    features: list[FeatureView]


async def strategy_store(opened: Opened) -> StrategyStore:
    """Return the store of strategies of the server."""
    return StrategyStore(opened.home / "strategies")


Store = Annotated[StrategyStore, Depends(strategy_store)]

_PRECONDITIONS: dict[int | str, dict[str, Any]] = {
    412: {"model": Problem, "description": "The strategy was changed in the meantime"},
    428: {"model": Problem, "description": "The header If-Match is missing"},
}
_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such strategy"}}
_ETAG = {"ETag": {"description": "Identifies the content of the file", "schema": {"type": "string"}}}


def _diagnostics(found: Any) -> list[DiagnosticView]:
    return [DiagnosticView.model_validate(item.to_json()) for item in found]


@router.get("/strategies")
async def list_strategies(store: Store, opened: Opened) -> list[StrategySummary]:
    """List the stored strategies."""
    known = await offered(opened)

    def read() -> list[StrategySummary]:
        return [summary for name in store.names() if (summary := _summary(store, name, known)) is not None]

    return await run_in_threadpool(read)


def _summary(store: StrategyStore, name: str, known: frozenset[str]) -> StrategySummary | None:
    from ktrdr.core.errors import BadInputError, NotFoundError

    try:
        stored = store.get(name)
        strategy = load(stored.text, name, known).strategy
    except NotFoundError:
        return None  # deleted just now, or a symbolic link
    except BadInputError as error:
        return StrategySummary(name=name, etag=stored.etag, problem=str(error))
    return StrategySummary(
        name=name,
        etag=stored.etag,
        description=strategy.description,
        model_type=strategy.model.type,
        symbols=list(strategy.training_data.symbols),
        timeframes=list(strategy.training_data.timeframes),
    )


@router.post("/validate-strategy", openapi_extra=_TEXT_BODY)
@changes_nothing
async def validate_strategy(request: Request, opened: Opened) -> Validation:
    """Check the strategy in the body and report every error in it. Nothing is stored."""
    text = _text(await request.body())
    return await run_in_threadpool(_validate, text, await offered(opened))


def _validate(text: str, known: frozenset[str]) -> Validation:
    from ktrdr.core.features.columns import feature_columns
    from ktrdr.core.strategy.diagnostics import StrategyError

    try:
        loaded = load(text, "strategy", known)
    except StrategyError as error:
        return Validation(valid=False, name=None, diagnostics=_diagnostics(error.diagnostics), features=[])
    columns = [column.id for column in feature_columns(loaded.strategy)]
    return Validation(
        valid=True, name=loaded.strategy.name, diagnostics=_diagnostics(loaded.warnings), features=columns
    )


@router.get(
    "/strategies/{name}",
    response_class=PlainTextResponse,
    responses={
        200: {
            "content": {YAML: {"schema": {"type": "string"}, "example": EXAMPLE}},
            "description": "The strategy file, unchanged",
            "headers": _ETAG,
        },
        304: {"description": "The client has the present state", "headers": _ETAG},
        **_MISSING,
    },
)
def get_strategy(name: StrategyName, store: Store, if_none_match: IfNoneMatch = None) -> Response:
    """Return a strategy file with its ETag."""
    stored = store.get(name)
    headers = {"ETag": f'"{stored.etag}"'}
    if if_none_match is not None and stored.etag in _etags(if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(stored.text, media_type=YAML, headers=headers)


@router.put(
    "/strategies/{name}",
    openapi_extra=_TEXT_BODY,
    responses={201: {"model": Stored, "description": "The strategy is new"}, **_PRECONDITIONS},
)
async def put_strategy(
    name: StrategyName,
    request: Request,
    response: Response,
    store: Store,
    opened: Opened,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Stored:
    """Store the strategy in the body; its `name` must be the name in the URL.

    A new strategy needs no header. To replace one, send the ETag with which you read it in `If-Match`, so that you do
    not overwrite a change of someone else.
    """
    text = _text(await request.body())
    loaded = await run_in_threadpool(load, text, name, await offered(opened))
    if loaded.strategy.name != name:
        detail = f"the strategy is called `{loaded.strategy.name}`; store it under that name, or rename it"
        raise ProblemError(422, "other-name", "The names differ", detail, field="path.name")
    expected = None if if_match is None or if_none_match == "*" else _etag(if_match)
    try:
        stored = await run_in_threadpool(store.put, name, text, expected=expected)
    except ChangedError as error:
        raise _changed(name, error, if_match) from None
    response.headers["ETag"] = f'"{stored.etag}"'
    response.status_code = 201 if expected is None else 200
    return Stored(name=name, etag=stored.etag, warnings=_diagnostics(loaded.warnings))


@router.delete("/strategies/{name}", status_code=204, responses={**_PRECONDITIONS, **_MISSING})
def delete_strategy(name: StrategyName, store: Store, if_match: IfMatch = None) -> None:
    """Delete a strategy file; models trained from it keep their own copy."""
    stored = store.get(name)
    if if_match is None:
        raise _changed(name, ChangedError(name, stored.etag), None)
    try:
        store.delete(name, expected=_etag(if_match))
    except ChangedError as error:
        raise _changed(name, error, if_match) from None


@router.get("/strategies/{name}/features", responses=_MISSING)
async def get_features(name: StrategyName, store: Store, opened: Opened) -> Features:
    """List the inputs of a stored strategy's model, in order."""
    return await run_in_threadpool(_features, store, name, await offered(opened))


def _features(store: StrategyStore, name: str, known: frozenset[str]) -> Features:
    from ktrdr.core.features.pipeline import FeaturePipeline

    strategy = load(store.get(name).text, name, known).strategy
    pipeline = FeaturePipeline(strategy)
    return Features(
        strategy=strategy.name,
        warmup=pipeline.warmup,
        features=[
            FeatureView(
                id=column.id,
                kind=column.kind,
                timeframe=column.timeframe,
                indicator=column.indicator,
                fuzzy_set=column.fuzzy_set,
                membership=column.membership,
                normalization=column.normalization,
                lag=column.lag,
            )
            for column in pipeline.columns
        ],
    )


def _text(body: bytes) -> str:
    if not body:
        raise ProblemError(422, "invalid-request", "The request is not valid", "the body is empty", field="body")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ProblemError(422, "not-text", "Not UTF-8 text", "the body must be UTF-8 text", field="body") from None
    if len(text) > LONGEST_STRATEGY:
        detail = f"a strategy has at most {LONGEST_STRATEGY:,} characters"
        raise ProblemError(422, "invalid-request", "The request is not valid", detail, field="body")
    return text


def _etag(header: str) -> str:
    return header.strip().removeprefix("W/").strip('"')


def _etags(header: str) -> set[str]:
    return {_etag(part) for part in header.split(",")}


def _changed(name: str, error: ChangedError, if_match: str | None) -> ProblemError:
    if if_match is None and error.etag is not None:
        detail = f"strategy `{name}` exists already; read it, and send its ETag in If-Match to change it"
        return ProblemError(428, "precondition-required", "If-Match is missing", detail, field="header.If-Match")
    detail = f"strategy `{name}` was changed in the meantime; read it again, and send its ETag in If-Match"
    return ProblemError(412, "changed", "Changed in the meantime", detail, field="header.If-Match")
