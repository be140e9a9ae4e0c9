"""Run images like a container engine, with Linux namespaces only.

A container has a read-only copy of the image; its own process, mount and, optionally, network namespace; the user,
environment, init and command of the image; and an empty ``/tmp``. Needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import build

_START = """set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mkdir -p "$ROOT/proc" "$ROOT/dev" "$ROOT/tmp"
{targets}
mount -o remount,bind,ro "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
{mounts}
exec chroot --userspec={user} "$ROOT" /usr/bin/env -i {environ} /bin/sh -c 'cd "$0" && exec "$@"' {directory} {command}
"""


@dataclass(frozen=True)
class Config:
    """The run configuration of an image."""

    user: str
    directory: str
    environ: dict[str, str]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    health: tuple[str, ...]
    labels: dict[str, str]


def config_of(image: str) -> Config:
    """Read an image's configuration."""
    docker = json.loads(build.buildah("inspect", "--type", "image", image))["Docker"]["config"]
    return Config(
        user=docker["User"],
        directory=docker["WorkingDir"],
        environ=dict(each.split("=", 1) for each in docker["Env"]),
        entrypoint=tuple(docker["Entrypoint"]),
        command=tuple(docker["Cmd"]),
        health=tuple(docker["Healthcheck"]["Test"]),
        labels=docker["Labels"],
    )


@dataclass
class Container:
    """A copy of an image, and the process in it.

    ``network``: name of a network namespace (``ip netns``), by default that of the caller. ``mounts``: path in the
    container -> path on this machine, writable unless it is in ``read_only``.
    """

    image: str
    log: Path
    network: str | None = None
    mounts: Mapping[str, Path] = field(default_factory=dict)
    read_only: frozenset[str] = frozenset()
    environ: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    name: str = ""
    root: Path = field(init=False, default=Path())
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.config = config_of(self.image)
        self.name = build.buildah("from", self.image)
        self.root = Path(build.buildah("mount", self.name))

    def command(self, command: Sequence[str] | None = None, *, init: bool = True) -> list[str]:
        """Return the command line that runs ``command`` (default: that of the image) in new namespaces."""
        words = [*(self.config.entrypoint if init else ()), *(self.config.command if command is None else command)]
        targets, mounts = [], []
        for target, source in self.mounts.items():
            inside = f'"$ROOT"{shlex.quote(target)}'
            make = f"mkdir -p {inside}" if source.is_dir() else f"mkdir -p $(dirname {inside}); touch {inside}"
            targets.append(make)
            mounts.append(f"mount --bind {shlex.quote(str(source))} {inside}")
            if target in self.read_only:
                mounts.append(f"mount -o remount,bind,ro {inside}")
        environ = {**self.config.environ, **self.environ}
        script = _START.format(
            targets="\n".join(targets),
            mounts="\n".join(mounts),
            user=self.user or self.config.user,
            environ=" ".join(shlex.quote(f"{name}={value}") for name, value in environ.items()),
            directory=shlex.quote(self.config.directory),
            command=shlex.join(words),
        )
        inside_network = ["ip", "netns", "exec", self.network] if self.network else []
        isolate = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return [*inside_network, *isolate, "env", f"ROOT={self.root}", "/bin/sh", "-c", script]

    def run(self, *command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command, wait for its end, and return the result."""
        return subprocess.run(
            self.command(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, command: Sequence[str] | None = None) -> None:
        """Start a command (default: that of the image); its output is appended to the log."""
        with self.log.open("ab") as log:
            self.process = self._spawn(self.command(command), log)

    @staticmethod
    def _spawn(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def healthy(self) -> bool:
        """Run the image's health check in the network of the container."""
        kind, *words = self.config.health
        assert kind == "CMD"
        inside = ["nsenter", f"--target={self.init()}", "--mount", "--pid", "--net"]
        chroot = ["chroot", f"--userspec={self.config.user}", str(self.root), "/opt/ktrdr/bin/python"]
        answer = subprocess.run([*inside, *chroot, *words[1:]], capture_output=True, check=False, timeout=60)
        return answer.returncode == 0

    def init(self) -> int:
        """Return the process id on this machine of the first process in the container."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        deadline = time.monotonic() + 30
        while not (found := children.read_text().split()):
            assert time.monotonic() < deadline, "the container did not start"
            time.sleep(0.05)
        return int(found[0])

    def stop(self, *, grace: float = 60) -> int:
        """Stop the process like a container engine, and return its exit status; kill it after ``grace`` seconds."""
        assert self.process is not None
        if self.process.poll() is None:
            os.kill(self.init(), signal.SIGTERM)
        try:
            return self.process.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Kill the first process of the container, and thereby all others; return the exit status."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it has just ended by itself
            if self.process.poll() is None:
                os.kill(self.init(), signal.SIGKILL)
        return self.process.wait()

    def remove(self) -> None:
        """Kill all processes, and remove the copy of the image."""
        if self.process is not None:
            self.kill()
        build.buildah("umount", self.name)
        build.buildah("rm", self.name)
