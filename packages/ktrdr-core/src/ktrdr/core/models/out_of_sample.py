"""Out-of-sample predictions of an evaluation, which a bundle has if its model was trained from one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.reading import FileError
from ktrdr.core.files.safetensors import read_safetensors, write_safetensors
from ktrdr.core.limits import LARGEST_OUT_OF_SAMPLE
from ktrdr.core.models.contents import BundleError
from ktrdr.core.models.manifest import MANIFEST_FILE, Manifest
from ktrdr.core.short_texts import quoted

if TYPE_CHECKING:
    import numpy as np

    from ktrdr.core.data.bars import Bars

__all__ = [
    "OUT_OF_SAMPLE_FILE",
    "OutOfSample",
    "are_predictions",
    "ascends_within",
    "path_digest",
    "predictions_in_words",
    "read_out_of_sample",
    "write_out_of_sample",
]

OUT_OF_SAMPLE_FILE = "out_of_sample.safetensors"
"""Name of the file: two float64 arrays for each symbol, ``<symbol>/time`` in seconds and ``<symbol>/outputs``."""

_TIME, _OUTPUTS = "time", "outputs"
# Probabilities are computed as float32, and their sum is that of a few rounded numbers.
_NEAR = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class OutOfSample:
    """Predictions of one symbol on the median path, each by a model that has not seen the bar.

    Attributes:
        time: ``datetime64[ns]`` ``(n,)``: opens of the base bars, UTC.
        outputs: float64 ``(n, classes)`` or ``(n,)``; NaN where features are missing.
    """

    time: np.ndarray
    outputs: np.ndarray


def path_digest(base: Bars, time: np.ndarray) -> str:
    """Return the sha256 (hex) of the bars that a path and its account depend on: from the first bar to its last.

    Args:
        base: base bars of the evaluated data.
        time: ``datetime64[ns]``: opens of the bars of the path.
    """
    import numpy as np

    from ktrdr.core.data.loading import bars_digest

    return bars_digest(base[: int(np.searchsorted(base.time, time[-1], side="right"))]).hex()


def write_out_of_sample(directory: Path, predictions: Mapping[str, OutOfSample]) -> None:
    """Write the predictions of each symbol into the directory of a bundle.

    Raises:
        BadInputError: there are more of them than a bundle may have.
    """
    import numpy as np

    size = sum(own.time.nbytes + own.outputs.nbytes for own in predictions.values())
    if size > LARGEST_OUT_OF_SAMPLE:
        raise BadInputError(
            f"the out-of-sample predictions of the evaluation have {size:,} bytes, and a model may have"
            f" {LARGEST_OUT_OF_SAMPLE:,}; evaluate fewer symbols, fewer days or longer bars"
        )
    arrays = {}
    for symbol, own in predictions.items():
        # Seconds are whole numbers far below 2**53, which a float64 has without rounding.
        arrays[f"{symbol}/{_TIME}"] = own.time.astype("datetime64[s]").astype(np.float64)
        arrays[f"{symbol}/{_OUTPUTS}"] = np.ascontiguousarray(own.outputs, dtype=np.float64)
    write_safetensors(directory / OUT_OF_SAMPLE_FILE, arrays)


def read_out_of_sample(directory: Path, manifest: Manifest) -> dict[str, OutOfSample]:
    """Return the predictions of a bundle by symbol, in the order of the manifest.

    Raises:
        BundleError: the file is broken, or does not belong to the model in the manifest.
    """
    try:
        arrays = read_safetensors(directory / OUT_OF_SAMPLE_FILE, LARGEST_OUT_OF_SAMPLE)
    except FileError as error:
        raise BundleError(str(error)) from error
    symbols = manifest.data.symbols
    wanted = {f"{symbol}/{part}" for symbol in symbols for part in (_TIME, _OUTPUTS)}
    if wrong := sorted(wanted ^ set(arrays)):
        lacks = "lacks" if wrong[0] in wanted else "has"
        raise BundleError(f"{OUT_OF_SAMPLE_FILE} {lacks} {quoted(wrong[0])}; it has two arrays for each symbol")
    return {
        symbol: _checked(symbol, arrays[f"{symbol}/{_TIME}"], arrays[f"{symbol}/{_OUTPUTS}"], manifest)
        for symbol in symbols
    }


def _checked(symbol: str, seconds: np.ndarray, outputs: np.ndarray, manifest: Manifest) -> OutOfSample:
    import numpy as np

    n, classes = len(seconds) if seconds.ndim == 1 else 0, len(manifest.classes)
    shape = (n, classes) if classes else (n,)
    if seconds.dtype != np.float64 or outputs.dtype != np.float64 or outputs.shape != shape or not n:
        raise BundleError(
            f"{OUT_OF_SAMPLE_FILE} has no float64 times of {symbol} with {classes or 'one'} output"
            f"{'s' if classes else ''} for each"
        )
    assert manifest.evaluation is not None
    tested = manifest.evaluation.tested
    if not ascends_within(seconds, tested.start, tested.end):
        raise BundleError(
            f"{OUT_OF_SAMPLE_FILE}: the times of {symbol} do not ascend within the tested period of {MANIFEST_FILE}"
        )
    if not are_predictions(outputs, classes):
        raise BundleError(
            f"{OUT_OF_SAMPLE_FILE}: the outputs of {symbol} are not {predictions_in_words(classes)}, or missing"
        )
    return OutOfSample(seconds.astype("datetime64[s]").astype("datetime64[ns]"), outputs)


def ascends_within(seconds: np.ndarray, start: dt.datetime, end: dt.datetime) -> bool:
    """Return True if times are whole seconds that ascend in a period, and there is at least one.

    Args:
        seconds: float64 ``(n,)``: seconds since 1970, UTC.
        start: begin of the period.
        end: its end, which is not part of it.
    """
    import numpy as np

    whole = bool(np.isfinite(seconds).all()) and bool((seconds == np.floor(seconds)).all())
    if not whole or not len(seconds) or not (np.diff(seconds) > 0).all():
        return False
    return bool(seconds[0] >= start.timestamp() and seconds[-1] < end.timestamp())


def predictions_in_words(classes: int) -> str:
    """Return what :func:`are_predictions` asks for."""
    return f"probabilities of {classes} classes" if classes else "finite numbers"


def are_predictions(outputs: np.ndarray, classes: int) -> bool:
    """Return True if every row is missing as a whole, or what a model can predict.

    Args:
        outputs: float64 ``(n, classes)`` or ``(n,)``.
        classes: number of classes; 0 for a regression.
    """
    import numpy as np

    if not classes:
        return not np.isinf(outputs).any()
    missing = np.isnan(outputs).any(axis=1)
    if not np.isnan(outputs[missing]).all():
        return False
    known = outputs[~missing]
    inside = ((known >= 0) & (known <= 1 + _NEAR)).all()
    return bool(inside and (np.abs(known.sum(axis=1) - 1) <= _NEAR).all())
