"""Names of the files of portable twins in a bundle."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ARRAYS_FILE", "GRAPH_FILE", "PROBES_FILE", "twin_files"]

GRAPH_FILE = "twin.json"
"""Name of the file with the graph of a twin."""

ARRAYS_FILE = "twin.safetensors"
"""Name of the file with the arrays of a twin."""

PROBES_FILE = "probes.safetensors"
"""Name of the file with the rows that all twins of a bundle were compared on."""


def twin_files(members: Sequence[str]) -> frozenset[str]:
    """Return the names of the files that the twins of a model consist of.

    Args:
        members: directories of the members of an ensemble; empty for a model of one training.
    """
    own = (f"{place}/{name}" if place else name for place in members or ("",) for name in (GRAPH_FILE, ARRAYS_FILE))
    return frozenset({PROBES_FILE, *own})
