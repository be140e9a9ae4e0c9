"""Pydantic models in JSON files of unknown origin: written, and read with every check."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ktrdr.core.files.reading import FileError, parse_json, read_plain
from ktrdr.core.limits import LARGEST_JSON
from ktrdr.core.short_texts import quoted

__all__ = ["model_text", "read_model"]

M = TypeVar("M", bound=BaseModel)

# Printed unchanged: no control characters, which could move the cursor of a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def model_text(model: BaseModel) -> str:
    """Return a model as the text of a JSON file."""
    return json.dumps(model.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_model(path: Path, kind: type[M]) -> M:
    """Read a JSON file as a model.

    Raises:
        FileError: the file is missing, damaged or hostile: no such model, or a text that could move the cursor of a
            terminal.
    """
    value = parse_json(read_plain(path, LARGEST_JSON), path.name)
    if found := _control_character(value):
        raise FileError(f"{path.name} has a control character in {found}")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FileError(f"{path.name}: {quoted(place)}: {quoted(first['msg'])}") from None


def _control_character(value: Any) -> str:
    """Return a text in JSON that could move the cursor of a terminal, quoted; empty if there is none."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            # Descriptions have lines.
            if _CONTROL.search(item.replace("\n", " ")):
                return quoted(item)
        elif isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            pending += item
    return ""
