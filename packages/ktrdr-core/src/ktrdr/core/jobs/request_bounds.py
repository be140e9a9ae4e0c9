"""Limits on the size of a request, checked before any of its values.

pydantic checks its own limits after the values: a request of a megabyte may give a million errors before that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

from pydantic import BaseModel, BeforeValidator, model_validator

__all__ = ["FewKeys", "few"]

_MOST_KEYS = 64


def few(most: int) -> BeforeValidator:
    """Return a validator that refuses a list or map with more than ``most`` items."""

    def check(value: Any) -> Any:
        if isinstance(value, Sized) and not isinstance(value, str | bytes) and len(value) > most:
            raise ValueError(f"there are {len(value):,} items, and {most:,} is the limit")
        return value

    return BeforeValidator(check)


class FewKeys(BaseModel):
    """A model that refuses a map with more keys than any settings have."""

    @model_validator(mode="before")
    @classmethod
    def _not_too_many(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and len(given) > _MOST_KEYS:
            raise ValueError(f"there are {len(given):,} keys, and only {len(cls.model_fields)} are known")
        return given
