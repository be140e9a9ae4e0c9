"""Run directories: nobody's twice, and none left behind by what failed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ktrdr.core.errors import NotFoundError
from ktrdr.core.runs.run_store import claim_run, find_run, run_name, store_run


class Result:
    """As much of a result as a run directory needs."""

    def __init__(self, version: int = 2, fails: bool = False) -> None:
        self.manifest = SimpleNamespace(name="waves", version=version)
        self.fails = fails

    def write(self, directory: Path) -> None:
        if self.fails:
            raise OSError(28, "No space left on device")
        directory.mkdir(exist_ok=True)
        (directory / "result.json").write_text("{}", encoding="utf-8")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path))
    return tmp_path / "runs"


def store(result: Any, *arguments: Any, **more: Any) -> Path:
    return store_run(result, *arguments, **more)


def test_numbers_go_up_for_each_version(root):
    assert [store(Result(version)).name for version in (2, 2, 3, 2)] == ["2-1", "2-2", "3-1", "2-3"]
    assert run_name(root / "waves" / "2-1") == "waves/2-1"


def test_a_number_is_not_used_again_while_a_later_one_is_there(root):
    store(Result())
    last = store(Result())
    (root / "waves" / "2-1" / "result.json").unlink()
    (root / "waves" / "2-1").rmdir()
    assert store(Result()).name == "2-3"
    assert last.is_dir()


def test_many_at_once(root):
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda _: claim_run(Result()), range(40)))
    assert len(set(places)) == 40


def test_nothing_is_left_of_what_failed(root):
    with pytest.raises(OSError, match="No space"):
        store(Result(fails=True))

    def no_report(directory: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store(Result(), then=no_report)
    assert list((root / "waves").iterdir()) == []
    for failing in (Result(fails=True), Result()):
        with pytest.raises(OSError, match="No space"):
            store(failing, root / "mine", then=no_report)
        assert not (root / "mine").exists()


def test_they_are_found_by_name_and_by_path(root, tmp_path):
    place = store(Result())
    assert find_run("waves/2-1") == place == find_run(str(place))
    with pytest.raises(
        NotFoundError, match=r"no backtest run `waves/9-9`.*; there are waves/2-1, and `ktrdr backtest`"
    ):
        find_run("waves/9-9")
    with pytest.raises(
        NotFoundError, match=r"no backtest run `wvaes/2-1`.*; there are waves/2-1, did you mean `waves/2"
    ):
        find_run("wvaes/2-1")
