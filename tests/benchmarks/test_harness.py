"""The harness measures what it says: turns, ratios, growth, memory. No test asserts how long something takes."""

import json
import math
import subprocess
import sys
from pathlib import Path

import harness
import pytest
from harness import Contest, Figure, Taken
from hypothesis import given
from hypothesis import strategies as st


@given(st.floats(-1, 3), st.floats(1e-6, 1e3), st.lists(st.integers(1, 10**7), min_size=2, max_size=5, unique=True))
def test_exponent_of_a_power_law_is_its_power(power, factor, sizes):
    found = harness.exponent(sizes, [factor * size**power for size in sizes])
    assert found == pytest.approx(power, abs=1e-6)


def test_exponent_is_the_least_squares_line_through_what_is_no_power_law():
    # Of the points (0, 0), (1, 1), (2, 4) in logarithms: slope 2.
    assert harness.exponent([1, math.e, math.e**2], [1, math.e, math.e**4]) == pytest.approx(2)


def test_spread():
    assert harness.spread([4.0, 1.0, 3.0, 2.0, 5.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0, "best": 1.0}
    assert harness.spread([7.0]) == {"median": 7.0, "q1": 7.0, "q3": 7.0, "best": 7.0}


def test_programs_take_turns_after_each_has_run_once():
    calls = []
    programs = {name: lambda data, name=name: calls.append((name, data)) for name in "ABC"}
    contest = Contest(
        "x", programs, lambda n: -n, sizes=(1, 2), rounds=3, few={"B": 1}, largest={"C": 1}, check=calls.append
    )
    rows = harness.measure(contest)
    each = {
        # Of a program that takes few turns there is no warm-up at the larger size.
        1: [-1, *((name, -1) for name in "ABC"), *((name, -1) for name in "ABCACAC")],
        2: [-2, ("A", -2), *((name, -2) for name in "ABAA")],
    }
    assert calls == each[1] + each[2]
    assert [(row["size"], row["program"], row["rounds"]) for row in rows] == [
        (1, "A", 3),
        (1, "B", 1),
        (1, "C", 3),
        (2, "A", 3),
        (2, "B", 1),
    ]
    assert [row["ours"] for row in rows] == [True, False, False, True, False]


def test_without_warm_up_nothing_runs_before_it_is_measured():
    calls = []
    harness.measure(Contest("x", {"A": calls.append, "B": calls.append}, rounds=2, warm=False))
    assert len(calls) == 4


def test_ratios_are_taken_round_by_round():
    """A machine that is three times as slow in one round changes no ratio."""
    mine = iter([Taken(1, 2), Taken(3, 6), Taken(1, 2)])
    his = iter([Taken(2, 2), Taken(6, 6), Taken(2, 2)])
    contest = Contest("x", {"A": lambda _: next(mine), "B": lambda _: next(his)}, rounds=3, warm=False)
    ours, theirs = harness.measure(contest)
    assert theirs["ratio_wall"] == {"median": 2, "q1": 2, "q3": 2, "best": 2}
    assert theirs["ratio_cpu"] == {"median": 1, "q1": 1, "q3": 1, "best": 1}
    assert ours["ratio_wall"]["median"] == 1
    assert ours["wall"] == {"median": 1, "q1": 1, "q3": 2, "best": 1}
    assert ours["cpu"]["median"] == 2


def test_growth_is_told_by_the_contests_clock():
    contest = Contest("x", {"A": lambda n: Taken(n**2, n)}, sizes=(10, 100, 1000), rounds=1, warm=False, clock="wall")
    (found,) = harness.growth(harness.measure(contest))
    assert found == {"contest": "x", "program": "A", "exponent": pytest.approx(2)}


def test_a_single_size_has_no_growth():
    assert harness.growth(harness.measure(Contest("x", {"A": lambda n: None}, rounds=1))) == []


def test_a_measured_call_counts_its_own_time():
    row = harness.measure(Contest("x", {"A": lambda n: sum(range(1_000_000))}, rounds=1))[0]
    assert row["cpu"]["median"] > 0
    assert row["wall"]["median"] > 0
    assert "peak_mib" not in row


def test_find_takes_the_largest_size():
    rows = harness.measure(Contest("x", {"A": lambda n: Taken(n, n)}, sizes=(1, 2), rounds=1, warm=False))
    assert harness.find(rows, "x", "A")["size"] == 2
    assert harness.find(rows, "x", "A", 1)["size"] == 1


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("x", 1.0, ""), None),
        (Figure("x", 1.0, "", at_most=1.0), True),
        (Figure("x", 1.1, "", at_most=1.0), False),
        (Figure("x", 1.0, "", at_least=1.0), True),
        (Figure("x", 0.9, "", at_least=1.0), False),
        (Figure("x", math.nan, "", at_most=1.0), False),
    ],
)
def test_a_limit_is_met_or_missed(figure, met):
    assert figure.met is met


def test_a_process_is_measured_with_its_children():
    code = "import os, subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(3_000_000))'])"
    alone = harness.process(sys.executable, "-S", "-c", "pass")
    taken = harness.process(sys.executable, "-S", "-c", code)
    assert alone.cpu < taken.cpu
    assert taken.wall > 0


def test_the_memory_of_a_process_is_told_only_where_it_is_its_own():
    """A child begins with the memory of its parent; what is not more than that may not be the child's."""
    small = harness.process(sys.executable, "-S", "-c", "pass")
    assert small.peak_mib is None
    # What the tests before this one have needed is this process's own.
    more = int(harness.own_peak_mib()) + 128
    large = harness.process(sys.executable, "-S", "-c", f"x = bytearray({more} * 2**20)")
    assert more < large.peak_mib < more + 32


def test_the_own_memory_of_a_process_does_not_begin_with_that_of_its_parent():
    ask = f"import sys; sys.path.insert(0, {str(Path(harness.__file__).parent)!r}); import harness"
    ask += "; print(harness.own_peak_mib())"
    code = "import subprocess, sys; x = bytearray(256 * 2**20)"
    code += f"; subprocess.run([sys.executable, '-c', {ask!r}], check=True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1 < float(done.stdout) < 200


def test_a_process_that_fails_says_what_it_said():
    with pytest.raises(SystemExit, match="ended with 3: no such luck"):
        harness.process(sys.executable, "-c", "import sys; print('no such luck', file=sys.stderr); sys.exit(3)")


SCRIPT = """
import os, sys
from harness import Contest, Figure, Taken, main, reported

def agree(data):
    if "DISAGREE" in os.environ:
        raise SystemExit("they differ")

def hold(mib):
    # Held and let go again: it counts all the same.
    block = bytearray(mib * 2**20)
    return len(block)

def linear(n):
    return Taken(n, n)

def answer(n):
    return {"n": n}

def contests(quick):
    return [
        Contest("grows", {"ours": linear, "theirs": lambda n: Taken(n * n, n * n)}, sizes=(10, 100), check=agree),
        Contest("holds", {"ours": hold, "theirs": lambda mib: None}, sizes=(1, 100), rounds=1, memory=True),
    ]

def figures(rows, quick):
    yield Figure("asked", reported(__file__, "answer(7)")["n"], "", at_least=8)

if __name__ == "__main__":
    main(__file__, "x", contests, figures)
"""


@pytest.fixture
def script(tmp_path, root, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(root / "benchmarks"))
    path = tmp_path / "made_up_script.py"
    path.write_text(SCRIPT)

    def run(*arguments):
        return subprocess.run([sys.executable, str(path), *arguments], capture_output=True, text=True)

    return run


def test_a_script_writes_every_number(script, tmp_path):
    done = script("--json", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["benchmark"] == "made_up_script"
    assert {(each["contest"], each["program"]): round(each["exponent"], 6) for each in found["growth"]} | {
        ("holds", name): 0 for name in ("ours", "theirs")
    } == {("grows", "ours"): 1, ("grows", "theirs"): 2, ("holds", "ours"): 0, ("holds", "theirs"): 0}
    held = {row["program"]: row["added_mib"] for row in found["rows"] if "added_mib" in row}
    assert 99 < held["ours"] < 110
    assert held["theirs"] < 10
    assert found["figures"] == [
        {"name": "asked", "value": 7, "unit": "", "at_most": None, "at_least": 8, "of": "", "met": False}
    ]
    # A missed limit is shown; it is no failure.
    assert "MISSED" in done.stdout
    assert "n^2.00" in done.stdout


def test_a_part_of_a_script(script, tmp_path):
    assert script("--only", "grow", "--json", str(tmp_path / "found.json")).returncode == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert {row["contest"] for row in found["rows"]} == {"grows"}
    assert found["figures"] == []


def test_programs_that_disagree_end_the_script(script, monkeypatch, tmp_path):
    monkeypatch.setenv("DISAGREE", "1")
    done = script("--json", str(tmp_path / "found.json"))
    assert not (tmp_path / "found.json").exists()
    assert done.returncode == 1
    assert "they differ" in done.stderr
