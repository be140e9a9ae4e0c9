"""A trained model on disk: data that is checked before any of it is believed."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ktrdr.core.features.columns import crisp_columns, feature_columns
from ktrdr.core.files.reading import FileError, parse_json, read_plain, sha256_of
from ktrdr.core.models.contents import MAX_FILE_BYTES, MAX_FILES, MAX_TEXT_BYTES, BundleError, check_file
from ktrdr.core.models.manifest import MANIFEST_FILE, SCHEMA_VERSION, WEIGHTS_PREFIX, Manifest
from ktrdr.core.plugins.contract import CONTRACT_VERSION, EpochRecord, Predictor
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.model import Strategy

__all__ = [
    "HISTORY_FILE",
    "NORMALIZERS_FILE",
    "STRATEGY_FILE",
    "Bundle",
    "BundleError",
    "check_contents",
    "parse_manifest",
    "read_bundle",
]

STRATEGY_FILE = "strategy.yaml"
"""The strategy as it was written."""

NORMALIZERS_FILE = "normalizers.json"
"""The normalizers of each symbol."""

HISTORY_FILE = "history.json"
"""Every epoch of the training."""

_CORE_FILES = frozenset({STRATEGY_FILE, NORMALIZERS_FILE, HISTORY_FILE})


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model: its manifest, and the directory that holds its files.

    Reading the manifest says nothing about the other files; :meth:`verify` does, and :meth:`load_predictor` calls it.
    Nothing here imports an ML framework except :meth:`load_predictor`, through the model's own plugin.
    """

    directory: Path
    manifest: Manifest

    @property
    def ref(self) -> str:
        """``name/version``."""
        return self.manifest.ref

    @property
    def strategy(self) -> Strategy:
        """The strategy it was trained with, every override of that run included."""
        return self.manifest.strategy

    @property
    def strategy_text(self) -> str:
        """The strategy file as the user wrote it. For reading: :attr:`strategy` is what counts."""
        return self._read(STRATEGY_FILE).decode("utf-8")

    def normalizers(self) -> dict[str, Any]:
        """Return what the feature pipeline's ``with_normalizers`` takes."""
        return parse_json(self._read(NORMALIZERS_FILE), NORMALIZERS_FILE)

    def history(self) -> tuple[EpochRecord, ...]:
        """Return the epochs of training in order; a number that was not finite is NaN."""
        records = parse_json(self._read(HISTORY_FILE), HISTORY_FILE)
        try:
            return tuple(
                EpochRecord(
                    int(record["epoch"]),
                    {key: math.nan if value is None else float(value) for key, value in record["metrics"].items()},
                )
                for record in records
            )
        except (TypeError, KeyError, ValueError, AttributeError):
            raise BundleError(f"model {self.ref}: {HISTORY_FILE} is not a list of epochs") from None

    def verify(self) -> None:
        """Check everything that core alone can check.

        The files are exactly those the manifest names, with the hashes it gives, plain, and each of a kind that cannot
        hold code; feature ids and input size are those the strategy expands to; the plugin contract is one this core
        knows.

        Raises:
            BundleError: the first thing found wrong.
        """
        try:
            check_contents(self.directory, self.manifest)
            _check_features(self.manifest)
            _check_contract(self.manifest)
        except FileError as error:
            raise BundleError(f"model {self.ref} is refused: {error}") from error

    def load_predictor(self, plugins: PluginManager, device: str = "auto") -> Predictor:
        """Check the bundle and its fit with the installed plugin, then load it for prediction.

        Args:
            plugins: the installed backends.
            device: ``"auto"`` or the name of a device of the plugin.

        Raises:
            BundleError: the bundle is broken, or does not fit the plugin.
            PluginError: the plugin is not installed, or cannot be used.
            BadInputError: there is no such device.
        """
        self.verify()
        reference = self.manifest.plugin
        info = plugins.info(reference.name)
        distribution = plugins.record(reference.name).distribution
        if _normalized(distribution) != _normalized(reference.distribution):
            raise BundleError(
                f"model {self.ref} is refused: it was made by plugin `{reference.name}` of {reference.distribution}, "
                f"the one installed is of {distribution}; install {reference.distribution} in its place"
            )
        offered = {model_type.name: model_type for model_type in info.model_types}.get(self.manifest.model_type)
        if offered is None or self.manifest.output not in offered.outputs:
            raise BundleError(
                f"model {self.ref} is refused: plugin `{info.name}` {info.version} has no {self.manifest.output} "
                f"model type `{self.manifest.model_type}`; it was made with version {reference.version}"
            )
        if self.manifest.crisp != (offered.inputs == "crisp"):
            raise BundleError(
                f"model {self.ref} is refused: `{offered.name}` of plugin `{info.name}` {info.version} takes "
                f"{'indicator values' if offered.inputs == 'crisp' else 'fuzzy features'}, the model the other"
            )
        predictor = plugins.loader(reference.name).load(self.directory, device)
        given = (self.manifest.input_size, self.manifest.window)
        if (predictor.input_size, predictor.window) != given:
            raise BundleError(
                f"model {self.ref} is refused: its weights are for {predictor.input_size} features and a window of "
                f"{predictor.window}, its manifest says {given[0]} and {given[1]}"
            )
        return predictor

    def _read(self, name: str) -> bytes:
        try:
            content = read_plain(self.directory / name, MAX_TEXT_BYTES)
        except FileError as error:
            raise BundleError(f"model {self.ref} is refused: {error}") from error
        # Hash what was read, not the file: nothing can change in between.
        if hashlib.sha256(content).hexdigest() != self.manifest.files.get(name):
            raise BundleError(f"model {self.ref} is refused: {name} was changed after it was saved")
        return content


def read_bundle(directory: Path, *, name: str, version: int) -> Bundle:
    """Read the manifest in ``directory``, which the store knows as ``name/version``.

    Raises:
        BundleError: there is no manifest, it is not valid, or it is that of another model.
    """
    try:
        if directory.is_symlink() or not directory.is_dir():
            raise BundleError("it is not a directory of the model store")
        manifest = parse_manifest(read_plain(directory / MANIFEST_FILE, MAX_TEXT_BYTES))
        if (manifest.name, manifest.version) != (name, version):
            raise BundleError(f"{MANIFEST_FILE} is that of {manifest.ref}")
    except FileError as error:
        raise BundleError(f"model {name}/{version} is refused: {error}") from error
    return Bundle(directory, manifest)


def parse_manifest(content: bytes) -> Manifest:
    """Return the manifest in ``content``; a newer schema is told from a broken one."""
    value = parse_json(content, MANIFEST_FILE)
    if not isinstance(value, dict):
        raise BundleError(f"{MANIFEST_FILE} is not a map")
    schema = value.get("schema_version")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise BundleError(
            f"it has manifest schema {schema}, this core reads up to {SCHEMA_VERSION}; "
            "update core with `pip install --upgrade ktrdr-core`"
        )
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        place = f" at {where}" if where else ""
        raise BundleError(f"{MANIFEST_FILE} is not valid{place}: {first['msg']}{more}") from None
    except RecursionError:
        raise BundleError(f"{MANIFEST_FILE} is nested too deeply") from None


def check_contents(directory: Path, manifest: Manifest) -> None:
    """Check that ``directory`` holds exactly the files the manifest names, unchanged and of harmless kinds.

    Raises:
        BundleError: the first thing found wrong, naming the file.
    """
    with os.scandir(directory) as entries:
        found = {entry.name for entry in entries} - {MANIFEST_FILE}
    expected = set(manifest.files)
    if extra := sorted(found - expected):
        # What it is says more than that it is there.
        if (directory / extra[0]).is_file() and not (directory / extra[0]).is_symlink():
            check_file(directory / extra[0])
        raise BundleError(f"{extra[0]} is not in the manifest")
    if missing := sorted((expected | _CORE_FILES) - found):
        raise BundleError(f"{missing[0]} is missing")
    if not any(name.startswith(WEIGHTS_PREFIX) for name in expected):
        raise BundleError(f"there is no {WEIGHTS_PREFIX}* file")
    if len(expected) > MAX_FILES:
        raise BundleError(f"it holds {len(expected)} files, more than the {MAX_FILES} allowed")
    for name in sorted(expected):
        if sha256_of(directory / name, MAX_FILE_BYTES) != manifest.files[name]:
            raise BundleError(f"{name} was changed after it was saved: its sha256 is not the manifest's")
        check_file(directory / name)


def _check_features(manifest: Manifest) -> None:
    try:
        columns = (crisp_columns if manifest.crisp else feature_columns)(manifest.strategy)
    except KeyError as error:
        raise BundleError(f"its strategy refers to {error}, which it does not define") from None
    expected = tuple(column.id for column in columns)
    if expected == manifest.feature_ids:
        return
    for position, (wanted, given) in enumerate(zip(expected, manifest.feature_ids, strict=False)):
        if wanted != given:
            raise BundleError(
                f"its feature list does not fit its strategy: feature {position + 1} is `{given}`, "
                f"the strategy gives `{wanted}`"
            )
    raise BundleError(
        f"its feature list does not fit its strategy: {len(manifest.feature_ids)} features, "
        f"the strategy gives {len(expected)}"
    )


def _check_contract(manifest: Manifest) -> None:
    major, minor = (int(part) for part in manifest.plugin.contract.split("."))
    own_major, own_minor = (int(part) for part in CONTRACT_VERSION.split("."))
    if major == own_major and minor <= own_minor:
        return
    remedy = (
        "update core with `pip install --upgrade ktrdr-core`"
        if (major, minor) > (own_major, own_minor)
        else "train it again"
    )
    raise BundleError(
        f"it was made under plugin contract {manifest.plugin.contract}, this core has {CONTRACT_VERSION}; {remedy}"
    )


def _normalized(distribution: str) -> str:
    return distribution.lower().replace("_", "-").replace(".", "-")
