"""Plugins that fit are loaded on demand; those that do not are refused with the remedy."""

from __future__ import annotations

import sys

import pytest

from ktrdr.core.errors import PluginError
from ktrdr.core.plugins.contract import CONTRACT_VERSION, Explainable, Predictor, RuleBased
from ktrdr.core.plugins.manager import PluginManager


@pytest.fixture
def manager(site):
    def make(**environ):
        return PluginManager(path=[str(site)], environ=environ)

    return make


def test_listing_imports_nothing_and_asking_imports_one(manager, install_backend):
    install_backend("ktrdr-ml-one", "one", "alpha")
    install_backend("ktrdr-ml-two", "two", "beta")
    found = manager()
    assert [record.name for record in found.records()] == ["one", "two"]
    assert found.info("one").model_types[0].name == "alpha"
    assert "ktrdr_ml_one_hooks" in sys.modules
    assert "ktrdr_ml_two_hooks" not in sys.modules


def test_the_only_backend_of_a_type_is_chosen_whatever_the_case(manager, install_backend):
    install_backend("ktrdr-ml-one", "one", "alpha")
    install_backend("ktrdr-ml-two", "two", "beta")
    info, offered = manager().backend_for("Beta")
    assert (info.name, offered.name) == ("two", "beta")


def test_several_backends_of_a_type_are_named_and_one_can_be_chosen(manager, install_backend):
    install_backend("ktrdr-ml-one", "one", "alpha")
    install_backend("ktrdr-ml-two", "two", "alpha")
    with pytest.raises(PluginError, match=r"several plugins \(one, two\); say which with `backend: one`"):
        manager().backend_for("alpha")
    assert manager().backend_for("alpha", "two")[0].name == "two"


@pytest.mark.parametrize(
    ("model_type", "message"),
    [
        ("mlp", "needs plugin `torch`: plugin `torch` is not installed; install it with `pip install ktrdr-ml-torch`"),
        ("random_forest", "`pip install ktrdr-ml-sklearn`"),
        ("mpl", "no installed plugin trains model type `mpl`, did you mean `mlp`?"),
    ],
)
def test_a_type_nobody_offers_names_what_to_install(manager, model_type, message):
    with pytest.raises(PluginError) as caught:
        manager().backend_for(model_type)
    assert message in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_backend_that_lacks_the_type_says_what_it_offers(manager, install_backend):
    install_backend("ktrdr-ml-one", "one", "alpha")
    with pytest.raises(PluginError, match=r"plugin `one` has no model type `mlp`; it offers alpha"):
        manager().backend_for("mlp", "one")


def test_a_clash_is_refused_when_asked_for_and_skipped_otherwise(manager, install_backend):
    install_backend("ktrdr-ml-one", "same")
    install_backend("ktrdr-ml-two", "same")
    install_backend("ktrdr-ml-three", "three", "gamma")
    found = manager()
    with pytest.raises(PluginError, match=r"ktrdr-ml-one and ktrdr-ml-two both provide `same`; uninstall one of them"):
        found.info("same")
    assert list(found.infos()) == ["three"]
    assert "both provide" in found.broken["same"]


@pytest.mark.parametrize(
    "code", ["raise RuntimeError('no\\n luck')", "import absent_module", "raise SystemExit(3)", "1 +"]
)
def test_a_plugin_that_fails_at_import_is_named_with_its_distribution(manager, install, install_backend, code):
    install("ktrdr-ml-bad", "bad", code)
    install_backend("ktrdr-ml-good", "good", "alpha")
    found = manager()
    with pytest.raises(PluginError) as caught:
        found.info("bad")
    text = str(caught.value)
    assert text.startswith("plugin `bad` (ktrdr-ml-bad 1.2) cannot be loaded: ")
    assert "\n" not in text
    assert "pip install --force-reinstall ktrdr-ml-bad" in text
    assert "KTRDR_BLOCK_PLUGINS=bad" in text
    assert list(found.infos()) == ["good"]
    assert found.backend_for("alpha")[0].name == "good"


def test_the_reason_of_a_broken_backend_is_given_when_its_type_is_asked_for(manager, install):
    install("ktrdr-ml-torch", "torch", "raise ImportError('libc10.so is missing')")
    with pytest.raises(PluginError, match=r"`mlp` needs plugin `torch`: .*libc10\.so is missing"):
        manager().backend_for("mlp")


@pytest.mark.parametrize(
    ("contract", "remedy"),
    [
        ("2.7", "pip install --upgrade ktrdr-core"),
        ("3.0", "pip install --upgrade ktrdr-core"),
        ("1.9", "pip install --upgrade ktrdr-ml-odd"),
    ],
)
def test_another_contract_is_refused_with_both_versions(manager, install_backend, contract, remedy):
    install_backend("ktrdr-ml-odd", "odd", contract=contract)
    with pytest.raises(PluginError) as caught:
        manager().info("odd")
    assert f"made for plugin contract {contract}, this core has {CONTRACT_VERSION}" in str(caught.value)
    assert remedy in str(caught.value)


# As plugins were written for contract 1.0: every hook but one took the name of the plugin that was asked for.
HOOKS_OF_CONTRACT_1 = """
from ktrdr.core.plugins import Device, ModelType, PluginInfo, hookimpl

@hookimpl
def ktrdr_plugin_info():
    return PluginInfo(name="old", version="1.2", contract="{contract}", model_types=(ModelType("alpha", "a model"),))

@hookimpl
def ktrdr_list_devices(plugin):
    return [Device("cpu", "cpu")] if plugin == "old" else None
"""


def test_hooks_of_another_contract_are_told_by_the_contract_and_not_as_broken(manager, install):
    install("ktrdr-ml-old", "old", HOOKS_OF_CONTRACT_1.format(contract="1.0"))
    with pytest.raises(PluginError) as caught:
        manager().info("old")
    assert str(caught.value) == (
        f"plugin `old` (ktrdr-ml-old 1.2) was made for plugin contract 1.0, this core has {CONTRACT_VERSION}; "
        "update it with `pip install --upgrade ktrdr-ml-old`"
    )


def test_a_hook_that_does_not_fit_its_spec_is_refused(manager, install):
    install("ktrdr-ml-old", "old", HOOKS_OF_CONTRACT_1.format(contract="2.0"))
    with pytest.raises(PluginError, match=r"cannot be loaded: PluginValidationError: .*ktrdr_list_devices.*'plugin'"):
        manager().info("old")


def test_one_plugin_is_asked_and_no_other(manager, install_backend):
    raises = "\n@hookimpl\ndef ktrdr_list_devices():\n    raise AssertionError('asked')\n"
    install_backend("ktrdr-ml-one", "one", "alpha")
    install_backend("ktrdr-ml-two", "two", "beta", more=raises)
    found = manager()
    assert list(found.infos()) == ["one", "two"]
    assert [device.description for device in found.devices("one")] == ["one"]
    with pytest.raises(AssertionError, match="asked"):
        found.devices("two")


LOADER = """
import numpy as np

class Plain:
    input_size, window = 2, 1

    def predict(self, features):
        return np.zeros(len(features))

class Loader:
    def load(self, directory, device="auto"):
        return Plain()

@hookimpl
def ktrdr_model_loader():
    return Loader()
"""


def test_a_plugin_from_before_an_optional_ability_stays_usable(manager, install_backend, monkeypatch, tmp_path):
    install_backend("ktrdr-ml-one", "one", "alpha", "2.0", more=LOADER)
    monkeypatch.setattr("ktrdr.core.plugins.manager.CONTRACT_VERSION", "2.3")
    found = manager()
    assert found.backend_for("alpha")[0].contract == "2.0"
    predictor = found.loader("one").load(tmp_path)
    assert isinstance(predictor, Predictor)
    # What core asks before it uses an ability.
    assert not isinstance(predictor, Explainable)
    assert not isinstance(predictor, RuleBased)


def test_a_plugin_of_a_minor_that_core_does_not_know_is_refused(manager, install_backend, monkeypatch):
    install_backend("ktrdr-ml-one", "one", contract="2.4")
    monkeypatch.setattr("ktrdr.core.plugins.manager.CONTRACT_VERSION", "2.3")
    with pytest.raises(PluginError, match=r"contract 2\.4, this core has 2\.3; update core"):
        manager().info("one")


def test_a_contract_that_is_no_version_is_refused(manager, install_backend):
    install_backend("ktrdr-ml-odd", "odd", contract="newest")
    with pytest.raises(PluginError, match="not of the form"):
        manager().info("odd")


def test_a_plugin_must_call_itself_as_its_entry_point_does(manager, install, install_backend):
    install_backend("ktrdr-ml-odd", "odd")
    hooks = (manager().records()[0].module, "odd")
    assert hooks == ("ktrdr_ml_odd_hooks", "odd")
    install("ktrdr-ml-liar", "liar", "from ktrdr_ml_odd_hooks import ktrdr_plugin_info")
    with pytest.raises(PluginError, match="calls itself `odd`"):
        manager().info("liar")


def test_a_plugin_without_info_is_refused(manager, install):
    install("ktrdr-ml-mute", "mute", "")
    with pytest.raises(PluginError, match="does not describe itself"):
        manager().info("mute")


def test_a_hook_of_an_unknown_name_is_refused_and_not_ignored(manager, install):
    install(
        "ktrdr-ml-typo",
        "typo",
        "from ktrdr.core.plugins import hookimpl\n@hookimpl\ndef ktrdr_model_trainr():\n    return None\n",
    )
    with pytest.raises(PluginError, match="ktrdr_model_trainr"):
        manager().info("typo")


def test_a_missing_hook_is_an_error_when_it_is_needed(manager, install_backend):
    install_backend("ktrdr-ml-one", "one")
    found = manager()
    assert [device.name for device in found.devices("one")] == ["cpu"]
    with pytest.raises(PluginError, match="does not implement `ktrdr_model_trainer`"):
        found.trainer("one")


def test_a_blocked_plugin_says_which_variable_blocks_it(manager, install_backend):
    install_backend("ktrdr-ml-one", "one", "alpha")
    with pytest.raises(PluginError, match="listed in KTRDR_BLOCK_PLUGINS"):
        manager(KTRDR_BLOCK_PLUGINS="one").info("one")
    assert manager(KTRDR_BLOCK_PLUGINS="one").infos() == {}


def test_an_unknown_plugin_gets_a_suggestion(manager, install_backend):
    install_backend("ktrdr-ml-one", "nearest")
    with pytest.raises(PluginError, match="did you mean `nearest`"):
        manager().info("neerest")
