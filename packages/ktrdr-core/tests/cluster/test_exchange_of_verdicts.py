"""A verdict on a worker without a shared directory: its worlds and its files go through the object store."""

from __future__ import annotations

import shutil

import pytest

from ktrdr.core.cluster.exchange import DELIVERED, CheckpointKeeper, Exchange
from ktrdr.core.errors import BadInputError
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.validation.stored_evaluation import list_evaluations, load_evaluation
from ktrdr.core.verdicts.recounted_verdict import recounted_verdict
from ktrdr.core.verdicts.stored_verdict import list_verdicts, load_verdict, store_verdict, verdict_directory


class MemoryStore:
    """An object store in memory."""

    def __init__(self):
        self.objects = {}

    def put(self, name, content):
        self.objects[name] = content

    def put_file(self, name, path):
        self.objects[name] = path.read_bytes()

    def get(self, name):
        return self.objects.get(name)

    def get_file(self, name, path):
        path.write_bytes(self.objects[name])

    def has(self, name):
        return name in self.objects

    def names(self, prefix):
        return sorted(name for name in self.objects if name.startswith(f"{prefix}/"))

    def delete(self, name):
        del self.objects[name]


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def server_home(tmp_path, monkeypatch):
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "server"))
    return tmp_path / "server"


@pytest.fixture
def deliver(made_verdict, store, tmp_path):
    """Return ``deliver(word)``: what a worker tells the API, once it has put the files into the store."""

    def work(word):
        home = tmp_path / "worker"
        shutil.rmtree(home, ignore_errors=True)
        places = {"root": home / "verdicts", "evaluations": home / "evaluations"}
        facts = store_verdict(made_verdict(word), **places, operation="A").facts
        directory = str(verdict_directory(facts.verdict, places["root"]))
        result = {**facts.model_dump(mode="json"), "exit_status": 0, "directory": directory}
        return Exchange(store).deliver("A", "verdict", home, result)

    return work


@pytest.mark.parametrize("word", ["EDGE", "INVALID"])
def test_its_files_are_added_once_and_named_as_they_are_here(deliver, store, server_home, made_verdict, word):
    # The server has a verdict and two evaluations of the strategy already.
    store_verdict(made_verdict("NONE"))
    store_verdict(made_verdict("EDGE"), root=server_home / "others")
    told = deliver(word)
    assert told[DELIVERED] == "verdict"
    assert "directory" not in told
    results = [Exchange(store).take_in("A", told) for _ in range(2)]
    assert results[0] == results[1]
    (result,) = results[:1]
    assert (result["verdict"], result["directory"]) == ("made_up/2", str(server_home / "verdicts" / "made_up" / "2"))
    found = load_verdict("made_up/2").facts
    assert (found.word, found.operation) == (word, "A")
    assert [entry.name for entry in list_verdicts()] == ["made_up/1", "made_up/2"]
    if word == "INVALID":
        assert result["evaluation"] is None
        assert len(list_evaluations()) == 2
    else:
        assert result["evaluation"]["evaluation"] == found.evaluation.evaluation == "made_up/3"
        assert load_evaluation("made_up/3").facts == found.evaluation


def test_the_count_of_the_server_is_in_the_files(deliver, store, server_home):
    told = recounted_verdict(deliver("EDGE"), TrialCount(known=200, ledger="0123456789ab", spread=1.5))
    result = Exchange(store).take_in("A", told)
    found = load_verdict(result["verdict"]).facts
    assert (found.word, found.deflation.trials) == ("NOT PROVEN", 200)
    assert found.evaluation.trial_count["known"] == 200
    assert load_evaluation(found.evaluation.evaluation).facts.trial_count["known"] == 200


def test_an_answer_without_files_is_told(made_verdict, store, server_home):
    with pytest.raises(BadInputError, match="has put no result into the object store"):
        Exchange(store).take_in("A", made_verdict("EDGE").facts.model_dump(mode="json"))


def test_finished_worlds_reach_the_next_attempt(store, tmp_path):
    exchange = Exchange(store)
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    worlds = first / "checkpoints" / "waves-verdict-ab" / "worlds.jsonl"
    worlds.parent.mkdir(parents=True)
    keeper = CheckpointKeeper(exchange, "A", 1, first)
    keeper.keep()
    assert store.objects == {}
    for number in range(2):
        with worlds.open("a") as file:
            file.write(f"{number}\n")
        keeper.keep()
    kept = dict(store.objects)
    assert len(kept) == 1, "one object, in place of what it was before"
    keeper.keep()
    assert store.objects == kept

    second.mkdir()
    exchange.restore_checkpoint("A", second)
    again = second / worlds.relative_to(first)
    assert again.read_text() == "0\n1\n"
    later = CheckpointKeeper(exchange, "A", 2, second)
    later.keep()
    assert store.objects == kept, "nothing is sent back that came from there"
    with again.open("a") as file:
        file.write("2\n")
    later.keep()
    # The first attempt was given up as lost, and is still running.
    with worlds.open("a") as file:
        file.write("9\n")
    keeper.keep()
    third.mkdir()
    exchange.restore_checkpoint("A", third)
    assert (third / worlds.relative_to(first)).read_text() == "0\n1\n2\n"


def test_what_is_delivered_leaves_no_worlds_behind(deliver, store, tmp_path):
    Exchange(store).keep_logs("A", 1, [], tmp_path)
    deliver("EDGE")
    assert store.names("operations/A") == ["operations/A/evaluation.zip", "operations/A/verdict.zip"]
