"""Export and import of a ledger as a file with one JSON value per line, so that a team can merge its trials."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.durable import new_file
from ktrdr.core.files.export_path import check_export_path
from ktrdr.core.limits import LONGEST_STRATEGY
from ktrdr.core.trials.row import text_hash
from ktrdr.core.trials.trial_database import default_database
from ktrdr.core.trials.trial_ledger import TrialLedger

__all__ = ["check_trials_export", "export_trials", "import_trials"]

_FORMAT = 1
_HEADER = "ktrdr_trials"
# A character of a text may take twelve bytes of JSON.
_LONGEST_LINE = 16 * LONGEST_STRATEGY
_LONGEST_ROW = 131_072
_MOST_ROWS = 5_000_000
_MOST_TEXT = 256 * 2**20


def check_trials_export(path: Path, *, overwrite: bool, remedy: str = "--force") -> None:
    """Check that the rows of a ledger can be written to the file ``path``.

    Args:
        path: path of the file, which need not exist.
        overwrite: True if an existing file may be replaced.
        remedy: see :func:`~ktrdr.core.files.export_path.check_export_path`.

    Raises:
        BadInputError: ``path`` is a directory or the ledger itself, its directory does not exist, or the file exists.
    """
    if path.exists() and path.samefile(default_database().path):
        raise BadInputError(f"{path} is the ledger itself; choose another file")
    check_export_path(path, overwrite=overwrite, remedy=remedy)


def export_trials(ledger: TrialLedger, path: Path) -> int:
    """Write all rows of a ledger, including those imported from others, to ``path``; return the number of rows.

    The first line is a header. A line with a ``text`` is a strategy file, and comes before the first ``row`` that
    refers to it.

    Raises:
        StoreError: the disk is full, or the place is not writable; nothing is written.
    """
    rows = 0
    with new_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps({_HEADER: _FORMAT, "ledger": ledger.id}) + "\n")
        for digest, content, text in ledger.export():
            if text is not None:
                file.write(json.dumps({"text": text}) + "\n")
            file.write(json.dumps({"hash": digest, "row": content}) + "\n")
            rows += 1
    return rows


def import_trials(ledger: TrialLedger, path: Path) -> tuple[int, int]:
    """Add the rows of a file that :func:`export_trials` wrote; return the number of new and of known rows.

    Raises:
        BadInputError: it is not such a file, or a row in it is broken; nothing is added.
    """
    texts: dict[str, str] = {}
    total = 0

    def rows() -> Iterator[tuple[str, str]]:
        nonlocal total
        size = 0
        for number, line in _lines(path):
            if "text" in line:
                text = line["text"]
                if not isinstance(text, str) or len(text) > LONGEST_STRATEGY or not _storable(text):
                    raise _refused(path, number, "the strategy is not text, or too long")
                size += len(text)
                if size > _MOST_TEXT:
                    raise _refused(path, number, f"there are more than {_MOST_TEXT:,} characters of strategies")
                texts[text_hash(text)] = text
                continue
            digest, content = line.get("hash"), line.get("row")
            if not _is_hash(digest) or not isinstance(content, str) or len(content) > _LONGEST_ROW:
                raise _refused(path, number, "it is neither a row nor a strategy")
            total += 1
            if total > _MOST_ROWS:
                raise _refused(path, number, f"there are more than {_MOST_ROWS:,} rows")
            yield digest, content

    added = ledger.add(rows(), texts)
    return added, total - added


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and value of each line after the first."""
    try:
        with path.open("r", encoding="utf-8", newline="\n") as file:
            number = 0
            while line := file.readline(_LONGEST_LINE + 1):
                number += 1
                value = _parsed(path, number, line)
                if number > 1:
                    yield number, value
                elif value.get(_HEADER) != _FORMAT:
                    raise _refused(path, number, "it is not the header of a file of trials of this version")
            if not number:
                raise _refused(path, 1, "the file is empty")
    except UnicodeDecodeError:
        raise BadInputError(
            f"{path} is not a file of trials: it is not text; `ktrdr trials export` makes one"
        ) from None
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}; name a file of `ktrdr trials export`") from None


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    if len(line) > _LONGEST_LINE:
        raise _refused(path, number, "the line is too long")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise _refused(path, number, "it is not JSON") from None
    if not isinstance(value, dict):
        raise _refused(path, number, "it is not a JSON map")
    return value


def _is_hash(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _storable(text: str) -> bool:
    """Return True if every database can hold this text."""
    return re.search("[\0\ud800-\udfff]", text) is None


def _refused(path: Path, number: int, what: str) -> BadInputError:
    return BadInputError(
        f"{path}, line {number}: {what}; `ktrdr trials export` makes such files, and nothing was added"
    )
