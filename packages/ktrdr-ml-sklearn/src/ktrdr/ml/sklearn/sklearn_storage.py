"""Storage of models: `weights.skops`, with equal bytes for equal models, and `model.json`."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from ktrdr.core.plugins import TrainedModel
from ktrdr.ml.sklearn.sklearn_model import SklearnModel
from ktrdr.ml.sklearn.skops_io import skops_io

__all__ = ["MODEL_FILE", "WEIGHTS_FILE", "SklearnStorage"]

WEIGHTS_FILE = "weights.skops"
MODEL_FILE = "model.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)


class SklearnStorage:
    """Writes models with skops, which stores arrays and JSON, no pickles."""

    def save(self, model: TrainedModel, directory: Path) -> dict[str, Any]:
        """Write the estimator and its description; return a few facts for the manifest."""
        if not isinstance(model, SklearnModel):
            raise TypeError(f"not a model of this backend: {type(model).__name__}")
        import sklearn
        import skops

        fitted = model.predictor()
        (directory / WEIGHTS_FILE).write_bytes(_canonical(skops_io().dumps(fitted.estimator)))
        description = {
            "format": 1,
            "model_type": fitted.model_type,
            "output": fitted.output,
            "input_size": fitted.input_size,
            "classes": fitted.classes,
            "seen": fitted.seen,
            "scikit-learn": sklearn.__version__,
        }
        (directory / MODEL_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        return {"scikit-learn": sklearn.__version__, "skops": skops.__version__, "best_epoch": model.best_epoch}


def _canonical(content: bytes) -> bytes:
    """Rewrite a skops file so that its bytes do not depend on memory addresses or the time."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read("schema.json"))
        members = {name: archive.read(name) for name in archive.namelist() if name != "schema.json"}
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    _renumber(schema, numbers, files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry("schema.json"), json.dumps(schema, separators=(",", ":")))
        for old, new in files.items():
            archive.writestr(_entry(new), members[old])
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    return entry


def _renumber(node: Any, numbers: dict[int, int], files: dict[str, str]) -> None:
    """Replace identities and file names by counters, in the order of the file."""
    if isinstance(node, list):
        for item in node:
            _renumber(item, numbers, files)
    elif isinstance(node, dict):
        if node.get("__loader__") == "JsonNode":
            # It is arbitrary whether two equal numbers are one object.
            node.pop("__id__", None)
        if "__id__" in node:
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        if isinstance(node.get("file"), str):
            suffix = node["file"].rpartition(".")[2]
            node["file"] = files.setdefault(node["file"], f"{len(files)}.{suffix}")
        for item in node.values():
            _renumber(item, numbers, files)
