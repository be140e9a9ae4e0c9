"""Check that torch and safetensors are installed and work."""

from __future__ import annotations

import importlib

from ktrdr.core.errors import PluginError, one_line
from ktrdr.ml.torch.declaration import NAME

__all__ = ["validate_environment"]

# The modules that the backend imports.
_MODULES = ("torch", "safetensors", "safetensors.numpy")


def validate_environment() -> None:
    """Import the packages of the backend, and compute with torch.

    Raises:
        PluginError: a package is missing or broken; the message says what to install.
    """
    for module in _MODULES:
        package = module.partition(".")[0]
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name == package:
                raise PluginError(
                    f"plugin `{NAME}` needs {package}, which is not installed; install it with `pip install {package}`"
                ) from error
            raise _broken(package, error) from error
        # The import of a partly installed package raises any of these errors.
        except (ImportError, OSError, AttributeError, NameError, RuntimeError, SyntaxError) as error:
            raise _broken(package, error) from error

    import torch

    try:
        answer = (torch.ones(2, dtype=torch.float32).sum() + 1).item()
    except (AttributeError, RuntimeError, OSError) as error:
        raise _broken("torch", error) from error
    if answer != 3.0:
        raise PluginError(f"plugin `{NAME}`: torch computes 1 + 1 + 1 = {answer}; install it again")


def _broken(package: str, error: BaseException) -> PluginError:
    return PluginError(
        f"plugin `{NAME}` cannot import {package} ({one_line(error, named=True)}); "
        f"install it again with `pip install --force-reinstall {package}`"
    )
