"""What a fuzzy set is: named membership functions over the values of one indicator."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["FuzzySet", "MembershipFunction"]


class MembershipFunction(BaseModel):
    """``parameters`` in the order of the grammar's table."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    type: Literal["triangular", "trapezoidal", "gaussian", "sigmoid", "bell"]
    parameters: tuple[float, ...]


class FuzzySet(BaseModel):
    """``indicator`` is ``<id>`` or ``<id>.<output>``; memberships keep the order of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    indicator: str
    memberships: dict[str, MembershipFunction]
