"""The text that says what a queued operation waits for."""

from __future__ import annotations

from collections.abc import Sequence

from ktrdr.api.engine.port import Joining, WorkerInfo, worker_command

__all__ = ["what_is_missing"]


def what_is_missing(requires: Sequence[str], workers: Sequence[WorkerInfo], joining: Joining) -> str | None:
    """Return what an operation waits for, or ``None`` if a connected worker offers all that it requires.

    The text contains the command that starts such a worker on the machine of the scheduler, and KTRDR's distributions
    that must be installed there.
    """
    if any(set(requires) <= set(worker.capabilities) for worker in workers):
        return None
    wanted = ", ".join(requires)
    backends = [name.removeprefix("ml-") for name in requires if name.startswith("ml-")]
    plugins = " and ".join(f"plugin `{name}`" for name in backends)
    kind = f"a worker with {plugins}" if plugins else "a worker"
    present = f"none of the {len(workers)} connected offers all of it" if workers else "no worker is connected"
    return f"waits for {kind} ({wanted}); {present}, {_remedy(backends, joining)}"


def _remedy(backends: Sequence[str], joining: Joining) -> str:
    installed = _installed(backends)
    if joining.address is None:
        listen = "tcp://127.0.0.1:8786"
        return (
            "and none can be: this server has no scheduler. Stop it, and start `ktrdr up` in its place, or"
            f" `ktrdr serve --listen-workers {listen}` and `{worker_command(listen, backends)}`{installed}"
        )
    if not joining.answers:
        return f"and the scheduler at {joining.address} does not answer: start it again"
    if joining.expected:
        return "1 worker is starting" if joining.expected == 1 else f"{joining.expected} workers are starting"
    return f"start one with `{worker_command(joining.address, backends)}`{installed}"


def _installed(backends: Sequence[str]) -> str:
    """Return the text that names the distributions of the backends. That of another vendor's backend is not known."""
    from ktrdr.core.plugins.manager import KNOWN_BACKENDS

    known = [KNOWN_BACKENDS[name][0] for name in backends if name in KNOWN_BACKENDS]
    return f", after `pip install {' '.join(known)}`" if known else ""
