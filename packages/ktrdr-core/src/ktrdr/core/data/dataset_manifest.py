"""The manifest of a data set: which files hold it now.

Replacing this one small file is what makes a write of many files happen at once, or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ktrdr.core.errors import BadInputError

__all__ = ["MANIFEST", "DatasetManifest", "YearFile", "read_manifest"]

MANIFEST = "manifest.json"
_SCHEMA_VERSION = 1
_KEYS = frozenset({"schema_version", "symbol", "timeframe", "calendar", "files"})
_FILE_NAME = re.compile(r"\d{4}-[0-9a-f]{16}\.parquet", re.ASCII)


@dataclass(frozen=True, slots=True)
class YearFile:
    """One Parquet file: the bars that open in one year (UTC). ``first`` and ``last`` are the opens at its ends."""

    name: str
    rows: int
    first: np.datetime64
    last: np.datetime64
    bytes: int


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """Files of one symbol and timeframe by year, ascending.

    Attributes:
        symbol, timeframe: the data set.
        files: by year.
        calendar: name of the market's calendar, the same for all timeframes of a symbol; ``None`` leaves it to the
            spelling of the symbol.
        more: keys that this KTRDR does not know, written back as they were read.
    """

    symbol: str
    timeframe: str
    files: Mapping[int, YearFile]
    calendar: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text of the manifest file."""
        files = {
            str(year): {
                "name": file.name,
                "rows": file.rows,
                "first": str(file.first),
                "last": str(file.last),
                "bytes": file.bytes,
            }
            for year, file in sorted(self.files.items())
        }
        document = {
            "schema_version": _SCHEMA_VERSION,
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            **({} if self.calendar is None else {"calendar": self.calendar}),
            "files": files,
            **self.more,
        }
        return json.dumps(document, indent=1) + "\n"


def read_manifest(directory: Path) -> DatasetManifest | None:
    """Return the manifest in ``directory``, ``None`` if there is none.

    Raises:
        BadInputError: it is damaged, or of a newer KTRDR.
    """
    path = directory / MANIFEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document["schema_version"]
        if version != _SCHEMA_VERSION:
            raise BadInputError(
                f"{path} has schema version {version}, this KTRDR reads {_SCHEMA_VERSION}: update KTRDR, or delete "
                f"{directory} and import its data again"
            )
        files = {
            int(year): YearFile(
                str(entry["name"]),
                int(entry["rows"]),
                np.datetime64(entry["first"], "ns"),
                np.datetime64(entry["last"], "ns"),
                int(entry["bytes"]),
            )
            for year, entry in sorted(document["files"].items())
        }
        calendar = document.get("calendar")
        more = {key: value for key, value in document.items() if key not in _KEYS}
        manifest = DatasetManifest(
            str(document["symbol"]),
            str(document["timeframe"]),
            files,
            None if calendar is None else str(calendar),
            more,
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path) from error
    if not files or not all(_FILE_NAME.fullmatch(file.name) and file.rows > 0 for file in files.values()):
        raise _damaged(path)
    return manifest


def _damaged(path: Path) -> BadInputError:
    return BadInputError(f"{path} is damaged: delete the directory {path.parent} and import its data again")
