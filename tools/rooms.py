"""Print the rooms of distributions by floor, with their imports; fail if rooms or modules import each other in a cycle.

    python tools/rooms.py ktrdr-core ktrdr-api

A room is a package or module at the top of a distribution's own package. Its floor is one above the highest room that
it imports. Imports inside functions and imports for types count too, except those that a contract of `pyproject.toml`
lists under `ignore_imports`.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp


def floors_of(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the floors, the lowest first. Raises ``CycleError`` with the cycle as its second argument."""
    sorter = TopologicalSorter(imports)
    sorter.prepare()
    floors = []
    while sorter.is_active():
        ready = sorter.get_ready()
        floors.append(sorted(ready))
        sorter.done(*ready)
    return floors


def imports_of(graph: grimp.ImportGraph, modules: Iterable[str]) -> dict[str, set[str]]:
    """Return, for each of ``modules``, the others that it imports."""
    known = set(modules)
    return {module: graph.find_modules_directly_imported_by(module) & known - {module} for module in known}


def without_exceptions(graph: grimp.ImportGraph) -> grimp.ImportGraph:
    """Return ``graph`` without the imports that import-linter is told to ignore."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    for contract in project["tool"]["importlinter"]["contracts"]:
        for line in contract.get("ignore_imports", ()):
            importer, pattern = line.split(" -> ")
            if importer not in graph.modules:
                continue
            for imported in graph.find_modules_directly_imported_by(importer):
                if imported == pattern or (pattern.endswith(".**") and imported.startswith(pattern[:-2])):
                    graph.remove_import(importer=importer, imported=imported)
    return graph


def show(package: str) -> bool:
    """Print the rooms of ``package``; return False if there is a cycle."""

    def line(modules: Iterable[str], joint: str) -> str:
        return joint.join(module.removeprefix(f"{package}.") for module in modules)

    print(package)
    graph = without_exceptions(grimp.build_graph(package, cache_dir=None))
    rooms, what = graph.find_children(package), "modules"
    try:
        floors_of(imports_of(graph, graph.modules))
        for room in rooms:
            graph.squash_module(room)
        imports, what = imports_of(graph, rooms), "rooms"
        floors = floors_of(imports)
    except CycleError as error:
        print(f"  A cycle of {what}: {line(reversed(error.args[1]), ' -> ')}")
        return False
    for number, floor in reversed(list(enumerate(floors, start=1))):
        for room in floor:
            arrow = " -> " if imports[room] else ""
            print(f"  {number:2}  {line([room], '')}{arrow}{line(sorted(imports[room]), ', ')}")
    return True


def main() -> None:
    """Print the rooms of the distributions in the arguments."""
    names = sys.argv[1:]
    if not names:
        sys.exit("name the distributions: python tools/rooms.py ktrdr-core ktrdr-api")
    sound = [show(name.replace("-", ".")) for name in names]
    sys.exit(0 if all(sound) else 1)


if __name__ == "__main__":
    main()
