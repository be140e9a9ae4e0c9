"""Distributions written to disk as an installer would leave them, so that discovery is tested without mocks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

Installer = Callable[..., None]

GOOD_HOOKS = """
from ktrdr.core.plugins import Device, ModelType, PluginInfo, hookimpl

@hookimpl
def ktrdr_plugin_info():
    types = (ModelType("{type}", "a model"),)
    return PluginInfo(name="{name}", version="1.2", contract="{contract}", model_types=types)

@hookimpl
def ktrdr_list_devices():
    return [Device("cpu", "cpu", "{name}")]
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on ``sys.path`` that holds what :func:`install` puts there."""
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(directory)
    before = set(sys.modules)
    yield directory
    for name in set(sys.modules) - before:
        if str(directory) in (getattr(sys.modules[name], "__file__", "") or ""):
            del sys.modules[name]


@pytest.fixture
def install(site: Path) -> Installer:
    """Return ``install(distribution, entry_point, code, group=...)``."""

    def run(distribution: str, entry_point: str, code: str, *, group: str = "ktrdr.plugins") -> None:
        module = distribution.replace("-", "_") + "_hooks"
        (site / f"{module}.py").write_text(dedent(code), encoding="utf-8")
        info = site / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entry_point} = {module}\n", encoding="utf-8")

    return run


@pytest.fixture
def install_backend(install: Installer) -> Installer:
    """Return ``install_backend(distribution, name, type, contract, more)`` for a plugin that works."""

    def run(
        distribution: str, name: str, model_type: str = "perceptron", contract: str = "2.0", more: str = ""
    ) -> None:
        install(distribution, name, GOOD_HOOKS.format(name=name, type=model_type, contract=contract) + more)

    return run
