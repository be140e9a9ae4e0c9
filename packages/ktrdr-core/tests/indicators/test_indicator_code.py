"""The digest of a user indicator changes with the code that computes it, and with no other."""

from __future__ import annotations

import compileall
import importlib
import sys
from types import ModuleType

import pytest

from ktrdr.core.indicators.indicator_code import IndicatorCode, code_digest
from ktrdr.core.indicators.registry import default_registry

KIND = """
from ktrdr.core.indicators.types import IndicatorType
KIND = IndicatorType("kind", "A test.", "own", ("kind",), formula, lambda p: 0, ("close",))
"""
PACKAGE = {
    "own/__init__.py": "ABOUT = 1",
    "own/kinds.py": "import numpy\nfrom . import steps\nfrom .numbers import FACTOR\n"
    "def formula(columns, parameters):\n    import own.late\n    return (steps.step(columns['close']) * FACTOR,)\n"
    + KIND,
    "own/steps.py": "from own.deep.deeper import deepest\ndef step(x):\n    return x\n",
    "own/deep/__init__.py": "",
    "own/deep/deeper.py": "import own.steps\ndef never():\n    from ....beyond import all\ndeepest = 2\n",
    "own/numbers.py": "FACTOR = 3",
    "own/late.py": "LATE = 4",
    "own/elsewhere.py": "UNUSED = 5",
    "other.py": "USED = 6",
}


@pytest.fixture
def digest_of(tmp_path, monkeypatch):
    """Return ``digest_of(files, module)``: the digest of ``KIND`` of a module, in a directory of its own."""
    count = iter(range(100))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def forget():
        for name in set(sys.modules) - before:
            if name.split(".")[0] in ("own", "other"):
                del sys.modules[name]

    def digest(files, module="own.kinds", compiled=False):
        forget()
        site = tmp_path / str(next(count))
        for name, text in files.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text, encoding="utf-8")
        if compiled:
            compileall.compile_dir(site, quiet=2, legacy=True)
            for name in files:
                (site / name).unlink()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(site)
            return code_digest(module, importlib.import_module(module).KIND)

    yield digest
    forget()


def test_the_same_code_in_another_place_has_the_same_digest(digest_of):
    found = digest_of(PACKAGE)
    assert len(found) == 64
    assert digest_of(PACKAGE) == found


@pytest.mark.parametrize("name", PACKAGE)
def test_it_covers_what_the_module_imports_from_its_package(digest_of, name):
    imported = name not in ("own/__init__.py", "own/deep/__init__.py", "own/elsewhere.py", "other.py")
    changed = digest_of({**PACKAGE, name: PACKAGE[name] + "\nMORE = 1\n"})
    assert (changed != digest_of(PACKAGE)) == imported


def test_what_is_imported_later_is_not_imported_for_the_digest(digest_of):
    digest_of(PACKAGE)
    assert "own.steps" in sys.modules
    assert "own.late" not in sys.modules


def test_the_package_itself_counts_if_a_name_is_from_it(digest_of):
    files = {**PACKAGE, "own/numbers.py": "from own import ABOUT as FACTOR"}
    assert digest_of(files) != digest_of({**files, "own/__init__.py": "ABOUT = 2"})


def test_a_formula_of_another_package_counts(digest_of):
    formula = "def formula(columns, parameters):\n    return (columns['close'],)\n"
    files = {"own.py": "from other import formula\n" + KIND, "other.py": formula}
    found = digest_of(files, "own")
    assert digest_of({**files, "other.py": formula.replace("close", "open")}, "own") != found
    # A formula of KTRDR itself is not the user's code.
    borrowed = {"own.py": "from ktrdr.core.indicators.types import _no_rule as formula\n" + KIND}
    assert digest_of(borrowed, "own") is not None


def test_compiled_code_counts_by_its_bytes(digest_of):
    files = {"own.py": "def formula(columns, parameters):\n    return (columns['close'] * 2,)\n" + KIND}
    assert digest_of(files, "own", compiled=True) is not None


def test_code_that_was_typed_in_has_no_digest(monkeypatch):
    module = ModuleType("own_typed")
    exec("def formula(columns, parameters):\n    return (columns['close'],)\n" + KIND, module.__dict__)
    monkeypatch.setitem(sys.modules, "own_typed", module)
    assert code_digest("own_typed", module.KIND) is None


def test_the_registry_knows_the_code_that_it_has_imported(own_indicator, tmp_path):
    own_indicator()
    found = default_registry().code("own_share")
    assert found[:2] == ("own-indicators", "1.2")
    (tmp_path / "own" / "own_indicators.py").write_text("changed = True", encoding="utf-8")
    assert default_registry().code("own_share") == found
    own_indicator("2")
    assert default_registry().code("own_share").digest != found.digest
    own_indicator(version="1.3")
    assert default_registry().code("own_share") == IndicatorCode("own-indicators", "1.3", found.digest)


def test_an_indicator_that_cannot_be_used_has_no_digest(own_indicator):
    own_indicator("(")
    assert default_registry().code("own_share") == IndicatorCode("own-indicators", "1.2", None)
