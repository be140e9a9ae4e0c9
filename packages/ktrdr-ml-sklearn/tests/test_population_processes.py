"""Populations in several processes: the same bytes, and what becomes of the processes, whatever ends."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from ktrdr.core.errors import BadInputError, CancelledError, DiskFullError, RemoteError
from ktrdr.core.plugins import Member, Resources, Split, TrainingData
from ktrdr.core.testing.learning_problems import Problem, make_problem
from ktrdr.core.testing.population_conformance import PopulationConformance
from ktrdr.core.testing.population_problems import draw_population
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.sklearn import population_run, shared_matrices
from ktrdr.ml.sklearn.declaration import INFO
from ktrdr.ml.sklearn.member_memory import BYTES_OF_PROCESS, bytes_of_member, most_processes
from ktrdr.ml.sklearn.member_processes import MemberProcesses
from ktrdr.ml.sklearn.shared_matrices import SharedMatrices
from ktrdr.ml.sklearn.sklearn_trainer import SklearnTrainer
from ktrdr.ml.sklearn.thread_pools import one_blas_thread

TYPES = {model_type.name: model_type for model_type in INFO.model_types}
PLENTY = Resources(memory=10**9, cores=2)


class Kit(PopulationConformance):
    plugin = "sklearn"
    architectures = {"random_forest": {"n_estimators": 12}}
    restarted = frozenset(TYPES)


@pytest.fixture(autouse=True)
def _no_process_is_left():
    yield
    assert [child for child in psutil.Process().children() if "member_child" in " ".join(child.cmdline())] == []


@contextlib.contextmanager
def processes_at_once(started: list[int], questions: int = 0):
    """Use processes after a number of questions to the time here, and note how many were started."""

    class Counted(population_run._TimeHere):
        asked = 0

        @property
        def requested(self):
            self.asked += 1
            return self.asked > questions

    class Noted(MemberProcesses):
        def __init__(self, count, *rest):
            started.append(count)
            super().__init__(count, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(population_run, "_TimeHere", Counted)
        patch.setattr(population_run, "_SECONDS_OF_START", 0.0)
        patch.setattr(population_run.PopulationRun, "_pays", lambda run, seconds, busy, count: count > 1)
        patch.setattr(population_run, "MemberProcesses", Noted)
        yield


def refused(count: int = 3) -> list[Member]:
    """Members that are refused before a process imports scikit-learn, for all that needs no model."""
    members = draw_population(TYPES["logistic_regression"], 2, size=count, unlucky=False).members
    return [Member(replace(drawn.task, device="cuda:7"), drawn.data) for drawn in members]


def train(members, *, cancellation=None, progress=NO_PROGRESS, resources=PLENTY):
    return SklearnTrainer().train_many(
        members, progress=progress, cancellation=cancellation or Cancellation(), checkpoint=None, resources=resources
    )


def outcomes_of(processes: MemberProcesses, count: int):
    found = {}
    while len(found) < count:
        if (message := processes.receive(60)) and message[0] == "ended":
            found[message[1]] = message[2]
    return found


# The promise.


@pytest.fixture(scope="module")
def boosted(tmp_path_factory):
    """Endings in two processes, of a population whose first member was begun here, and those alone."""
    path, kit, started, events = tmp_path_factory.mktemp("boosted"), Kit(), [], []
    drawn = [*draw_population(TYPES["gradient_boosting"], 9, size=9).members]
    drawn[3:4] = [replace(drawn[3], cancelled_at=0)]
    # Two matrices, one with a single sample of a class.
    with processes_at_once(started, questions=4):
        members = [Member(each.task, each.data) for each in drawn]
        members[3] = replace(members[3], cancellation=Cancellation())
        members[3].cancellation.cancel("not needed")
        outcomes = train(members, progress=lambda event: events.append((time.monotonic(), event)))
    found = kit._endings(outcomes, path / "together")
    return started, events, found, kit._all_alone(drawn, path / "alone")


def test_members_in_processes_are_as_alone(boosted):
    started, _, found, expected = boosted
    assert started == [2]
    assert sum("files" in ending for ending in found) >= 5
    assert found[3] == {"error": "CancelledError", "message": "not needed"}
    assert found[:3] + found[4:] == expected[:3] + expected[4:]


def test_progress_of_processes_ascends_at_most_ten_times_a_second(boosted):
    _, events, *_ = boosted
    fractions = [event.fraction for _, event in events]
    assert fractions == sorted(fractions)
    assert (events[-1][1].done, events[-1][1].total, fractions[-1]) == (9, 9, 1.0)
    times = [at for at, _ in events]
    assert all(sum(1 for at in times[first:] if at - times[first] < 1) <= 11 for first in range(len(times)))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_large_unlucky_population_in_processes_is_as_alone(name, tmp_path):
    started = []
    with processes_at_once(started):
        for number in (20, 21, 22):
            population = replace(Kit()._draw(TYPES[name], number), resources=PLENTY)
            Kit()._compare_with_alone(TYPES[name], population, tmp_path / str(number))
    assert started[0] == 2


def test_the_time_here_is_that_of_this_thread():
    here = population_run._TimeHere(0.05)
    time.sleep(0.1)
    assert not here.requested
    here.raise_if_requested()
    while here.seconds < 0.05:
        sum(range(1000))
    with pytest.raises(CancelledError):
        here.raise_if_requested()


def test_processes_must_save_twice_their_start():
    run = population_run.PopulationRun(refused(20), NO_PROGRESS, Cancellation(), PLENTY)
    assert run._pays(5.0, 1.0, 2)  # none has ended in five seconds: 100 s are left, and half of them are saved
    assert not run._pays(5.0, 1.0, 1)
    run._outcomes = dict.fromkeys(range(10), SimpleNamespace())
    assert not run._pays(5.0, 1.0, 2)  # ten have ended: 5 s are left
    assert not run._pays(20.0, 1.0, 2)
    assert run._pays(21.0, 1.0, 2)
    assert run._pays(14.0, 1.0, 4)
    # What threads have shared already, processes do not save again.
    assert not run._pays(1000.0, 2.0, 2)
    assert run._pays(84.0, 2.0, 4)
    assert not run._pays(38.0, 2.0, 4)
    run._outcomes = dict.fromkeys(range(10), CancelledError("not trained"))
    assert run._pays(5.0, 1.0, 2)


def test_what_takes_little_time_is_trained_in_this_process(monkeypatch):
    monkeypatch.setattr(population_run, "MemberProcesses", None)
    members = draw_population(TYPES["logistic_regression"], 0, size=5, unlucky=False).members
    outcomes = train([Member(each.task, each.data) for each in members])
    assert [outcome.best_epoch >= 1 for outcome in outcomes] == [True] * 5


# What becomes of the processes.


def test_an_error_in_a_process_is_the_outcome_of_its_member():
    started = []
    with processes_at_once(started):
        outcomes = train(refused())
    assert started == [2]
    assert [type(outcome) for outcome in outcomes] == [BadInputError] * 3
    assert "has no device `cuda:7`" in str(outcomes[0])


def test_a_killed_process_is_one_sentence():
    with MemberProcesses(2, refused(), 1) as processes:
        processes.train(0, 1)
        processes._processes[0].kill()
        with pytest.raises(BadInputError, match="trained member 2 of the population was killed, as the system"):
            outcomes_of(processes, 2)


def test_a_fault_in_a_process_is_told_with_its_member(capfd):
    members = refused()
    members[0] = replace(members[0], task=replace(members[0].task, device="cpu", model_type="unheard of"))
    with processes_at_once([]), MemberProcesses(1, members, 1) as processes:
        processes.train(0, 0)
        with pytest.raises(RemoteError, match="a fault of the program: the process that trained member 1 .* status 1"):
            outcomes_of(processes, 1)
    assert "KeyError: 'unheard of'" in capfd.readouterr().err


@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_a_cancelled_population_ends_its_processes_at_once(seconds):
    drawn = draw_population(TYPES["random_forest"], 1, size=3, unlucky=False, architecture={"n_estimators": 10_000})
    cancellation = Cancellation()
    timer = threading.Timer(seconds, cancellation.cancel, ["enough"])
    timer.start()
    began = time.monotonic()
    with processes_at_once([]), pytest.raises(CancelledError, match="enough"):
        train([Member(each.task, each.data) for each in drawn.members], cancellation=cancellation)
    assert time.monotonic() - began < 30


def test_a_cancelled_member_leaves_the_others():
    members = refused()
    members[1] = replace(members[1], cancellation=Cancellation())
    members[1].cancellation.cancel("not this one")
    with processes_at_once([]):
        outcomes = train(members)
    assert [type(outcome) for outcome in outcomes] == [BadInputError, CancelledError, BadInputError]
    assert str(outcomes[1]) == "not this one"


PARENT = """
import sys, time
from ktrdr.core.plugins import Member
from ktrdr.core.testing.population_problems import draw_population
from ktrdr.ml.sklearn.declaration import INFO
from ktrdr.ml.sklearn.member_processes import MemberProcesses
drawn = draw_population(INFO.model_types[1], 1, size=3, unlucky=False, architecture={"n_estimators": 10_000}).members
processes = MemberProcesses(2, [Member(each.task, each.data) for each in drawn], 1)
processes.train(0, 0)
print(*(each.pid for each in processes._processes), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("after", [0.0, 1.5])
def test_a_killed_parent_leaves_no_process_no_file_and_no_noise(after, tmp_path):
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as parent:
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        time.sleep(after)
        parent.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=30)
        assert alive == []
        assert parent.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []
    assert set(os.listdir("/dev/shm")) - before == set() if before else True


DAEMON = """
import multiprocessing
from ktrdr.core.plugins import Member
from ktrdr.core.testing.population_problems import draw_population
from ktrdr.ml.sklearn.declaration import INFO
from ktrdr.ml.sklearn.member_processes import MemberProcesses
from dataclasses import replace

def work(pipe):
    drawn = draw_population(INFO.model_types[2], 2, size=1, unlucky=False).members
    members = [Member(replace(each.task, device="cuda:7"), each.data) for each in drawn]
    with MemberProcesses(1, members, 1) as processes:
        processes.train(0, 0)
        pipe.send(str(processes.receive(60)[2]))

here, there = multiprocessing.Pipe()
process = multiprocessing.get_context("fork").Process(target=work, args=[there], daemon=True)
process.start()
print(here.recv())
"""


def test_a_daemonic_process_and_a_script_without_a_guard_may_start_processes():
    done = subprocess.run([sys.executable, "-c", DAEMON], capture_output=True, text=True, timeout=120, check=True)
    assert "has no device `cuda:7`" in done.stdout


# Resources.


def test_memory_and_cores_bound_the_processes():
    members = refused()
    matrix, each = members[0].data.features.nbytes, max(map(bytes_of_member, members))
    copies = sum({id(member.data.features): member.data.features.nbytes for member in members}.values())
    assert copies >= matrix
    for count in (0, 1, 2, 3):
        memory = copies + count * (BYTES_OF_PROCESS + each)
        assert most_processes(members, Resources(memory=memory, cores=8)) == count
        assert most_processes(members, Resources(memory=memory - 1, cores=8)) == max(count - 1, 0)
    assert most_processes(members, Resources(memory=10**12, cores=5)) == 5


def test_a_budget_below_one_member_names_what_suffices():
    members = [
        Member(each.task, each.data) for each in draw_population(TYPES["logistic_regression"], 1, size=2).members
    ]
    with pytest.raises(BadInputError, match=r"one member .* needs [\d,]+ bytes of memory, and the budget is 1; set"):
        train(members, resources=Resources(memory=1, cores=2))
    enough = max(map(bytes_of_member, members))
    assert len(train(members, resources=Resources(memory=enough, cores=2))) == 2


@pytest.mark.parametrize("shares", [True, False])
def test_shared_matrices_are_what_was_given(shares, monkeypatch):
    monkeypatch.setattr(shared_matrices, "SHARES", shares)
    for shapes in (((7, 3), (0, 3), (5, 2)), ((0, 3),)):
        given = [np.random.default_rng(0).random(shape, dtype=np.float32) for shape in shapes]
        matrices = SharedMatrices(given)
        assert (len(matrices.descriptors) == 1) == shares
        for opened, matrix in zip(pickle.loads(pickle.dumps(matrices.reference)).open(), given, strict=True):
            np.testing.assert_array_equal(opened, matrix)
            assert not opened.flags.writeable
        matrices.close()


def test_a_matrix_of_each_of_many_members_needs_one_file():
    members = [
        replace(member, data=replace(member.data, features=member.data.features.copy())) for member in refused(4)
    ]
    with MemberProcesses(1, members, 1) as processes:
        assert len(processes._matrices.descriptors) == 1
        assert sorted(processes._matrix_of) == [0, 1, 2, 3]


def test_without_room_for_the_copy_there_is_one_sentence(monkeypatch):
    class Full:
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(shared_matrices.os, "fdopen", lambda *arguments: Full())
    monkeypatch.setattr(shared_matrices, "tempfile", SimpleNamespace(TemporaryFile=lambda mode: Full(), gettempdir=str))
    with pytest.raises(DiskFullError, match=r"no room for a copy of the features, 84 bytes \(No space left"):
        SharedMatrices([np.zeros((7, 3), np.float32)])


# Threads.


def _blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_the_limit_of_blas_holds_until_its_last_user_has_ended():
    with threadpool_limits(2, user_api="blas"):
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert _blas_threads() == {1}
        second.__exit__(None, None, None)
        assert _blas_threads() == {2}


def test_the_bits_do_not_depend_on_the_threads_of_blas():
    """With two threads, the sums of a large binary problem are in another order."""
    given = make_problem(TYPES["logistic_regression"], "classification", settings={"epochs": 10})
    random = np.random.default_rng(0)
    features = random.random((20_000, 50), dtype=np.float32)
    labels = (features[:, 0] > features[:, 1] + random.normal(0, 0.1, len(features))).astype(np.int64)
    rows = np.arange(len(features))
    part = Split(rows, labels, random.random(len(rows)).astype(np.float32))
    task = replace(given.task, classes=("a", "b"), feature_ids=tuple(map(str, range(50))))
    problem = Problem(task, TrainingData(features, part, Split(rows[:0], labels[:0], part.weights[:0])))
    found = set()
    for threads in (1, 2, 4):
        with threadpool_limits(threads, user_api="blas"):
            model = SklearnTrainer().train(
                problem.task, problem.data, progress=NO_PROGRESS, cancellation=Cancellation(), checkpoint=None
            )
            found.add(model.predictor().estimator.coef_.tobytes())
    assert len(found) == 1
