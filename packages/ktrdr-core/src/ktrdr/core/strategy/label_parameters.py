"""Label sources as a strategy names them, with their parameters: one declaration for loader, schema and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ktrdr.core.parameters import Parameter

__all__ = ["LABEL_SOURCES", "LabelSource"]


@dataclass(frozen=True, slots=True)
class LabelSource:
    """What ``training.labels.source`` names.

    ``output`` is the kind of model its labels can train: classes, or a value to predict. ``decisive`` are parameters
    that decide how many labels each class gets: a strategy that leaves them to their defaults is warned.
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
                "buy where the close first rises by the threshold from here, sell where it first falls by it",
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
                        description="rise or fall that counts, as a share of the close",
                    ),
                    Parameter(
                        "label_lookahead",
                        "int",
                        20,
                        minimum=1,
                        maximum=10_000,
                        description="bars within which it must come",
                    ),
                ),
            ),
            LabelSource(
                "turning_points",
                "buy at the lows and sell at the highs at which the zigzag of the closes turns, else hold",
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
                        description="move away from a low or high that confirms it, as a share of it",
                    ),
                    Parameter(
                        "max_span",
                        "int",
                        50,
                        minimum=1,
                        maximum=10_000,
                        description="bars within which a low or high must be confirmed",
                    ),
                ),
            ),
            LabelSource(
                "forward_return",
                "return from this close to the one `horizon` bars later",
                "regression",
                (Parameter("horizon", "int", 20, minimum=1, maximum=10_000, description="bars ahead"),),
            ),
            LabelSource(
                "triple_barrier",
                "which is touched first: a profit barrier, a loss barrier, or the end of the holding period",
                "classification",
                (
                    Parameter(
                        "pt_multiplier",
                        "float",
                        2.0,
                        minimum=0,
                        exclusive_minimum=True,
                        description="distance of the profit barrier, in volatilities",
                    ),
                    Parameter(
                        "sl_multiplier",
                        "float",
                        1.0,
                        minimum=0,
                        exclusive_minimum=True,
                        description="distance of the loss barrier, in volatilities",
                    ),
                    Parameter(
                        "max_holding_period", "int", 20, minimum=1, maximum=10_000, description="bars until it ends"
                    ),
                    Parameter(
                        "vol_span", "int", 20, minimum=2, maximum=10_000, description="bars volatility is measured over"
                    ),
                    Parameter(
                        "vol_method",
                        "str",
                        "atr",
                        choices=("atr", "close"),
                        description="average true range, or standard deviation of close-to-close returns",
                    ),
                ),
                decisive=("pt_multiplier", "sl_multiplier"),
            ),
            LabelSource(
                "direction",
                "sign of the return over `horizon` bars, if it is more than the threshold",
                "classification",
                (
                    Parameter("horizon", "int", 1, minimum=1, maximum=10_000, description="bars ahead"),
                    Parameter(
                        "threshold",
                        "float",
                        0.0,
                        minimum=0,
                        maximum=1,
                        exclusive_maximum=True,
                        description="returns no larger than this are HOLD, as a share of the price",
                    ),
                ),
            ),
        )
    }
)
"""Label sources by name."""
