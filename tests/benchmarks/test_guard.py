"""The guard fails where something has become slower, and only there. What it measures is made up here."""

import functools
import json
import math
import sys
from types import ModuleType

import guard
import pytest
import two_cores
from guard import Limit, Pair, too_slow
from harness import Contest, Taken


@pytest.mark.parametrize("ratio", [0.1, 3.0, 6.0])
def test_up_to_twice_the_recorded_ratio_passes(ratio):
    assert too_slow({"a": ratio}, {"a": 3.0}) == {}


def test_more_than_twice_fails_with_both_numbers():
    assert too_slow({"a": 6.1, "b": 1.0}, {"a": 3.0, "b": 1.0}) == {
        "a": "takes 6.10 times as long as the peer, more than 2 times the recorded 3.00"
    }


def test_no_number_fails():
    assert set(too_slow({"a": math.nan}, {"a": 3.0})) == {"a"}


def test_what_is_in_one_of_both_only_fails():
    wrong = too_slow({"new": 1.0}, {"gone": 1.0})
    assert wrong["gone"] == "is recorded but was not measured"
    assert "--record" in wrong["new"]


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Make the guard measure one pair, ours taking what the test says, run after run, and the peer one second."""

    def with_times(*seconds, recorded=1.0):
        times = iter(seconds)
        script = ModuleType("made_up_for_guard")
        programs = {"ours": lambda n: Taken(1, next(times)), "peer": lambda n: Taken(1, 1), "other": lambda n: 1 / 0}
        script.contests = lambda quick: [Contest("work", programs, sizes=(1, 2, 3), warm=False)]
        monkeypatch.setitem(sys.modules, script.__name__, script)
        # The harness warms up: every measurement asks ours twice.
        pair = Pair(script.__name__, "work", "peer", 5, 1)
        monkeypatch.setattr(guard, "PAIRS", (pair,))
        monkeypatch.setattr(guard, "LIMITS", ())
        monkeypatch.setattr(guard, "BASELINE", tmp_path / "baseline.json")
        guard.BASELINE.write_text(json.dumps({pair.name: recorded}))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setattr(sys, "argv", ["guard.py"])
        return pair.name

    return with_times


def status():
    with pytest.raises(SystemExit) as ended:
        guard.main()
    return ended.value.code


def test_the_guard_passes(measured, capsys):
    measured(9, 1.9)
    assert status() == 0
    assert "1 of 1 pairs are within 2 times what was recorded" in capsys.readouterr().out


def test_the_guard_fails_where_ours_is_three_times_as_slow(measured, capsys):
    name = measured(3, 3, 3, 3)
    assert status() == 1
    assert f"SLOWER: {name} takes 3.00 times as long" in capsys.readouterr().out


def test_once_is_no_proof(measured):
    measured(9, 9, 1, 1)
    assert status() == 0


@pytest.mark.parametrize(("found", "ended"), [(1.0, 0), (12.9, 0), (13.1, 1), (math.nan, 1), (0.0, 1)])
def test_a_limit_holds_up_to_its_slack(measured, monkeypatch, capsys, found, ended):
    measured(1, 1)
    monkeypatch.setattr(guard, "LIMITS", (Limit("work", "MB", 10, lambda: found),))
    assert status() == ended
    assert ("EXCEEDED: work: " in capsys.readouterr().out) == bool(ended)


def test_a_limit_that_is_exceeded_once_is_no_proof(measured, monkeypatch):
    measured(1, 1)
    found = iter([20.0, 12.9])
    monkeypatch.setattr(guard, "LIMITS", (Limit("work", "MB", 10, lambda: next(found)),))
    assert status() == 0


def test_what_several_limits_read_is_measured_again(measured, monkeypatch):
    assert guard.thousand_trainings in guard._CACHED
    measured(1, 1)
    found = iter([20.0, 12.9])
    shared = functools.cache(lambda: next(found))
    monkeypatch.setattr(guard, "_CACHED", (shared,))
    monkeypatch.setattr(guard, "LIMITS", (Limit("work", "MB", 10, lambda: shared()),))
    assert status() == 0


@pytest.mark.parametrize(
    ("unit", "slower", "ended"), [("s", 1.0, 1), ("s", 1.4, 1), ("s", 1.6, 0), ("MB", 1.6, 1), ("times", 1.6, 1)]
)
def test_seconds_alone_may_be_more_where_the_cores_are_slower(measured, monkeypatch, capsys, unit, slower, ended):
    measured(1, 1)
    monkeypatch.setattr(guard, "slowness", lambda: slower)
    monkeypatch.setattr(guard, "LIMITS", (Limit("work", unit, 10, lambda: 20.0),))
    assert status() == ended
    told = f"and {slower:.2f} times as long, because these cores are slower" in capsys.readouterr().out
    assert told == (unit == "s" and slower > 1)


def test_the_slowness_is_that_of_two_processes_at_once(monkeypatch):
    times = iter([3.0, 2.0, 2.5])
    monkeypatch.setattr(two_cores, "_both", lambda: next(times) * two_cores.REFERENCE)
    assert two_cores.slowness() == pytest.approx(2.0)
    monkeypatch.setattr(two_cores, "_both", lambda: 0.5 * two_cores.REFERENCE)
    assert two_cores.slowness() == 1.0


def test_both_processes_do_the_work():
    assert two_cores._both() > 0.05


def test_a_ratio_that_is_not_recorded_fails(measured, capsys):
    measured(1, 1)
    guard.BASELINE.write_text("{}")
    assert status() == 1
    assert "is not recorded" in capsys.readouterr().out


def test_recording_writes_the_median_of_three(measured, monkeypatch):
    name = measured(9, 1, 9, 5, 9, 2)
    monkeypatch.setattr(sys, "argv", ["guard.py", "--record"])
    guard.main()
    assert json.loads(guard.BASELINE.read_text()) == {name: 2}


def test_the_baseline_is_of_the_pairs_that_there_are():
    assert list(json.loads(guard.BASELINE.read_text())) == [pair.name for pair in guard.PAIRS]


@pytest.mark.parametrize("pair", guard.PAIRS, ids=lambda pair: pair.name)
def test_every_pair_is_of_a_contest_that_there_is(pair):
    contests = __import__(pair.script).contests(False)
    (contest,) = [each for each in contests if each.name == pair.contest]
    assert pair.peer in contest.programs
    assert pair.peer != contest.ours
