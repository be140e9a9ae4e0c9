"""What of a strategy is a choice: two strategies that differ in nothing else are one and the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from ktrdr.core.strategy.model import Strategy

__all__ = ["choice_hash", "choice_of", "hash_choice"]

# What it is called and what is said of it changes no result, nor where it may be used, nor which of its keys are
# written although they are the defaults.
_NO_CHOICE = {"name", "description", "version", "deployment"}
_NO_CHOICE_OF_TRAINING = {"given", "seed"}


def choice_hash(strategy: Strategy) -> str:
    """Return the sha256 (hex) of everything that a researcher chooses when he writes a strategy.

    Not of its name, its description, the data it may be used on, and the seed. Keys in another order, and defaults that
    are written, are the same choice.
    """
    return hash_choice(choice_of(strategy))


def choice_of(strategy: Strategy, *, only: Collection[str] | None = None) -> dict[str, Any]:
    """Return the sections of a strategy as far as they are chosen, JSON-ready; ``only`` some of them."""
    names = [name for name in type(strategy).model_fields if name not in _NO_CHOICE and (only is None or name in only)]
    chosen = strategy.model_dump(mode="json", include=set(names))
    if "training" in chosen:
        chosen["training"] = strategy.training.model_dump(mode="json", exclude=_NO_CHOICE_OF_TRAINING)
    return chosen


def hash_choice(chosen: Mapping[str, Any]) -> str:
    """Return the hash of all sections together."""
    return hashlib.sha256(json.dumps(chosen, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
