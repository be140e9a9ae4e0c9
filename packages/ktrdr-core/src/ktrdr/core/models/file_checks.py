"""Checks of the JSON files of a bundle against its manifest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import FeatureColumn
from ktrdr.core.features.normalizers import normalizers_from_json
from ktrdr.core.files.reading import parse_json
from ktrdr.core.models.manifest import MANIFEST_FILE, Manifest

__all__ = ["check_history", "check_model", "check_normalizers"]

_REPEATED = ("model_type", "output", "classes", "feature_ids", "input_size", "window", "architecture")


def check_normalizers(
    content: bytes, name: str, symbols: Sequence[str], columns: Sequence[FeatureColumn]
) -> Iterator[str]:
    """Yield what is wrong with the normalizers: there must be those of ``columns`` for each of ``symbols``."""
    value = parse_json(content, name)
    if not isinstance(value, dict) or sorted(value) != sorted(symbols):
        given = ", ".join(sorted(value)[:8]) if isinstance(value, dict) else "no map"
        yield f"{name} has {given or 'nothing'}, {MANIFEST_FILE} says {', '.join(symbols)} for `data.symbols`"
        return
    try:
        normalizers_from_json(value, columns)
    except BadInputError as error:
        yield f"{name}: {error}"


def check_history(content: bytes, name: str, most: int, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a history: epochs must ascend and not exceed ``most``, and nor may that in ``facts``."""
    records = parse_json(content, name)
    last = 0
    for number, record in enumerate(records if isinstance(records, list) else [records], 1):
        if not _is_epoch(record):
            yield f"{name} is not a list of epochs: record {number} has no `epoch`, or no `metrics` of numbers"
            return
        if not last < record["epoch"] <= most:
            yield (
                f"{name} has epoch {record['epoch']} after epoch {last}, and {MANIFEST_FILE} says {most:,} "
                "for `strategy.training.epochs`"
            )
            return
        last = record["epoch"]
    best = facts.get("best_epoch")
    if best is not None and (type(best) is not int or not 0 <= best <= most):
        yield f"{MANIFEST_FILE} says {best!r} for `facts.best_epoch`, which is not one of its {most:,} epochs"


def _is_epoch(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and set(record) == {"epoch", "metrics"}
        and type(record["epoch"]) is int
        and isinstance(record["metrics"], dict)
        and all(
            value is None or (type(value) in (int, float) and math.isfinite(value))
            for value in record["metrics"].values()
        )
    )


def check_model(content: bytes, name: str, manifest: Manifest, columns: Sequence[FeatureColumn]) -> Iterator[str]:
    """Yield the contradictions between the file of a backend and the manifest.

    A key that both have must have the same value, and ``fuzzy_variables`` must be the
    :class:`~ktrdr.core.plugins.CrispInput` of the strategy.
    """
    value = parse_json(content, name)
    if not isinstance(value, dict):
        yield f"{name} is not a map"
        return
    said = manifest.model_dump(mode="json")
    for key in _REPEATED:
        if key in value and value[key] != said[key]:
            yield f"{name} contradicts {MANIFEST_FILE} in `{key}`"
    for variable in value.get("fuzzy_variables") or ():
        if not _is_of_strategy(variable, manifest, columns):
            yield f"{name}: `fuzzy_variables` are not the fuzzy sets of the strategy in {MANIFEST_FILE}"
            return


def _is_of_strategy(variable: Any, manifest: Manifest, columns: Sequence[FeatureColumn]) -> bool:
    try:
        column = columns[variable["column"]]
        given = {kind: (function, list(numbers)) for kind, function, numbers in variable["functions"]}
    except (TypeError, KeyError, IndexError, ValueError):
        return False
    if column.fuzzy_set is None:
        return False
    memberships = manifest.strategy.fuzzy_sets[column.fuzzy_set].memberships
    return given == {kind: (function.type, list(function.parameters)) for kind, function in memberships.items()}
