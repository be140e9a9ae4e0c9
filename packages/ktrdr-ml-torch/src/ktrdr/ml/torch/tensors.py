"""Tensors on disk: safetensors, the same bytes for the same values, and nothing believed that was not checked."""

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
    """Write tensors of any device."""
    arrays = {name: tensors[name].detach().cpu().contiguous().numpy() for name in sorted(tensors)}
    path.write_bytes(save(arrays))


def read_tensors(path: Path) -> dict[str, Any]:
    """Return what :func:`write_tensors` wrote, on the CPU.

    Raises:
        BundleError: the file is not of that kind.
    """
    check_file(path)
    try:
        arrays = load(read_plain(path, LARGEST_BUNDLE_FILE))
        return {name: torch.tensor(array) for name, array in arrays.items()}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path.name} is damaged: {error}") from None


def on_cpu(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies that no later step of training changes."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def fill(network: Any, tensors: Mapping[str, Any], name: str) -> None:
    """Give a network of the meta device its weights; ``name`` is for messages.

    Raises:
        BundleError: they are not this network's, or not finite.
    """
    expected = network.state_dict()
    if problem := sorted(set(expected) ^ set(tensors)):
        raise BundleError(f"{name} does not fit model.json: tensor {problem[0]!r} is missing or too many")
    for key, tensor in tensors.items():
        if (tensor.shape, tensor.dtype) != (expected[key].shape, expected[key].dtype):
            raise BundleError(
                f"{name} does not fit model.json: tensor {key!r} is {tensor.dtype} {tuple(tensor.shape)}, "
                f"not {expected[key].dtype} {tuple(expected[key].shape)}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise BundleError(f"{name} is damaged: tensor {key!r} holds numbers that are not finite")
    network.load_state_dict(tensors, assign=True)
    for module in network.modules():
        if isinstance(module, Memberships):
            module.settle()
