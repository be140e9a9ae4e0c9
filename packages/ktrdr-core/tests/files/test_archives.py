"""One archive format: what is packed comes back, equal bytes for equal files; what is hostile is refused before."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


class Pipe(io.BytesIO):
    """A file that cannot go back, as an archive is sent through a network: sizes stand behind what they are of."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError("a pipe")


def streamed(path: Path, content: bytes) -> Path:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", content)
        archive.writestr("b.json", content)
    path.write_bytes(pipe.getvalue())
    return path


def noted(kind: int, note: bytes) -> zipfile.ZipInfo:
    """What a program notes beside a name."""
    info = zipfile.ZipInfo("a.json")
    info.extra = struct.pack("<HH", kind, len(note)) + note
    return info


def test_archives_of_other_programs_are_read(tmp_path):
    assert unpack(streamed(tmp_path / "a.zip", b"{}" * 99), tmp_path / "a") == {
        "a.json": b"{}" * 99,
        "b.json": b"{}" * 99,
    }
    # Times as Info-ZIP notes them, and sizes of 64 bits as numpy does.
    assert unpack(zipped(tmp_path / "b.zip", (noted(0x5455, bytes(9)), b"{}")), tmp_path / "b") == {"a.json": b"{}"}
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive, archive.open("a.json", "w", force_zip64=True) as file:
        file.write(b"{}")
    assert unpack(tmp_path / "c.zip", tmp_path / "c") == {"a.json": b"{}"}


SCRIPT = b"\n#!/bin/sh\ntouch /ran\n"


def inserted(content: bytes, at: int, *, moved: bool) -> bytes:
    """Put a script between the first file and the rest, with a directory that knows of it, or does not."""
    end = content.rindex(b"PK\x05\x06")
    directory = content.index(b"PK\x01\x02")
    start = struct.unpack_from("<I", content, end + 16)[0]
    head, entries, tail = content[:directory], bytearray(content[directory:end]), bytearray(content[end:])
    if moved:
        struct.pack_into("<I", tail, 16, start + len(SCRIPT))
        position = 0
        while position < len(entries):
            offset = struct.unpack_from("<I", entries, position + 42)[0]
            if offset >= at:
                struct.pack_into("<I", entries, position + 42, offset + len(SCRIPT))
            name, extra, comment = struct.unpack_from("<3H", entries, position + 28)
            position += 46 + name + extra + comment
    return head[:at] + SCRIPT + head[at:] + bytes(entries) + bytes(tail)


@pytest.mark.parametrize("moved", [True, False], ids=["known to the directory", "unknown to it"])
@pytest.mark.parametrize("place", ["before", "between", "behind"])
def test_a_script_beside_the_files_is_refused(tmp_path, place, moved):
    content = zipped(tmp_path / "a.zip", ("a.json", b"{}"), ("b.json", b"{}")).read_bytes()
    at = {"before": 0, "between": content.index(b"PK\x03\x04", 4), "behind": content.index(b"PK\x01\x02")}[place]
    (tmp_path / "a.zip").write_bytes(inserted(content, at, moved=moved))
    assert SCRIPT in (tmp_path / "a.zip").read_bytes()
    with pytest.raises(ArchiveError):
        unpack(tmp_path / "a.zip", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (noted(0x9999, SCRIPT), "something before the content of 'a.json'"),
        (noted(0x5455, SCRIPT * 4), "something before the content of 'a.json'"),
    ],
)
def test_a_script_within_the_head_of_a_file_is_refused(tmp_path, first, reason):
    with pytest.raises(ArchiveError, match=reason):
        unpack(zipped(tmp_path / "a.zip", (first, b"{}")), tmp_path / "new")


def test_a_script_that_poses_as_the_sizes_of_a_file_is_refused(tmp_path):
    content = streamed(tmp_path / "a.zip", b"{}").read_bytes()
    at = content.index(b"PK\x07\x08")
    (tmp_path / "a.zip").write_bytes(content[:at] + b"\nrm -rf /ran" + b"\n" * 4 + content[at + 16 :])
    with pytest.raises(ArchiveError, match=r"something behind 'a\.json'"):
        unpack(tmp_path / "a.zip", tmp_path / "new")


def test_what_unpacks_to_many_times_its_size_is_refused_unread(tmp_path):
    small = zipped(tmp_path / "a.zip", ("a", bytes(8 * 2**20)), packing=zipfile.ZIP_DEFLATED)
    assert unpack(small, tmp_path / "a", ArchiveLimits(4, 2**30)) == {"a": bytes(8 * 2**20)}
    large = zipped(tmp_path / "b.zip", ("a", bytes(9 * 2**20)), packing=zipfile.ZIP_DEFLATED)
    with pytest.raises(ArchiveError, match="unpacks to more than 10 times its size"):
        unpack(large, tmp_path / "b", ArchiveLimits(4, 2**30))


def test_a_directory_of_thousands_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", *((str(number), b"") for number in range(300)))

    def read(*arguments, **more):
        raise AssertionError("the directory was read")

    monkeypatch.setattr(zipfile, "ZipFile", read)
    with pytest.raises(ArchiveError, match="more than the 4 files allowed"):
        unpack(path, tmp_path / "new", ArchiveLimits(4, 2**30))


@given(st.data())
def test_no_byte_can_be_put_anywhere(tmp_path_factory, data):
    """A zip file says where each of its bytes belongs: one more is found, wherever it stands."""
    path = zipped(tmp_path_factory.mktemp("zip") / "a.zip", ("a.json", b"[1]"), ("b.json", b"[2]"))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:at] + data.draw(st.binary(min_size=1, max_size=30)) + content[at:])
    try:
        found = unpack(path, path.parent / "new")
    except FileError:
        return
    # What was put into the name of a file, or into a content with its size, cannot pass for what was there.
    assert found != {"a.json": b"[1]", "b.json": b"[2]"}
