"""Export of a bundle to one zip file, and import of such a file into another store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.archives import ArchiveError, ArchiveLimits, open_archive, write_archive
from ktrdr.core.files.export_path import check_export_path
from ktrdr.core.files.reading import FileError, read_plain
from ktrdr.core.limits import LARGEST_BUNDLE_FILE, LARGEST_MANIFEST, MOST_BUNDLE_FILES
from ktrdr.core.models.bundle import Bundle, parse_manifest
from ktrdr.core.models.contents import BundleError
from ktrdr.core.models.manifest import MANIFEST_FILE
from ktrdr.core.models.model_store import ModelStore

__all__ = ["ImportedBundle", "export_bundle", "import_bundle"]

# One file is the manifest; the files of an ensemble's members are in directories of a directory.
_LIMITS = ArchiveLimits(files=MOST_BUNDLE_FILES + 1, size=LARGEST_BUNDLE_FILE, depth=3)


@dataclass(frozen=True, slots=True)
class ImportedBundle:
    """The result of an import: the stored bundle, and whether it was ``added`` or stored already."""

    bundle: Bundle
    added: bool


def export_bundle(store: ModelStore, ref: str, path: Path, *, overwrite: bool = False, remedy: str = "--force") -> Path:
    """Verify a bundle of ``store``, write it to a zip file and return its path. Equal bundles give equal bytes.

    Args:
        store: store of the bundle.
        ref: ``name`` for the latest version of a model, ``name/3`` for one version.
        path: path of the file; in an existing directory the file is called ``<name>-<version>.zip``.
        overwrite: True to replace an existing file.
        remedy: see :func:`~ktrdr.core.files.export_path.check_export_path`.

    Raises:
        BadInputError: there is no such model or no such directory, or the file exists and ``overwrite`` is False.
        BundleError: the bundle is broken.
        StoreError: the disk is full, or the place is not writable.
    """
    found = store.get(ref)
    # The manifest that is verified is the one that is written: a twin may be added meanwhile.
    content = read_plain(found.directory / MANIFEST_FILE, LARGEST_MANIFEST)
    bundle = Bundle(found.directory, parse_manifest(content))
    bundle.verify()
    if path.is_dir():
        path = path / f"{bundle.manifest.name}-{bundle.manifest.version}.zip"
    check_export_path(path, overwrite=overwrite, remedy=remedy)
    names = [MANIFEST_FILE, *sorted(bundle.manifest.files)]
    write_archive(path, bundle.directory, names, _LIMITS, contents={MANIFEST_FILE: content})
    return path


def import_bundle(store: ModelStore, path: Path, *, own: bool = False, keep_number: bool = False) -> ImportedBundle:
    """Verify an exported bundle and add it to ``store``.

    It gets the next version of its name; its reference in the store that trained it becomes its ``origin``. A bundle
    that is stored already is not added again.

    Args:
        store: store to add the bundle to.
        path: path of the exported bundle.
        own: True for a bundle that a worker and the API exchange: it gets no origin.
        keep_number: True to keep its version, if that is free, as in the store that a worker has for one operation.

    Raises:
        BadInputError: there is no such file.
        BundleError: the file is not an exported bundle, or the bundle is broken, hostile or newer than this core.
    """
    if not path.exists():
        raise BadInputError(f"there is no file {path}; give one that `ktrdr models export` wrote")
    if path.is_dir():
        raise BadInputError(f"{path} is a directory; give a file that `ktrdr models export` wrote")
    try:
        with open_archive(path.resolve(), _LIMITS) as archive:
            if MANIFEST_FILE not in archive.names:
                raise BundleError(f"{MANIFEST_FILE} is missing")
            manifest = parse_manifest(archive.read(MANIFEST_FILE, LARGEST_MANIFEST))
            files = archive.names - {MANIFEST_FILE}
            if unknown := sorted(files - set(manifest.files)):
                raise BundleError(f"{unknown[0]} is not in the manifest")
            with store.create(manifest.name) as writer:
                archive.extract(writer.directory, files)
                return ImportedBundle(*writer.adopt(manifest, own=own, keep_number=keep_number))
    except ArchiveError as error:
        raise BundleError(f"{path} is not an exported model: {error}") from None
    except FileError as error:
        raise BundleError(f"{path} cannot be imported: {error}") from error
