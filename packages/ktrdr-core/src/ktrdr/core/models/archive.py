"""A bundle as one zip file, to be carried from one store to another."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import uuid4

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.durable import sync_directory
from ktrdr.core.files.reading import BundleError, open_plain
from ktrdr.core.models.bundle import Bundle, parse_manifest
from ktrdr.core.models.contents import MAX_FILE_BYTES, MAX_FILES, MAX_TEXT_BYTES
from ktrdr.core.models.manifest import MANIFEST_FILE

if TYPE_CHECKING:
    from ktrdr.core.models.model_store import ModelStore

__all__ = ["export_bundle", "import_bundle"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: the same bytes whenever it is written
_BLOCK = 2**20
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def export_bundle(bundle: Bundle, path: Path, *, overwrite: bool) -> Path:
    """Write ``bundle`` to ``path``, or into it if it is a directory; equal bytes for equal bundles."""
    if path.is_dir():
        path = path / f"{bundle.manifest.name}-{bundle.manifest.version}.zip"
    if not path.parent.is_dir():
        raise BadInputError(f"there is no directory {path.parent} to export to")
    if path.exists() and not overwrite:
        raise BadInputError(f"{path} exists; choose another file, or overwrite it with --force")
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        # Stored, not deflated: what a compressor makes differs between its versions.
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED) as archive:
            for name in (MANIFEST_FILE, *sorted(bundle.manifest.files)):
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.create_system = 3
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                with open_plain(bundle.directory / name, MAX_FILE_BYTES) as source:
                    entry.file_size = source.seek(0, 2)
                    source.seek(0)
                    with archive.open(entry, "w") as target:
                        while block := source.read(_BLOCK):
                            target.write(block)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
    return path


def import_bundle(store: ModelStore, path: Path) -> Bundle:
    """Add the bundle in the zip file ``path`` to ``store``; see :meth:`ModelStore.import_bundle`."""
    if not path.exists():
        raise BadInputError(f"there is no file {path}; give one that `ktrdr models export` wrote")
    if path.is_dir():
        raise BadInputError(f"{path} is a directory; give a file that `ktrdr models export` wrote")
    try:
        with open_plain(path.resolve(), 2 * MAX_FILE_BYTES) as file, zipfile.ZipFile(file) as archive:
            entries = _entries(archive)
            manifest = parse_manifest(_read(archive, entries.pop(MANIFEST_FILE)))
            if unknown := sorted(set(entries) - set(manifest.files)):
                raise BundleError(f"{unknown[0]} is not in the manifest")
            with store.create(manifest.name) as writer:
                for name, entry in entries.items():
                    with archive.open(entry) as source, (writer.directory / name).open("xb") as target:
                        _copy(source, target, entry.file_size)
                return writer.adopt(manifest)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError) as error:
        raise BundleError(f"{path} is not an exported model: {error}") from None
    except BundleError as error:
        raise BundleError(f"{path} cannot be imported: {error}") from error


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if not _PLAIN_NAME.fullmatch(entry.filename) or entry.orig_filename != entry.filename:
            raise BundleError(f"{entry.orig_filename!r} is not a plain file name")
        if kind not in (0, stat.S_IFREG):
            raise BundleError(f"{entry.filename} is not a plain file")
        if entry.filename in entries:
            raise BundleError(f"{entry.filename} stands in it twice")
        if entry.flag_bits & 1:
            raise BundleError(f"{entry.filename} is encrypted")
        entries[entry.filename] = entry
    if MANIFEST_FILE not in entries:
        raise BundleError(f"{MANIFEST_FILE} is missing")
    if len(entries) > MAX_FILES + 1:
        raise BundleError(f"it holds {len(entries)} files, more than the {MAX_FILES} allowed")
    if sum(entry.file_size for entry in entries.values()) > MAX_FILE_BYTES:
        raise BundleError(f"it unpacks to more than {MAX_FILE_BYTES:,} bytes")
    return entries


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.file_size > MAX_TEXT_BYTES:
        raise BundleError(f"{entry.filename} has {entry.file_size:,} bytes, more than the {MAX_TEXT_BYTES:,} allowed")
    with archive.open(entry) as file:
        return file.read(MAX_TEXT_BYTES)


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    # zipfile stops at the size the entry declares, and the declared sizes were added up before.
    while block := source.read(_BLOCK):
        target.write(block)
    if target.tell() != size:
        raise BundleError("an entry is shorter than it says")
