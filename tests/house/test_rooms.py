"""`tools/rooms.py` draws the rooms, and tells circles."""

from __future__ import annotations

from pathlib import Path

import pytest

SCRIPT = str(Path(__file__).parents[2] / "tools" / "rooms.py")
DISTRIBUTIONS = ("ktrdr-core", "ktrdr-api", "ktrdr-worker", "ktrdr-ml-torch", "ktrdr-ml-sklearn")


def test_no_distribution_has_a_circle(copied_tree, run_in):
    done = run_in(copied_tree, SCRIPT, *DISTRIBUTIONS)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if not line.startswith(" ")] == [
        name.replace("-", ".") for name in DISTRIBUTIONS
    ]


@pytest.fixture
def make_rooms(tmp_path):
    """Return ``make_rooms(**modules)``: the tree of a distribution `toy` whose modules have this text."""

    def make(**modules: str) -> Path:
        root = tmp_path / "packages" / "toy" / "src" / "toy"
        for name, text in {"__init__": "", **modules}.items():
            path = root / (name.replace("__in__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return make


def test_a_room_stands_above_all_it_imports(make_rooms, run_in):
    tree = make_rooms(cellar="", kitchen="import toy.cellar", attic="import toy.kitchen, toy.cellar", shed="")
    done = run_in(tree, SCRIPT, "toy")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "toy",
        "   3  attic -> cellar, kitchen",
        "   2  kitchen -> cellar",
        "   1  cellar",
        "   1  shed",
    ]


def test_rooms_in_a_circle_are_told_though_no_module_is(make_rooms, run_in):
    tree = make_rooms(
        hall__in__door="import toy.yard.gate",
        hall__in__lamp="",
        yard__in__gate="",
        yard__in__path="def f():\n    import toy.hall.lamp",
    )
    done = run_in(tree, SCRIPT, "toy")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1] in (
        "  A cycle of rooms: hall -> yard -> hall",
        "  A cycle of rooms: yard -> hall -> yard",
    )


def test_modules_in_a_circle_are_told(make_rooms, run_in):
    tree = make_rooms(hall__in__door="import toy.hall.lamp", hall__in__lamp="def f():\n    import toy.hall.door")
    done = run_in(tree, SCRIPT, "toy")
    assert done.returncode == 1
    assert "A cycle of modules: hall." in done.stdout


def test_it_wants_a_name(tmp_path, run_in):
    done = run_in(tmp_path, SCRIPT)
    assert done.returncode == 1
    assert "name the distributions" in done.stderr
