"""Read ``risk``: how large a position is, and what ends it besides a signal."""

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
                description="share of the equity that a position is bought for",
            ),
        ),
        "fixed_units": (
            Parameter("units", "float", minimum=0, exclusive_minimum=True, description="units of every position"),
        ),
        "fixed_cash": (
            Parameter("cash", "float", minimum=0, exclusive_minimum=True, description="cash a position is bought for"),
        ),
        "volatility_target": (
            Parameter(
                "volatility",
                "float",
                minimum=0,
                maximum=10,
                exclusive_minimum=True,
                description="annual volatility aimed at, as a share of the equity",
            ),
            parameter_of(
                Sizing, "window", "int", minimum=2, maximum=10_000, description="bars volatility is measured over"
            ),
        ),
        "risk_per_trade": (
            Parameter(
                "fraction",
                "float",
                minimum=0,
                maximum=1,
                exclusive_minimum=True,
                description="share of the equity that is lost, before costs, if the stop is hit",
            ),
        ),
    }
)
"""Parameters of each ``risk.sizing.type``; the first is :attr:`~ktrdr.core.strategy.model.Sizing.value`."""

RISK: tuple[Parameter, ...] = (
    parameter_of(
        Risk, "lot_size", "float", minimum=0, description="units are rounded down to a multiple of it; 0: fractional"
    ),
    parameter_of(
        Risk, "max_holding_period", "int", minimum=1, maximum=10_000_000, description="bars until a position is closed"
    ),
)

# Every other share in a strategy is a fraction.
_FEW_PERCENT = 0.1

DISTANCES: Mapping[str, str] = MappingProxyType(
    {
        "stop_loss": "the position is closed at a loss of this",
        "take_profit": "the position is closed at a profit of this",
        "trailing_stop": "the position is closed this far from its best price",
    }
)
"""Keys of ``risk`` that are a distance from a price, and what each does."""


def distance_parameters(key: str) -> tuple[Parameter, ...]:
    """Return the two ways of writing the distance ``key``."""
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
    """Return what to warn of where a distance is so few percent that a share may have been meant, else nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _FEW_PERCENT:
        return ""
    return f"`percent: {value:g}` is {value:g} % of the price; for {value * 100:g} % write `percent: {value * 100:g}`"


def read_risk(section: Section) -> Risk | None:
    """Read sizing and stops; ``None`` if any of it is wrong."""
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
        section.error(key, f"`{key}` is either `percent` or `atr`" + (", not both" if chosen else ": `{percent: 2}`"))
        return None
    return PriceDistance.model_validate(dict(zip(("kind", "value"), *chosen.items(), strict=True)))
