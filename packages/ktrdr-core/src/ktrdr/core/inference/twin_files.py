"""A twin on disk: `twin.json` and `twin.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from ktrdr.core.files.reading import parse_json, read_plain
from ktrdr.core.files.safetensors import read_safetensors, write_safetensors
from ktrdr.core.inference.graph_check import check_graph
from ktrdr.core.inference.twin_error import TwinError
from ktrdr.core.inference.twin_names import ARRAYS_FILE, GRAPH_FILE
from ktrdr.core.inference.vocabulary import TWIN_FORMAT, TwinGraph
from ktrdr.core.limits import LARGEST_JSON, LARGEST_TWINS
from ktrdr.core.plugins.contract import Rule, Twin
from ktrdr.core.short_texts import quoted

__all__ = ["read_twin", "write_twin"]


def write_twin(directory: Path, twin: Twin, rules: Sequence[Rule] = ()) -> None:
    """Write a twin; equal twins give equal bytes.

    Args:
        directory: of the files.
        twin: as a backend returned it.
        rules: the rules of the model, which are added to the graph.

    Raises:
        TwinError: it is not a twin in the vocabulary of this core.
    """
    graph = _parsed({**twin.graph, "rules": [asdict(rule) for rule in rules]}, GRAPH_FILE)
    graph.rule_records()
    check_graph(graph, twin.arrays)
    content = json.dumps(graph.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    (directory / GRAPH_FILE).write_text(content + "\n", encoding="utf-8")
    write_safetensors(directory / ARRAYS_FILE, twin.arrays)


def read_twin(directory: Path) -> tuple[TwinGraph, dict[str, np.ndarray]]:
    """Return the graph and the arrays of a twin, which fit together.

    Raises:
        FileError: a file is missing, broken or hostile, or uses what this core does not know; the message names it.
    """
    graph = _parsed(parse_json(read_plain(directory / GRAPH_FILE, LARGEST_JSON), GRAPH_FILE), GRAPH_FILE)
    arrays = read_safetensors(directory / ARRAYS_FILE, LARGEST_TWINS)
    try:
        check_graph(graph, arrays)
    except TwinError as error:
        raise TwinError(f"{GRAPH_FILE} and {ARRAYS_FILE} do not fit together: {error}") from None
    return graph, arrays


def _parsed(value: object, name: str) -> TwinGraph:
    if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > TWIN_FORMAT:
        raise TwinError(
            f"{name} has twin format {value['format']}, this core reads up to {TWIN_FORMAT}; "
            "update core with `pip install --upgrade ktrdr-core`"
        )
    try:
        return TwinGraph.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(quoted(part) if isinstance(part, str) else str(part) for part in first["loc"])
        if first["type"] == "union_tag_invalid":
            told = f"a layer of kind {quoted(str(first['ctx']['tag']))} is not known to this core"
        else:
            told = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
        raise TwinError(f"{name} is not valid{f' at {where}' if where else ''}: {told}") from None
