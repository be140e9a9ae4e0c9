"""The model store: `<root>/<name>/<version>/`, one bundle each, to which only a portable twin is added later."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from ktrdr.core.errors import BadInputError, NotFoundError
from ktrdr.core.files.durable import (
    DISCARDED,
    UNFINISHED,
    discard_directory,
    publish_directory,
    sync_directory,
    sync_file,
    writing,
)
from ktrdr.core.files.json_values import plain_json
from ktrdr.core.files.reading import FileError, sha256_of
from ktrdr.core.home import home_directory
from ktrdr.core.inference.twin_names import twin_files
from ktrdr.core.limits import LARGEST_BUNDLE_FILE, LARGEST_VERSION, MOST_JSON_VALUES
from ktrdr.core.models.bundle import (
    HISTORY_FILE,
    NORMALIZERS_FILE,
    STRATEGY_FILE,
    Bundle,
    BundleError,
    check_contents,
    found_files,
    read_bundle,
)
from ktrdr.core.models.manifest import BUNDLE_FORMAT, MANIFEST_FILE, Manifest, ManifestFields, TwinRecord
from ktrdr.core.names import NAME_PATTERN, VERSION_PATTERN
from ktrdr.core.parameters import did_you_mean
from ktrdr.core.plugins.contract import EpochRecord

__all__ = ["BundleWriter", "ModelEntry", "ModelStore", "default_model_store"]

_NAME = re.compile(NAME_PATTERN)
_VERSION = re.compile(VERSION_PATTERN)
# Older versions could store numbers longer than VERSION_PATTERN, which are listed as broken.
_BEYOND = re.compile(r"[1-9][0-9]*")
# Files in the directory of a name; they cannot be mistaken for versions.
_TAKEN = ".versions"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """An entry of the list of models: its ``manifest``, or the ``problem`` why the bundle is refused."""

    name: str
    version: int
    manifest: Manifest | None
    problem: str = ""

    @property
    def ref(self) -> str:
        """``name/version``."""
        return f"{self.name}/{self.version}"


class BundleWriter:
    """Collects the files of one bundle in :attr:`directory`, which is not visible in the store before :meth:`commit`.

    A plugin's storage writes into the same directory, or that of an ensemble's member: plain files only, no
    subdirectories.
    """

    def __init__(self, place: Path, directory: Path, name: str) -> None:
        self.directory = directory
        self.bundle: Bundle | None = None
        self._place = place
        self._name = name

    def write_strategy(self, text: str) -> None:
        """Write the strategy file, unchanged."""
        (self.directory / STRATEGY_FILE).write_text(text, encoding="utf-8")

    def write_normalizers(self, normalizers: Mapping[str, Any]) -> None:
        """Write what ``FeaturePipeline.normalizers`` returned. Raises ``ValueError`` for NaN."""
        content = json.dumps(normalizers, indent=1, ensure_ascii=False, allow_nan=False)
        (self.directory / NORMALIZERS_FILE).write_text(content + "\n", encoding="utf-8")

    def write_history(self, history: Iterable[EpochRecord], *, place: str = "", histories: int = 1) -> None:
        """Write the epochs of training; of more than a bundle may hold, every n-th epoch and the last.

        Args:
            history: the epochs, in order.
            place: directory of a member of an ensemble, which is made if it is missing.
            histories: number of histories in the bundle, which share its limit.
        """
        thinned = _thinned([*history], histories)
        records = [{"epoch": record.epoch, "metrics": plain_json(record.metrics)} for record in thinned]
        content = json.dumps(records, indent=1, allow_nan=False)
        (self.directory / place).mkdir(parents=True, exist_ok=True)
        (self.directory / place / HISTORY_FILE).write_text(content + "\n", encoding="utf-8")

    def commit(self, fields: ManifestFields) -> Bundle:
        """Hash and check the files, take the next version, and make the bundle visible in one step.

        If the store already has a bundle of the same ``fields.operation``, that bundle is returned and this one is
        dropped: an attempt that was given up as lost may still finish.

        Raises:
            BundleError: a file is missing or of a forbidden kind; nothing is stored.
        """
        if fields.strategy.name != self._name:
            raise ValueError(f"the strategy is called {fields.strategy.name!r}, the bundle {self._name!r}")
        if fields.operation is None:
            return self._complete(fields)
        with FileLock(self._place / _LOCK):
            self.bundle = self._left_by(fields.operation)
            return self.bundle or self._complete(fields)

    def adopt(self, manifest: Manifest, *, own: bool = False, keep_number: bool = False) -> tuple[Bundle, bool]:
        """Store a bundle that was committed in another store.

        It gets the next version of its name, as a trained bundle does; its reference in the store that trained it
        becomes its ``origin``. A bundle that is stored already is not added again.

        Args:
            manifest: manifest of the bundle.
            own: True for a bundle that a worker and the API exchange: it gets no origin.
            keep_number: True to keep its version, if that is free.

        Returns:
            The stored bundle, and whether it was added.

        Raises:
            BundleError: the bundle does not pass :meth:`Bundle.verify`; nothing is stored.
        """
        Bundle(self.directory, manifest).verify()
        with FileLock(self._place / _LOCK):
            stored = self._same_as(manifest)
            if stored is not None:
                return stored, False
            number = _take_version(self._place, manifest.version if keep_number else None)
            origin = manifest.origin or (None if own else manifest.ref)
            changes = {"schema_version": BUNDLE_FORMAT, "version": number, "origin": origin}
            return self._publish(manifest.model_copy(update=changes)), True

    def adopt_twin(self, bundle: Bundle, record: TwinRecord) -> Bundle:
        """Move the files of a portable twin from :attr:`directory` into a stored bundle.

        The manifest is replaced last. Until then nothing reads the files, so a killed process damages nothing.

        Args:
            bundle: a stored bundle without a twin.
            record: what the manifest is to say about the twin.
        """
        names = twin_files(bundle.manifest.member_directories)
        hashes = {name: sha256_of(self.directory / name, LARGEST_BUNDLE_FILE) for name in names}
        staged = self.directory / MANIFEST_FILE
        for name in names:
            sync_file(self.directory / name)
        with FileLock(self._place / _LOCK):
            # Another process may have added it, or deleted the bundle.
            current = read_bundle(bundle.directory, name=bundle.manifest.name, version=bundle.manifest.version)
            if current.manifest.portable:
                return current
            for name in names:
                (self.directory / name).replace(bundle.directory / name)
                sync_directory((bundle.directory / name).parent)
            files = dict(sorted((bundle.manifest.files | hashes).items()))
            changes = {"schema_version": BUNDLE_FORMAT, "twin": record, "files": files}
            manifest = current.manifest.model_copy(update=changes)
            # Staged here: an unfinished file in the directory of the bundle would be a file too many.
            staged.write_bytes(_manifest_json(manifest))
            sync_file(staged)
            staged.replace(bundle.directory / MANIFEST_FILE)
            sync_directory(bundle.directory)
        return Bundle(bundle.directory, manifest)

    def _same_as(self, manifest: Manifest) -> Bundle | None:
        for bundle in self._stored():
            if bundle.manifest.same_as(manifest) and (bundle.manifest.portable or not manifest.portable):
                try:
                    bundle.verify()
                except BundleError:
                    continue  # the stored copy is damaged, the new one is not
                return bundle
        return None

    def _stored(self) -> Iterator[Bundle]:
        """Yield the stored bundles whose manifests can be read, the latest first."""
        for version in sorted(_numbers(self._place), reverse=True):
            with suppress(BundleError):
                yield read_bundle(self._place / str(version), name=self._name, version=version)

    def _left_by(self, operation: str) -> Bundle | None:
        return next((bundle for bundle in self._stored() if bundle.manifest.operation == operation), None)

    def _complete(self, fields: ManifestFields) -> Bundle:
        """Hash and check the files, and publish them under the next version."""
        known = {name: getattr(fields, name) for name in ManifestFields.model_fields}
        names = sorted(found_files(self.directory, fields.member_directories))
        try:
            files = {name: sha256_of(self.directory / name, LARGEST_BUNDLE_FILE) for name in names}
        except FileError as error:
            raise BundleError(f"the bundle of {self._name} cannot be saved: {error}") from error
        draft = {
            **known,
            "schema_version": BUNDLE_FORMAT,
            "name": self._name,
            "version": 1,
            "created": dt.datetime.now(dt.UTC).replace(microsecond=0),
            "files": files,
        }
        try:
            manifest = Manifest.model_validate(draft)
        except ValueError as error:
            raise BundleError(f"the bundle of {self._name} cannot be saved: {error}") from None
        check_contents(self.directory, manifest)
        return self._publish(manifest.model_copy(update={"version": _take_version(self._place, None)}))

    def _publish(self, manifest: Manifest) -> Bundle:
        (self.directory / MANIFEST_FILE).write_bytes(_manifest_json(manifest))
        target = self._place / str(manifest.version)
        publish_directory(self.directory, target)
        self.bundle = Bundle(target, manifest)
        return self.bundle


class ModelStore:
    """The bundles below ``root``. Any number of processes may use it at once; no ML framework is needed.

    Args:
        root: directory of the store.

    Example:
        >>> from pathlib import Path
        >>> from ktrdr.core.models import ModelStore
        >>> ModelStore(Path("home/models")).names()
        ('neuro_mean_reversion',)
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def create(self, name: str) -> Iterator[BundleWriter]:
        """Yield a writer for the next version of a model.

        Nothing is stored without :meth:`BundleWriter.commit`, or if the process dies. Files that a dead process left
        behind are removed the next time a version of ``name`` is created.

        Args:
            name: of the model.

        Yields:
            The writer of the files.

        Raises:
            StoreError: the disk is full, or the place is not writable.
        """
        _check_name(name)
        place = self.root / name
        with writing(f"to {place}", "no model was stored"):
            place.mkdir(parents=True, exist_ok=True)
            directory = place / f"{UNFINISHED}{uuid4().hex}"
            lock = FileLock(_lock_of(directory))
            with FileLock(place / _LOCK):
                _sweep(place)
                # The lock shows that this process is alive: the system releases it when the process ends.
                lock.acquire()
                directory.mkdir()
            try:
                yield BundleWriter(place, directory, name)
            finally:
                shutil.rmtree(directory, ignore_errors=True)
                with FileLock(place / _LOCK):
                    lock.release()
                    _lock_of(directory).unlink(missing_ok=True)

    def list(self, name: str | None = None) -> tuple[ModelEntry, ...]:
        """Return all bundles, or those of one name.

        Only manifests are read: a changed weights file is found by :meth:`verify`.

        Args:
            name: of a model; by default of all.

        Returns:
            Entries sorted by name and version; a broken bundle has a ``problem``.
        """
        entries = []
        for found in self._places() if name is None else [name]:
            for version in self._all_versions(found):
                try:
                    manifest = read_bundle(self.root / found / str(version), name=found, version=version).manifest
                except BundleError as error:
                    entries.append(ModelEntry(found, version, None, str(error)))
                else:
                    entries.append(ModelEntry(found, version, manifest))
        return tuple(entries)

    def names(self) -> tuple[str, ...]:
        """Return the names that have at least one version."""
        return tuple(name for name in self._places() if self.versions(name))

    def _places(self) -> Sequence[str]:
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if _NAME.fullmatch(path.name))

    def versions(self, name: str) -> tuple[int, ...]:
        """Return the versions of a model.

        Args:
            name: of the model.

        Returns:
            Ascending numbers, empty if there is no such model. The last is the latest.
        """
        return tuple(version for version in self._all_versions(name) if version <= LARGEST_VERSION)

    def _all_versions(self, name: str) -> tuple[int, ...]:
        """Return all versions, including numbers above :data:`~ktrdr.core.limits.LARGEST_VERSION`."""
        _check_name(name)
        place = self.root / name
        return tuple(sorted(_numbers(place, _BEYOND))) if place.is_dir() else ()

    def get(self, ref: str) -> Bundle:
        """Return a stored bundle. Only its manifest is checked.

        Args:
            ref: ``name/version``, or ``name`` for the latest version.

        Returns:
            The bundle.

        Raises:
            NotFoundError: there is no such model; the message names what is stored.
            BadInputError: ``ref`` is not a reference to a model.
            BundleError: its manifest is broken, or of a newer format.
        """
        name, version = self._resolve(ref)
        return read_bundle(self.root / name / str(version), name=name, version=version)

    def verify(self, ref: str) -> Bundle:
        """Return a stored bundle after :meth:`Bundle.verify`.

        Args:
            ref: ``name/version``, or ``name`` for the latest version.

        Returns:
            The bundle.

        Raises:
            NotFoundError: there is no such model; the message names what is stored.
            BadInputError: ``ref`` is not a reference to a model.
            BundleError: a file is broken or was changed; the message names it.
        """
        bundle = self.get(ref)
        bundle.verify()
        return bundle

    def add_twin(self, ref: str, make: Callable[[Bundle], TwinRecord]) -> Bundle:
        """Add a portable twin to a bundle, which keeps its version.

        Args:
            ref: ``name/version``, or ``name`` for the latest version.
            make: receives a copy of the bundle, writes the files of the twin into its directory, and returns what the
                manifest is to say about them.

        Returns:
            The bundle with its twin.

        Raises:
            NotFoundError: there is no such model; the message names what is stored.
            BadInputError: ``ref`` is not a reference to a model, or the model has a twin.
            BundleError: the bundle is broken.
            StoreError: the disk is full, or the place is not writable; the bundle is unchanged.
        """
        bundle = self.verify(ref)
        manifest = bundle.manifest
        if manifest.portable:
            raise BadInputError(f"model {bundle.ref} has a portable twin already; `ktrdr models verify` compares it")
        with self.create(manifest.name) as writer:
            for name in manifest.files:
                (writer.directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.directory / name, writer.directory / name)
            return writer.adopt_twin(bundle, make(Bundle(writer.directory, manifest)))

    def delete(self, ref: str) -> str:
        """Delete one version, broken or not. Its number is not used again.

        Args:
            ref: ``name/version``, or ``name`` if the model has one version.

        Returns:
            The ``name/version`` that was deleted.

        Raises:
            NotFoundError: there is no such model.
            BadInputError: ``ref`` has no version although the model has several.
        """
        name, version = self._resolve(ref)
        if "/" not in ref and len(self.versions(name)) > 1:
            versions = ", ".join(str(found) for found in self.versions(name))
            raise BadInputError(f"`{name}` has versions {versions}; say which to delete, such as `{name}/{version}`")
        place = self.root / name
        bundle = place / str(version)
        if bundle.is_symlink() or not bundle.is_dir():
            bundle.unlink()
        else:
            discard_directory(bundle)
        return f"{name}/{version}"

    def _resolve(self, ref: str) -> tuple[str, int]:
        name, slash, number = ref.partition("/") if isinstance(ref, str) else ("", "", "")
        if not _NAME.fullmatch(name) or (slash and not _VERSION.fullmatch(number)):
            raise BadInputError(f"{ref!r} does not name a model; write `name` for the latest version, or `name/3`")
        versions = self.versions(name)
        if not versions:
            names = self.names()
            hint = did_you_mean(name, names) or (
                "; see `ktrdr models list`" if names else "; the store is empty, `ktrdr train` fills it"
            )
            raise NotFoundError(f"there is no model `{name}` in {self.root}{hint}")
        if not slash:
            return name, versions[-1]
        if int(number) not in versions:
            raise NotFoundError(
                f"model `{name}` has no version {number}; it has {', '.join(str(version) for version in versions)}"
            )
        return name, int(number)


def default_model_store() -> ModelStore:
    """Return the store in `$KTRDR_HOME/models`."""
    return ModelStore(home_directory() / "models")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadInputError(
            f"{name!r} cannot be the name of a model: letters, digits, `-` and `_`, at most 64, first a letter or digit"
        )


def _manifest_json(manifest: Manifest) -> bytes:
    content = json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    return f"{content}\n".encode()


def _thinned(history: Sequence[EpochRecord], histories: int) -> Sequence[EpochRecord]:
    values = 3 + max((len(record.metrics) for record in history), default=0)
    every = -(-len(history) * values // (MOST_JSON_VALUES // 2 // histories))
    return history if every <= 1 else [*history[:-1:every], history[-1]]


def _numbers(place: Path, pattern: re.Pattern[str] = _VERSION) -> list[int]:
    return [int(path.name) for path in place.iterdir() if pattern.fullmatch(path.name)]


def _take_version(place: Path, wanted: int | None) -> int:
    """Claim ``wanted`` if it is free, else the largest version so far plus one, and return it.

    A version is claimed by making a directory, which succeeds in one process only. Numbers above
    :data:`~ktrdr.core.limits.LARGEST_VERSION` are ignored.
    """
    taken = place / _TAKEN
    taken.mkdir(exist_ok=True)
    if wanted is not None and not (place / str(wanted)).exists():
        try:
            (taken / str(wanted)).mkdir()
        except FileExistsError:
            pass
        else:
            return wanted
    while True:
        version = max((*_numbers(place), *_numbers(taken)), default=0) + 1
        if version > LARGEST_VERSION:
            raise BadInputError(
                f"model `{place.name}` has no version left: {place / str(LARGEST_VERSION)} is the last that can be;"
                " store it under another name"
            )
        try:
            (taken / str(version)).mkdir()
        except FileExistsError:
            continue
        return version


def _lock_of(directory: Path) -> Path:
    return directory.with_name(directory.name + _LOCK)


def _sweep(place: Path) -> None:
    """Remove the files of dead processes. The caller holds the lock of ``place``."""
    names = {path.name for path in place.iterdir()}
    for name in names:
        if name.startswith(DISCARDED):
            shutil.rmtree(place / name, ignore_errors=True)
    for name in {name.removesuffix(_LOCK) for name in names if name.startswith(UNFINISHED)}:
        directory = place / name
        lock = FileLock(_lock_of(directory), blocking=False)
        try:
            lock.acquire()
        except Timeout:
            continue  # its writer is alive
        shutil.rmtree(directory, ignore_errors=True)
        lock.release()
        _lock_of(directory).unlink(missing_ok=True)
