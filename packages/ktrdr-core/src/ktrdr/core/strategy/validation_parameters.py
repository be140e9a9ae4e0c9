"""Keys of the section ``validation``, declared once for the loader and the JSON Schema."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from ktrdr.core.limits import MOST_FOLDS
from ktrdr.core.parameters import Parameter
from ktrdr.core.strategy.model import CpcvValidation, HoldoutValidation, WalkForwardValidation
from ktrdr.core.strategy.section_parameters import parameter_of
from ktrdr.core.strategy.training_parameters import DATA_SPLIT

__all__ = ["LENGTHS", "RESERVE", "VALIDATIONS", "group_problem", "sum_problem"]

# A number of combinations can have hundreds of digits.
_READABLE = 10**12

RESERVE = parameter_of(
    HoldoutValidation,
    "reserve",
    "float",
    minimum=0,
    maximum=1,
    exclusive_maximum=True,
    description="fraction of the data at its end that no training, search or evaluation uses until it is opened",
)
"""Key of every kind of validation."""

LENGTHS: Mapping[str, str] = MappingProxyType(
    {
        "train": "length of each training part",
        "test": "length of each test part, which follows the training part",
        "step": "distance from one test part to the next, at most `test`; without it, `test`",
    }
)
"""Keys of walk-forward validation that are a number of bars or a duration, with their descriptions."""

VALIDATIONS: Mapping[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        "holdout": (
            *(
                parameter_of(
                    HoldoutValidation,
                    parameter.name,
                    "float",
                    minimum=0,
                    maximum=1,
                    exclusive_minimum=parameter.name != "validation",
                    exclusive_maximum=True,
                    description=parameter.description,
                )
                for parameter in DATA_SPLIT
            ),
            RESERVE,
        ),
        "walk_forward": (
            parameter_of(
                WalkForwardValidation,
                "anchored",
                "bool",
                description="begin every training part with the first bar, so that the parts grow",
            ),
            RESERVE,
        ),
        "cpcv": (
            parameter_of(
                CpcvValidation,
                "groups",
                "int",
                minimum=2,
                maximum=MOST_FOLDS,
                description="number of groups of consecutive bars",
            ),
            parameter_of(
                CpcvValidation,
                "test_groups",
                "int",
                minimum=1,
                maximum=MOST_FOLDS,
                description="number of groups that each training is tested on; every combination is a training",
            ),
            RESERVE,
        ),
    }
)
"""Parameters of each ``validation.type``; those of ``walk_forward`` without its lengths, see :data:`LENGTHS`."""


def sum_problem(shares: Mapping[str, float]) -> str:
    """Return what is wrong with the fractions of the parts of the data; empty if they sum to 1.

    Args:
        shares: fractions by part.
    """
    total = sum(shares.values())
    if abs(total - 1) <= 1e-6:
        return ""
    written = " + ".join(f"{name} {value:g}" for name, value in shares.items())
    return f"the fractions must sum to 1, but {written} is {total:g}"


def group_problem(groups: int, test_groups: int) -> str:
    """Return what is wrong with the groups of a combinatorial cross-validation; empty if nothing is.

    Args:
        groups: number of groups.
        test_groups: number of groups that each training is tested on.
    """
    if not 1 <= test_groups < groups:
        return f"`test_groups` must be below `groups`, and {test_groups:,} is not below {groups:,}; test fewer groups"
    # Checked first: the number of combinations of huge numbers would take long to compute.
    if groups > MOST_FOLDS:
        return f"there are {groups:,} groups, and the limit is {MOST_FOLDS:,} folds; use fewer groups"
    if (folds := math.comb(groups, test_groups)) > MOST_FOLDS:
        count = f"{folds:,}" if folds < _READABLE else f"more than {_READABLE:,}"
        return (
            f"{groups:,} groups with {test_groups:,} test groups make {count} folds, and the limit is {MOST_FOLDS:,};"
            " use fewer groups"
        )
    return ""
