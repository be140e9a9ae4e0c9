"""Check of the number of fuzzy rules of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ktrdr.core.plugins.contract import ModelType

__all__ = ["too_many_rules"]

_MOST_COUNTS = 12
_MOST_TOLD = 10**15


def too_many_rules(model_type: ModelType, architecture: Mapping[str, Any], memberships: Sequence[int]) -> str:
    """Return a message if a model would have too many rules, else an empty string.

    Args:
        model_type: model type; one without :attr:`~ktrdr.core.plugins.ModelType.rules_parameter` has no limit.
        architecture: complete parameters of the architecture.
        memberships: number of memberships of each fuzzy input.
    """
    name = model_type.rules_parameter
    if name is None:
        return ""
    rules, bound = math.prod(memberships), architecture[name]
    if rules <= bound:
        return ""
    told = f"{rules:,}" if rules <= _MOST_TOLD else f"more than {_MOST_TOLD:,}"
    counts = " x ".join([*map(str, memberships[:_MOST_COUNTS]), *(["..."] if len(memberships) > _MOST_COUNTS else [])])
    (most,) = (parameter.maximum for parameter in model_type.architecture if parameter.name == name)
    remedy = "use fewer fuzzy inputs, lags or memberships"
    if most is None or rules <= most:
        remedy += f", or raise `{name}`"
    return (
        f"{model_type.name} would have {told} rules ({counts} memberships of {len(memberships)} fuzzy inputs), "
        f"more than `{name}: {bound}`; {remedy}"
    )
