"""Errors meant for a person: one sentence that says what is wrong, where, and the remedy; and how they travel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "BadInputError",
    "CancelledError",
    "DiskFullError",
    "ErrorRecord",
    "KtrdrError",
    "MissingPluginError",
    "NotFoundError",
    "PluginError",
    "RemoteError",
    "StoreError",
    "one_line",
    "record_of",
]

_LONGEST_LINE = 500


class KtrdrError(Exception):
    """Base of every error KTRDR raises on purpose.

    The command line prints the message alone and exits with ``exit_status``; the API turns it into a problem detail.
    """

    exit_status = 1


class BadInputError(KtrdrError):
    """The user's input (file, key, argument, environment variable) is wrong; the message names it and the remedy."""

    exit_status = 2


class NotFoundError(BadInputError):
    """What was asked for by name is not stored here; the message says what is."""


class PluginError(BadInputError):
    """A plugin is missing, broken, outdated or in conflict with another one."""


class MissingPluginError(PluginError):
    """A plugin that exists is not installed here; elsewhere, on a worker say, it may be."""


class StoreError(KtrdrError):
    """The system did not let something be read or written (full disk, permissions, a lock held too long).

    The work may be right, and succeed later or on another machine.
    """


class DiskFullError(StoreError):
    """There is no room for what was to be written: on the disk, in a quota, or below the limit on a file's size."""


class CancelledError(KtrdrError):
    """The work was cancelled on request; what it left behind is whole and can be resumed."""

    exit_status = 130

    checkpoint: Path | None = None
    """Of a training: what it can go on from."""


class RemoteError(KtrdrError):
    """What failed elsewhere, here as it was there: the same message and exit status; ``record`` has its kind too."""

    def __init__(self, record: ErrorRecord) -> None:
        super().__init__(record.message)
        self.record = record
        self.exit_status = record.exit_status


# A tuple rather than a dataclass: every command imports this module, and `dataclasses` alone would cost it 2 ms.
class ErrorRecord(NamedTuple):
    """An error as it travels: from a worker to the ledger, from there to clients.

    Attributes:
        kind: name of the class of a :class:`KtrdrError`; ``system`` for what the operating system refused, ``fault``
            for a mistake in a program, ``unknown`` where nothing was told.
        message: for a person.
        exit_status: of a command that ends with it, from 1 to 255.
    """

    kind: str
    message: str
    exit_status: int

    def to_json(self) -> dict[str, Any]:
        """Return ``{"type", "message", "exit_status"}``."""
        return {"type": self.kind, "message": self.message, "exit_status": self.exit_status}

    @classmethod
    def from_json(cls, data: Any) -> ErrorRecord:
        """Return what :meth:`to_json` of this version, an older or a newer one has made.

        Ledgers and workers from before exit statuses were told have none: it is then that of the class of this name.
        What a newer side adds is left out. ``None`` is an error of which nothing was told.

        Raises:
            KtrdrError: it is something else.
        """
        told = {} if data is None else data
        if not isinstance(told, Mapping):
            raise _misunderstood(data)
        kind, message = told.get("type", "unknown"), told.get("message", "no reason was given")
        if not isinstance(kind, str) or not isinstance(message, str):
            raise _misunderstood(data)
        status = told["exit_status"] if "exit_status" in told else _status_of_class(kind)
        # A status of 0 would make a success of it.
        if type(status) is not int or not 1 <= status <= 255:
            raise _misunderstood(data)
        return cls(kind, message, status)


def record_of(error: BaseException) -> ErrorRecord:
    """Return any exception as the command line ends with it."""
    match error:
        case RemoteError():
            return error.record
        case KtrdrError():
            return ErrorRecord(type(error).__name__, str(error), error.exit_status)
        case KeyboardInterrupt():
            return record_of(CancelledError("interrupted"))
        case OSError():
            place = f" ({error.filename})" if error.filename else ""
            return ErrorRecord("system", f"the system refused: {error.strerror or one_line(error)}{place}", 1)
        case _:
            return ErrorRecord("fault", f"a fault of the program: {one_line(error, named=True)}", 1)


def one_line(error: BaseException, *, named: bool = False) -> str:
    """Return the text of an exception on one line of 500 characters at most, for a sentence of our own.

    Args:
        error: whose text may have lines, or be empty: the name of its class stands for it then.
        named: begin with the name of the class, without which the text of another program's error says too little.
    """
    name, text = type(error).__name__, " ".join(str(error).split())
    line = f"{name}: {text}" if named and text else text or name
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 3] + "..."


def _misunderstood(data: Any) -> KtrdrError:
    return KtrdrError(f"an error was told in a form that is not known here: {data!r:.200}; update the older side")


def _status_of_class(name: str) -> int:
    known = {found.__name__: found.exit_status for found in _subclasses(KtrdrError)}
    return known.get(name, KtrdrError.exit_status)


def _subclasses(parent: type[KtrdrError]) -> Iterator[type[KtrdrError]]:
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)
