"""Other code of a user indicator is another choice; built-in indicators have no code of their own."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from ktrdr.core.indicators.registry import default_registry
from ktrdr.core.strategy.choice import choice_hash, choice_of
from ktrdr.core.strategy.used_code import unread_code_warnings, used_code

OWN = {"indicators.own": {"type": "own_share"}}


def test_other_code_or_another_version_is_another_choice(load, own_indicator):
    hashes = []
    for arguments in ({}, {"code": "2"}, {"version": "1.3"}, {}):
        own_indicator(**arguments)
        hashes.append(choice_hash(load(OWN).strategy))
    assert len(set(hashes)) == 3
    assert hashes[0] == hashes[3]


def test_a_strategy_without_a_user_indicator_has_no_code(load, own_indicator):
    before = choice_hash(load().strategy)
    own_indicator()
    assert used_code(load().strategy) == {}
    assert choice_hash(load().strategy) == before
    assert unread_code_warnings(load().strategy) == ()


def test_the_code_belongs_to_the_section_of_the_indicators(load, own_indicator):
    own_indicator()
    strategy = load(OWN).strategy
    assert list(choice_of(strategy, only=["indicators"])) == ["indicators", "indicator_code"]
    assert list(choice_of(strategy, only=["decisions"])) == ["decisions"]
    assert choice_of(strategy)["indicator_code"] == {"own_share": list(used_code(strategy)["own_share"])}


@pytest.mark.parametrize("code", ["(", None], ids=["broken", "uninstalled"])
def test_a_stored_strategy_has_a_hash_without_the_code(load, own_indicator, tmp_path, code):
    own_indicator()
    strategy = load(OWN).strategy
    found = choice_hash(strategy)
    if code is None:
        (tmp_path / "own" / "own_indicators-1.dist-info" / "entry_points.txt").unlink()
        default_registry.cache_clear()
    else:
        own_indicator(code)
    assert choice_hash(strategy) != found


def test_code_without_source_is_told(load, own_indicator, monkeypatch):
    own_indicator()
    strategy = load(OWN).strategy
    assert unread_code_warnings(strategy) == ()
    module = ModuleType("own_indicators")
    module.OWN = default_registry().get("own_share")
    monkeypatch.setitem(sys.modules, "own_indicators", module)
    default_registry.cache_clear()
    assert unread_code_warnings(strategy) == (
        "the source of indicator `own_share` of own-indicators 1.2 cannot be read, so that other code with the same"
        " version counts as the same trial; raise the version of own-indicators with every change",
    )
    assert choice_hash(strategy) == choice_hash(strategy)
