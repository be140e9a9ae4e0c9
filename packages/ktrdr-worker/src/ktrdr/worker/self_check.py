"""Checks at the start of a worker: required plugins, GPU and versions; and the capabilities it offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ktrdr.core.cluster.dask_settings import VERSIONS_KEY, versions, versions_table
from ktrdr.core.errors import KtrdrError, PluginError
from ktrdr.core.plugins.manager import PluginManager

__all__ = ["UnfitError", "capabilities", "check_versions", "validate"]

_IN_IMAGES = frozenset({"torch", "sklearn"})


class UnfitError(KtrdrError):
    """The worker lacks a required capability. Exit status 78 is ``EX_CONFIG``: starting it again does not help."""

    exit_status = 78


def validate(require: Sequence[str], plugins: PluginManager) -> None:
    """Check every item of ``require``: the name of a plugin, or ``plugin:gpu`` for a GPU that the plugin can use.

    Raises:
        UnfitError: an item is missing; the message names the image or package that contains it.
    """
    for item in require:
        name, _, extra = item.partition(":")
        if extra not in ("", "gpu"):
            raise UnfitError(f"`--require {item}` is not understood; write a plugin's name, or `{name}:gpu`")
        try:
            plugins.validate(name)
            devices = plugins.devices(name)
        except PluginError as error:
            image = " (the image ktrdr-worker-cpu has it)" if name in _IN_IMAGES else ""
            raise UnfitError(f"this worker must have `{name}`, but {error}{image}") from error
        if extra and all(device.kind == "cpu" for device in devices):
            raise UnfitError(
                f"this worker must have a GPU for `{name}`, but {name} finds only the CPU; "
                "start it on a machine with a GPU, from the image ktrdr-worker-gpu"
            )


async def check_versions(scheduler: Any) -> None:
    """Check that the API of the scheduler uses the protocol of this worker.

    An API that connects later submits no work to workers with another protocol.

    Args:
        scheduler: an ``rpc`` of `distributed`.

    Raises:
        UnfitError: the API uses another protocol; the message contains the versions of both sides.
    """
    api = await scheduler.get_metadata(keys=[VERSIONS_KEY], default=None)
    if api is not None and api["protocol"] != versions()["protocol"]:
        raise UnfitError(
            "this worker and the API at this scheduler use different protocols; install the same ktrdr-core on both"
            " sides:\n" + versions_table(api, versions())
        )


def capabilities(plugins: PluginManager) -> dict[str, dict[str, str]]:
    """Return the capabilities of this worker, each with a few facts.

    They are ``backtest``, ``ml-<plugin>`` for each backend whose framework works, and ``gpu`` if a backend finds one.
    """
    found: dict[str, dict[str, str]] = {"backtest": {}}
    for name, info in plugins.infos().items():
        try:
            plugins.validate(name)
            devices = plugins.devices(name)
        except PluginError:
            continue  # not required, so it is left out; `ktrdr plugins --check` shows the reason
        found[f"ml-{name}"] = {"version": info.version, "contract": info.contract}
        if any(device.kind != "cpu" for device in devices):
            found["gpu"] = {"device": devices[0].name}
    return found
