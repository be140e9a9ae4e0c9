"""Safe reading of files of unknown origin: plain files up to a size, and strict JSON."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.limits import DEEPEST_JSON, LONGEST_NUMBER, MOST_JSON_VALUES

__all__ = [
    "FileError",
    "MissingFileError",
    "has_half_characters",
    "most_values",
    "open_plain",
    "parse_json",
    "read_plain",
    "sha256_of",
]

# A UTF-16 surrogate in JSON; a lone one cannot be stored or sent.
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


class FileError(BadInputError):
    """A file is missing, damaged or hostile."""


class MissingFileError(FileError):
    """There is no such file."""


def open_plain(path: Path, limit: int) -> io.BufferedReader:
    """Open a regular file of at most ``limit`` bytes.

    Raises:
        MissingFileError: there is no such file.
        FileError: the file is too large, or is a symbolic link, device or pipe.
    """
    try:
        # O_NONBLOCK: opening a pipe without a writer would otherwise block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise MissingFileError(f"{path.name} is missing") from None
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


def parse_json(content: bytes, name: str, *, most: int = MOST_JSON_VALUES) -> Any:
    """Parse strict JSON: UTF-8 without lone surrogates, no NaN, no duplicate keys.

    The number of values (before parsing), the nesting and the digits of whole numbers are limited.

    Args:
        content: of the file.
        name: of the file, for messages.
        most: maximum number of values.

    Raises:
        FileError: the content is not such JSON.
    """
    if most_values(content) > most:
        raise FileError(f"{name} holds more than {most:,} values")
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_whole,
        )
        _check_depth(value)
    except RecursionError:
        raise FileError(f"{name} is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, our own
        raise FileError(f"{name} is not valid JSON: {error}") from None
    if _HALF.search(content) and has_half_characters(value):
        raise FileError(f"{name} is not valid JSON: a text in it holds half a character (a lone surrogate)")
    return value


def most_values(content: bytes) -> int:
    """Return an upper bound of the number of values in JSON, without parsing it.

    Every value but the first follows a comma or an opening bracket; such characters in texts are counted too.
    """
    return sum(content.count(sign) for sign in (b",", b"{", b"["))


def has_half_characters(value: Any) -> bool:
    """Return True if a text or key in parsed JSON holds a lone surrogate, which cannot be encoded as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number has more than {LONGEST_NUMBER} digits")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one map")
    return value


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST_JSON):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"nested more than {DEEPEST_JSON} deep")
