"""Errors and warnings about a strategy file, with their line and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ktrdr.core.errors import BadInputError

__all__ = ["Diagnostic", "StrategyError"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning.

    Attributes:
        line: line of the key or list item that the message is about, counted from 1.
        column: column of that key or list item, counted from 1.
        path: path of that key from the root, such as ``indicators.rsi_14.period`` or ``nn_inputs[0].timeframes``;
            empty for the file as a whole.
        message: what is wrong and what to do.
        severity: ``"error"`` or ``"warning"``; a file with an error is refused.
    """

    line: int
    column: int
    path: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __post_init__(self) -> None:
        # Both quote the file. Escaping control characters keeps a file from faking further messages or sending
        # control codes to a terminal.
        object.__setattr__(self, "path", _printable(self.path))
        object.__setattr__(self, "message", _printable(self.message))

    def located(self, name: str) -> str:
        """Return ``name:line:column: path: message``, the format of compilers."""
        where = f"{self.path}: " if self.path else ""
        return f"{name}:{self.line}:{self.column}: {where}{self.message}"

    def to_json(self) -> dict[str, Any]:
        """Return the diagnostic as a JSON-ready map."""
        return {
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "severity": self.severity,
        }


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


class StrategyError(BadInputError):
    """A strategy file has errors.

    Attributes:
        name: name of the file.
        diagnostics: all errors and warnings, in the order of the file.
    """

    def __init__(self, name: str, diagnostics: Sequence[Diagnostic]) -> None:
        self.name = name
        self.diagnostics = tuple(diagnostics)
        errors = [item.located(name) for item in self.diagnostics if item.severity == "error"]
        super().__init__(errors[0] if len(errors) == 1 else f"{name} has {len(errors)} errors:\n" + "\n".join(errors))
