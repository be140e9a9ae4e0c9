"""Every public name of the face has a docstring that says all that its user needs: arguments, result, an example."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

FACE = ["ktrdr.core", *(f"ktrdr.core.{room}" for room in ("data", "indicators", "models", "runs", "trials"))]

_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Example|Examples):$", re.MULTILINE)


def sections(docstring: str) -> dict[str, str]:
    """Split a docstring in Google style; its text before the first section has the key ``""``."""
    parts = _SECTION.split(docstring)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def described(section: str) -> set[str]:
    """Return the names that a section describes: one or several to an entry, ``*`` and a type left out."""
    entries = re.findall(r"^    (\**\w+(?:, \**\w+)*)(?: \([^)]*\))?: *\S", section, re.MULTILINE)
    return {name.strip(" *") for entry in entries for name in entry.split(",")}


def faults(name: str, value: Any) -> Iterator[str]:
    """Yield what the docstrings of a public function, class or constant lack."""
    if inspect.isclass(value):
        yield from _class_faults(name, value)
    elif callable(value):
        yield from _function_faults(name, value)


def _class_faults(name: str, value: type) -> Iterator[str]:
    found = sections(_docstring(value))
    if not found[""].strip():
        yield f"{name}: no docstring"
    if "Example" not in found and not issubclass(value, Exception):
        yield f"{name}: no section `Example:`"
    fields = set(getattr(value, "__dataclass_fields__", ())) | set(getattr(value, "model_fields", ()))
    told: set[str] = set()
    for base in value.__mro__:
        own = sections(_docstring(base))
        told |= described(own.get("Attributes", "")) | described(own.get("Args", ""))
    missing = {field for field in fields if not field.startswith("_")} - told
    if missing:
        yield f"{name}: not described below `Attributes:` or `Args:`: {', '.join(sorted(missing))}"
    for key, member in vars(value).items():
        if key.startswith("_"):
            continue
        if isinstance(member, property) or hasattr(member, "func"):
            if not _docstring(member.fget if isinstance(member, property) else member.func):
                yield f"{name}.{key}: no docstring"
        elif isinstance(member, (staticmethod, classmethod)) or inspect.isfunction(member):
            function = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
            bound = not isinstance(member, staticmethod)
            yield from _function_faults(f"{name}.{key}", function, bound=bound, example=False)


def _function_faults(
    name: str, value: Callable[..., Any], *, bound: bool = False, example: bool = True
) -> Iterator[str]:
    found = sections(_docstring(value))
    if not found[""].strip():
        yield f"{name}: no docstring"
        return
    signature = inspect.signature(value)
    parameters = list(signature.parameters)[bound:]
    told = described(found.get("Args", ""))
    if set(parameters) - told:
        yield f"{name}: not described below `Args:`: {', '.join(each for each in parameters if each not in told)}"
    if told - set(parameters):
        yield f"{name}: described below `Args:` and no parameter: {', '.join(sorted(told - set(parameters)))}"
    gives = signature.return_annotation not in (None, "None", inspect.Signature.empty)
    # One sentence of a method may say it all: "Return ...".
    told_at_once = bound and not parameters and found[""].startswith("Return ")
    if gives and not told_at_once and not found.keys() & {"Returns", "Yields"}:
        yield f"{name}: no section `Returns:`"
    if example and ">>> " not in found.get("Example", ""):
        yield f"{name}: no section `Example:` with a line `>>> ...`"


def _docstring(value: Any) -> str:
    return inspect.cleandoc(value.__doc__ or "")


@pytest.mark.parametrize("room", FACE)
def test_the_docstrings_of_the_face_are_complete(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__doc__
    found = [fault for name in module.__all__ for fault in faults(f"{room}.{name}", getattr(module, name))]
    assert not found, "\n".join(found)


# --- the guard itself -------------------------------------------------------------------------------------------------


def complete(path: str, *rest: int, sep: str = ",") -> int:
    """Count.

    Args:
        path: where.
        *rest: numbers, which go on
            over: two lines.
        sep (str): between them.

    Returns:
        How many.

    Example:
        >>> complete("a")
        1
    """
    return 1


def bare(path: str) -> int:
    return 1


def partial(path: str, sep: str = ",") -> int:
    """Count.

    Args:
        path: where.
        start: nothing.
    """
    return 1


class Partial:
    """A thing."""

    def act(self, by: int) -> None:
        """Act."""

    @property
    def size(self) -> int:
        return 1


def test_a_complete_docstring_has_no_fault() -> None:
    assert list(faults("complete", complete)) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (bare, ["x: no docstring"]),
        (
            partial,
            [
                "x: not described below `Args:`: sep",
                "x: described below `Args:` and no parameter: start",
                "x: no section `Returns:`",
                "x: no section `Example:` with a line `>>> ...`",
            ],
        ),
        (
            Partial,
            ["x: no section `Example:`", "x.act: not described below `Args:`: by", "x.size: no docstring"],
        ),
    ],
)
def test_what_a_docstring_lacks_is_said(value: Any, expected: list[str]) -> None:
    assert list(faults("x", value)) == expected
