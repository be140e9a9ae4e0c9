"""Write the results of a run to docs/benchmarks.md.

    python benchmarks/page.py benchmarks/results/DATE.json

Replaces only the text between the markers `<!-- begin: NAME -->` and `<!-- end: NAME -->`.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tables import FIGURES, HEADER, duration, figures_of, markdown, number, tables_of, without_empty

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
TITLES = {
    "startup": "Start-up",
    "data": "Bars",
    "indicators": "Indicators",
    "features": "Fuzzy sets and features",
    "labels": "Labels",
    "training": "Training and prediction",
    "rules": "Rules",
    "inference_networks": "Portable twins of networks and rules",
    "inference_trees": "Portable twins of trees",
    "populations": "Populations",
    "sklearn_populations": "Populations of scikit-learn",
    "evaluation": "Evaluation",
    "verdict": "Verdict",
    "simulation": "Simulation",
    "backtest": "Whole backtest",
    "cluster": "Cluster",
    "api_load": "API under load",
}


def slower(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield benchmark, our row and that of a peer that is more than 10 % faster, at the largest size of both."""
    for found in document["benchmarks"]:
        largest = {(row["contest"], row["program"]): row for row in found["rows"]}
        for (contest, _), row in largest.items():
            mine = next(
                each
                for each in found["rows"]
                if each["ours"] and (each["contest"], each["size"]) == (contest, row["size"])
            )
            if not row["ours"] and row[f"ratio_{row['clock']}"]["median"] < 0.9:
                yield found["benchmark"], mine, row


def subject(row: dict[str, Any]) -> str:
    """Return the name of a row in the list of faster peers: the title of its table for tables of many contests."""
    return row["group"] if row["contest"].startswith("indicator ") else row["contest"]


def machine(document: dict[str, Any]) -> str:
    """Return a table of the machine, the date and the versions."""
    place = document["machine"]
    lines = [
        ("processor", f"{place['cpu']}, {place['cores']} cores"),
        ("memory", f"{place['memory_gib']:g} GiB"),
        ("system", f"{place['os']}, {place['python']}"),
        (
            "load when each began",
            ", ".join(f"{each['benchmark']} {each['load_before']:g}" for each in document["benchmarks"]),
        ),
        ("date", document["date"]),
        ("commit", f"`{document['commit']}`"),
        ("took", f"{document['seconds'] / 60:.0f} minutes"),
        ("versions", ", ".join(f"{name} {version}" for name, version in document["versions"].items())),
    ]
    return markdown(("", ""), lines)


def limits(document: dict[str, Any]) -> str:
    """Return a table of all figures with a limit."""
    lines = []
    for found in document["benchmarks"]:
        for line in figures_of(found):
            if line[3]:
                lines.append(
                    (TITLES[found["benchmark"]], *line[:3], f"**{line[3]}**" if line[3] == "MISSED" else line[3])
                )
    return markdown(("", *FIGURES), lines)


def faster_peers(document: dict[str, Any]) -> str:
    """Return a table of faster peers; all indicators are one line."""
    lines: list[tuple[str, ...]] = []
    many: dict[str, list[float]] = {}
    for _, mine, row in slower(document):
        times = 1 / row[f"ratio_{row['clock']}"]["median"]
        if subject(row) != row["contest"]:
            many.setdefault(subject(row), []).append(times)
            continue
        size = f"{row['size']:,} {row['unit']}" if row["unit"] else ""
        both = (duration(each[row["clock"]]["median"]) for each in (mine, row))
        lines.append((row["contest"], size, row["program"], *both, number(times)))
    for name, values in many.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        span = f"{number(low)} to {number(high)}, median {number(middle)}"
        lines.append((f"{name}, {len(values)} of them", "", "TA-Lib", "", "", span))
    return markdown(("", "size", "peer", "ours", "peer's", "ours takes times as long"), lines)


def everything(document: dict[str, Any]) -> str:
    """Return all tables, benchmark by benchmark; one whose figures all have a limit is in the table of these."""
    parts = []
    for found in document["benchmarks"]:
        tables = tables_of(found)
        others = [line for line in figures_of(found) if not line[3]]
        if not tables and not others:
            continue
        parts.append(f"### {TITLES[found['benchmark']]}")
        for title, lines in tables.items():
            parts.append(f"**{title}**")
            parts.append(markdown(*without_empty(HEADER, lines)))
        if others:
            parts.append("**figures without a limit**")
            parts.append(markdown(("", "measured"), [line[:2] for line in others]))
    return "\n\n".join(parts)


BLOCKS: dict[str, Callable[[dict[str, Any]], str]] = {
    "machine": machine,
    "limits": limits,
    "faster peers": faster_peers,
    "everything": everything,
}


def filled(text: str, document: Any, blocks: Mapping[str, Callable[[Any], str]] = BLOCKS) -> str:
    """Return a page with the blocks of a run."""
    for name, made in blocks.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        block = f"{begin}\n\n{made(document)}\n\n{end}"
        text, count = pattern.subn(lambda _, block=block: block, text)
        if count != 1:
            raise SystemExit(f"the page has {count} blocks {name!r}, not one")
    return text


def main() -> None:
    """Rewrite the page."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), document), encoding="utf-8")


if __name__ == "__main__":
    main()
