"""Indicators: the catalogue, and their values on stored bars."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from ktrdr.api.http.problems import Problem, ProblemError
from ktrdr.api.http.security import changes_nothing
from ktrdr.api.routes._shared.bar_queries import Instant, Store, TimeframeName, load, moment, utc
from ktrdr.core.files.json_values import plain_json
from ktrdr.core.jobs.job_settings import Symbol
from ktrdr.core.jobs.request_bounds import FewKeys, few

if TYPE_CHECKING:
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.bars import Bars

__all__ = [
    "MOST_PARAMETERS",
    "IndicatorView",
    "ParameterValue",
    "ParameterView",
    "Series",
    "SeriesRequest",
    "history",
    "parameter_view",
    "router",
    "series",
]

router = APIRouter(tags=["indicators"])

IndicatorName = Annotated[str, Path(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$", examples=["rsi"])]


class ParameterView(BaseModel):
    """A parameter of an indicator; it has no ``default`` if it is required."""

    name: str
    kind: str
    required: bool
    default: Any = None
    minimum: float | None
    maximum: float | None
    choices: list[str]
    description: str


class IndicatorView(BaseModel):
    """One indicator type: its inputs, outputs and parameters.

    ``memory_by`` lists, by parameter and value, where the memory differs from ``memory``.
    """

    name: str
    description: str
    reference: str
    origin: str
    aliases: list[str]
    inputs: list[str]
    outputs: list[str]
    memory: str
    memory_by: dict[str, dict[str, str]]
    parameters: list[ParameterView]


class Catalogue(BaseModel):
    """All indicator types; ``problems``: those of other distributions that cannot be used, with the reason."""

    indicators: list[IndicatorView]
    problems: dict[str, str]


MOST_PARAMETERS = 50
"""Limit of a request: parameters of an indicator, and memberships of a fuzzy set."""

ParameterValue = int | float | bool | str | Annotated[list[int], few(MOST_PARAMETERS)]


class SeriesRequest(FewKeys):
    """The first ``limit`` bars that open in ``[start, end)``. Values are computed from all earlier bars too."""

    model_config = ConfigDict(extra="forbid")

    symbol: Symbol
    timeframe: TimeframeName
    start: Instant | None = None
    end: Instant | None = None
    limit: int = Field(default=1000, ge=1, le=50_000)


class IndicatorRequest(SeriesRequest):
    """Bars and ``parameters``; parameters that are left out have their defaults."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"symbol": "EURUSD", "timeframe": "1h", "parameters": {"period": 14}, "limit": 100}]
        },
    )

    parameters: Annotated[dict[str, ParameterValue], few(MOST_PARAMETERS)] = Field(
        default={}, max_length=MOST_PARAMETERS
    )


class Series(BaseModel):
    """Values per name, ``null`` during the warm-up; ``next`` is the ``start`` of the following page."""

    symbol: str
    timeframe: str
    time: list[dt.datetime]
    values: dict[str, list[float | None]]
    next: dt.datetime | None


def parameter_view(parameter: Any) -> ParameterView:
    """Return the view of a declared parameter for clients."""
    return ParameterView(
        name=parameter.name,
        kind=parameter.kind,
        required=parameter.required,
        default=None if parameter.required else parameter.default,
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        choices=list(parameter.choices),
        description=parameter.description,
    )


def history(asked: SeriesRequest, store: BarStore) -> Bars:
    """Return all stored bars before the requested end: the requested values depend on all of them.

    Raises:
        BadInputError: there are no such bars, or the end is not after the start.
    """
    from ktrdr.core.data.times import check_order

    check_order(moment(asked.start), moment(asked.end))
    return load(store, asked.symbol, asked.timeframe, None, asked.end)


def series(asked: SeriesRequest, bars: Any, values: dict[str, Any]) -> Series:
    """Return the requested page; ``values`` are float64 arrays of shape ``(len(bars),)`` per name."""
    first = 0 if asked.start is None else int(bars.time.searchsorted(moment(asked.start)))
    last = min(first + asked.limit, len(bars))
    return Series(
        symbol=bars.symbol,
        timeframe=bars.timeframe.name,
        time=[utc(time) for time in bars.time[first:last]],
        values={name: plain_json(column[first:last]) for name, column in values.items()},
        next=utc(bars.time[last]) if last < len(bars) else None,
    )


@router.get("/indicators")
def list_indicators() -> Catalogue:
    """List every indicator type with its parameters."""
    from ktrdr.core.errors import PluginError
    from ktrdr.core.indicators.registry import default_registry

    registry = default_registry()
    problems = dict(registry.problems())
    found = []
    for name in registry.names():
        try:
            found.append(_view(registry, name))
        except PluginError as error:
            problems[name] = str(error)
    return Catalogue(indicators=found, problems=problems)


@router.get("/indicators/{name}", responses={404: {"model": Problem, "description": "There is no such indicator"}})
def get_indicator(name: IndicatorName) -> IndicatorView:
    """Return one indicator type, by name or alias."""
    from ktrdr.core.indicators.registry import default_registry

    return _view(default_registry(), _known(name))


def _known(name: str) -> str:
    from ktrdr.core.indicators.registry import default_registry

    registry = default_registry()
    resolved = registry.resolve(name)
    if resolved is None:
        raise ProblemError(404, "not-found", "Not found", registry.unknown(name), field="path.name")
    return resolved


def _view(registry: Any, name: str) -> IndicatorView:
    indicator = registry.get(name)
    return IndicatorView(
        name=indicator.name,
        description=indicator.description,
        reference=indicator.reference,
        origin=registry.origin(name),
        aliases=list(indicator.aliases),
        inputs=list(indicator.inputs),
        outputs=list(indicator.outputs),
        memory=indicator.memory,
        memory_by={parameter: dict(values) for parameter, values in indicator.memory_by.items()},
        parameters=[parameter_view(parameter) for parameter in indicator.parameters],
    )


@router.post(
    "/indicators/{name}/calculate",
    responses={404: {"model": Problem, "description": "There is no such indicator, or there are no such bars"}},
)
@changes_nothing
def calculate_indicator(name: IndicatorName, asked: IndicatorRequest, store: Store) -> Series:
    """Compute an indicator on stored bars, one series per output.

    Every value is computed from all stored bars before it, not only from those of the page.
    """
    from ktrdr.core.indicators.computation import compute_indicator

    resolved = _known(name)
    bars = history(asked, store)
    return series(asked, bars, compute_indicator(resolved, asked.parameters, bars))
