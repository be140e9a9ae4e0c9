"""Facts about a model as labels and texts, for the screen and for notebooks."""

from __future__ import annotations

from typing import Any

from ktrdr.core.models.evaluation_figures import evaluation_facts
from ktrdr.core.models.manifest import Manifest, MemberRecord
from ktrdr.core.models.member_spread import spread_columns
from ktrdr.core.names import named_market
from ktrdr.core.strategy.model import EnsembleSection

__all__ = ["epochs_in_words", "kept_in_words", "member_facts", "model_facts", "score_facts", "twin_in_words"]


def model_facts(manifest: Manifest) -> list[tuple[str, str]]:
    """Return label and text of what a model is and what it was trained on; facts that a model lacks are left out."""
    plugin, data = manifest.plugin, manifest.data
    facts = [
        ("model", manifest.ref),
        ("origin", "" if manifest.origin is None else f"{manifest.origin} in the store that trained it"),
        ("created", manifest.created.strftime("%Y-%m-%d %H:%M UTC")),
        ("type", f"{manifest.strategy.model.words}, {manifest.output}"),
        ("backend", f"{plugin.name} ({plugin.distribution} {plugin.version})"),
        ("architecture", ", ".join(f"{key} {value}" for key, value in manifest.architecture.items())),
        ("portable twin", twin_in_words(manifest)),
        ("classes", " ".join(manifest.classes)),
        ("data", f"{named_market(' '.join(data.symbols), data.world)} {' '.join(data.timeframes)}, {data.days}"),
        *evaluation_facts(manifest),
        *(("warning", warning) for warning in manifest.warnings),
        ("seed", kept_in_words(manifest) or str(manifest.seed)),
        *member_facts(manifest),
    ]
    return [(label, text) for label, text in facts if text]


def twin_in_words(manifest: Manifest) -> str:
    """Return whether the model predicts with core alone, and how exactly, or why not; empty if nobody tried."""
    twin = manifest.twin
    if twin is None:
        return ""
    if twin.difference is None:
        return f"none: {twin.missing}"
    return f"differs by at most {twin.difference:.1g} from the backend, in {twin.rows:,} predictions"


def member_facts(manifest: Manifest) -> list[tuple[str, str]]:
    """Return label and text of the vote and of every member of an ensemble; empty for any other model."""
    model = manifest.strategy.model
    if not isinstance(model, EnsembleSection):
        return []
    return [
        ("vote", model.vote),
        *((f"member {number}", _member(own)) for number, own in enumerate(manifest.members, 1)),
    ]


def kept_in_words(manifest: Manifest) -> str:
    """Return why this model was kept of those of several seeds; empty for a single training and an ensemble."""
    members = manifest.members
    own = next((member for member in members if member.seed == manifest.seed), None)
    if own is None or manifest.member_directories:
        return ""
    value = "" if own.monitored is None else f" ({own.monitored:.4g})"
    return f"{own.seed}, the median of {len(members):,} trained seeds by {own.monitor}{value}"


def epochs_in_words(manifest: Manifest) -> str:
    """Return the epochs that the members of an ensemble kept; empty for any other model."""
    if not manifest.member_directories:
        return ""
    best = [member.best_epoch for member in manifest.members]
    epochs = str(min(best)) if min(best) == max(best) else f"{min(best):,} to {max(best):,}"
    return f"all {len(best)} members, each with its best epoch ({epochs})"


def score_facts(manifest: Manifest) -> list[tuple[str, str]]:
    """Return label and text of the metrics of each part of the data: of the model, its members and each baseline."""
    scores: list[tuple[str, Any]] = []
    for part, values in manifest.metrics.items():
        scores.append((f"{part} metrics", values))
        spread = spread_columns(manifest.members, part)
        scores += [(f"{part}, {column}", values) for column, values in spread.items()]
    scores += [
        (f"{part} {name}", values)
        for name, parts in manifest.baselines.items()
        if isinstance(parts, dict)
        for part, values in parts.items()
    ]
    return [(label, text) for label, values in scores if (text := _numbers(values))]


def _member(member: MemberRecord) -> str:
    """Return seed, best epoch and monitored metric of a member."""
    monitored = "" if member.monitored is None else f", {member.monitor} {member.monitored:.4g}"
    return f"seed {member.seed}, epoch {member.best_epoch:,}{monitored}"


def _numbers(values: Any) -> str:
    """Return the plain numbers of a map of metrics; tables and curves have no room on a line."""
    if not isinstance(values, dict):
        return str(values)
    return ", ".join(
        f"{name} {value:.4g}"
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )
