"""Say what a queued operation waits for."""

from __future__ import annotations

from collections.abc import Sequence

from ktrdr.api.engine.port import WorkerInfo

__all__ = ["what_is_missing"]


def what_is_missing(requires: Sequence[str], workers: Sequence[WorkerInfo]) -> str | None:
    """Return what no present worker offers, in words, or ``None`` if one offers all of it."""
    if any(set(requires) <= set(worker.capabilities) for worker in workers):
        return None
    wanted = ", ".join(requires)
    backends = [name.removeprefix("ml-") for name in requires if name.startswith("ml-")]
    options = "".join(f" --require {name}" for name in backends)
    plugins = " and ".join(f"plugin `{name}`" for name in backends)
    kind = f"a worker with {plugins}" if plugins else "a worker"
    if not workers:
        return f"waits for {kind} ({wanted}); no worker is connected, start one with `ktrdr worker ADDRESS{options}`"
    return f"waits for {kind} ({wanted}); none of the {len(workers)} connected offers all of it"
