"""The version of the computation changes with every source that features depend on."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import ktrdr.core
from ktrdr.core.features import computation_version as module
from ktrdr.core.features.computation_version import computation_version, source_digest

CORE = Path(ktrdr.core.__file__).parent


@pytest.fixture
def sources(tmp_path) -> Path:
    return Path(shutil.copytree(CORE, tmp_path / "core", ignore=shutil.ignore_patterns("__pycache__", "*.gz")))


def test_it_names_all_that_the_bits_depend_on():
    text = " | ".join(computation_version())
    assert f"ktrdr-core {ktrdr.core.__version__} {source_digest(CORE)}" in text
    assert f"numpy {np.__version__}" in text
    assert "TA-Lib" in text


@pytest.mark.parametrize("config", [{"SIMD Extensions": {"baseline": ["X86_V2"]}}, {"SIMD Extensions": {}}, {}])
def test_a_processor_without_the_instructions_that_numpy_looks_for_has_a_version(monkeypatch, config):
    monkeypatch.setattr(module.np, "show_config", lambda mode: config)
    computation_version.cache_clear()
    try:
        assert computation_version()[-1] == " ".join(config.get("SIMD Extensions", {}).get("baseline", []))
    finally:
        computation_version.cache_clear()


@pytest.mark.parametrize(
    "name",
    ["indicators/ta.py", "fuzzy/membership.py", "features/assembly.py", "data/alignment.py", "comparisons.py"],
)
def test_a_changed_source_changes_it(sources, name):
    before = source_digest(sources)
    assert before == source_digest(CORE)
    with (sources / name).open("a", encoding="utf-8") as file:
        file.write("\n")
    assert source_digest(sources) != before


def test_a_new_name_changes_it_and_other_rooms_do_not(sources):
    before = source_digest(sources)
    (sources / "cli" / "main.py").write_text("", encoding="utf-8")
    assert source_digest(sources) == before
    (sources / "fuzzy" / "membership.py").rename(sources / "fuzzy" / "memberships.py")
    assert source_digest(sources) != before


def test_every_module_that_computes_features_is_among_the_sources():
    """All that the pipeline imports, except what only reads strategies, checks parameters or stores files."""
    import ktrdr.core.features.pipeline  # noqa: F401

    rooms = {pattern.split("/")[0].removesuffix(".py") for pattern in module._SOURCES}
    computing = {name.split(".")[2] for name in sys.modules if name.startswith("ktrdr.core.")} & {
        "comparisons", "data", "features", "fuzzy", "indicators"
    }  # fmt: skip
    assert computing == rooms
