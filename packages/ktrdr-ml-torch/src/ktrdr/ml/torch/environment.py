"""Does torch work here?"""

from __future__ import annotations

import importlib

from ktrdr.core.errors import PluginError, one_line
from ktrdr.ml.torch.declaration import NAME

__all__ = ["validate_environment"]

# What torch uses without which it is there and yet of no use.
_MODULES = ("torch", "safetensors", "safetensors.numpy")


def validate_environment() -> None:
    """Import what the backend needs, and add two numbers.

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
        # A half-installed package fails in as many ways as there are halves.
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
