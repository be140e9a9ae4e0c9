"""Device detection: where a model will be trained."""

from __future__ import annotations

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins.contract import Device
from ktrdr.core.plugins.manager import PluginManager

__all__ = ["detect_device"]


def detect_device(plugins: PluginManager, plugin: str, wanted: str = "auto") -> Device:
    """Return the device of ``plugin`` that ``wanted`` names.

    ``auto`` is the best there is; a kind (``cuda``) is the first of that kind; else it is the name of a device.

    Raises:
        BadInputError: there is no such device here; the message says what there is.
        PluginError: the plugin cannot be used.
    """
    devices = plugins.devices(plugin)
    if wanted == "auto" and devices:
        return devices[0]
    for matches in (lambda device: device.name == wanted, lambda device: device.kind == wanted):
        for device in devices:
            if matches(device):
                return device
    names = ", ".join(device.name for device in devices) or "nothing"
    raise BadInputError(f"there is no device `{wanted}` here; plugin `{plugin}` can use {names}, or say `auto`")
