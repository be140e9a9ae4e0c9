"""Hash of what a strategy chooses: strategies that differ only in name, description, deployment or seed share it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from ktrdr.core.strategy.model import Strategy
from ktrdr.core.strategy.used_code import used_code

__all__ = ["choice_hash", "choice_of", "hash_choice"]

# A name, a description and the data allowed for deployment change no result; `given` only lists the keys that the file
# writes out; the seed is no part of the strategy, and each trial has its own beside this hash.
_IGNORED = {"name", "description", "version", "deployment"}
_IGNORED_IN_TRAINING = {"given", "seed"}


def choice_hash(strategy: Strategy) -> str:
    """Return the SHA-256 (hex) of everything that a researcher chooses in a strategy.

    The name, the description, ``deployment`` and the seed are left out. The order of keys does not change the hash,
    and neither does writing a default value explicitly. The code of user indicators is part of it, as it is installed
    now: other code is another choice.
    """
    return hash_choice(choice_of(strategy))


def choice_of(strategy: Strategy, *, only: Collection[str] | None = None) -> dict[str, Any]:
    """Return the chosen sections of a strategy as a JSON-ready map; beside `indicators`, the code of user indicators.

    Args:
        strategy: the strategy to read.
        only: names of the sections to return; ``None`` for all of them.
    """
    names = [name for name in type(strategy).model_fields if name not in _IGNORED and (only is None or name in only)]
    chosen = strategy.model_dump(mode="json", include=set(names))
    # Strategies without the section keep the hash that they had before there was one.
    if chosen.get("validation", 0) is None:
        del chosen["validation"]
    if "training" in chosen:
        chosen["training"] = strategy.training.model_dump(mode="json", exclude=_IGNORED_IN_TRAINING)
    # Strategies with built-in indicators alone keep the hash that they had before code was part of it.
    if "indicators" in chosen and (code := used_code(strategy)):
        chosen["indicator_code"] = {name: list(own) for name, own in code.items()}
    return chosen


def hash_choice(chosen: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of the sections that :func:`choice_of` returned."""
    return hashlib.sha256(json.dumps(chosen, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
