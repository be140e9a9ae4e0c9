"""Tensors in safetensors files: equal bytes for equal values; everything that is read is checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ktrdr.core.files.reading import read_plain
from ktrdr.core.limits import LARGEST_BUNDLE_FILE
from ktrdr.core.models.contents import BundleError, check_file
from ktrdr.ml.torch.memberships import Memberships

__all__ = ["fill", "on_cpu", "read_tensors", "write_tensors"]


def write_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write tensors of any device to a file."""
    arrays = {name: tensors[name].detach().cpu().contiguous().numpy() for name in sorted(tensors)}
    path.write_bytes(save(arrays))


def read_tensors(path: Path) -> dict[str, Any]:
    """Return the tensors of a file of :func:`write_tensors`, on the CPU.

    Raises:
        BundleError: the file is damaged, or not a safetensors file.
    """
    check_file(path)
    try:
        arrays = load(read_plain(path, LARGEST_BUNDLE_FILE))
        return {name: torch.tensor(array) for name, array in arrays.items()}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path.name} is damaged: {error}") from None


def on_cpu(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies on the CPU, which later training steps do not change."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def fill(network: Any, tensors: Mapping[str, Any], name: str) -> None:
    """Set the weights of a network on the meta device; ``name`` is for messages.

    Raises:
        BundleError: the tensors do not fit the network, or are not finite.
    """
    expected = network.state_dict()
    if problem := sorted(set(expected) ^ set(tensors)):
        raise BundleError(f"{name} does not fit model.json: tensor {problem[0]!r} is missing or unknown")
    for key, tensor in tensors.items():
        if (tensor.shape, tensor.dtype) != (expected[key].shape, expected[key].dtype):
            raise BundleError(
                f"{name} does not fit model.json: tensor {key!r} is {tensor.dtype} {tuple(tensor.shape)}, "
                f"not {expected[key].dtype} {tuple(expected[key].shape)}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise BundleError(f"{name} is damaged: tensor {key!r} contains numbers that are not finite")
    network.load_state_dict(tensors, assign=True)
    for module in network.modules():
        if isinstance(module, Memberships):
            module.settle()
