"""The guards of the rooms are themselves guarded: an import that goes up, planted in a copy of the tree, is refused."""

from __future__ import annotations

import pytest

LINT = ("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache")
CONTRACTS = {
    "ktrdr.core": "Rooms of core: each imports only rooms below it",
    "ktrdr.api": "Rooms of the API: each imports only rooms below it",
}
IN_A_FUNCTION = "\n\ndef planted() -> None:\n    from {module} import {name}\n"
FOR_TYPES = "\n\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from {module} import {name}\n"


def test_the_tree_as_it_is_keeps_every_contract(copied_tree, run_in):
    done = run_in(copied_tree, *LINT)
    assert done.returncode == 0, done.stdout
    for contract in CONTRACTS.values():
        assert f"{contract} KEPT" in done.stdout


@pytest.mark.parametrize(
    ("package", "place", "module", "name", "import_"),
    [
        ("ktrdr.core", "core/data/times.py", "ktrdr.core.training", "split", IN_A_FUNCTION),
        ("ktrdr.core", "core/fuzzy/membership.py", "ktrdr.core.work", "steps", FOR_TYPES),  # its neighbour on the floor
        # The table of a room names functions of the face; its modules do not.
        ("ktrdr.core", "core/trials/row.py", "ktrdr.core.face", "stored_trials", FOR_TYPES),
        ("ktrdr.api", "api/ledger/states.py", "ktrdr.api.operations", "waiting", IN_A_FUNCTION),
        ("ktrdr.api", "api/http/guard.py", "ktrdr.api.services", "Services", FOR_TYPES),  # its neighbour on the floor
    ],
    ids=["core-upward", "core-neighbour", "core-face", "api-upward", "api-neighbour"],
)
def test_an_import_of_a_room_that_is_not_below_is_refused(copied_tree, run_in, package, place, module, name, import_):
    (path,) = copied_tree.glob(f"packages/*/src/ktrdr/{place}")
    path.write_text(path.read_text(encoding="utf-8") + import_.format(module=module, name=name), encoding="utf-8")
    done = run_in(copied_tree, *LINT)
    assert done.returncode == 1
    assert f"{CONTRACTS[package]} BROKEN" in done.stdout
    assert module in done.stdout


@pytest.mark.parametrize("package", CONTRACTS)
def test_a_room_without_a_floor_is_refused(copied_tree, run_in, package):
    (rooms,) = copied_tree.glob(f"packages/*/src/{package.replace('.', '/')}")
    (rooms / "cellar.py").write_text("", encoding="utf-8")
    done = run_in(copied_tree, *LINT)
    assert done.returncode == 1
    assert f"{CONTRACTS[package]} BROKEN" in done.stdout
    assert "cellar" in done.stdout
