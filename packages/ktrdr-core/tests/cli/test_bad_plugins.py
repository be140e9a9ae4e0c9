"""What a user reads when a backend is missing, broken, outdated or not unique, or a strategy cannot be read."""

from __future__ import annotations

import sys
from functools import cache
from importlib.resources import files
from textwrap import dedent

import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager

HOOKS = """
from ktrdr.core.plugins import ModelType, PluginInfo, hookimpl

@hookimpl
def ktrdr_plugin_info():
    return PluginInfo(name="{name}", version="1.2", contract="{contract}", model_types=(ModelType("mlp", "a model"),))
"""


@pytest.fixture
def site(tmp_path):
    directory = tmp_path / "site"
    directory.mkdir()
    yield directory
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(directory)):
            del sys.modules[name]


@pytest.fixture
def install(site):
    def run(distribution, entry_point, code):
        module = distribution.replace("-", "_") + "_hooks"
        (site / f"{module}.py").write_text(dedent(code), encoding="utf-8")
        info = site / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[ktrdr.plugins]\n{entry_point} = {module}\n", encoding="utf-8")

    return run


@pytest.fixture
def strategy(tmp_path):
    path = tmp_path / "waves.yaml"
    text = files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def train(tmp_path, site, strategy, monkeypatch, capsys):
    """Return ``train(backend=...)``: `ktrdr train`, with that plugin pinned in the strategy if one is named."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(site)
    # As in a process that has just begun: plugins are looked for when one is first asked for.
    monkeypatch.setattr(manager, "default_manager", cache(PluginManager))

    def run(*, backend=None, file=strategy):
        if backend is not None:
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace("type: mlp", f"type: mlp\n  backend: {backend}"), encoding="utf-8")
        with pytest.raises(SystemExit) as end:
            main(["train", str(file)])
        printed = capsys.readouterr()
        assert end.value.code == 2, printed.err
        assert "Traceback" not in printed.err
        assert not (tmp_path / "home" / "models").exists()
        return printed.err.strip()

    return run


def test_no_plugin_for_the_model_type_says_what_to_install(train, monkeypatch):
    monkeypatch.setenv("KTRDR_BLOCK_PLUGINS", "torch,sklearn")
    message = train()
    assert "`mlp` needs plugin `torch`" in message
    assert "pip install ktrdr-ml-torch" in message or "KTRDR_BLOCK_PLUGINS" in message


def test_two_plugins_of_one_name_are_named_with_their_distributions(train, install):
    install("first-backend", "waves", HOOKS.format(name="waves", contract="2.0"))
    install("second-backend", "waves", HOOKS.format(name="waves", contract="2.0"))
    message = train(backend="waves")
    assert "first-backend" in message
    assert "second-backend" in message


def test_a_plugin_that_raises_at_import_is_named_with_its_reason(train, install):
    install("broken-backend", "broken", "raise RuntimeError('no licence')")
    message = train(backend="broken")
    assert "`broken` (broken-backend 1.2) cannot be loaded: RuntimeError: no licence" in message


@pytest.mark.parametrize(
    ("contract", "remedy"),
    [("3.0", "pip install --upgrade ktrdr-core"), ("1.0", "pip install --upgrade odd-backend")],
)
def test_a_plugin_of_another_contract_names_both_versions(train, install, contract, remedy):
    install("odd-backend", "odd", HOOKS.format(name="odd", contract=contract))
    message = train(backend="odd")
    assert f"made for plugin contract {contract}, this core has 2.2" in message
    assert remedy in message


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"name: [never closed", "not valid YAML"), (b"", "empty"), (b"\x89PNG\r\n\x1a\n\x00", "not a text file")],
)
def test_a_file_that_is_no_strategy_is_one_clear_sentence(train, strategy, content, message):
    strategy.write_bytes(content)
    said = train()
    assert message in said
    assert "waves.yaml" in said
    assert len(said.splitlines()) == 1


def test_a_file_that_is_not_there(train, tmp_path):
    assert "nowhere.yaml" in train(file=tmp_path / "nowhere.yaml")
