"""One archive format: what is packed comes back, equal bytes for equal files; what is hostile is refused before."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from ktrdr.core.errors import DiskFullError
from ktrdr.core.files.archives import ArchiveError, ArchiveLimits, files_below, open_archive, write_archive
from ktrdr.core.files.reading import FileError

LIMITS = ArchiveLimits(files=4, size=10_000, depth=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.json").write_text("{}")
    (folder / "deep" / "b").write_bytes(bytes(5_000))
    (folder / "deep" / "er" / "_c").write_bytes(b"")
    (folder / "link").symlink_to("a.json")
    return folder


def unpack(path: Path, target: Path, limits: ArchiveLimits = LIMITS) -> dict[str, bytes]:
    with open_archive(path, limits) as archive:
        archive.extract(target)
    return {name: (target / name).read_bytes() for name in files_below(target)}


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], packing: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def test_what_is_packed_comes_back(folder, tmp_path):
    names = files_below(folder)
    assert names == ["a.json", "deep/b", "deep/er/_c"]
    write_archive(tmp_path / "a.zip", folder, names, LIMITS)
    assert unpack(tmp_path / "a.zip", tmp_path / "new") == {name: (folder / name).read_bytes() for name in names}
    with open_archive(tmp_path / "a.zip", LIMITS) as archive:
        assert archive.names == set(names)
        assert archive.read("a.json", 100) == b"{}"
        with pytest.raises(FileError, match="more than the 1 allowed"):
            archive.read("a.json", 1)


def test_equal_files_give_equal_bytes(folder, tmp_path):
    names = files_below(folder)
    write_archive(tmp_path / "a.zip", folder, names, LIMITS)
    for name in names:
        os.utime(folder / name, (1, 1))
        (folder / name).chmod(0o600)
    write_archive(tmp_path / "b.zip", folder, names, LIMITS)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", ".x", "a/.x", "a\\b", "C:x", "a/b/c/d", "x" * 129, "a/"])
def test_a_name_that_leads_elsewhere_is_neither_packed_nor_unpacked(folder, tmp_path, name):
    with pytest.raises(FileError, match="not a plain file name"):
        write_archive(tmp_path / "a.zip", folder, [name], LIMITS)
    assert not (tmp_path / "a.zip").exists()
    with pytest.raises(FileError, match="not a plain file"):
        unpack(zipped(tmp_path / "evil.zip", ("ok", b""), (name, b"x")), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([("a", b""), ("a", b"x")], "stands in it twice"),
        ([("a", b""), ("a/b", b"x")], "below another file"),
        ([(entry("a", stat.S_IFLNK | 0o777), b"/etc/passwd")], "not a plain file"),
        ([(entry("a", stat.S_IFCHR | 0o666), b"")], "not a plain file"),
        ([(f"f{number}", b"") for number in range(5)], "holds 5 files, more than the 4 allowed"),
        ([("a", bytes(6_000)), ("b", bytes(6_000))], "unpacks to more than 10,000 bytes"),
    ],
)
def test_hostile_entries_are_refused_before_anything_is_unpacked(tmp_path, entries, reason):
    path = zipped(tmp_path / "evil.zip", *entries, packing=zipfile.ZIP_DEFLATED)
    with pytest.raises(FileError, match=reason):
        unpack(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def changed(path: Path, change: str) -> None:
    content = path.read_bytes()
    if change == "script before":
        path.write_bytes(b"#!/bin/sh\nexit\n" + content)
    elif change == "archive before":
        zipped(path, ("other", b"x"))
        path.write_bytes(path.read_bytes() + content)
    elif change == "comment":
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = b"x"
    elif change == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif change == "flipped":
        path.write_bytes(content.replace(b"{}", b"[]", 1))
    else:
        path.write_bytes(change.encode())


CHANGES = ["", "no zip at all", "PK\x03\x04 no", "script before", "archive before", "comment", "cut", "flipped"]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_whole_archive_is_refused(folder, tmp_path, change):
    path = tmp_path / "a.zip"
    write_archive(path, folder, files_below(folder), LIMITS)
    changed(path, change)
    with pytest.raises(ArchiveError):
        unpack(path, tmp_path / "new")


def test_a_link_is_neither_packed_nor_opened(folder, tmp_path):
    with pytest.raises(FileError, match="symbolic link"):
        write_archive(tmp_path / "a.zip", folder, ["link"], LIMITS)
    with pytest.raises(FileError, match="is missing"):
        write_archive(tmp_path / "a.zip", folder, ["absent"], LIMITS)
    assert not (tmp_path / "a.zip").exists()
    write_archive(tmp_path / "a.zip", folder, ["a.json"], LIMITS)
    (tmp_path / "b.zip").symlink_to("a.zip")
    with pytest.raises(FileError, match="symbolic link"):
        unpack(tmp_path / "b.zip", tmp_path / "new")


def test_what_nobody_could_unpack_is_not_packed(folder, tmp_path):
    with pytest.raises(FileError, match="unpacks to more than 100 bytes"):
        write_archive(tmp_path / "a.zip", folder, ["deep/b"], ArchiveLimits(files=4, size=100, depth=3))
    with pytest.raises(FileError, match="more than the 1 allowed"):
        write_archive(tmp_path / "a.zip", folder, ["a.json", "deep/b"], ArchiveLimits(files=1, size=9_999, depth=3))
    assert not (tmp_path / "a.zip").exists()


def test_a_full_disk_leaves_no_archive(folder, tmp_path, monkeypatch):
    before = sorted(tmp_path.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="the disk is full; nothing was written"):
        write_archive(tmp_path / "a.zip", folder, ["a.json"], LIMITS)
    assert sorted(tmp_path.iterdir()) == before
