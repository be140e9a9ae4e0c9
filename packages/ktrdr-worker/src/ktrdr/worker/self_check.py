"""Refuse to start rather than report healthy without what is required."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ktrdr.core.cluster.dask_settings import VERSIONS_KEY, versions, versions_table
from ktrdr.core.errors import KtrdrError, PluginError
from ktrdr.core.plugins.manager import PluginManager

__all__ = ["UnfitError", "capabilities", "check_versions", "validate"]

_IN_IMAGES = frozenset({"torch", "sklearn"})


class UnfitError(KtrdrError):
    """The worker lacks what it was told to have. Exit status 78 is ``EX_CONFIG``: starting it again will not help."""

    exit_status = 78


def validate(require: Sequence[str], plugins: PluginManager) -> None:
    """Check every item of ``require``: names of plugins, ``plugin:gpu`` to need a GPU that the plugin can use.

    Raises:
        UnfitError: the first that is missing, with the image or package that has it.
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
    """Ask the scheduler (an ``rpc`` of `distributed`) which API uses it; an API that comes later gives us no work.

    Raises:
        UnfitError: the API speaks another protocol, with both sides' versions.
    """
    api = await scheduler.get_metadata(keys=[VERSIONS_KEY], default=None)
    if api is not None and api["protocol"] != versions()["protocol"]:
        raise UnfitError(
            "this worker does not fit the API at this scheduler; install the same ktrdr-core on both sides:\n"
            + versions_table(api, versions())
        )


def capabilities(plugins: PluginManager) -> dict[str, dict[str, str]]:
    """Return what this worker offers: ``backtest``, ``ml-<plugin>`` for each backend whose framework works, and
    ``gpu`` if one of them finds one; each with a few facts.
    """
    found: dict[str, dict[str, str]] = {"backtest": {}}
    for name, info in plugins.infos().items():
        try:
            plugins.validate(name)
            devices = plugins.devices(name)
        except PluginError:
            continue  # not required, so it is left out; `ktrdr plugins --check` says why
        found[f"ml-{name}"] = {"version": info.version, "contract": info.contract}
        if any(device.kind != "cpu" for device in devices):
            found["gpu"] = {"device": devices[0].name}
    return found
