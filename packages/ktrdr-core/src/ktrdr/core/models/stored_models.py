"""Functions over the stored models of ``KTRDR_HOME``: list, load, verify, export, import and delete them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrdr.core.models import archive
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_store import ModelEntry, default_model_store
from ktrdr.core.typed_frame import typed_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["delete", "export", "import_file", "list", "load", "verify"]

_COLUMNS = {
    "created": "datetime64[us, UTC]",
    "type": "str",
    "backend": "str",
    "symbols": "str",
    "features": "Int64",
    "state": "str",
    "origin": "str",
    "problem": "str",
}


def list(name: str | None = None) -> pd.DataFrame:
    """Return the stored models, sorted by name and version.

    Only manifests are read. A changed weights file is found by :func:`verify`.

    Args:
        name: to return the versions of this model only; all models if None.

    Returns:
        One row per version, no row if there is none. The index ``model`` is ``name/version``. Columns:

        - ``created`` (datetime64[us, UTC]): when the model was stored.
        - ``type`` (str): model type, such as ``mlp``, or ``ensemble of 5 mlp``.
        - ``backend`` (str): plugin that trained the model, such as ``torch``.
        - ``symbols`` (str): symbols of the training data, separated by spaces.
        - ``features`` (Int64): number of feature columns.
        - ``state`` (str): ``ok``, or ``broken`` if the manifest cannot be read; the columns before are then missing.
        - ``origin`` (str): ``name/version`` of an imported model in the store that trained it, else missing.
        - ``problem`` (str): why the model is broken, empty for ``ok``.

    Raises:
        BadInputError: ``name`` cannot be the name of a model.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.models.list()[["type", "backend", "symbols", "features", "state"]]
                               type backend symbols  features state
        model
        neuro_mean_reversion/1  mlp   torch  EURUSD        18    ok
    """
    entries = default_model_store().list(name)
    labels = [entry.ref for entry in entries]
    return typed_frame(_COLUMNS, [_cells(entry) for entry in entries], labels, index="model", index_dtype="str")


def load(ref: str) -> Bundle:
    """Return a stored model.

    Its manifest is checked; its other files are checked when they are read.

    Args:
        ref: ``name`` for the latest version of a model, ``name/3`` for one version.

    Returns:
        The bundle: ``manifest``, ``strategy``, ``history()`` and the directory of its files.

    Raises:
        NotFoundError: there is no such model; the message names what is stored.
        BadInputError: ``ref`` is not a reference to a model.
        BundleError: the manifest is broken, or a newer KTRDR wrote it.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.models.load("neuro_mean_reversion")
        <Bundle neuro_mean_reversion/1: mlp trained with torch on EURUSD 1h, 2017-01-01 to 2017-09-29, 18 inputs>
        >>> kt.models.load("neuro_mean_reversion/1").manifest.classes
        ('BUY', 'HOLD', 'SELL')
    """
    return default_model_store().get(ref)


def verify(ref: str) -> Bundle:
    """Check every file of a stored model: its hash, its kind, and that all files fit together.

    Args:
        ref: ``name`` for the latest version of a model, ``name/3`` for one version.

    Returns:
        The bundle.

    Raises:
        NotFoundError: there is no such model.
        BadInputError: ``ref`` is not a reference to a model.
        BundleError: the model is refused; the message says which file is wrong and how.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.models.verify("neuro_mean_reversion").ref
        'neuro_mean_reversion/1'
    """
    return default_model_store().verify(ref)


def export(ref: str, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a model to one zip file, after verifying it. Equal models give equal bytes.

    Args:
        ref: ``name`` for the latest version of a model, ``name/3`` for one version.
        path: path of the file; in an existing directory the file is called ``<name>-<version>.zip``.
        overwrite: True to replace an existing file.

    Returns:
        The path of the file.

    Raises:
        NotFoundError: there is no such model.
        BadInputError: the directory does not exist, or the file exists and ``overwrite`` is False.
        BundleError: the model is broken.
        StoreError: the disk is full or not writable.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.models.export("neuro_mean_reversion", ".").name
        'neuro_mean_reversion-1.zip'
    """
    target = Path(path).expanduser()
    return archive.export_bundle(default_model_store(), ref, target, overwrite=overwrite, remedy="overwrite=True")


def import_file(path: str | os.PathLike[str]) -> Bundle:
    """Add a model from a file that :func:`export` wrote, after verifying it.

    The model gets the next version of its name. Its reference in the store that trained it is kept as
    ``manifest.origin``. A model that is stored already is not added again.

    Args:
        path: path of the zip file.

    Returns:
        The bundle as it is stored here.

    Raises:
        BadInputError: there is no such file.
        BundleError: the file is not an exported model, or the model is broken or of a newer KTRDR.
        StoreError: the disk is full or not writable.

    Example:
        >>> import ktrdr.core as kt
        >>> file = kt.models.export("neuro_mean_reversion", ".")
        >>> _ = kt.models.delete("neuro_mean_reversion/1")
        >>> kt.models.import_file(file).ref
        'neuro_mean_reversion/2'
    """
    return archive.import_bundle(default_model_store(), Path(path).expanduser()).bundle


def delete(ref: str) -> str:
    """Delete one version of a model, broken or not. Its version number is not used again.

    Args:
        ref: ``name/3``; ``name`` is enough for a model with one version.

    Returns:
        ``name/version`` of the deleted model.

    Raises:
        NotFoundError: there is no such model.
        BadInputError: ``ref`` is not a reference to a model, or names no version while there are several.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.models.delete("neuro_mean_reversion/1")
        'neuro_mean_reversion/1'
        >>> kt.models.list().empty
        True
    """
    return default_model_store().delete(ref)


def _cells(entry: ModelEntry) -> Sequence[Any]:
    manifest = entry.manifest
    if manifest is None:
        return None, None, None, None, None, "broken", None, entry.problem
    return (
        manifest.created,
        manifest.strategy.model.words,
        manifest.plugin.name,
        " ".join(manifest.data.symbols),
        manifest.input_size,
        "ok",
        manifest.origin,
        "",
    )
