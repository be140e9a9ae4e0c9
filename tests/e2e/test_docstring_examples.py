"""The examples in the docstrings of core run, and print what they show.

An example that imports the sample starts with nothing stored. Every other starts where the first lines of the guide to
Python end: the sample is imported, its strategy is trained and backtested once. Where an example reads a stored
evaluation or a stored verdict, there is one too. Each docstring has a folder of its own.
"""

from __future__ import annotations

import doctest
import importlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ktrdr.core as kt

SOURCE = Path(kt.__file__).parent
# Space between columns, and lines that are left out, are the reader's business.
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples() -> Iterator[object]:
    for file in sorted(SOURCE.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if ">>> " in text:
            parts = ("ktrdr", "core", *file.relative_to(SOURCE).with_suffix("").parts)
            module = ".".join(parts).removesuffix(".__init__")
            # The quickest verdict has some hundred trainings.
            yield pytest.param(module, marks=pytest.mark.slow) if "kt.verdict" in text else module


def examples(module: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module), globs={})
    return [test for test in found if test.examples]


def failures(test: doctest.DocTest) -> str:
    """Run the examples of a docstring, and return what doctest says of those that fail."""
    said: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append)
    return "".join(said)


@pytest.fixture(scope="session")
def first_result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the sample, one model and one run."""
    home = tmp_path_factory.mktemp("first") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KTRDR_HOME", str(home))
        kt.data.import_sample()
        kt.backtest(kt.train(kt.example_strategy(), progress=False), progress=False)
    return home


@pytest.fixture(scope="session")
def first_evaluation(first_result: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of :func:`first_result` with an evaluation."""
    home = tmp_path_factory.mktemp("evaluated") / "home"
    shutil.copytree(first_result, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KTRDR_HOME", str(home))
        kt.evaluate(kt.example_strategy(), seeds=1, epochs=2, progress=False)
    return home


@pytest.fixture(scope="session")
def first_verdict(first_result: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of :func:`first_result` with a verdict."""
    home = tmp_path_factory.mktemp("judged") / "home"
    shutil.copytree(first_result, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KTRDR_HOME", str(home))
        asked = {"end": "2017-03-31", "epochs": 1, "commission": 0.0001}
        kt.verdict(kt.example_strategy(), quick=True, **asked, progress=False)
    return home


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | None], None]:
    """Return a function that goes to a new folder, with a copy of a home or with none."""

    def enter(home: Path | None) -> None:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        place.mkdir()
        if home is not None:
            shutil.copytree(home, place / "home")
        monkeypatch.chdir(place)
        monkeypatch.setenv("KTRDR_HOME", str(place / "home"))

    return enter


@pytest.mark.parametrize("module", list(modules_with_examples()))
def test_the_examples_of_a_module(
    module: str, request: pytest.FixtureRequest, first_result: Path, folder: Callable[[Path | None], None]
) -> None:
    found = examples(module)
    assert found, f"{module} shows `>>>` where doctest does not look: outside a docstring"
    said = []
    for test in found:
        starts_empty = any("import_sample(" in example.source for example in test.examples)
        stored = None if starts_empty else first_result
        for call, fixture in (("kt.evaluations.load(", "first_evaluation"), ("kt.verdicts.load(", "first_verdict")):
            if not starts_empty and any(call in example.source for example in test.examples):
                stored = request.getfixturevalue(fixture)
        folder(stored)
        said.append(failures(test))
    assert not any(said), "".join(said)


# --- the runner itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("docstring", "failing"),
    [
        (">>> 1 + 1\n2\n", False),
        (">>> print('a   b')\na b\n", False),
        (">>> print(*range(9))\n0 1 ... 8\n", False),
        (">>> 1 + 1\n3\n", True),
        (">>> nothing_of_that_name\n", True),
        (">>> import ktrdr.core\n>>> ktrdr.core.errors\n1\n", True),
    ],
)
def test_an_example_that_prints_something_else_fails(docstring: str, failing: bool) -> None:
    test = doctest.DocTestParser().get_doctest(docstring, {}, "example", None, None)
    assert bool(failures(test)) is failing
