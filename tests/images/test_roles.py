"""What each image is: what is in it, who it runs as, what it does when it is started."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request

import pytest

pytestmark = pytest.mark.slow

ROLES = ("backend", "worker-backtest", "worker-cpu")
WITHOUT_FRAMEWORK = ("backend", "worker-backtest")
# So that the two can meet without certificates, which the canary tries: on loopback that is allowed.
TOKEN = {"KTRDR_API_TOKEN": "a-token-for-the-test"}


def answer(url, token=None):
    """Return status and text of an answer, 0 if nobody answers."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.mark.parametrize("role", ROLES)
def test_image_runs_as_nobody_in_particular_and_cannot_write(container, role):
    made = container(role)
    config = made.config
    assert config.user == "10001:10001"
    assert config.labels["org.opencontainers.image.title"] == f"ktrdr-{role}"
    assert config.labels["org.opencontainers.image.licenses"] == "MIT"
    assert config.entrypoint == ("/opt/ktrdr/bin/dumb-init", "--single-child", "--")
    owners = {(path.lstat().st_uid, path.lstat().st_mode & 0o022) for path in (made.root / "opt/ktrdr").rglob("*")}
    links = {path.lstat().st_mode & 0o022 for path in (made.root / "opt/ktrdr").rglob("*") if path.is_symlink()}
    assert {owner for owner, _ in owners} == {0}
    assert {mode for _, mode in owners} <= {0} | links
    said = made.run("python", "-c", "import os; print(os.getuid(), os.getppid()); open('/opt/ktrdr/x', 'w')")
    assert said.stdout.startswith("10001 ")
    assert "Read-only file system" in said.stderr or "Permission denied" in said.stderr


@pytest.mark.parametrize("role", ROLES)
def test_image_says_what_was_proved_of_it(container, role):
    proved = json.loads((container(role).root / "opt/ktrdr/role.json").read_text(encoding="utf-8"))
    assert proved["role"] == role
    assert ("ktrdr-api" in proved["distributions"]) == (role == "backend")
    if role in WITHOUT_FRAMEWORK:
        assert proved["frameworks"] == []
    if role == "worker-backtest":
        assert (proved["backends"], proved["backtested"], proved["inference"]) == ([], "linear/1", "portable")
        assert proved["distributions"].keys() == {"ktrdr-core", "ktrdr-worker"}
    if role == "worker-cpu":
        assert proved["trained"] == ["torch", "sklearn"]
        assert proved["cuda"] is None


@pytest.mark.parametrize("role", WITHOUT_FRAMEWORK)
def test_image_has_no_framework(container, role):
    made = container(role)
    said = made.run("python", "-c", "import torch")
    assert said.returncode == 1
    assert "ModuleNotFoundError: No module named 'torch'" in said.stderr
    sites = (made.root / "opt/ktrdr").glob("lib/python3.*/site-packages")
    installed = {path.name for site in sites for path in site.iterdir()}
    assert installed & {"torch", "sklearn", "skops", "tensorflow", "jax"} == set()


def test_worker_has_torch_without_cuda(container):
    program = "import torch; print(torch.ones(2).sum().item(), torch.cuda.is_available(), torch.version.cuda)"
    said = container("worker-cpu").run("python", "-c", program)
    assert said.stdout.split() == ["2.0", "False", "None"], said.stderr


@pytest.mark.parametrize("role", WITHOUT_FRAMEWORK)
def test_no_compiled_file_depends_on_a_time(container, role):
    """Bytecode says in its second word how it is checked: 1 is by hash, and never looked at again."""
    compiled = list((container(role).root / "opt/ktrdr").rglob("*.pyc"))
    assert len(compiled) > 500
    assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\0\0\0"}


def test_backend_refuses_to_start_without_a_token(container):
    said = container("backend").run(*container("backend").config.command)
    assert said.returncode == 2
    assert said.stderr.count("\n") == 1
    assert "refusing to listen on 0.0.0.0 without a token" in said.stderr


@pytest.mark.parametrize(
    ("role", "require", "capabilities"),
    [
        ("worker-cpu", ["--require", "torch"], {"backtest", "ml-torch", "ml-sklearn"}),
        ("worker-backtest", [], {"backtest"}),
    ],
)
def test_backend_answers_and_a_worker_joins(container, free_port, wait, role, require, capabilities):
    port, scheduler = free_port(), free_port()
    backend = container("backend", environ=TOKEN)
    listen = f"tcp://127.0.0.1:{scheduler}"
    backend.start(["ktrdr", "serve", "--host", "127.0.0.1", "--port", str(port), "--listen-workers", listen])
    base = f"http://127.0.0.1:{port}/api/v1"
    wait(lambda: answer(f"{base}/health")[0] == 200, "the API answers")
    assert json.loads(answer(f"{base}/health")[1])["status"] == "ok"
    assert answer(f"{base}/workers")[0] == 401
    assert json.loads(answer(f"{base}/workers", TOKEN["KTRDR_API_TOKEN"])[1]) == []
    said = backend.run("python", "-I", "/opt/ktrdr/health.py", f"{base}/health")
    assert said.returncode == 0, said.stderr

    http = f"127.0.0.1:{free_port()}"
    worker = container(role)
    worker.start(["ktrdr", "worker", listen, *require, "--name", "joined", "--http", http])

    def joined():
        return json.loads(answer(f"{base}/workers", TOKEN["KTRDR_API_TOKEN"])[1])

    (found,) = wait(joined, "a worker has joined")
    assert found["name"] == "joined"
    assert set(found["capabilities"]) == capabilities
    wait(lambda: answer(f"http://{http}/health")[0] == 200, "the worker says that it is well")

    # Both leave when they are asked to, as `docker stop` asks them.
    assert worker.stop() == 0
    wait(lambda: joined() == [], "the worker is gone")
    assert backend.stop() == 128 + signal.SIGTERM  # after a clean shutdown, uvicorn ends by the signal it was sent


def test_health_check_fails_where_nothing_answers(container, free_port):
    said = container("backend").run("python", "-I", "/opt/ktrdr/health.py", f"http://127.0.0.1:{free_port()}/")
    assert said.returncode == 1
    assert "Connection refused" in said.stderr


def test_worker_without_its_backend_exits_at_once_with_one_sentence(container, free_port):
    """The predecessor's worker image lacked torch, and reported itself healthy."""
    worker = container("worker-cpu", environ={"KTRDR_BLOCK_PLUGINS": "torch"})
    said = worker.run("ktrdr", "worker", f"tcp://127.0.0.1:{free_port()}", "--require", "torch")
    assert said.returncode == 78
    assert said.stderr.count("\n") == 1
    assert "this worker must have `torch`" in said.stderr


def test_worker_of_backtests_that_must_have_a_backend_names_package_and_image(container, free_port):
    worker = container("worker-backtest")
    said = worker.run("ktrdr", "worker", f"tcp://127.0.0.1:{free_port()}", "--require", "sklearn")
    assert said.returncode == 78
    assert said.stderr == (
        "Error: this worker must have `sklearn`, but plugin `sklearn` is not installed; install it with"
        " `pip install ktrdr-ml-sklearn` (the image ktrdr-worker-cpu has it)\n"
    )


def test_backend_image_is_no_worker(container, free_port):
    said = container("backend").run("ktrdr", "worker", f"tcp://127.0.0.1:{free_port()}", "--require", "torch")
    assert said.returncode == 2
    assert (
        said.stderr
        == "Error: `ktrdr worker` is in ktrdr-worker, which is not installed here; `pip install ktrdr-worker`\n"
    )
