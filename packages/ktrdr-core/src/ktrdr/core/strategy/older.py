"""Detection of strategy files of versions 1 and 2."""

from __future__ import annotations

from ktrdr.core.strategy.document import Node

__all__ = ["older_version"]


def older_version(root: Node) -> tuple[str, int] | None:
    """Return the key that identifies an older file, and the file's version; ``None`` for any other file.

    A file of version 1 has ``data`` instead of ``training_data``; a file of version 2 has a list of indicators.
    """
    top = root.value
    if not isinstance(top, dict):
        return None
    if "data" in top and "training_data" not in top and isinstance(top["data"].node.value, dict):
        return "data", 1
    if "indicators" in top and isinstance(top["indicators"].node.value, list) and top["indicators"].node.value:
        newer = ("scope", "deployment", "training_data")
        return "indicators", 2 if any(key in top for key in newer) else 1
    return None
