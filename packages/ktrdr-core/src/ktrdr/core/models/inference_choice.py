"""The choice between the portable twin of a model and its ML framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import BacktestSettings, Inference, TradingSettings
from ktrdr.core.models.manifest import Manifest

__all__ = ["IN_WORDS", "Predicted", "Used", "choose_inference", "trades_out_of_sample"]

Used = Literal["portable", "native"]
"""What predicts: the portable twin, or the ML framework."""

Predicted = Literal["portable", "native", "out_of_sample"]
"""What predicted: the portable twin, the ML framework, or the models of an evaluation's folds."""

IN_WORDS: Mapping[str, str] = {
    "portable": "the portable twin, in core",
    "native": "the ML framework",
    "out_of_sample": "the models of the evaluation's folds, which are not stored",
}
"""What predicts, for a person."""

_CPU = frozenset({"auto", "cpu"})


def choose_inference(manifest: Manifest, inference: Inference, device: str) -> Used:
    """Return what predicts.

    ``auto`` is the twin if the model has one and no other device than the CPU is asked for.

    Args:
        manifest: of the model.
        inference: as in the settings.
        device: as in the settings: ``auto``, or the name of a device.

    Raises:
        BadInputError: ``portable`` is asked for, and the model has no twin, or the device is not the CPU.
    """
    if inference == "portable":
        if device not in _CPU:
            raise BadInputError(
                f"a portable twin predicts on the CPU, not on `{device}`; leave the device out, or predict with the"
                " framework with --inference native"
            )
        if manifest.twin is not None and manifest.twin.missing:
            raise BadInputError(
                f"model {manifest.ref} has no portable twin ({manifest.twin.missing}); predict with the framework with"
                f" --inference native, where {manifest.plugin.distribution} is installed"
            )
        if not manifest.portable:
            raise BadInputError(
                f"model {manifest.ref} has no portable twin; `ktrdr models twin {manifest.ref}` adds one where"
                f" {manifest.plugin.distribution} is installed and offers twins, and --inference native predicts with"
                " the framework"
            )
        return "portable"
    return "portable" if inference == "auto" and manifest.portable and device in _CPU else "native"


def trades_out_of_sample(manifest: Manifest, settings: TradingSettings) -> bool:
    """Return True if a backtest or sweep trades the stored predictions of the model's evaluation.

    That is so for a model that was trained from an evaluation, unless days or the reserve are asked for.

    Raises:
        BadInputError: that is so, and the settings name a device or what predicts, which would have no effect.
    """
    opens = isinstance(settings, BacktestSettings) and settings.reserve
    if manifest.evaluation is None or settings.start is not None or settings.end is not None or opens:
        return False
    for name, value in (("device", settings.device), ("inference", settings.inference)):
        if value != "auto":
            raise BadInputError(
                f"without days, the predictions that are stored with {manifest.ref} are traded, and no model predicts;"
                f" leave out --{name}, or give days with --start"
            )
    return True
