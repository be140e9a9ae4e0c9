"""Fuzzy sets: the types of membership functions, and degrees of membership on stored bars."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from ktrdr.api.http.problems import Problem
from ktrdr.api.http.security import changes_nothing
from ktrdr.api.routes._shared.bar_queries import Store
from ktrdr.api.routes.indicators import MOST_PARAMETERS, ParameterValue, Series, SeriesRequest, history, series
from ktrdr.core.jobs.request_bounds import FewKeys, few

__all__ = ["router"]

router = APIRouter(tags=["fuzzy"])


class MembershipType(BaseModel):
    """A type of membership function; ``parameters`` are the names of its parameters, in order."""

    type: str
    parameters: list[str]


class Function(FewKeys):
    """A membership function: its type and its parameters."""

    model_config = ConfigDict(extra="forbid")

    type: str
    parameters: Annotated[list[float], few(MOST_PARAMETERS)] = Field(min_length=2, max_length=4)


class FuzzyRequest(SeriesRequest):
    """``indicator`` and ``memberships`` as in a strategy file; ``output`` selects one of several outputs."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "symbol": "EURUSD",
                    "timeframe": "1h",
                    "indicator": {"type": "rsi", "period": 14},
                    "memberships": {"low": [0, 0, 35], "high": [65, 100, 100]},
                    "limit": 100,
                }
            ]
        },
    )

    indicator: Annotated[dict[str, ParameterValue], few(MOST_PARAMETERS)] = Field(max_length=MOST_PARAMETERS)
    output: str | None = Field(default=None, max_length=64)
    memberships: Annotated[dict[str, Annotated[list[float], few(MOST_PARAMETERS)] | Function], few(MOST_PARAMETERS)] = (
        Field(min_length=1, max_length=MOST_PARAMETERS)
    )


@router.get("/fuzzy")
def list_membership_types() -> list[MembershipType]:
    """List the types of membership functions."""
    from ktrdr.core.fuzzy.membership import MEMBERSHIP_TYPES

    return [MembershipType(type=name, parameters=list(names)) for name, names in MEMBERSHIP_TYPES.items()]


@router.post("/fuzzy/calculate", responses={404: {"model": Problem, "description": "There are no such bars"}})
@changes_nothing
def calculate_memberships(asked: FuzzyRequest, store: Store) -> Series:
    """Compute an indicator on stored bars, and the degree to which each value belongs to each membership."""
    from ktrdr.core.fuzzy.membership import membership
    from ktrdr.core.indicators.computation import compute_indicator
    from ktrdr.core.indicators.registry import get_indicator

    definition, fuzzy_set = _read(asked)
    bars = history(asked, store)
    outputs = compute_indicator(definition.type, definition.parameters, bars)
    output = fuzzy_set.indicator.partition(".")[2] or get_indicator(definition.type).outputs[0]
    degrees = {name: membership(function, outputs[output]) for name, function in fuzzy_set.memberships.items()}
    return series(asked, bars, degrees)


def _read(asked: FuzzyRequest) -> tuple[Any, Any]:
    """Check indicator and memberships with the loader of strategies, so that both accept the same."""
    from ktrdr.core.strategy.diagnostics import StrategyError
    from ktrdr.core.strategy.document import read_document
    from ktrdr.core.strategy.read_definitions import Definitions, read_fuzzy_sets, read_indicators
    from ktrdr.core.strategy.section import Report, Section

    given = asked.model_dump()
    reference = "indicator" if asked.output is None else f"indicator.{asked.output}"
    # JSON is YAML.
    text = json.dumps(
        {
            "indicators": {"indicator": given["indicator"]},
            "fuzzy_sets": {"memberships": {**given["memberships"], "indicator": reference}},
        }
    )
    document, report, definitions = read_document(text), Report(), Definitions({}, {})
    report.diagnostics += document.problems
    if document.root is not None and isinstance(document.root.value, dict):
        top = Section(report, document.root, document.root.value, ())
        for key, read in (
            ("indicators", lambda part: read_indicators(part, definitions.indicators)),
            ("fuzzy_sets", lambda part: read_fuzzy_sets(part, definitions)),
        ):
            part = top.section(key)
            if part is not None:
                read(part)
    definition, fuzzy_set = definitions.indicators.get("indicator"), definitions.fuzzy_sets.get("memberships")
    if report.failed or definition is None or fuzzy_set is None:
        raise StrategyError("the request", report.diagnostics)
    return definition, fuzzy_set
