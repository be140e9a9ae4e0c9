"""A public name means the same object, whatever was imported before it."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from typing import Any

import pytest

import ktrdr.core

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(ktrdr.core.__path__, "ktrdr.core.")
    if not module.name.endswith("__main__")
)
PACKAGES = [
    "ktrdr.core",
    *(module.name for module in pkgutil.walk_packages(ktrdr.core.__path__, "ktrdr.core.") if module.ispkg),
]

SCRIPT = """
import importlib, json, sys

packages, modules = json.loads(sys.argv[1])

def public():
    found = {}
    for package in map(importlib.import_module, packages):
        for name in getattr(package, "__all__", ()):
            found[f"{package.__name__}.{name}"] = getattr(package, name)
    return found

def described(value):
    return [type(value).__name__, getattr(value, "__module__", None), getattr(value, "__name__", None)]

first = public() if "--names-first" in sys.argv else {}
changed = []
for module in modules:
    importlib.import_module(module)
    changed += [[module, name] for name, value in public().items() if first and first[name] is not value]
print(json.dumps({"changed": changed, "names": {name: described(value) for name, value in public().items()}}))
"""


def interpreter(modules: list[str], *options: str) -> dict[str, Any]:
    """Import modules in a fresh interpreter; return which names changed, and what each public name is at the end."""
    command = [sys.executable, "-c", SCRIPT, json.dumps([PACKAGES, modules]), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def names_first() -> dict[str, Any]:
    return interpreter(MODULES, "--names-first")


def test_importing_a_module_changes_no_name(names_first: dict[str, Any]) -> None:
    assert names_first["changed"] == []
    assert len(names_first["names"]) > 30


@pytest.mark.parametrize("modules", [MODULES, MODULES[::-1]], ids=["from the first", "from the last"])
def test_a_name_is_the_same_when_the_modules_come_first(names_first: dict[str, Any], modules: list[str]) -> None:
    assert interpreter(modules)["names"] == names_first["names"]


def test_a_public_name_that_is_also_a_module_is_that_module() -> None:
    """Importing a submodule sets an attribute of its package: it would take the place of a function of that name."""
    hidden = [
        f"{package}.{name}"
        for package in PACKAGES
        for name in getattr(importlib.import_module(package), "__all__", ())
        if f"{package}.{name}" in MODULES
        and getattr(sys.modules[package], name) is not importlib.import_module(f"{package}.{name}")
    ]
    assert hidden == []
