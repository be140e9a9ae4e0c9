"""Errors for a person, and their exchange between processes.

The message is one sentence: what is wrong, where, and the remedy.
"""

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
    """Base class of all errors that KTRDR raises on purpose.

    The command line prints only the message and exits with ``exit_status``; the API returns a problem detail.
    """

    exit_status = 1


class BadInputError(KtrdrError):
    """A file, key, argument or environment variable of the user is wrong; the message names it and the remedy."""

    exit_status = 2

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints: the message alone, since the mistake is in no line of code."""
        return _message_alone(self)


class NotFoundError(BadInputError):
    """There is nothing stored under the requested name; the message says what is stored."""


class PluginError(BadInputError):
    """A plugin is missing, broken, outdated, or conflicts with another one."""


class MissingPluginError(PluginError):
    """A known plugin is not installed here; it may be installed elsewhere, such as on a worker."""


class StoreError(KtrdrError):
    """A file or database cannot be read or written (full disk, permissions, a lock held too long).

    The same work may succeed later or on another machine.
    """


class DiskFullError(StoreError):
    """The disk or a quota is full, or the limit on the size of a file is reached."""


class CancelledError(KtrdrError):
    """The work was cancelled on request. Its files are intact, and a training can be resumed."""

    exit_status = 130

    checkpoint: Path | None = None
    """Of a training: the checkpoint that it can be resumed from."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints: the message alone, since nothing failed."""
        return _message_alone(self)


class RemoteError(KtrdrError):
    """An error of another process, with its message, exit status and ``record``."""

    def __init__(self, record: ErrorRecord) -> None:
        super().__init__(record.message)
        self.record = record
        self.exit_status = record.exit_status


# A tuple rather than a dataclass: every command imports this module, and `dataclasses` alone would cost it 2 ms.
class ErrorRecord(NamedTuple):
    """An error as plain data, which a worker sends to the ledger and the API to clients.

    Attributes:
        kind: name of the class of a :class:`KtrdrError`; ``system`` for an error of the operating system, ``fault``
            for a bug, ``unknown`` if no error was reported.
        message: message for a person.
        exit_status: exit status of a command that ends with this error, 1 to 255.
    """

    kind: str
    message: str
    exit_status: int

    def to_json(self) -> dict[str, Any]:
        """Return ``{"type", "message", "exit_status"}``."""
        return {"type": self.kind, "message": self.message, "exit_status": self.exit_status}

    @classmethod
    def from_json(cls, data: Any) -> ErrorRecord:
        """Return the record that :meth:`to_json` of this, an older or a newer version described.

        Older ledgers and workers store no exit status: it is then that of the class named by ``type``. Unknown keys of
        a newer version are ignored. ``None`` gives a record of kind ``unknown``.

        Raises:
            KtrdrError: ``data`` is not such a map.
        """
        told = {} if data is None else data
        if not isinstance(told, Mapping):
            raise _misunderstood(data)
        kind, message = told.get("type", "unknown"), told.get("message", "no reason was given")
        if not isinstance(kind, str) or not isinstance(message, str):
            raise _misunderstood(data)
        status = told["exit_status"] if "exit_status" in told else _status_of_class(kind)
        # A status of 0 would mean success.
        if type(status) is not int or not 1 <= status <= 255:
            raise _misunderstood(data)
        return cls(kind, message, status)


def record_of(error: BaseException) -> ErrorRecord:
    """Return the record of any exception, with the exit status of the command line."""
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
    """Return the text of an exception on one line of at most 500 characters, as part of a message.

    Args:
        error: the exception; the name of its class stands for an empty text.
        named: True to begin with the name of the class, without which texts of other libraries are often unclear.
    """
    name, text = type(error).__name__, " ".join(str(error).split())
    line = f"{name}: {text}" if named and text else text or name
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 3] + "..."


def _misunderstood(data: Any) -> KtrdrError:
    return KtrdrError(f"an error has an unknown format: {data!r:.200}; update KTRDR on the older side")


def _message_alone(error: KtrdrError) -> list[str]:
    return [f"{type(error).__name__}: {error}"]


def _status_of_class(name: str) -> int:
    known = {found.__name__: found.exit_status for found in _subclasses(KtrdrError)}
    return known.get(name, KtrdrError.exit_status)


def _subclasses(parent: type[KtrdrError]) -> Iterator[type[KtrdrError]]:
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)
