"""Reads the section ``risk`` of a strategy: size of positions, and exits other than a signal."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ktrdr.core.parameters import Parameter
from ktrdr.core.strategy.document import Scalar
from ktrdr.core.strategy.model import PriceDistance, Risk, Sizing
from ktrdr.core.strategy.section import Section
from ktrdr.core.strategy.section_parameters import parameter_of

__all__ = ["DISTANCES", "RISK", "SIZINGS", "distance_parameters", "read_risk", "warning_of_percent"]

SIZINGS: Mapping[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        "fixed_fraction": (
            Parameter(
                "fraction",
                "float",
                Sizing.model_fields["value"].default,
                minimum=0,
                maximum=1,
                exclusive_minimum=True,
                description="fraction of the equity to invest in a position",
            ),
        ),
        "fixed_units": (
            Parameter("units", "float", minimum=0, exclusive_minimum=True, description="number of units of a position"),
        ),
        "fixed_cash": (
            Parameter(
                "cash", "float", minimum=0, exclusive_minimum=True, description="amount of cash to invest in a position"
            ),
        ),
        "volatility_target": (
            Parameter(
                "volatility",
                "float",
                minimum=0,
                maximum=10,
                exclusive_minimum=True,
                description="target annual volatility of a position, as a fraction of the equity",
            ),
            parameter_of(
                Sizing,
                "window",
                "int",
                minimum=2,
                maximum=10_000,
                description="number of bars that volatility is measured over",
            ),
        ),
        "risk_per_trade": (
            Parameter(
                "fraction",
                "float",
                minimum=0,
                maximum=1,
                exclusive_minimum=True,
                description="fraction of the equity that is lost, before costs, if the stop is hit",
            ),
        ),
    }
)
"""Parameters of each ``risk.sizing.type``; the first is :attr:`~ktrdr.core.strategy.model.Sizing.value`."""

RISK: tuple[Parameter, ...] = (
    parameter_of(
        Risk,
        "lot_size",
        "float",
        minimum=0,
        description="units are rounded down to a multiple of this; 0 allows fractional units",
    ),
    parameter_of(
        Risk,
        "max_holding_period",
        "int",
        minimum=1,
        maximum=10_000_000,
        description="maximum number of bars that a position is held",
    ),
)

# Below this, a percentage was probably meant as a fraction, which every other key of a strategy uses.
_FEW_PERCENT = 0.1

DISTANCES: Mapping[str, str] = MappingProxyType(
    {
        "stop_loss": "close the position at a loss of this distance from the entry price",
        "take_profit": "close the position at a profit of this distance from the entry price",
        "trailing_stop": "close the position at this distance from its best price so far",
    }
)
"""Keys of ``risk`` that are a distance from a price, with their descriptions."""


def distance_parameters(key: str) -> tuple[Parameter, ...]:
    """Return the parameters ``percent`` and ``atr`` of the distance ``key``; a file gives one of them."""
    # A price cannot fall by 100%: such a stop would have no effect. A profit can be any size.
    return (
        Parameter(
            "percent",
            "float",
            None,
            minimum=0,
            maximum=None if key == "take_profit" else 100,
            exclusive_minimum=True,
            exclusive_maximum=key != "take_profit",
            description="percent of the price: 2 is 2 %",
        ),
        Parameter("atr", "float", None, minimum=0, exclusive_minimum=True, description="multiples of the 14-bar ATR"),
    )


def warning_of_percent(value: Scalar) -> str:
    """Return a warning if ``value`` percent is so small that a fraction may have been meant, else an empty string."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _FEW_PERCENT:
        return ""
    return f"`percent: {value:g}` is {value:g} % of the price; for {value * 100:g} % write `percent: {value * 100:g}`"


def read_risk(section: Section) -> Risk | None:
    """Return sizing and stops, or ``None`` after reporting an error."""
    sizing = _read_sizing(section)
    distances = {key: _read_distance(section, key) for key in DISTANCES}
    values = section.parameters(RISK)
    section.finish(
        dict.fromkeys(
            ("position_size", "fraction", "risk_per_trade", "units"),
            "write `sizing: {type: fixed_fraction, fraction: 0.25}`",
        )
    )
    if any(section.has(key) and distance is None for key, distance in distances.items()):
        return None
    if sizing is None or values is None:
        return None
    if sizing.type == "risk_per_trade" and distances["stop_loss"] is None and distances["trailing_stop"] is None:
        section.error(
            "sizing", "`risk_per_trade` sizes a position by its stop; add `stop_loss` or `trailing_stop` under `risk`"
        )
        return None
    return Risk(sizing=sizing, **distances, **values)


def _read_sizing(section: Section) -> Sizing | None:
    example = "{type: fixed_fraction, fraction: 0.25}"
    part = section.section("sizing", example=f"sizing: {example}")
    if part is None:
        return None if section.has("sizing") else Sizing()
    kind = part.choice("type", tuple(SIZINGS), required=f"one of {', '.join(SIZINGS)}")
    if kind is None:
        return None
    declared = SIZINGS[kind]
    values = part.parameters(declared, noun=f" for `{kind}`")
    part.finish()
    if values is None:
        return None
    return Sizing.model_validate({"type": kind, "value": values.pop(declared[0].name), **values})


def _read_distance(section: Section, key: str) -> PriceDistance | None:
    part = section.section(key, example=f"{key}: {{percent: 2}}` or `{key}: {{atr: 3}}")
    if part is None:
        return None
    values = part.parameters(distance_parameters(key))
    part.finish()
    if values is None:
        return None
    if values["percent"] is not None and (warning := warning_of_percent(values["percent"])):
        part.warn("percent", warning)
    chosen = {kind: value for kind, value in values.items() if value is not None}
    if len(chosen) != 1:
        section.error(
            key,
            f"`{key}` must have either `percent` or `atr`" + (", not both" if chosen else ", such as `{percent: 2}`"),
        )
        return None
    return PriceDistance.model_validate(dict(zip(("kind", "value"), *chosen.items(), strict=True)))
