"""A file or directory is written whole or not at all, whatever fails and whenever the process is killed."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrdr.core.errors import DiskFullError, StoreError
from ktrdr.core.files.disk_space import free_bytes
from ktrdr.core.files.durable import (
    DISCARDED,
    UNFINISHED,
    discard_directory,
    new_directory,
    new_file,
    remove_leftovers,
    write_atomically,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "a"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["a"]


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / ("x" * 255)
    write_atomically(path, b"one")
    assert path.read_bytes() == b"one"


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path, umask):
    write_atomically(tmp_path / "a", b"")
    assert mode(tmp_path / "a") == 0o640


@pytest.mark.parametrize("permissions", [0o600, 0o664])
def test_a_replaced_file_keeps_its_permissions(tmp_path, umask, permissions):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    path.chmod(permissions)
    with new_file(path) as temporary:
        assert mode(temporary) == permissions  # nobody else reads it before it is in its place either
        temporary.write_bytes(b"two")
    assert mode(path) == permissions


def fail(number: int):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


FAILURES = [("open", "os"), ("fsync", "os"), ("replace", "os"), ("write_bytes", "path")]


@pytest.mark.parametrize(("call", "owner"), FAILURES)
@pytest.mark.parametrize("fresh", [True, False])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, call, owner, fresh):
    path = tmp_path / "a"
    if not fresh:
        path.write_bytes(b"one")
    with monkeypatch.context() as patch:
        patch.setattr(os if owner == "os" else Path, call, fail(errno.ENOSPC))
        with pytest.raises(DiskFullError, match=r"^cannot write .*/a: the disk is full; nothing was written$"):
            write_atomically(path, b"two")
    assert names(tmp_path) == ([] if fresh else ["a"])
    assert fresh or path.read_bytes() == b"one"


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename"])
def test_a_full_disk_leaves_no_directory(tmp_path, monkeypatch, call):
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail(errno.EDQUOT))
        with pytest.raises(DiskFullError, match="the disk is full"), new_directory(tmp_path / "a") as place:
            (place / "x").write_text("x")
    assert names(tmp_path) == []


def test_other_refusals_are_no_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", fail(errno.EACCES))
    with pytest.raises(StoreError, match="Permission denied; nothing was written") as caught:
        write_atomically(tmp_path / "a", b"")
    assert not isinstance(caught.value, DiskFullError)


def test_an_error_of_the_caller_passes_unchanged_and_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "a") as temporary:
        temporary.write_bytes(b"%d" % (1 // 0))
    with pytest.raises(ZeroDivisionError), new_directory(tmp_path / "b") as place:
        [(place / str(number)).write_text(str(1 // number)) for number in (2, 1, 0)]
    assert names(tmp_path) == []


def test_a_directory_takes_an_empty_place_and_no_other(tmp_path):
    (tmp_path / "a").mkdir()
    with new_directory(tmp_path / "a") as place:
        (place / "deep").mkdir()
        (place / "deep" / "x").write_text("x")
    assert (tmp_path / "a" / "deep" / "x").read_text() == "x"
    with pytest.raises(StoreError, match="not empty"), new_directory(tmp_path / "a"):
        pass
    assert names(tmp_path) == ["a"]


def test_leftovers_are_told_by_their_names(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        (tmp_path / "a").mkdir()
        discard_directory(tmp_path / "a")
        with pytest.raises(ZeroDivisionError), new_directory(tmp_path / "b"):
            raise ZeroDivisionError
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(ZeroDivisionError), new_file(tmp_path / "c"):
            raise ZeroDivisionError
    (tmp_path / "mine").write_text("mine")
    assert sorted(name[:11] for name in names(tmp_path)) == sorted([UNFINISHED, UNFINISHED, DISCARDED, "mine"])
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["mine"]


def write_often(path: str, letter: str) -> None:
    for _ in range(50):
        write_atomically(Path(path), letter.encode() * 100_000)


def test_of_concurrent_writers_each_file_is_whole(tmp_path):
    path = tmp_path / "a"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(str(path), letter)) for letter in "xyz"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            content = path.read_bytes()
            assert (len(content), len(set(content))) == (100_000, 1)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert names(tmp_path) == ["a"]


DIE_AT_EVERY_CALL = """
import itertools, os, sys
from pathlib import Path
from ktrdr.core.files.durable import new_directory, write_atomically

folder = Path(sys.argv[1])

def write_file():
    write_atomically(folder / "a", b"two")

def write_directory():
    with new_directory(folder / "d") as place:
        (place / "x").write_text("whole")
        (place / "y").write_text("whole")

def die_at(count, work):
    calls = itertools.count()
    for name in ("open", "close", "mkdir", "fsync", "replace", "rename"):
        def call(*arguments, real=getattr(os, name), **keywords):
            if next(calls) == count:
                os._exit(9)
            return real(*arguments, **keywords)
        setattr(os, name, call)
    work()

for work in (write_file, write_directory):
    for count in range(100):
        child = os.fork()
        if child == 0:
            die_at(count, work)
            os._exit(0)
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        print(work.__name__, count, died, (folder / "a").read_bytes().decode(),
              sorted(path.name for path in (folder / "d").glob("*")), flush=True)
        if not died:
            break
        (folder / "a").write_bytes(b"one")
        for path in (folder / "d").glob("*"):
            path.unlink()
"""


def test_a_kill_at_any_call_leaves_the_old_or_the_new(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    done = subprocess.run(
        [sys.executable, "-c", DIE_AT_EVERY_CALL, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    lines = [line.split(maxsplit=4) for line in done.stdout.splitlines()]
    seen = {(work, content, files) for work, _, _, content, files in lines}
    assert {(content, files) for work, content, files in seen if work == "write_file"} == {("one", "[]"), ("two", "[]")}
    assert {files for work, _, files in seen if work == "write_directory"} == {"[]", "['x', 'y']"}
    assert [died for *_, died, _, _ in lines].count("False") == 2
    left = [name for name in names(tmp_path) if name not in ("a", "d")]
    assert left
    assert all(name.startswith(UNFINISHED) for name in left)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a", "d"]


def test_room_is_looked_up_where_the_directory_will_be(tmp_path):
    assert free_bytes(tmp_path) > 0
    assert free_bytes(tmp_path / "not yet") > 0
    assert free_bytes(tmp_path / "no" / "where") == 0
