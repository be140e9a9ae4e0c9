"""Workers that a batch system starts: dask-jobqueue with its local cluster, which runs what it would hand to Slurm."""

from __future__ import annotations

import sys

# What docs/cluster.md shows, with the local cluster in place of SLURMCluster.
SCRIPT = """
import sys, time
from dask_jobqueue.local import LocalCluster

port = int(sys.argv[1])
cluster = LocalCluster(
    cores=1,
    processes=1,
    memory="4GB",
    job_script_prologue=[],
    worker_extra_args=["--preload", "ktrdr.worker.preload", "--require", "torch", "--no-dashboard"],
    scheduler_options={"host": "127.0.0.1", "port": port, "dashboard_address": "127.0.0.1:0"},
)
cluster.scale(jobs=1)
print("started", flush=True)
while True:
    time.sleep(1)
"""


def test_a_worker_of_a_batch_system_is_a_worker_like_any_other(cluster, strategy_text, undisturbed_hash, wait):
    cluster.spawn("jobqueue", sys.executable, "-c", SCRIPT, str(cluster.scheduler_port))
    cluster.wait_for_log("jobqueue", "started")
    cluster.start_api()
    wait(lambda: cluster.get("/workers"), "the worker of the batch system has joined")
    (worker,) = cluster.get("/workers")
    assert set(worker["capabilities"]) >= {"backtest", "ml-torch"}
    assert worker["facts"]["fits"]
    identifier = cluster.start_training(strategy_text)
    assert cluster.wait_for(identifier, "completed")["result"]["weights_hash"] == undisturbed_hash
