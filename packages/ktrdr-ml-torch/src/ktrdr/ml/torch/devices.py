"""The devices of this machine that torch can use."""

from __future__ import annotations

import os
import platform

import torch

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins import Device

__all__ = ["list_devices", "resolve_device"]


def list_devices() -> list[Device]:
    """Return the devices: GPUs first, the CPU last; memory in bytes."""
    devices = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            devices.append(Device(f"cuda:{index}", "cuda", properties.name, properties.total_memory))
    if torch.backends.mps.is_available():
        devices.append(Device("mps", "mps", "Apple GPU", torch.mps.recommended_max_memory()))
    devices.append(Device("cpu", "cpu", platform.processor() or platform.machine(), _main_memory()))
    return devices


def _main_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not available on every system
        return None


def resolve_device(name: str) -> torch.device:
    """Return the device ``name``; ``auto`` is the best device, ``cuda`` the first CUDA device.

    Raises:
        BadInputError: this machine has no such device.
    """
    names = [device.name for device in list_devices()]
    if name == "auto":
        return torch.device(names[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in names:
        raise BadInputError(f"there is no device `{name}` here; torch can use {', '.join(names)}, or say `auto`")
    return torch.device(wanted)
