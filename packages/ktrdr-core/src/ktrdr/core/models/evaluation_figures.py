"""The figures of the evaluation that a model was trained from, in words.

They are out of sample, and those of the evaluation's own models: the model was fitted to all bars before the reserve.
"""

from __future__ import annotations

from ktrdr.core.models.manifest import EvaluationRecord, Manifest
from ktrdr.core.short_texts import counted

__all__ = ["evaluation_facts", "out_of_sample_words"]

_SHOWN = {
    "accuracy": "accuracy",
    "mcc": "MCC",
    "directional_accuracy": "directional accuracy",
    "information_coefficient": "information coefficient",
}


def evaluation_facts(manifest: Manifest) -> list[tuple[str, str]]:
    """Return label and text of the evaluation that a model was trained from; empty for any other model."""
    record = manifest.evaluation
    if record is None:
        return []
    # The API reads manifests, and starts without numpy.
    from ktrdr.core.data.times import last_day

    epochs = f" for {counted(record.best_epoch, 'epoch')}" if record.best_epoch > 1 else ""
    facts = [
        ("evaluation", f"{record.reference}, {record.words}"),
        ("out of sample", out_of_sample_words(record)),
        ("fitted to", f"all bars until {last_day(manifest.data.end)}{epochs}, so it has no metrics of its own"),
    ]
    if record.reserve is not None:
        facts.append(("reserve", f"{record.reserve.start:%Y-%m-%d} to {last_day(record.reserve.end)}"))
    return facts


def out_of_sample_words(record: EvaluationRecord) -> str:
    """Return the median and spread of the Sharpe ratio, and the metrics with their intervals."""
    words = []
    sharpe = record.spread.get("sharpe", {})
    if sharpe.get("median") is not None:
        quartiles = _range("quartiles ", sharpe.get("low"), sharpe.get("high"))
        words.append(
            f"Sharpe ratio {sharpe['median']:.2f}, the median of {counted(record.accounts, 'account')}{quartiles}"
        )
    for name, label in _SHOWN.items():
        metric = record.metrics.get(name, {})
        if metric.get("value") is not None:
            words.append(
                f"{label} {metric['value']:.3f}{_range('90 % interval ', metric.get('low'), metric.get('high'))}"
            )
    return "; ".join(words) or "no account traded"


def _range(name: str, low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({name}{low:.3g} to {high:.3g})"
