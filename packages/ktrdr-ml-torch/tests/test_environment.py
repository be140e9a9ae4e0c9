"""What is missing or broken is said with the command that mends it."""

from __future__ import annotations

import importlib

import pytest

from ktrdr.core.errors import PluginError
from ktrdr.ml.torch import hooks
from ktrdr.ml.torch.environment import validate_environment


def test_here_it_works():
    validate_environment()


@pytest.mark.parametrize("package", ["torch", "safetensors"])
def test_a_missing_package(monkeypatch, package):
    real = importlib.import_module

    def fake(name, *rest):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", fake)
    with pytest.raises(PluginError, match=rf"plugin `torch` needs {package}, .* with `pip install {package}`"):
        hooks.ktrdr_validate_environment()


@pytest.mark.parametrize("error", [OSError("libc10.so: cannot\nopen"), ImportError("no"), AttributeError("half")])
def test_a_broken_package(monkeypatch, error):
    def fake(name, *rest):
        raise error

    monkeypatch.setattr(importlib, "import_module", fake)
    with pytest.raises(PluginError, match=r"cannot import torch \(.*`pip install --force-reinstall torch`") as caught:
        validate_environment()
    assert "\n" not in str(caught.value)


def test_a_package_that_lacks_another_one_is_broken_not_missing(monkeypatch):
    def fake(name, *rest):
        raise ModuleNotFoundError("No module named 'sympy'", name="sympy")

    monkeypatch.setattr(importlib, "import_module", fake)
    with pytest.raises(PluginError, match="cannot import torch"):
        validate_environment()


def test_a_torch_that_cannot_add(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "ones", lambda *shape, dtype: torch.zeros(2))
    with pytest.raises(PluginError, match=r"torch computes 1 \+ 1 \+ 1 = 1\.0; install it again"):
        validate_environment()
