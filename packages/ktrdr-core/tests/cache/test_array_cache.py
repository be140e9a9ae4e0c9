"""What is read from the cache is what was written, or nothing."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from ktrdr.core.cache import array_cache
from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache, content_key
from ktrdr.core.cache.array_file import file_size, layout_of, read_arrays, write_arrays
from ktrdr.core.errors import StoreError
from ktrdr.core.files.durable import UNFINISHED

ARRAYS = {"warm": np.array([True, False, True]), "values": np.arange(6, dtype=np.float32).reshape(3, 2)}
LAYOUT = layout_of(ARRAYS)
KEYS = [content_key(number) for number in range(6)]
KEY = KEYS[0]
SIZE = file_size(KEY, LAYOUT)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache"


@pytest.fixture
def cache(root, notes) -> ArrayCache:
    return ArrayCache(root, 10**6, note=notes.append)


def entry(root: Path, key: str = KEY) -> Path:
    return root / f"{key}.arrays"


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()} - {".lock"}


_DTYPES = st.sampled_from([np.float64, np.float32, np.int64, np.bool_])
_SHAPES = arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9)


@given(
    st.dictionaries(st.text(max_size=8), _DTYPES.flatmap(lambda kind: arrays_of.arrays(kind, _SHAPES)), max_size=4),
    st.booleans(),
)
def test_arrays_are_read_back_to_the_last_bit(tmp_path_factory, given_arrays, mapped):
    path = tmp_path_factory.mktemp("file") / "a"
    path.touch()
    write_arrays(path, KEY, given_arrays)
    layout = layout_of(given_arrays)
    assert path.stat().st_size == file_size(KEY, layout)
    read = read_arrays(path, KEY, layout, mapped=mapped)
    assert list(read) == list(given_arrays)
    for name, array in given_arrays.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert read[name].tobytes() == array.tobytes()
        assert not read[name].flags.writeable
        assert read[name].flags.aligned


def test_an_array_that_is_not_contiguous_is_kept_in_order(cache):
    turned = ARRAYS["values"].T
    cache.write(KEY, {"values": turned})
    np.testing.assert_array_equal(cache.read(KEY, {"values": ("<f4", (2, 3))})["values"], turned)


def test_nothing_is_there_before_it_is_written(cache, root, notes):
    assert cache.read(KEY, LAYOUT) is None
    assert not root.exists()
    cache.write(KEY, ARRAYS)
    assert names(root) == {f"{KEY}.arrays"}
    assert cache.read(KEY, LAYOUT).keys() == ARRAYS.keys()
    assert cache.read(KEYS[1], LAYOUT) is None
    assert notes == []


@pytest.mark.parametrize("mapped", [True, False])
def test_a_flipped_byte_anywhere_is_noticed(cache, root, notes, mapped):
    cache.write(KEY, ARRAYS)
    whole = entry(root).read_bytes()
    assert len(whole) == SIZE
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        entry(root).write_bytes(damaged)
        assert cache.read(KEY, LAYOUT, mapped=mapped) is None, position
        assert not entry(root).exists()
    assert notes == ["a damaged entry of the feature cache was found and is computed again"]
    cache.write(KEY, ARRAYS)
    assert cache.read(KEY, LAYOUT) is not None


@pytest.mark.parametrize("mapped", [True, False])
def test_a_file_of_another_length_is_noticed(cache, root, notes, mapped):
    cache.write(KEY, ARRAYS)
    whole = entry(root).read_bytes()
    for content in [*(whole[:length] for length in range(len(whole))), whole + b"\0"]:
        entry(root).write_bytes(content)
        assert cache.read(KEY, LAYOUT, mapped=mapped) is None
    assert len(notes) == 1


def test_a_file_larger_than_a_piece_is_verified_in_whole(root, notes):
    cache = ArrayCache(root, 10**7, note=notes.append)
    arrays = {"values": np.arange(400_000, dtype=np.float64)}
    layout = layout_of(arrays)
    for position in (-1, 2**20, 2**21 - 1, 2**21):
        cache.write(KEY, arrays)
        assert cache.read(KEY, layout, mapped=True)["values"].tobytes() == arrays["values"].tobytes()
        content = bytearray(entry(root).read_bytes())
        content[position] ^= 1
        entry(root).write_bytes(content)
        assert cache.read(KEY, layout, mapped=True) is None
    assert len(notes) == 1


def test_arrays_in_memory_keep_no_file_open(cache):
    cache.write(KEY, ARRAYS)
    before = len(os.listdir("/proc/self/fd"))
    kept = [cache.read(KEY, LAYOUT) for _ in range(9)]
    assert len(os.listdir("/proc/self/fd")) == before
    mapped = [cache.read(KEY, LAYOUT, mapped=True) for _ in range(9)]
    assert len(os.listdir("/proc/self/fd")) > before
    assert len(kept) == len(mapped)


@pytest.mark.parametrize(
    "layout",
    [
        {**LAYOUT, "values": ("<f4", (2, 3))},
        {**LAYOUT, "values": ("<i4", (3, 2))},
        {"warm": LAYOUT["warm"], "other": LAYOUT["values"]},
        dict(reversed(LAYOUT.items())),
        {"values": LAYOUT["values"]},
    ],
)
def test_an_entry_of_another_shape_is_not_used(cache, notes, layout):
    cache.write(KEY, ARRAYS)
    assert cache.read(KEY, layout) is None
    assert len(notes) == 1


def test_an_entry_under_the_name_of_another_is_not_used(cache, root, notes):
    cache.write(KEY, ARRAYS)
    entry(root).rename(entry(root, KEYS[1]))
    assert cache.read(KEYS[1], LAYOUT) is None
    assert len(notes) == 1


@pytest.mark.parametrize("kind", ["link", "directory", "pipe"])
def test_what_is_not_a_file_is_not_read(cache, root, notes, kind, tmp_path):
    cache.write(KEY, ARRAYS)
    place = entry(root, KEYS[1])
    if kind == "link":
        place.symlink_to(entry(root))
    elif kind == "directory":
        place.mkdir()
    else:
        os.mkfifo(place)
    assert cache.read(KEYS[1], LAYOUT) is None
    assert len(notes) == 1


@pytest.mark.parametrize("mapped", [True, False])
def test_removed_arrays_stay_readable(cache, root, mapped):
    cache.write(KEY, ARRAYS)
    read = cache.read(KEY, LAYOUT, mapped=mapped)
    assert cache.clear().entries == 1
    assert not entry(root).exists()
    np.testing.assert_array_equal(read["values"], ARRAYS["values"])


def test_room_is_made_by_removing_what_was_not_used_for_longest(root):
    cache = ArrayCache(root, 3 * SIZE)
    for age, key in enumerate(KEYS[:3]):
        cache.write(key, ARRAYS)
        os.utime(entry(root, key), (age + 1, age + 1))
    assert cache.read(KEYS[0], LAYOUT) is not None
    cache.write(KEYS[3], ARRAYS)
    assert names(root) == {f"{KEYS[number]}.arrays" for number in (0, 2, 3)}
    cache.write(KEYS[4], ARRAYS)
    assert names(root) == {f"{KEYS[number]}.arrays" for number in (0, 3, 4)}
    smaller = ArrayCache(root, SIZE)
    smaller.write(KEYS[5], ARRAYS)
    assert names(root) == {f"{KEYS[5]}.arrays"}


def test_the_limit_is_in_bytes_of_files_and_never_exceeded(root, notes):
    cache = ArrayCache(root, 2 * SIZE - 1, note=notes.append)
    for key in KEYS:
        cache.write(key, ARRAYS)
        usage = cache.usage()
        assert (usage.entries, usage.bytes) == (1, SIZE)
    assert notes == []


def test_an_entry_above_the_limit_is_not_kept_and_removes_nothing(root, notes):
    cache = ArrayCache(root, SIZE, note=notes.append)
    cache.write(KEY, ARRAYS)
    cache.write(KEYS[1], {**ARRAYS, "more": np.zeros(1)})
    assert names(root) == {f"{KEY}.arrays"}
    assert "raise KTRDR_CACHE_LIMIT" in notes[0]


def test_files_of_others_are_neither_counted_nor_removed(root):
    cache = ArrayCache(root, SIZE)
    cache.write(KEY, ARRAYS)
    (root / "README").write_text("mine", encoding="utf-8")
    cache.write(KEYS[1], ARRAYS)
    assert cache.usage().entries == 1
    cache.clear()
    assert names(root) == {"README"}


@pytest.mark.parametrize("off", [NO_CACHE, None])
def test_a_cache_that_is_off_neither_reads_nor_writes(root, off):
    ArrayCache(root, 10**6).write(KEY, ARRAYS)
    before = names(root)
    cache = ArrayCache(root, 0) if off is None else off
    assert cache.read(KEY, LAYOUT) is None
    cache.write(KEYS[1], ARRAYS)
    assert names(root) == before
    assert not cache.on


def test_what_a_killed_process_left_is_removed(cache, root):
    cache.write(KEY, ARRAYS)
    (root / f"{UNFINISHED}abc").write_bytes(b"half")
    assert cache.usage().entries == 1
    cache.write(KEYS[1], ARRAYS)
    assert names(root) == {f"{KEY}.arrays", f"{KEYS[1]}.arrays"}
    (root / f"{UNFINISHED}abc").write_bytes(b"half")
    cache.clear()
    assert names(root) == set()


# Failures.


def test_a_place_that_cannot_be_written_to_is_noted_once(tmp_path, notes):
    (tmp_path / "home").write_text("a file", encoding="utf-8")
    cache = ArrayCache(tmp_path / "home" / "cache", 10**6, note=notes.append)
    for key in KEYS:
        assert cache.read(key, LAYOUT) is None
        cache.write(key, ARRAYS)
    assert len(notes) == 1
    assert notes[0].startswith("features are not kept in the cache: cannot write")


def test_a_directory_that_may_only_be_read(cache, root, notes, monkeypatch):
    cache.write(KEY, ARRAYS)

    def refuse(*arguments, **more):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    # Root may write anywhere, so the system's answer is made up.
    monkeypatch.setattr(array_cache.os, "utime", refuse)
    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert cache.read(KEY, LAYOUT) is not None
    cache.write(KEYS[1], ARRAYS)
    assert notes == [f"features are not kept in the cache: cannot write {root}: Permission denied; nothing was written"]


def test_a_full_disk_leaves_nothing_and_is_noted(cache, root, notes, monkeypatch):
    cache.write(KEY, ARRAYS)

    def half(path, key, arrays):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(array_cache, "write_arrays", half)
    cache.write(KEYS[1], ARRAYS)
    monkeypatch.undo()
    assert names(root) == {f"{KEY}.arrays"}
    assert "the disk is full" in notes[0]
    # The same training does not try again; the next one does.
    cache.write(KEYS[1], ARRAYS)
    assert names(root) == {f"{KEY}.arrays"}
    cache.noting(notes.append).read(KEY, LAYOUT)
    ArrayCache(root, 10**6).write(KEYS[1], ARRAYS)
    assert len(names(root)) == 2


def test_the_last_room_on_the_disk_is_left_for_results(cache, root, notes, monkeypatch):
    monkeypatch.setattr(array_cache, "free_bytes", lambda place: array_cache.LEAST_FREE_DISK + SIZE - 1)
    cache.write(KEY, ARRAYS)
    assert names(root) == set()
    assert "free disk space" in notes[0]
    monkeypatch.setattr(array_cache, "free_bytes", lambda place: array_cache.LEAST_FREE_DISK + SIZE)
    ArrayCache(root, 10**6).write(KEY, ARRAYS)
    assert names(root) == {f"{KEY}.arrays"}


def test_a_process_that_writes_for_long_is_not_waited_for(cache, root, notes, monkeypatch):
    monkeypatch.setattr(array_cache, "_LOCK_SECONDS", 0.05)
    root.mkdir(parents=True)
    with holding(root / ".lock"):
        cache.write(KEY, ARRAYS)
        with pytest.raises(StoreError, match=r"another process has been writing to .* for 0\.05 seconds"):
            ArrayCache(root, 1).clear()
    assert names(root) == set()
    assert "another process" in notes[0]


def test_a_file_system_without_locks(cache, root, notes, monkeypatch):
    def refuse(self):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    cache.write(KEY, ARRAYS)
    assert notes == [f"features are not kept in the cache: the file system of {root} has no locks"]


# Several processes.

WRITER = """
import random, sys
from pathlib import Path
import numpy as np
from ktrdr.core.cache.array_cache import ArrayCache, content_key

root, unit, seed, rounds = Path(sys.argv[1]), *map(int, sys.argv[2:])
# Of the 36 units of all entries, more than the largest one needs.
limit = 20 * 8 * unit
drawn = random.Random(seed)
notes = []
cache = ArrayCache(root, limit, note=notes.append)
print("ready", flush=True)
done = 0
while done != rounds:
    number = drawn.randrange(8)
    arrays = {"values": np.full(unit * (number + 1), number, np.float64)}
    found = cache.read(content_key(number), {"values": ("<f8", arrays["values"].shape)})
    if found is None:
        cache.write(content_key(number), arrays)
    else:
        assert found["values"].tobytes() == arrays["values"].tobytes()
    assert cache.usage().bytes <= limit
    done += 1
assert not notes, notes
"""


def start(root: Path, unit: int, seed: int, rounds: int) -> subprocess.Popen[str]:
    arguments = [str(root), str(unit), str(seed), str(rounds)]
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True)


HOLDER = """
import sys
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("ready", flush=True)
input()
"""


class holding:
    """A lock that another process holds."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", HOLDER, str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self._process.communicate(b"\n")


def test_processes_that_write_read_and_remove_at_the_same_time(tmp_path):
    running = [start(tmp_path / "cache", 20_000, seed, 200) for seed in range(3)]
    for process in running:
        process.communicate(timeout=120)
    assert [process.returncode for process in running] == [0, 0, 0]
    assert names(tmp_path / "cache") <= {f"{content_key(number)}.arrays" for number in range(8)}


def test_a_process_that_is_killed_while_it_writes_leaves_whole_entries(tmp_path):
    root, unit, drawn, unfinished = tmp_path / "cache", 200_000, random.Random(7), 0
    # About every third kill comes in the middle of a file; ten kills are enough once there was one.
    for attempt in range(60):
        if attempt >= 10 and unfinished:
            break
        process = start(root, unit, attempt, -1)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(drawn.uniform(0, 0.1))
        process.kill()
        process.wait()
        process.stdout.close()
        unfinished += root.is_dir() and any(name.startswith(UNFINISHED) for name in names(root))
        notes: list[str] = []
        cache = ArrayCache(root, 20 * 8 * unit, note=notes.append)
        for number in range(8):
            found = cache.read(content_key(number), {"values": ("<f8", (unit * (number + 1),))})
            assert found is None or (found["values"] == number).all()
        cache.write(content_key(attempt, "other"), ARRAYS)
        assert not any(name.startswith(UNFINISHED) for name in names(root))
        assert notes == []
    assert unfinished
