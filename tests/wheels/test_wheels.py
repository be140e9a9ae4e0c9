"""What is inside the wheels."""

from __future__ import annotations

import os
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHEELS = Path(os.environ.get("KTRDR_WHEELS", ROOT / "dist"))
SUBPACKAGES = {
    "ktrdr-core": "ktrdr/core",
    "ktrdr-ml-torch": "ktrdr/ml/torch",
    "ktrdr-ml-sklearn": "ktrdr/ml/sklearn",
    "ktrdr-api": "ktrdr/api",
    "ktrdr-worker": "ktrdr/worker",
}


@pytest.fixture(params=sorted(SUBPACKAGES))
def distribution(request):
    return request.param


@pytest.fixture
def wheel(distribution):
    (path,) = WHEELS.glob(f"{distribution.replace('-', '_')}-*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def metadata(archive):
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(archive.read(name).decode())


def test_everything_is_below_the_sub_package(wheel, distribution):
    names = [name for name in wheel.namelist() if ".dist-info/" not in name and not name.endswith("/")]
    assert len(names) > 1
    assert [name for name in names if not name.startswith(SUBPACKAGES[distribution] + "/")] == []


def test_the_namespace_has_no_init(wheel):
    assert not {"ktrdr/__init__.py", "ktrdr/ml/__init__.py"} & set(wheel.namelist())


def test_types_are_marked_in_the_sub_package_only(wheel, distribution):
    markers = [name for name in wheel.namelist() if name.endswith("py.typed")]
    assert markers == [f"{SUBPACKAGES[distribution]}/py.typed"]


def test_every_module_of_the_source_is_there(wheel, distribution):
    source = ROOT / "packages" / distribution / "src"
    expected = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected - set(wheel.namelist()) == set()


def test_the_version_is_that_of_the_project_and_of_the_package(wheel, distribution):
    project = tomllib.loads((ROOT / "packages" / distribution / "pyproject.toml").read_text(encoding="utf-8"))
    version = metadata(wheel)["Version"]
    assert version == project["project"]["version"]
    code = wheel.read(f"{SUBPACKAGES[distribution]}/__init__.py").decode()
    assert f'__version__ = "{version}"' in code


def test_members_ask_for_core_within_bounds(wheel, distribution):
    requirements = metadata(wheel).get_all("Requires-Dist", [])
    core = [requirement for requirement in requirements if requirement.startswith("ktrdr-core")]
    if distribution == "ktrdr-core":
        assert core == []
        assert not [r for r in requirements if r.startswith(("torch", "scikit-learn", "skops", "ktrdr-"))]
    else:
        assert core == ["ktrdr-core>=0.1,<0.2"]


def test_the_sample_and_its_attribution_ship_with_core():
    (path,) = WHEELS.glob("ktrdr_core-*.whl")
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.startswith("ktrdr/core/samples/")]
    assert "ktrdr/core/samples/neuro_mean_reversion.yaml" in names
    assert [name for name in names if "ATTRIBUTION" in name]
