"""Writes the generated parts of pages: from the schema, the registry, the plugins, click and the OpenAPI document.

The part of a page between ``<!-- generated: keys training.labels -->`` and ``<!-- end of generated -->`` is the output
of the generator ``keys`` for the argument ``training.labels``. It is stored in the file, so that the page can be read
in a checkout; ``nox -s reference`` writes all parts, and the build fails for a page with an outdated part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from pathlib import Path

from options import options_table, routes_table
from tables import GENERATORS as TABLES
from tables import Generator

__all__ = ["renewed", "write_all"]

_PAGES = Path(__file__).parents[1]
_PART = re.compile(
    r"^<!-- generated: (?P<name>[\w-]+)(?: (?P<argument>[^\n]+?))? -->\n(?:.*?\n)??<!-- end of generated -->$",
    re.MULTILINE | re.DOTALL,
)


def _options(argument: str, others: Set[str]) -> str:
    return options_table(argument)


def _routes(argument: str, others: Set[str]) -> str:
    return routes_table()


_GENERATORS: Mapping[str, Generator] = {**TABLES, "options": _options, "routes": _routes}


def renewed(markdown: str) -> str:
    """Return a page with all its generated parts up to date.

    Raises:
        ValueError: there is no generator with the name in a part.
        KeyError: a generator does not know the argument.
    """
    arguments = {found["argument"] for found in _PART.finditer(markdown) if found["argument"]}

    def make(found: re.Match[str]) -> str:
        name, argument = found["name"], found["argument"] or ""
        if name not in _GENERATORS:
            raise ValueError(f"there is no generator `{name}`; there are {', '.join(_GENERATORS)}")
        marker = f"generated: {name} {argument}".strip()
        return f"<!-- {marker} -->\n\n{_GENERATORS[name](argument, arguments)}\n\n<!-- end of generated -->"

    return _PART.sub(make, markdown)


def write_all() -> list[Path]:
    """Write every page with outdated parts; return the paths of these pages."""
    written = []
    for page in sorted(_PAGES.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := renewed(text)) != text:
            page.write_text(new, encoding="utf-8")
            written.append(page)
    return written


if __name__ == "__main__":
    for changed in write_all():
        print(changed.relative_to(_PAGES.parent))
