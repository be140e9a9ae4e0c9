"""Definition of fuzzy sets: named membership functions over the values of one indicator."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["FuzzySet", "MembershipFunction"]


class MembershipFunction(BaseModel):
    """A membership function.

    Attributes:
        type: the kind of function.
        parameters: in the order of :data:`~ktrdr.core.fuzzy.membership.MEMBERSHIP_TYPES`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    type: Literal["triangular", "trapezoidal", "gaussian", "sigmoid", "bell"]
    parameters: tuple[float, ...]


class FuzzySet(BaseModel):
    """A fuzzy set.

    Attributes:
        indicator: ``<id>`` or ``<id>.<output>``.
        memberships: membership functions by name, in the order of the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    indicator: str
    memberships: dict[str, MembershipFunction]
