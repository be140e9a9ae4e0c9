"""The portable twins in a bundle: their files, and the comparison with the backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ktrdr.core.errors import KtrdrError, one_line
from ktrdr.core.files.archives import files_below
from ktrdr.core.files.reading import FileError
from ktrdr.core.files.safetensors import read_safetensors, write_safetensors
from ktrdr.core.inference.comparison import compare
from ktrdr.core.inference.portable_predictor import portable_predictor
from ktrdr.core.inference.twin_error import TwinError
from ktrdr.core.inference.twin_files import read_twin, write_twin
from ktrdr.core.inference.twin_names import ARRAYS_FILE, GRAPH_FILE, PROBES_FILE, twin_files
from ktrdr.core.limits import LARGEST_BUNDLE_FILE, LARGEST_TWINS, MOST_BUNDLE_FILES
from ktrdr.core.models.contents import BundleError, check_together
from ktrdr.core.models.manifest import MANIFEST_FILE, Manifest, TwinRecord
from ktrdr.core.plugins.contract import ModelLoader, Portable, Predictor, RuleBased

__all__ = ["add_twins", "backend_errors", "load_twins", "read_probes"]

_PROBES = "rows"
_FLOAT = np.dtype(np.float32)


def add_twins(directory: Path, members: Sequence[str], loader: ModelLoader, probes: np.ndarray) -> TwinRecord | None:
    """Write the twins of a model, and compare each with the backend.

    A twin that cannot be written, or predicts something else, never ends a training: the model is left without.

    Args:
        directory: of the bundle, with the files of the backend.
        members: directories of the members of an ensemble; empty for a model of one training.
        loader: of the backend.
        probes: float32 ``(n, features)``, the rows to compare on.

    Returns:
        The record for the manifest; ``None`` if the backend offers no twins.
    """
    if taken := sorted(name for name in twin_files(members) if (directory / name).exists()):
        return TwinRecord(missing=f"the backend has stored a file of its own as {taken[0]}")
    try:
        record = _write_twins([directory / place for place in members or ("",)], loader, probes)
        if record is not None:
            write_safetensors(directory / PROBES_FILE, {_PROBES: probes})
            _check_limits(directory)
        return record
    except KtrdrError as error:
        for name in twin_files(members):
            (directory / name).unlink(missing_ok=True)
        return TwinRecord(missing="".join(sign if sign.isprintable() else "?" for sign in one_line(error)))


def _write_twins(places: Sequence[Path], loader: ModelLoader, probes: np.ndarray) -> TwinRecord | None:
    rows, difference = 0, 0.0
    for place in places:
        with backend_errors():
            native = loader.load(place, "cpu")
            if not isinstance(native, Portable):
                if place == places[0]:
                    return None
                raise TwinError(f"the backend offers no twin of {place.name}")
            twin, rules = native.twin(), native.rules() if isinstance(native, RuleBased) else ()
        # Not an OSError: a full disk is no fault of the twin.
        with backend_errors(but=OSError):
            write_twin(place, twin, rules)
        portable = portable_predictor(*read_twin(place))
        with backend_errors():
            found = compare(native, portable, probes)
        rows, difference = rows + found.rows, max(difference, found.difference)
    return TwinRecord(rows=rows, difference=difference)


@contextmanager
def backend_errors(*, but: type[Exception] = KtrdrError) -> Iterator[None]:
    """Convert what a backend raises in the block into a :class:`TwinError`, except for errors of KTRDR and ``but``."""
    try:
        yield
    except (KtrdrError, but):
        raise
    except Exception as error:  # a backend may raise anything: the model is trained, and is to be stored
        raise TwinError(one_line(error, named=True)) from error


def load_twins(directory: Path, manifest: Manifest) -> list[Predictor]:
    """Return predictors over the twins of a bundle, whose files have been checked: one for each training.

    Raises:
        BundleError: a twin is broken or hostile, or is not of the model in the manifest.
    """
    predictors: list[Predictor] = []
    wanted = (manifest.input_size, manifest.window, manifest.output, len(manifest.classes) or 1)
    for place in manifest.member_directories or ("",):
        try:
            graph, arrays = read_twin(directory / place)
        except FileError as error:
            raise BundleError(f"in {place}: {error}" if place else str(error)) from error
        if (found := (graph.input_size, graph.window, graph.output, graph.outputs)) != wanted:
            raise BundleError(
                f"{place or GRAPH_FILE} has a twin of {_words(*found)}, {MANIFEST_FILE} says {_words(*wanted)}"
            )
        predictors.append(portable_predictor(graph, arrays))
    return predictors


def read_probes(directory: Path, manifest: Manifest) -> np.ndarray:
    """Return the rows that the twins of a bundle were compared on, float32 ``(n, features)``.

    Raises:
        BundleError: the file is broken, or of another number of features.
    """
    try:
        arrays = read_safetensors(directory / PROBES_FILE, LARGEST_BUNDLE_FILE)
    except FileError as error:
        raise BundleError(str(error)) from error
    rows = arrays.get(_PROBES)
    if (
        len(arrays) != 1
        or rows is None
        or rows.ndim != 2
        or (rows.dtype, rows.shape[1]) != (_FLOAT, manifest.input_size)
    ):
        raise BundleError(f"{PROBES_FILE} has no float32 array {_PROBES!r} of {manifest.input_size:,} columns")
    return rows


def _words(inputs: int, window: int, output: str, outputs: int) -> str:
    return f"a {output} with {inputs:,} inputs, a window of {window:,} and {outputs:,} outputs"


def _check_limits(directory: Path) -> None:
    files = [directory / name for name in files_below(directory)]
    if len(files) > MOST_BUNDLE_FILES:
        raise BundleError(f"with its twin the model has {len(files)} files, more than the {MOST_BUNDLE_FILES} allowed")
    check_together(files)
    sizes = {path: path.stat().st_size for path in files}
    twins = sum(size for path, size in sizes.items() if path.name == ARRAYS_FILE)
    if twins > LARGEST_TWINS:
        raise BundleError(f"its twin has {twins:,} bytes, more than the {LARGEST_TWINS:,} allowed")
    if sum(sizes.values()) > LARGEST_BUNDLE_FILE:
        raise BundleError(f"with its twin the model has more than the {LARGEST_BUNDLE_FILE:,} bytes of an export")
