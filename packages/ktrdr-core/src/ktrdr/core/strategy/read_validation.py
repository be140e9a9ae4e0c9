"""Reads the section ``validation`` of a strategy: the parts of its data that train and judge it."""

from __future__ import annotations

from dataclasses import dataclass

from ktrdr.core.strategy.document import plain
from ktrdr.core.strategy.model import CpcvValidation, HoldoutValidation, ValidationSection, WalkForwardValidation
from ktrdr.core.strategy.part_length import read_length
from ktrdr.core.strategy.section import Section, kind_of
from ktrdr.core.strategy.validation_parameters import LENGTHS, VALIDATIONS, group_problem, sum_problem

__all__ = ["ValidationReading", "read_validation"]

_ADVICE = {
    "embargo": "write it under `training`",
    "purge": "the bars that labels look ahead are always left out",
    "data_split": "write `type: holdout` with `train`, `validation` and `test`",
    "seeds": "it is an option of the command: `ktrdr evaluate --seeds 10`",
    "seed": "write it under `training`",
}
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class ValidationReading:
    """The section ``validation``: ``section`` is ``None`` if it is not ``written``, or if it has an error."""

    section: ValidationSection | None
    written: bool


def read_validation(section: Section) -> ValidationSection | None:
    """Return the kind and settings of the validation, or ``None`` after reporting an error."""
    kind = section.choice("type", tuple(VALIDATIONS), required=f"one of {', '.join(VALIDATIONS)}")
    if kind is None:
        return None
    lengths = _read_lengths(section) if kind == "walk_forward" else {}
    values = section.parameters(VALIDATIONS[kind])
    section.finish(_ADVICE)
    if values is None or lengths is None:
        return None
    if kind == "walk_forward":
        return WalkForwardValidation.model_validate({**lengths, **values})
    if kind == "holdout":
        if problem := sum_problem({part: values[part] for part in _PARTS}):
            section.error(None, problem)
            return None
        return HoldoutValidation(**values)
    if problem := group_problem(values["groups"], values["test_groups"]):
        section.error("test_groups" if values["test_groups"] >= values["groups"] else "groups", problem)
        return None
    return CpcvValidation(**values)


def _read_lengths(section: Section) -> dict[str, int | str | None] | None:
    """Return the lengths of a walk-forward validation, or ``None`` after reporting an error."""
    written: dict[str, int | str | None] = {}
    fits = True
    for key in LENGTHS:
        node = section.node(key, required="" if key == "step" else "a number of bars, or a duration such as 26w")
        if node is None:
            written[key] = None
            fits &= key == "step"
            continue
        if isinstance(node.value, dict | list):
            section.error(key, f"`{key}` must be a number of bars or a duration such as 26w, not {kind_of(node)}")
            fits = False
            continue
        value = plain(node)
        try:
            read_length(value)
        except ValueError as error:
            section.error(key, f"`{key}` {error}")
            fits = False
        written[key] = value
    if not fits:
        return None
    test, step = written["test"], written["step"]
    if test is not None and step is not None and _is_longer(step, test):
        section.error(
            "step",
            f"`step: {step}` is longer than `test: {test}`, so bars are never tested; leave `step` out, or write"
            f" `step: {test}`",
        )
        return None
    return written


def _is_longer(step: int | str, test: int | str) -> bool:
    """Return True if ``step`` is longer than ``test``; bars and durations can be compared only with the data."""
    one, other = read_length(step), read_length(test)
    return isinstance(one, int) == isinstance(other, int) and bool(one > other)
