"""Models travel as one zip file, and are believed only after they are verified."""

from __future__ import annotations

import json
import stat
import zipfile

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.limits import MOST_BUNDLE_FILES
from ktrdr.core.models.archive import export_bundle, import_bundle
from ktrdr.core.models.bundle import BundleError
from ktrdr.core.models.model_store import ModelStore


@pytest.fixture
def elsewhere(tmp_path):
    return ModelStore(tmp_path / "elsewhere")


@pytest.fixture
def exported(store, add, tmp_path):
    add()
    return export_bundle(store, "waves/1", tmp_path)


def test_a_model_goes_from_one_store_to_another_unchanged(store, elsewhere, exported):
    assert exported.name == "waves-1.zip"
    imported = import_bundle(elsewhere, exported)
    assert (imported.bundle.ref, imported.added) == ("waves/1", True)
    elsewhere.verify("waves/1")
    for path in (store.root / "waves" / "1").iterdir():
        if path.name != "manifest.json":
            assert path.read_bytes() == (imported.bundle.directory / path.name).read_bytes()
    before = store.get("waves/1").manifest
    assert imported.bundle.manifest == before.model_copy(update={"origin": "waves/1"})
    assert imported.bundle.manifest.weights_hash == before.weights_hash


def test_equal_bundles_give_equal_bytes(store, elsewhere, exported, tmp_path):
    again = export_bundle(store, "waves/1", tmp_path / "again.zip")
    assert exported.read_bytes() == again.read_bytes()
    third = ModelStore(tmp_path / "third")
    far = [tmp_path / "far.zip", tmp_path / "farther.zip"]
    for place, path in zip((elsewhere, third), far, strict=True):
        import_bundle(place, exported)
        export_bundle(place, "waves/1", path)
    assert far[0].read_bytes() == far[1].read_bytes()


def test_an_import_gets_the_next_number_and_keeps_what_it_was_called(store, elsewhere, add, tmp_path):
    for weights in (b"\1" * 8, b"\2" * 8, b"\3" * 8):
        add(weights)
    paths = [export_bundle(store, f"waves/{version}", tmp_path) for version in (3, 1, 2)]
    imported = [import_bundle(elsewhere, path).bundle for path in paths]
    assert [bundle.ref for bundle in imported] == ["waves/1", "waves/2", "waves/3"]
    assert [bundle.manifest.origin for bundle in imported] == ["waves/3", "waves/1", "waves/2"]
    assert elsewhere.get("waves").manifest.origin == "waves/2"
    # Farther on it is still what it was called where it was trained.
    onwards = import_bundle(ModelStore(tmp_path / "third"), export_bundle(elsewhere, "waves/3", tmp_path / "on.zip"))
    assert (onwards.bundle.ref, onwards.bundle.manifest.origin) == ("waves/1", "waves/2")


def test_the_same_bundle_is_added_once(store, elsewhere, exported, tmp_path):
    first = import_bundle(elsewhere, exported)
    again = import_bundle(elsewhere, exported)
    assert (again.bundle.ref, again.added) == (first.bundle.ref, False)
    assert elsewhere.versions("waves") == (1,)
    # Nor where it comes from, whatever it was called in between.
    back = import_bundle(store, export_bundle(elsewhere, "waves/1", tmp_path / "back.zip"))
    assert (back.bundle.ref, back.added) == ("waves/1", False)
    assert store.get("waves/1").manifest.origin is None
    # A number is not given again; what was deleted can be imported again.
    elsewhere.delete("waves/1")
    assert import_bundle(elsewhere, exported).bundle.ref == "waves/2"


def test_a_damaged_bundle_is_replaced_by_a_whole_one(elsewhere, exported):
    damaged = import_bundle(elsewhere, exported).bundle
    (damaged.directory / "history.json").write_text("[]")
    again = import_bundle(elsewhere, exported)
    assert (again.bundle.ref, again.added) == ("waves/2", True)
    elsewhere.verify("waves/2")


@pytest.mark.parametrize("number", [999_999_999, 10**18, 10**19 - 1])
def test_a_huge_number_hides_no_later_model(elsewhere, exported, number):
    rezip(exported, manifest_with(version=number))
    imported = import_bundle(elsewhere, exported).bundle
    assert (imported.ref, imported.manifest.origin) == ("waves/1", f"waves/{number}")


@pytest.mark.parametrize("number", [0, -1, 10**19, 10**40, 1.0, "1", None, True])
def test_a_number_that_none_can_have_is_refused(elsewhere, exported, number):
    rezip(exported, manifest_with(version=number))
    with pytest.raises(BundleError, match=r"manifest\.json is not valid( at version| JSON: .* more than 40 digits)"):
        import_bundle(elsewhere, exported)
    assert elsewhere.list() == ()


def test_a_worker_gets_the_very_same_bundle(store, exported, tmp_path, add):
    own = ModelStore(tmp_path / "own")
    add(), add(b"\2" * 8)
    path = export_bundle(store, "waves/3", tmp_path)
    assert import_bundle(own, path, own=True, keep_number=True).bundle.manifest == store.get("waves/3").manifest
    # What it leaves is this store's own.
    taken = import_bundle(ModelStore(tmp_path / "api"), path, own=True).bundle.manifest
    assert (taken.ref, taken.origin) == ("waves/1", None)


def test_an_existing_file_is_not_overwritten_unasked(store, exported):
    with pytest.raises(BadInputError, match="--force"):
        export_bundle(store, "waves/1", exported)
    before = exported.read_bytes()
    export_bundle(store, "waves/1", exported, overwrite=True)
    assert exported.read_bytes() == before
    with pytest.raises(BadInputError, match="there is no directory"):
        export_bundle(store, "waves/1", exported / "x" / "y.zip")


def test_a_broken_model_is_not_exported(store, add, tmp_path):
    (add().directory / "history.json").write_text("[1]")
    with pytest.raises(BundleError, match="was changed"):
        export_bundle(store, "waves/1", tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def rezip(path, change):
    """Rewrite the archive with ``change(list of (ZipInfo, content))``."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in change(entries):
            archive.writestr(entry, content)


def named(name, content=b"x", mode=stat.S_IFREG | 0o644):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    return entry, content


def manifest_with(**changes):
    def change(entries):
        (entry, content), *rest = entries
        return [(entry, json.dumps(json.loads(content) | changes).encode()), *rest]

    return change


HOSTILE = {
    "zip slip": (lambda entries: [*entries, named("../../evil.json")], "not a plain file name"),
    "absolute": (lambda entries: [*entries, named("/tmp/evil.json")], "not a plain file name"),
    "backslash": (lambda entries: [*entries, named("..\\evil.json")], "not a plain file name"),
    "directory": (lambda entries: [*entries, named("deep/evil.json")], "deep/evil.json is not in the manifest"),
    "deep directory": (lambda entries: [*entries, named("deep/er/and/evil.json")], "not a plain file name"),
    "null": (lambda entries: [*entries, named("evil.json\0.txt")], "not a plain file name|not in the manifest"),
    "link": (lambda entries: [*entries, named("weights.link", b"/etc/passwd", stat.S_IFLNK | 0o777)], "not a plain"),
    "extra": (lambda entries: [*entries, named("evil.py", b"import os")], "not in the manifest"),
    "missing": (lambda entries: entries[:-1], "missing"),
    "no manifest": (lambda entries: entries[1:], r"manifest\.json is missing"),
    "changed": (lambda entries: [*entries[:-1], (entries[-1][0], b"{}")], "was changed"),
    "newer": (manifest_with(schema_version=9), "bundle format 9"),
    "name": (manifest_with(name="../waves"), "name"),
    "input size": (manifest_with(input_size=None), "input_size"),
    "many": (
        lambda entries: [*entries, *(named(f"x{i}.json") for i in range(MOST_BUNDLE_FILES))],
        f"more than the {MOST_BUNDLE_FILES + 1} allowed",
    ),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_a_hostile_archive_is_refused_and_leaves_nothing(elsewhere, exported, tmp_path, kind):
    change, reason = HOSTILE[kind]
    rezip(exported, change)
    before = {path for path in tmp_path.rglob("*") if elsewhere.root not in path.parents and path != elsewhere.root}
    with pytest.raises(BundleError, match=reason) as caught:
        import_bundle(elsewhere, exported)
    assert "\n" not in str(caught.value)
    assert elsewhere.list() == ()
    after = {path for path in tmp_path.rglob("*") if elsewhere.root not in path.parents and path != elsewhere.root}
    assert after == before
    assert [path.name for path in elsewhere.root.rglob("*") if path.name not in ("waves", ".lock")] == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(elsewhere, exported):
    rezip(exported, lambda entries: [*entries, named("history.json", b"[]")])
    with pytest.raises(BundleError, match="stands in it twice"):
        import_bundle(elsewhere, exported)


def test_an_archive_that_unpacks_beyond_measure_is_refused(elsewhere, exported, monkeypatch):
    from ktrdr.core.files import archives
    from ktrdr.core.models import archive

    monkeypatch.setattr(archive, "_LIMITS", archives.ArchiveLimits(files=65, size=1000))
    monkeypatch.setattr(archives, "open_plain", lambda path, limit: path.open("rb"))
    with pytest.raises(BundleError, match="unpacks to more than"):
        import_bundle(elsewhere, exported)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no", b"not a zip at all" * 99])
def test_a_file_that_is_no_archive_is_refused(elsewhere, tmp_path, content):
    path = tmp_path / "model.zip"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="is not an exported model"):
        import_bundle(elsewhere, path)
    with pytest.raises(BadInputError, match="there is no file"):
        import_bundle(elsewhere, tmp_path / "absent.zip")
    with pytest.raises(BadInputError, match="is a directory"):
        import_bundle(elsewhere, tmp_path)


def test_a_damaged_archive_is_refused(elsewhere, exported):
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 1
    exported.write_bytes(content)
    with pytest.raises(BundleError):
        import_bundle(elsewhere, exported)
    assert elsewhere.list() == ()
