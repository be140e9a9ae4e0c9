"""Facts about a model as labels and texts, for the screen and for notebooks."""

from __future__ import annotations

from typing import Any

from ktrdr.core.models.manifest import Manifest

__all__ = ["model_facts", "score_facts"]


def model_facts(manifest: Manifest) -> list[tuple[str, str]]:
    """Return label and text of what a model is and what it was trained on; facts that a model lacks are left out."""
    plugin, data = manifest.plugin, manifest.data
    facts = [
        ("model", manifest.ref),
        ("origin", "" if manifest.origin is None else f"{manifest.origin} in the store that trained it"),
        ("created", manifest.created.strftime("%Y-%m-%d %H:%M UTC")),
        ("type", f"{manifest.model_type}, {manifest.output}"),
        ("backend", f"{plugin.name} ({plugin.distribution} {plugin.version})"),
        ("architecture", ", ".join(f"{key} {value}" for key, value in manifest.architecture.items())),
        ("classes", " ".join(manifest.classes)),
        ("data", f"{' '.join(data.symbols)} {' '.join(data.timeframes)}, {data.days}"),
        *(("warning", warning) for warning in manifest.warnings),
        ("seed", str(manifest.seed)),
    ]
    return [(label, text) for label, text in facts if text]


def score_facts(manifest: Manifest) -> list[tuple[str, str]]:
    """Return label and text of the metrics of each part of the data, of the model and then of each baseline."""
    scores = [(f"{part} metrics", values) for part, values in manifest.metrics.items()]
    scores += [
        (f"{part} {name}", values)
        for name, parts in manifest.baselines.items()
        if isinstance(parts, dict)
        for part, values in parts.items()
    ]
    return [(label, text) for label, values in scores if (text := _numbers(values))]


def _numbers(values: Any) -> str:
    """Return the plain numbers of a map of metrics; tables and curves have no room on a line."""
    if not isinstance(values, dict):
        return str(values)
    return ", ".join(
        f"{name} {value:.4g}"
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )
