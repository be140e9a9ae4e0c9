"""What the user says of a file with bars, beside how it is written."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from ktrdr.core.data.timeframe import Timeframe

__all__ = ["ImportOptions"]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user said of a file; see :func:`~ktrdr.core.data.vendor.importer.import_file`."""

    timeframe: Timeframe | None
    zone: ZoneInfo | dt.timezone | None
    calendar: str | None
    label: str
    skip_bad: bool
    align: bool = False
