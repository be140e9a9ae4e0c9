"""Names that a package imports on first access."""

from __future__ import annotations

import importlib

import pytest

from ktrdr.core.lazy_names import lazy_names

GET, NAMES = lazy_names("json", {"JSONDecoder": "json.decoder", "scanner": "json.scanner"})


def test_a_name_comes_from_the_module_that_defines_it() -> None:
    assert GET("JSONDecoder") is importlib.import_module("json.decoder").JSONDecoder


def test_the_name_of_a_submodule_is_the_submodule() -> None:
    assert GET("scanner") is importlib.import_module("json.scanner")


def test_the_names_are_listed() -> None:
    assert NAMES() == ["JSONDecoder", "scanner"]


def test_an_unknown_name_is_an_attribute_error_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'json' has no attribute 'nonsense'"):
        GET("nonsense")
