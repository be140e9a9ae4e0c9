"""What is public: the names in the `__all__` of an `__init__`, and no other; `public_names.txt` lists them."""

from __future__ import annotations

import ast
import difflib
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("public_names.txt")

REMEDY = """\
The public names changed. If that is meant: write tests/house/public_names.txt again with
`python tests/house/test_public_names.py`, add a line to the CHANGELOG of the distribution, and give a new name a
docstring that the reference can show (docs/reference/api)."""


def exported(file):
    """Return the names in the `__all__` of a file; none if it has no `__all__`.

    Raises:
        ValueError: `__all__` is not written out as a list of strings.
    """
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            try:
                names = ast.literal_eval(node.value)
            except ValueError:
                names = None
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"{file}: write `__all__` out as a list of names")
            return names
    return []


def public_names(root):
    """Return the full name of every public name below `packages`, sorted."""
    found = []
    for source in sorted(root.glob("packages/*/src")):
        for file in source.rglob("__init__.py"):
            package = ".".join(file.parent.relative_to(source).parts)
            found += [f"{package}.{name}" for name in exported(file)]
    return sorted(found)


def changes(listed, found):
    """Return the lines that differ, `+` for a new name and `-` for one that is gone."""
    return [line for line in difflib.ndiff(listed, found) if line[0] in "+-"]


@pytest.fixture(scope="session")
def found(root):
    return public_names(root)


def test_the_list_of_public_names_is_up_to_date(found):
    changed = changes(LIST.read_text(encoding="utf-8").splitlines(), found)
    assert not changed, "\n".join([REMEDY, *changed])


def test_no_name_is_exported_twice(found):
    assert len(found) == len(set(found))


def test_a_public_name_has_no_underscore(found):
    private = [name for name in found if name.rpartition(".")[2].startswith("_")]
    assert set(private) <= {"ktrdr.core.__version__"}


# --- the guard itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ('"Client", ', "", "- ktrdr.core.client.Client"),
        ('"Client", ', '"Client", "Other", ', "+ ktrdr.core.client.Other"),
    ],
)
def test_a_name_that_comes_or_goes_is_found(copied_tree, before, after, line):
    file = copied_tree / "packages/ktrdr-core/src/ktrdr/core/client/__init__.py"
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")
    assert changes(LIST.read_text(encoding="utf-8").splitlines(), public_names(copied_tree)) == [line]


def test_a_computed_list_is_refused(tmp_path):
    file = tmp_path / "__init__.py"
    file.write_text("__all__ = [name for name in dir()]\n", encoding="utf-8")
    with pytest.raises(ValueError, match="write `__all__` out"):
        exported(file)


if __name__ == "__main__":
    LIST.write_text("".join(f"{name}\n" for name in public_names(Path(__file__).parents[2])), encoding="utf-8")
