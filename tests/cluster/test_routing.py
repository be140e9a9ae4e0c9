"""Work goes where it can be done, and waits, in words, where nobody can do it."""

from __future__ import annotations

import urllib.request


def text_at(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.status, answer.read().decode()


def test_work_lands_where_its_plugin_is(cluster, strategy_text, sklearn_text, undisturbed_hash, wait):
    cluster.start_scheduler()
    cluster.start_api()
    cluster.start_worker("plain", KTRDR_BLOCK_PLUGINS="torch")
    (plain,) = cluster.get("/workers")
    assert plain["capabilities"] == ["backtest", "ml-sklearn"]

    # Nobody can train it: it stays queued, and says what it waits for, while other work goes on.
    deep = cluster.start_training(strategy_text)
    queued = cluster.operation(deep)
    assert queued["state"] == "queued"
    assert "plugin `torch`" in queued["waiting_for"]
    assert "none of the 1 connected" in queued["waiting_for"]
    shallow = cluster.wait_for(cluster.start_training(sklearn_text), "completed")
    assert shallow["worker"] == plain["address"]
    backtest = cluster.wait_for(cluster.start_backtest("plain/1"), "completed")
    assert backtest["worker"] == plain["address"]
    assert cluster.operation(deep)["state"] == "queued"

    # One joins that can: it starts there, and comes to what the command line comes to.
    leaving = cluster.start_worker("deep")
    found = cluster.wait_for(deep, "completed")
    assert {worker["address"]: worker["name"] for worker in cluster.get("/workers")}[found["worker"]] == "deep"
    assert found["waiting_for"] is None
    assert found["result"]["weights_hash"] == undisturbed_hash
    assert {tuple(worker["capabilities"]) for worker in cluster.get("/workers")} == {
        ("backtest", "ml-sklearn"),
        ("backtest", "ml-sklearn", "ml-torch"),
    }

    # The model of the plain worker is traded by the other one as well, to the same result.
    cluster.running["plain"].terminate()
    assert cluster.running["plain"].wait(60) == 0
    wait(lambda: cluster.worker_names() == ["deep"], "the plain worker has left")
    again = cluster.wait_for(cluster.start_backtest("plain/1"), "completed")
    assert again["worker"] != backtest["worker"]
    assert again["result"]["metrics"] == backtest["result"]["metrics"]
    leaving.terminate()
    assert leaving.wait(60) == 0


def test_health_and_metrics_are_where_the_api_says(standing):
    scheduler = standing.get("/scheduler")
    assert scheduler["connected"]
    assert scheduler["address"] == standing.scheduler_address
    places = {worker["facts"]["http"]: "dask_worker_tasks" for worker in standing.get("/workers")}
    assert len(places) == 2
    places[scheduler["http"]] = "dask_scheduler_workers"
    for place, metric in places.items():
        assert text_at(f"{place}/health") == (200, "ok")
        status, metrics = text_at(f"{place}/metrics")
        assert status == 200
        assert metric in metrics
