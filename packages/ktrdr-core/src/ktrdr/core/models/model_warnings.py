"""Warnings about a trained model: too little to train or evaluate with, equal members, and better baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ktrdr.core.limits import FEWEST_JUDGED_SAMPLES, FEWEST_SAMPLES_PER_INPUT
from ktrdr.core.models.manifest import Manifest, MemberRecord

__all__ = [
    "SCORES",
    "baseline_warnings",
    "equal_members_warnings",
    "most_error",
    "score_of",
    "too_little_warnings",
    "warnings_of",
]

SCORES: Mapping[str, Literal["higher", "lower"]] = {
    "accuracy": "higher",
    "balanced_accuracy": "higher",
    "macro_f1": "higher",
    "mcc": "higher",
    "log_loss": "lower",
    "brier": "lower",
    "rmse": "lower",
    "mae": "lower",
    "r2": "higher",
    "directional_accuracy": "higher",
    "information_coefficient": "higher",
    "pearson": "higher",
}
"""Whether a higher or a lower value of each score is better."""

# Proper scores: only the true probabilities, or the true mean, give the best value.
_DECISIVE = {"classification": ("log_loss", "log loss"), "regression": ("rmse", "RMSE")}
_BASELINES = {"majority": "the majority class", "mean": "the mean", "last_value": "the last value"}
# The test part comes first: the best epoch was chosen by the validation part.
_JUDGED = ("test", "validation")


def too_little_warnings(samples: Mapping[str, int], *, inputs: int, best_epoch: int, epochs: int) -> tuple[str, ...]:
    """Return one sentence per warning about too few training samples, evaluated samples or epochs.

    Args:
        samples: number of samples by part, of all symbols together; a part with 0 samples gives no warning.
        inputs: number of feature columns of the model.
        best_epoch: epoch whose weights were kept, from 1.
        epochs: number of epochs that were run.
    """
    warnings = []
    train, least = samples.get("train", 0), max(FEWEST_SAMPLES_PER_INPUT * inputs, FEWEST_JUDGED_SAMPLES)
    if train < least:
        warnings.append(
            f"{_count(train, 'training sample')} too few to learn from: {inputs:,} inputs ask"
            f" for at least {least:,}; train on more bars or with fewer inputs"
        )
    for part in _JUDGED:
        count = samples.get(part, 0)
        if 0 < count < FEWEST_JUDGED_SAMPLES:
            warnings.append(
                f"{_count(count, f'{part} sample')} too few to judge by: a share of them, such as the accuracy, is"
                f" uncertain by up to {100 * most_error(count):.0f} percentage points either way (95%); at"
                f" least {FEWEST_JUDGED_SAMPLES} are needed"
            )
    if best_epoch == 1 and epochs > 1:
        warnings.append(
            f"the epoch that was kept is the first of {epochs:,}: no later one was better on the validation part, so"
            " the rest of the training did not improve the model"
        )
    return tuple(warnings)


def baseline_warnings(output: str, metrics: Mapping[str, Any], baselines: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one sentence if a baseline has a better log loss (classification) or RMSE (regression) than the model.

    The test part is compared, or the validation part if there is no test part.

    Args:
        output: ``classification`` or ``regression``.
        metrics: metrics by part, as in the manifest.
        baselines: metrics by baseline and part, as in the manifest.
    """
    score, words = _DECISIVE[output]
    for part in _JUDGED:
        own = score_of(metrics.get(part), score)
        if own is None:
            continue
        rivals = {name: _part(baselines.get(name), part) for name in _BASELINES}
        known = {name: value for name, judged in rivals.items() if (value := score_of(judged, score)) is not None}
        better = {name: value for name, value in known.items() if value < own}
        if not better:
            return ()
        told = ", ".join(f"that of {_BASELINES[name]} {value:.4g}" for name, value in better.items())
        which = "a baseline" if len(better) < len(known) else "its baselines" if len(known) > 1 else "its baseline"
        return (
            f"the model is below {which}: on the {part} part its {words} is {own:.4g}, {told}; lower is better, and"
            " none of these needs a model",
        )
    return ()


def equal_members_warnings(model_type: str, members: Sequence[MemberRecord]) -> tuple[str, ...]:
    """Return one sentence if several members have the same metrics: a spread of 0 is then no sign of robustness.

    Args:
        model_type: name of the members' model type.
        members: seed and metrics of each; without metrics there is no spread, and no warning.
    """
    # By their text, two values that are not a number are equal.
    different = {repr({part: dict(own) for part, own in member.metrics.items()}) for member in members}
    if len(members) < 2 or len(different) > 1 or not members[0].metrics:
        return ()
    number = "both" if len(members) == 2 else f"all {len(members):,}"
    return (
        f"the seed changes nothing for {model_type}: {number} models have the same metrics, so their spread says"
        " nothing; one seed is enough",
    )


def score_of(judged: Any, score: str) -> float | None:
    """Return a score of a part of the manifest's metrics; ``None`` if it is missing or not a finite number."""
    value = judged.get(score) if isinstance(judged, Mapping) else None
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def most_error(count: int) -> float:
    """Return half the width of the 95 % interval of a share of ``count`` samples, at most 1.

    The interval is widest for a share of one half: ``1.96 * sqrt(0.25 / count)`` by the normal approximation.
    """
    return min(1.96 * math.sqrt(0.25 / count), 1.0)


def _part(parts: Any, part: str) -> Any:
    return parts.get(part) if isinstance(parts, Mapping) else None


def _count(count: int, word: str) -> str:
    return f"{count:,} {word} is" if count == 1 else f"{count:,} {word}s are"


def warnings_of(manifest: Manifest) -> tuple[str, ...]:
    """Return the warnings of a stored model: those of its training, and that it has no portable twin."""
    if manifest.twin is None or not manifest.twin.missing:
        return manifest.warnings
    plugin = manifest.plugin
    return (
        *manifest.warnings,
        f"the model has no portable twin and predicts only where {plugin.distribution} is installed:"
        f" {manifest.twin.missing}",
    )
