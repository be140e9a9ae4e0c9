"""The environment `canary` without a container engine: its compose file, played with namespaces.

Each service has a network namespace of its own, with an address on a bridge that only this test can reach: the session
runs pytest in a network of its own. Images are those that `nox -s images` has built; PostgreSQL is Debian's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "deploy/images"), str(ROOT / "deploy/environments")]

SUBNET = "10.77.0"
ENDED = ("completed", "failed", "cancelled")


def run(*command: str | Path, **more: Any) -> str:
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True, **more).stdout


class Network:
    """A bridge in the network namespace of this process, and namespaces on it."""

    def __init__(self) -> None:
        if run("ip", "-json", "-4", "route", "show").strip() not in ("", "[]"):
            raise SystemExit("this is the machine's own network; run it with `nox -s canary`")
        Path("/run/netns").mkdir(exist_ok=True)
        run("mount", "--make-rprivate", "/")
        run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "canary", "type", "bridge")
        run("ip", "address", "add", f"{SUBNET}.1/24", "dev", "canary")
        run("ip", "link", "set", "canary", "up")
        self.addresses: dict[str, str] = {}

    def join(self, name: str) -> str:
        """Make the namespace ``name`` and return its address."""
        number = len(self.addresses) + 2
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"veth{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"veth{number}", "master", "canary", "up")
        run("ip", "-n", name, "address", "add", f"{SUBNET}.{number}/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        # As in a container: Dask looks for its own address by asking which one leads out.
        run("ip", "-n", name, "route", "add", "default", "via", f"{SUBNET}.1")
        self.addresses[name] = f"{SUBNET}.{number}"
        return self.addresses[name]


@dataclass
class Postgres:
    """A PostgreSQL server, reached over the network with a password."""

    directory: Path
    network: str
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        assert found, "Debian's package postgresql is not installed"
        self.programs = found[-1].parent
        self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def start(self, password: str, log: Path) -> None:
        self.directory.mkdir()
        secret = self.directory / "password"
        secret.write_text(password, encoding="utf-8")
        for path in (self.directory, secret):
            shutil.chown(path, "postgres", "postgres")
        data = self.directory / "data"
        initialize = ["--auth-local=trust", "--auth-host=scram-sha-256", "--username=ktrdr", f"--pwfile={secret}"]
        run(*self.as_user, self.programs / "initdb", "-D", data, *initialize)
        with (data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
            rules.write(f"host all all {SUBNET}.0/24 scram-sha-256\n")
        options = ["-c", "listen_addresses=*", "-c", f"unix_socket_directories={self.directory}", "-c", "fsync=off"]
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    self.network,
                    *self.as_user,
                    str(self.programs / "postgres"),
                    "-D",
                    data,
                    *options,
                ],
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        socket = ["--host", self.directory, "--username", "ktrdr"]
        wait_until(lambda: not subprocess.run(
            [self.programs / "pg_isready", *socket], check=False, stdout=subprocess.DEVNULL
        ).returncode, "PostgreSQL is ready")  # fmt: skip
        run(self.programs / "createdb", *socket, "ktrdr")

    def query(self, statement: str) -> str:
        command = [self.programs / "psql", "--host", self.directory, "--username", "ktrdr", "--dbname", "ktrdr"]
        return run(*command, "--tuples-only", "--no-align", "--command", statement).strip()

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=60)


@dataclass
class Canary:
    """The environment: what its compose file says, and what has been started of it."""

    directory: Path
    services: dict[str, dict[str, Any]]
    network: Network
    containers: dict[str, Any] = field(default_factory=dict)
    postgres: Postgres | None = None

    def volume(self, name: str) -> Path:
        """Return the directory that is a volume; a new one belongs to the images' user, as that of the image does."""
        path = self.directory / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            os.chown(path, 10001, 10001)
        return path

    def container(self, service: str, instance: str | None = None) -> Any:
        """Return a container of a service, not started yet; ``instance`` names one of several."""
        from containers import Container

        name = instance or service
        described = self.services[service]
        mounts: dict[str, Path] = {}
        read_only = {"/etc/hosts"}
        for volume in described["volumes"]:
            source, target, *mode = volume.split(":")
            mounts[target] = Path(source) if source.startswith("/") else self.volume(source)
            if mode == ["ro"]:
                read_only.add(target)
        alone = described.get("network_mode") == "none"
        hosts = self.directory / "hosts"
        if not alone:
            if name not in self.network.addresses:
                self.network.join(name)
            lines = [f"{address} {host}" for host, address in self.network.addresses.items()]
            hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]), encoding="utf-8")
            mounts["/etc/hosts"] = hosts
        self.containers[name] = Container(
            f"localhost/{described['image']}",
            self.directory / f"{name}.log",
            network=None if alone else name,
            mounts=mounts,
            read_only=frozenset(read_only),
            environ=described.get("environment", {}),
            user=described.get("user"),
        )
        return self.containers[name]

    def start(self, service: str, instance: str | None = None) -> Any:
        """Start a service as its file says."""
        container = self.containers.get(instance or service) or self.container(service, instance)
        container.start(self.services[service]["command"])
        return container

    def start_all(self) -> None:
        """Start everything in the order that the file asks for."""
        setup = self.container("setup")
        said = setup.run(*self.services["setup"]["command"])
        assert said.returncode == 0, said.stderr
        for name in ("postgres", "scheduler", "backend"):
            self.network.join(name)
        self.postgres = Postgres(self.directory / "postgres", "postgres")
        self.postgres.start((self.volume("secret-postgres") / "password").read_text(), self.directory / "postgres.log")
        self.start("scheduler")
        self.start("backend")

    def token(self, name: str = "token") -> str:
        return (self.volume("secret-backend") / name).read_text(encoding="utf-8")

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, Any] | None = None,
        *,
        token: str | None = None,
        **headers: str,
    ) -> tuple[int, Any]:
        """Ask the API; return the status and what it answers: JSON decoded, text as it is, 0 if nobody answers."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
        kind = "application/json" if isinstance(body, dict) else "application/octet-stream"
        headers = {"Authorization": f"Bearer {token or self.token()}", "Content-Type": kind, **headers}
        url = f"http://{self.network.addresses['backend']}:8000/api/v1{path}"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, data, headers, method=method), timeout=60
            ) as answer:
                status, text, kind = answer.status, answer.read().decode(), answer.headers.get_content_type()
        except urllib.error.HTTPError as error:
            status, text, kind = error.code, error.read().decode(), error.headers.get_content_type()
        except OSError:
            return 0, None
        return status, json.loads(text) if kind.endswith("json") else text

    def get(self, path: str) -> Any:
        """Ask until the API answers 200."""

        def look() -> tuple[Any] | None:
            status, answer = self.request("GET", path)
            assert status in (0, 200, 503), answer
            return (answer,) if status == 200 else None

        return wait_until(look, f"{path} answers")[0]

    def wait_for(self, identifier: str, state: str) -> dict[str, Any]:
        """Wait until an operation is in a state; another end than that fails the test."""

        def look() -> dict[str, Any] | None:
            operation = self.get(f"/operations/{identifier}")
            assert operation["state"] == state or operation["state"] not in ENDED, operation
            return operation if operation["state"] == state else None

        return wait_until(look, f"the operation is {state}", timeout=600)

    def worker_names(self) -> set[str]:
        return {worker["name"] for worker in self.get("/workers")}

    def close(self) -> None:
        for container in reversed(self.containers.values()):
            container.remove()
        if self.postgres is not None:
            self.postgres.stop()


def wait_until(look: Callable[[], Any], what: str, timeout: float = 180) -> Any:
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {timeout:g} s in vain until {what}"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    """Return ``wait(look, what, timeout=...)``: call ``look`` until what it returns is true."""
    return wait_until


@pytest.fixture(scope="session")
def canary() -> Iterator[Canary]:
    """The environment, started but for its workers; what its processes said is printed when a test has failed."""
    from compose import read_services

    services = read_services(ROOT / "deploy/environments/canary/compose.yaml", {})
    # Not below pytest's own directory, which other users, such as PostgreSQL's, may not pass through.
    with tempfile.TemporaryDirectory(prefix="ktrdr-canary-") as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)
        made = Canary(directory, services, Network())
        try:
            made.start_all()
            yield made
        finally:
            made.close()
            for path in sorted(directory.glob("*.log")):
                print(f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}")
