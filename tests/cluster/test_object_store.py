"""Workers that share no directory with the API: models, data and checkpoints go through an object store.

The store is moto's S3 server on loopback: a server of the S3 protocol over HTTP, which keeps its objects in memory.
What speaks to it is what speaks to S3 itself, s3fs.
"""

from __future__ import annotations

import json
import shutil
import uuid
import zipfile

import pytest
import yaml


@pytest.fixture(scope="session")
def s3():
    """Environment that leads every S3 client to a server of our own."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server.stop()


@pytest.fixture
def store(s3, monkeypatch):
    """An empty bucket, reached from this process too."""
    import s3fs

    from ktrdr.core.cluster.object_store import ObjectStore

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    bucket = f"ktrdr-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
    url = f"s3://{bucket}/team"
    monkeypatch.setenv("KTRDR_STORE", url)
    return ObjectStore(url)


@pytest.fixture
def apart(cluster, store, s3, monkeypatch):
    """A cluster of an API with its home, and two workers with empty homes of their own."""
    import os

    cluster.environ |= {**s3, "KTRDR_STORE": os.environ["KTRDR_STORE"]}
    cluster.start_scheduler()
    cluster.start_api()
    names = ("first", "second")
    started = {name: cluster.spawn_worker(name, KTRDR_HOME=str(cluster.home.parent / name)) for name in names}
    for name in names:
        cluster.wait_for_worker(name)
    return started


def test_a_training_goes_on_elsewhere_and_what_came_of_it_is_here(
    cluster, apart, store, strategy_text, undisturbed_hash, moments, kill_process, tally, ktrdr
):
    identifier = cluster.start_training(strategy_text)
    operation = cluster.wait_until_done(identifier, moments.randint(3, 25))
    names = {worker["address"]: worker["name"] for worker in cluster.get("/workers")}
    assert not (cluster.home / "checkpoints").exists()
    kill_process(apart[names[operation["worker"]]])
    tally.lost += 1
    operation = cluster.wait_for(identifier, "completed", timeout=240)
    assert operation["attempt"] == 2
    assert operation["result"]["resumed"]
    assert operation["result"]["weights_hash"] == undisturbed_hash
    (model,) = cluster.get("/models")
    assert model["model"] == operation["result"]["model"]
    tally.lost -= 1
    # Nothing is left in the way: neither checkpoints in the store, nor files where the second attempt worked.
    assert store.names(f"operations/{identifier}/checkpoints") == []
    survivor = cluster.home.parent / names[operation["worker"]]
    assert list((survivor / "work").iterdir()) == []
    assert not (survivor / "models").exists()

    # The worker gets the model and the bars from the store, and its files come back.
    identifier = cluster.start_backtest(model["model"])
    result = cluster.wait_for(identifier, "completed")["result"]
    assert cluster.get(f"/backtests/{identifier}/trades")["total"] == result["metrics"]["trades"] > 0
    # The worker had a ledger of trials for this operation alone; what counts is that of the API's home.
    assert result["trial_count"]["known"] == 1
    own = yaml.safe_load(strategy_text)["decisions"]["confidence_threshold"]
    settings = {"risk.stop_loss.atr": [2, 3, 4], "decisions.confidence_threshold": [round(own - 0.01, 2), own]}
    found = cluster.wait_for(cluster.start_sweep(model["model"], settings), "completed")["result"]
    options = [part for name, values in settings.items() for part in ("--set", f"{name}={','.join(map(str, values))}")]
    assert json.loads(ktrdr("sweep", model["model"], *options, "--json", home=cluster.home).stdout) == found
    # One cell is the strategy as it is, which the backtest has traded: the same trial, and a row of its own.
    assert found["trial_count"]["known"] == 6
    trials = cluster.get("/trials")
    assert [item["kind"] for item in trials["items"]] == [*["sweep"] * 6, "backtest", "training"]
    assert trials["ledger"] == found["trial_count"]["ledger"] == result["trial_count"]["ledger"]
    # Once more: it is counted among them now, in its files too.
    identifier = cluster.start_backtest(model["model"])
    again = cluster.wait_for(identifier, "completed")["result"]
    assert again["trial_count"]["known"] == again["metrics"]["trials"] == 6
    stored = json.loads((cluster.home / "runs" / again["run"] / "metrics.json").read_text())
    assert stored["metrics"] == again["metrics"]


def test_several_seeds_go_on_elsewhere_with_the_members_that_are_finished(
    cluster, apart, store, strategy_text, kill_process, tally, ktrdr, wait
):
    settings = {"seeds": 6, "epochs": 8}
    identifier = cluster.start_training(strategy_text, **settings)
    finished = f"operations/{identifier}/members"
    wait(lambda: store.names(finished), "a seed is finished")
    operation = cluster.operation(identifier)
    names = {worker["address"]: worker["name"] for worker in cluster.get("/workers")}
    kill_process(apart[names[operation["worker"]]])
    tally.lost += 1
    operation = cluster.wait_for(identifier, "completed", timeout=240)
    assert (operation["attempt"], operation["result"]["resumed"]) == (2, True)
    tally.lost -= 1
    assert store.names(finished) == []
    path = cluster.home / "strategy.yaml"
    path.write_text(strategy_text)
    options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    local = json.loads(ktrdr("train", str(path), *options, "--json", home=cluster.home).stdout)
    for key in ("weights_hash", "seed", "members", "metrics", "importance"):
        assert operation["result"][key] == local[key], key


def test_a_worker_without_the_store_is_found_out(cluster, s3, store, sklearn_text):
    import os

    url = os.environ["KTRDR_STORE"]
    cluster.environ |= s3
    cluster.start_scheduler()
    cluster.start_api(KTRDR_STORE=url)
    cluster.start_worker("first", KTRDR_BLOCK_PLUGINS="torch")
    operation = cluster.wait_for(cluster.start_training(sklearn_text), "failed")
    assert "start it with the same KTRDR_STORE as the API" in operation["error"]["message"]


class TestExchange:
    @pytest.fixture
    def api_home(self, tmp_path, monkeypatch):
        """The home of an API, with the sample and a small model of operation `A`."""
        from ktrdr.core.data.bar_store import BarStore
        from ktrdr.core.data.sample import install_sample

        home = tmp_path / "api"
        install_sample(BarStore(home / "data"))
        monkeypatch.setenv("KTRDR_HOME", str(home))
        return home

    @pytest.fixture
    def exchange(self, store, api_home):
        from ktrdr.core.cluster.exchange import Exchange

        return Exchange(store)

    @pytest.fixture
    def work(self, monkeypatch, tmp_path, api_home):
        """Return ``work(kind, job, operation)``: a result as a worker has it, and the home it worked in."""
        from ktrdr.core.workflows.run_job import run_job

        def run(kind, job, operation):
            home = tmp_path / f"worker-{operation}"
            shutil.copytree(api_home / "data", home / "data")
            with monkeypatch.context() as patch:
                patch.setenv("KTRDR_HOME", str(home))
                return home, run_job(kind, job, operation=operation)

        return run

    @pytest.fixture
    def train(self, work, sklearn_text):
        return lambda operation: work("training", {"strategy": sklearn_text}, operation)

    @pytest.fixture
    def evaluate(self, work, sklearn_text):
        return lambda operation: work("evaluation", {"strategy": sklearn_text, "seeds": 1}, operation)

    def test_a_model_is_taken_in_once_however_often_it_is_told(self, exchange, train, api_home):
        from ktrdr.core.models.model_store import ModelStore

        home, result = train("A")
        delivered = exchange.deliver("A", "training", home, result)
        first = exchange.take_in("A", delivered)
        assert exchange.take_in("A", delivered) == first
        models = ModelStore(api_home / "models")
        assert [entry.ref for entry in models.list()] == [first["model"]] == ["plain/1"]
        models.verify("plain/1")
        # Another operation's model of the same version gets a version of its own here.
        home, result = train("B")
        assert result["model"] == "plain/1"
        assert exchange.take_in("B", exchange.deliver("B", "training", home, result))["model"] == "plain/2"

    def test_an_evaluation_is_taken_in_once_with_the_count_of_the_server(self, exchange, store, evaluate, api_home):
        from ktrdr.core.trials.look import LOOKS
        from ktrdr.core.validation.stored_evaluation import list_evaluations, load_evaluation

        home, result = evaluate("A")
        kept = home / "checkpoints" / "plain-0123" / "members" / "0000"
        kept.mkdir(parents=True)
        (kept / "member.json").write_text("{}")
        exchange.keep_member("A", 1, kept)
        delivered = exchange.deliver("A", "evaluation", home, result)
        assert store.names("operations/A/members") == []
        assert str(home) not in json.dumps(delivered)
        del delivered[LOOKS]
        counted = {**delivered, "trial_count": {**delivered["trial_count"], "number": 7, "known": 7}}
        first = exchange.take_in("A", counted)
        assert exchange.take_in("A", counted) == first
        assert first["directory"] == str(api_home / "evaluations" / "plain" / "1")
        assert [entry.name for entry in list_evaluations(api_home / "evaluations")] == ["plain/1"]
        facts = load_evaluation("plain/1", api_home / "evaluations").facts
        assert facts.trial_count["number"] == 7
        assert facts.model_dump(mode="json") == {key: first[key] for key in facts.model_dump()}
        # That of another operation has the same name where it was made, and the next one here.
        home, result = evaluate("B")
        assert result["evaluation"] == "plain/1"
        taken = exchange.take_in("B", exchange.deliver("B", "evaluation", home, result))
        assert taken["evaluation"] == "plain/2"

    def test_an_evaluation_that_is_damaged_is_refused(self, exchange, evaluate, store, api_home):
        from ktrdr.core.errors import KtrdrError

        home, result = evaluate("A")
        delivered = exchange.deliver("A", "evaluation", home, result)
        whole = store.get("operations/A/evaluation.zip")
        store.put("operations/A/evaluation.zip", whole[: len(whole) // 2])
        with pytest.raises(KtrdrError, match="the evaluation that was sent cannot be read"):
            exchange.take_in("A", delivered)
        with pytest.raises(KtrdrError, match="unknown kind `../x`"):
            exchange.take_in("A", {**delivered, "delivered": "../x"})
        assert not (api_home / "evaluations").exists()

    def test_a_training_from_an_evaluation_has_it_on_its_worker(
        self, exchange, store, evaluate, api_home, tmp_path, monkeypatch
    ):
        from ktrdr.core.models.model_store import ModelStore
        from ktrdr.core.workflows.run_job import run_job

        home, result = evaluate("A")
        exchange.take_in("A", exchange.deliver("A", "evaluation", home, result))
        text = (api_home / "evaluations" / "plain" / "1" / "strategy.yaml").read_text(encoding="utf-8")
        job = {"strategy": text, "evaluation": "plain/1"}
        exchange.provide("B", job)
        assert len(store.names("evaluations")) == 1
        # The files of the server may be gone by then: every attempt has the inputs of the first.
        shutil.rmtree(api_home / "evaluations")
        monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "worker"))
        with exchange.home("B") as place, monkeypatch.context() as patch:
            assert not place.is_relative_to(api_home)
            patch.setenv("KTRDR_HOME", str(place))
            delivered = exchange.deliver("B", "training", place, run_job("training", job, operation="B"))
        monkeypatch.setenv("KTRDR_HOME", str(api_home))
        assert exchange.take_in("B", delivered)["model"] == "plain/1"
        bundle = ModelStore(api_home / "models").verify("plain/1")
        assert bundle.manifest.evaluation.reference == "plain/1"
        assert list(bundle.out_of_sample()) == ["EURUSD"]

    def test_a_model_that_is_damaged_or_anothers_is_refused(self, exchange, train, store, api_home):
        from ktrdr.core.errors import KtrdrError
        from ktrdr.core.models.model_store import ModelStore

        home, result = train("A")
        delivered = exchange.deliver("A", "training", home, result)
        whole = store.get("operations/A/model.zip")
        store.put("operations/A/model.zip", whole[: len(whole) // 2])
        with pytest.raises(KtrdrError):
            exchange.take_in("A", delivered)
        broken = bytearray(whole)
        broken[whole.index(b"normalizers.json") + 40] ^= 1
        store.put("operations/A/model.zip", bytes(broken))
        with pytest.raises(KtrdrError):
            exchange.take_in("A", delivered)
        assert ModelStore(api_home / "models").list() == ()
        store.put("operations/Z/model.zip", whole)
        with pytest.raises(KtrdrError, match="not the one of operation Z"):
            exchange.take_in("Z", delivered)

    def test_every_attempt_has_the_inputs_of_the_first(self, exchange, api_home, sklearn_text):
        from ktrdr.core.data.bar_store import BarStore
        from ktrdr.core.data.sample import sample_bars

        job = {"strategy": sklearn_text}
        exchange.provide("A", job)
        bars = BarStore(api_home / "data")
        bars.delete("EURUSD", "1h")
        bars.write(sample_bars()[:100])
        exchange.provide("A", job)
        exchange.provide("B", job)
        for operation, rows in (("A", len(sample_bars())), ("B", 100)):
            with exchange.home(operation) as home:
                assert BarStore(home / "data").info("EURUSD", "1h").rows == rows
            assert not home.exists()

    def test_the_newest_checkpoint_of_any_attempt_is_restored(self, exchange, store, tmp_path):
        root = tmp_path / "checkpoints" / "plain-0123"
        for attempt, number in ((1, 3), (1, 4), (2, 5), (1, 6), (1, 7), (2, 6)):
            directory = root / f"checkpoint-{number:08d}"
            shutil.rmtree(root, ignore_errors=True)
            directory.mkdir(parents=True)
            (directory / "state").write_text(f"{attempt}:{number}")
            exchange.keep_checkpoint("A", attempt, directory)
        assert store.names("operations/A/checkpoints") == [
            "operations/A/checkpoints/00000006-0002.zip",
            "operations/A/checkpoints/00000007-0001.zip",
        ]
        home = tmp_path / "home"
        home.mkdir()
        exchange.restore_checkpoint("A", home)
        (state,) = (home / "checkpoints").rglob("state")
        assert state.relative_to(home) == state.__class__("checkpoints/plain-0123/checkpoint-00000007/state")
        assert state.read_text() == "1:7"
        exchange.restore_checkpoint("nobody", tmp_path)
        assert not (tmp_path / "checkpoint.zip").exists()

    def test_finished_members_of_all_attempts_are_restored_and_put_into_the_store_once(
        self, exchange, store, tmp_path, monkeypatch
    ):
        from ktrdr.core.cluster.exchange import CheckpointKeeper

        def finish(home, run, *numbers):
            for number in numbers:
                member = home / "checkpoints" / run / "members" / f"{number:04d}"
                member.mkdir(parents=True)
                (member / "member.json").write_text(f"{home.name}:{number}")

        first, second, third = (tmp_path / name for name in ("first", "second", "third"))
        keeper = CheckpointKeeper(exchange, "A", 1, first)
        finish(first, "plain-0123", 0)
        keeper.keep()
        finish(first, "plain-0123", 1)
        # What is unfinished stays here.
        (first / "checkpoints" / "plain-0123" / "members" / ".ktrdr-new-1").mkdir()
        checkpoint = first / "checkpoints" / "plain-0123" / "checkpoint-00000003"
        checkpoint.mkdir()
        (checkpoint / "state").write_text("1:3")
        keeper.keep()
        stored = [f"operations/A/members/{number:04d}-0001.zip" for number in (0, 1)]
        assert store.names("operations/A/members") == stored
        puts = []
        honest = store.put_file
        monkeypatch.setattr(store, "put_file", lambda name, path: puts.append(name) or honest(name, path))
        keeper.keep()
        assert puts == []

        second.mkdir()
        exchange.restore_checkpoint("A", second)
        again = CheckpointKeeper(exchange, "A", 2, second)
        again.keep()
        assert puts == []
        finish(second, "plain-0123", 2)
        # The first attempt was only slow, and has finished the same member.
        finish(first, "plain-0123", 2)
        again.keep()
        keeper.keep()
        assert puts == ["operations/A/members/0002-0002.zip", "operations/A/members/0002-0001.zip"]
        third.mkdir()
        exchange.restore_checkpoint("A", third)
        found = {path.relative_to(third / "checkpoints" / "plain-0123").as_posix() for path in third.rglob("*.json")}
        assert found == {f"members/{number:04d}/member.json" for number in (0, 1, 2)}
        assert (third / "checkpoints" / "plain-0123" / "checkpoint-00000003" / "state").read_text() == "1:3"
        assert [path.name for path in third.iterdir()] == ["checkpoints"]

    def test_what_points_outside_is_not_unpacked(self, exchange, store, tmp_path):
        archive = tmp_path / "evil.zip"
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("../../outside", "x")
        store.put_file("operations/A/checkpoints/00000001-0001.zip", archive)
        home = tmp_path / "deep" / "home"
        home.mkdir(parents=True)
        from ktrdr.core.errors import KtrdrError

        with pytest.raises(KtrdrError, match="damaged"):
            exchange.restore_checkpoint("A", home)
        assert not (tmp_path / "outside").exists()
        assert not (tmp_path / "deep" / "outside").exists()

    def test_an_operation_nobody_provided_for_is_refused(self, exchange):
        from ktrdr.core.errors import BadInputError

        with (
            pytest.raises(BadInputError, match="start the API with the same KTRDR_STORE as the worker"),
            exchange.home("X"),
        ):
            pass


@pytest.mark.parametrize("url", ["file:///tmp", "bucket", "s3://", "s3://B", "s3://bucket/../x y"])
def test_what_is_no_store_is_one_sentence(ktrdr, tmp_path, monkeypatch, url):
    from ktrdr.core.cluster.object_store import store_url
    from ktrdr.core.errors import BadInputError

    with pytest.raises(BadInputError, match="write s3://bucket"):
        store_url({"KTRDR_STORE": url})


def test_a_store_that_is_away_is_an_error_of_the_system(monkeypatch):
    from ktrdr.core.cluster.object_store import ObjectStore

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(OSError):
        ObjectStore("s3://bucket").get("x")
