"""Bounds of what is asked that hold before any of it is looked at.

Bounds of pydantic's own are asked afterwards: a request of a megabyte may have made a million errors by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

from pydantic import BaseModel, BeforeValidator, model_validator

__all__ = ["FewKeys", "few"]

_MOST_KEYS = 64


def few(most: int) -> BeforeValidator:
    """Return a validator that refuses a list or map of more than ``most``."""

    def check(value: Any) -> Any:
        if isinstance(value, Sized) and not isinstance(value, str | bytes) and len(value) > most:
            raise ValueError(f"there are {len(value):,} of them, and {most:,} is the limit")
        return value

    return BeforeValidator(check)


class FewKeys(BaseModel):
    """A model that is not made of maps of hundreds of keys, which it has none for."""

    @model_validator(mode="before")
    @classmethod
    def _not_too_many(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and len(given) > _MOST_KEYS:
            raise ValueError(f"there are {len(given):,} keys, and {len(cls.model_fields)} that mean something")
        return given
