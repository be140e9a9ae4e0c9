"""Names and parameters of the label sources, declared once for the loader, the JSON Schema and the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ktrdr.core.parameters import Parameter

__all__ = ["LABEL_SOURCES", "LabelSource"]


@dataclass(frozen=True, slots=True)
class LabelSource:
    """One value of ``training.labels.source``.

    Attributes:
        name: the value in a strategy file.
        description: how the labels are made.
        output: the kind of model that the labels can train.
        parameters: the other keys of ``training.labels``.
        decisive: parameters that decide how many labels each class gets; a strategy that leaves them at their
            defaults gets a warning.
    """

    name: str
    description: str
    output: Literal["classification", "regression"]
    parameters: tuple[Parameter, ...]
    decisive: tuple[str, ...] = ()


LABEL_SOURCES: Mapping[str, LabelSource] = MappingProxyType(
    {
        source.name: source
        for source in (
            LabelSource(
                "zigzag",
                "BUY where the close first rises by the threshold, SELL where it first falls by it, else HOLD",
                "classification",
                (
                    Parameter(
                        "zigzag_threshold",
                        "float",
                        0.03,
                        minimum=0,
                        maximum=1,
                        exclusive_minimum=True,
                        exclusive_maximum=True,
                        description="rise or fall that makes a BUY or SELL, as a fraction of the close",
                    ),
                    Parameter(
                        "label_lookahead",
                        "int",
                        20,
                        minimum=1,
                        maximum=10_000,
                        description="number of bars within which the rise or fall must happen",
                    ),
                ),
            ),
            LabelSource(
                "turning_points",
                "BUY at the lows and SELL at the highs where the zigzag of the closes turns, else HOLD",
                "classification",
                (
                    Parameter(
                        "reversal",
                        "float",
                        0.03,
                        minimum=0,
                        maximum=1,
                        exclusive_minimum=True,
                        exclusive_maximum=True,
                        description="move away from a low or high that confirms it, as a fraction of its price",
                    ),
                    Parameter(
                        "max_span",
                        "int",
                        50,
                        minimum=1,
                        maximum=10_000,
                        description="number of bars within which a low or high must be confirmed",
                    ),
                ),
            ),
            LabelSource(
                "forward_return",
                "return from this close to the close `horizon` bars later",
                "regression",
                (
                    Parameter(
                        "horizon", "int", 20, minimum=1, maximum=10_000, description="number of bars to look ahead"
                    ),
                ),
            ),
            LabelSource(
                "triple_barrier",
                "BUY where the price touches the profit barrier first, SELL where it touches the loss barrier first, "
                "HOLD where the holding period ends first",
                "classification",
                (
                    Parameter(
                        "pt_multiplier",
                        "float",
                        2.0,
                        minimum=0,
                        exclusive_minimum=True,
                        description="distance of the profit barrier from the close, in multiples of the volatility",
                    ),
                    Parameter(
                        "sl_multiplier",
                        "float",
                        1.0,
                        minimum=0,
                        exclusive_minimum=True,
                        description="distance of the loss barrier from the close, in multiples of the volatility",
                    ),
                    Parameter(
                        "max_holding_period",
                        "int",
                        20,
                        minimum=1,
                        maximum=10_000,
                        description="length of the holding period in bars",
                    ),
                    Parameter(
                        "vol_span",
                        "int",
                        20,
                        minimum=2,
                        maximum=10_000,
                        description="number of bars that volatility is measured over",
                    ),
                    Parameter(
                        "vol_method",
                        "str",
                        "atr",
                        choices=("atr", "close"),
                        description="average true range (`atr`), or standard deviation of the returns (`close`)",
                    ),
                ),
                decisive=("pt_multiplier", "sl_multiplier"),
            ),
            LabelSource(
                "direction",
                "BUY where the return over `horizon` bars is above the threshold, SELL where it is below minus the "
                "threshold, else HOLD",
                "classification",
                (
                    Parameter(
                        "horizon", "int", 1, minimum=1, maximum=10_000, description="number of bars to look ahead"
                    ),
                    Parameter(
                        "threshold",
                        "float",
                        0.0,
                        minimum=0,
                        maximum=1,
                        exclusive_maximum=True,
                        description="largest return, up or down, that is still HOLD, as a fraction of the price",
                    ),
                ),
            ),
        )
    }
)
"""Label sources by name."""
