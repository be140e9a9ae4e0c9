"""Read files of unknown origin: plain files only, bounded, and JSON that is nothing but JSON."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

from ktrdr.core.errors import BadInputError

__all__ = ["MAX_DEPTH", "FileError", "open_plain", "parse_json", "read_plain", "sha256_of"]

MAX_DEPTH = 64
"""Deepest nesting of JSON that is read."""


class FileError(BadInputError):
    """A file is missing, damaged or hostile."""


def open_plain(path: Path, limit: int) -> io.BufferedReader:
    """Open a regular file of at most ``limit`` bytes; a symbolic link, device or pipe is refused, not followed."""
    try:
        # O_NONBLOCK: opening a pipe nobody writes to would otherwise wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise FileError(f"{path.name} is missing") from None
    except OSError as error:
        if path.is_symlink():
            raise FileError(f"{path.name} is a symbolic link, which is not followed") from None
        raise FileError(f"{path.name} cannot be read: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise FileError(f"{path.name} is not a plain file")
    if status.st_size > limit:
        os.close(descriptor)
        raise FileError(f"{path.name} has {status.st_size:,} bytes, more than the {limit:,} allowed")
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes."""
    with open_plain(path, limit) as file:
        return file.read(limit)


def sha256_of(path: Path, limit: int) -> str:
    """Return the sha256 of a regular file in hexadecimal."""
    with open_plain(path, limit) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(content: bytes, name: str) -> Any:
    """Parse strict JSON: UTF-8, no NaN, no key twice, bounded nesting and integers. ``name`` is for messages."""
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
        _check_depth(value)
    except RecursionError:
        raise FileError(f"{name} is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, an integer of thousands of digits, our own
        raise FileError(f"{name} is not valid JSON: {error}") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one map")
    return value


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"nested more than {MAX_DEPTH} deep")
