"""A cluster under mutual certificates: with them a job runs, without them nobody gets in."""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture(scope="session")
def make_set(tmp_path_factory):
    """Return a function that makes a set of certificates and returns its directory."""
    from ktrdr.api.engine.certificates import make_certificates

    def make(name):
        directory = tmp_path_factory.mktemp(name)
        make_certificates(directory)
        return directory

    return make


@pytest.fixture
def secure_cluster(cluster, make_set):
    """Nothing started yet; the certificates are there."""
    cluster.certificates = make_set("certificates")
    return cluster


def speak(address, authority=None, own=None):
    """Connect as Dask's processes do, with the certificates of a directory each; return what the scheduler is."""
    from distributed.comm import connect

    arguments = {}
    if authority is not None:
        context = ssl.create_default_context(cafile=str(authority / "ca.pem"))
        context.check_hostname = False
        if own is not None:
            context.load_cert_chain(own / "cert.pem", own / "key.pem")
        arguments = {"ssl_context": context, "require_encryption": True}

    async def ask():
        comm = await connect(address, timeout=5, **arguments)
        try:
            await comm.write({"op": "identity", "reply": True})
            return (await comm.read())["type"]
        finally:
            comm.abort()

    return asyncio.run(asyncio.wait_for(ask(), 20))


def refused(attempt):
    """Return True if the attempt to speak to a scheduler fails."""
    try:
        attempt()
    except (OSError, TimeoutError):
        return True
    return False


@pytest.mark.parametrize("scheduler", ["of the API", "of Dask"])
def test_with_certificates_a_job_runs_and_without_them_nobody_gets_in(
    secure_cluster, make_set, sklearn_text, scheduler
):
    cluster, foreign = secure_cluster, make_set("foreign")
    if scheduler == "of the API":
        cluster.start_api("--listen-workers", cluster.scheduler_address)
    else:
        cluster.start_scheduler()
        cluster.start_api()
    address, mine = cluster.scheduler_address, cluster.certificates
    assert speak(address, mine, mine) == "Scheduler"
    attempts = {
        "no certificate": lambda: speak(address, mine),
        "a certificate of another authority": lambda: speak(address, mine, foreign),
        "another authority altogether": lambda: speak(address, foreign, foreign),
        "no encryption": lambda: speak(address.replace("tls://", "tcp://")),
    }
    # Side by side: a refused connection is tried again until the time for it is over.
    with ThreadPoolExecutor(len(attempts)) as pool:
        answers = dict(zip(attempts, pool.map(refused, attempts.values()), strict=True))
    assert answers == dict.fromkeys(attempts, True)

    stranger = cluster.spawn("stranger", *cluster.worker_command("stranger", "--certificates", str(foreign)))
    said = cluster.wait_for_log("stranger", "do not accept each other's certificates")
    assert "Traceback" not in said
    stranger.terminate()
    assert stranger.wait(40) == 0
    assert cluster.get("/workers") == []

    cluster.start_worker("first", KTRDR_BLOCK_PLUGINS="torch")
    cluster.wait_for(cluster.start_training(sklearn_text), "completed")
    assert len(cluster.get("/models")) == 1


def test_a_scheduler_that_others_can_reach_needs_certificates(cluster, ktrdr):
    answer = ktrdr("serve", "--port", "0", "--listen-workers", "tcp://0.0.0.0:0", home=cluster.home)
    assert answer.returncode == 2
    assert "refusing to listen at tcp://0.0.0.0:0 without certificates" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
