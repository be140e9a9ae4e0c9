"""The place of a report, checked before the work that the report is about."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ktrdr.core.errors import BadInputError

__all__ = ["check_report_place"]


def check_report_place(report: Path | None) -> None:
    """Check that the file of ``--report`` can be written; a place that the command chooses, ``None``, is not checked.

    Nothing is left behind: missing directories are created when the report is written.

    Raises:
        BadInputError: it is a directory, is below a file, or cannot be written there.
    """
    if report is None:
        return
    try:
        if report.is_dir():
            raise BadInputError(f"--report {report} is a directory; give the path of a file in it")
        report.exists()
        existing = next(folder for folder in report.absolute().parents if folder.exists())
        # The permissions of a directory do not tell whether its disk is read-only, so a file without a name is made.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise BadInputError(
            f"--report {report} cannot be written: {error.strerror}; give a path in a directory that you may write to"
        ) from error
