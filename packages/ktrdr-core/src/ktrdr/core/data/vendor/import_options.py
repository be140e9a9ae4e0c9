"""Options of an import that do not concern the format of the file."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from ktrdr.core.data.timeframe import Timeframe

__all__ = ["ImportOptions"]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of an import; see :func:`~ktrdr.core.data.vendor.importer.import_file`."""

    timeframe: Timeframe | None
    zone: ZoneInfo | dt.timezone | None
    calendar: str | None
    label: str
    skip_bad: bool
    align: bool = False
