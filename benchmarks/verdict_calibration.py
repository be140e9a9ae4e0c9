"""How often a verdict says EDGE: where no direction can be predicted, and where an edge has a known size.

    python benchmarks/verdict_calibration.py [--only PART] [--results FILE] [--minutes M]
    python benchmarks/verdict_calibration.py --tune [--results FILE] [--minutes M]
    python benchmarks/verdict_calibration.py --fixed
    python benchmarks/verdict_calibration.py --page

Each world is a synthetic market with a seed. The strategy in `calibration/strategy.yaml` is judged there by the quick
form of `ktrdr verdict`: 20 null worlds of each family, one seed, at most 10 epochs. The results have one line of JSON
for each world. Worlds that have a line are not judged again, so that a stopped run goes on where it was; no world is
begun after `--minutes`. Two processes of a Dask cluster work, each with one thread. Then the page is written. The exit
status is 1 if a complete cell breaks a promise: too many false alarms, or too few edges found.

`--tune` writes the strengths of the worlds with an edge (`calibration/tuning.py`), `--fixed` the words and figures of
20 worlds that a test recomputes, `--page` the page alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calibration.counts import BLOCKS, broken, verdicts_of
from calibration.engine import embedded, kept, work
from calibration.judging import STRATEGY, judged
from calibration.tuning import interpolated, traded, tuning_worlds
from calibration.worlds import FALSE_ALARMS, POWER, STRENGTHS, World, fixed_worlds, planned
from page import filled
from run import commit, machine, now, versions

__all__ = ["FIXED", "PAGE", "RESULTS", "begun", "fixed_rows", "left"]

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "explanation" / "verdict-calibration.md"
RESULTS = HERE / "calibration" / "results.jsonl"
FIXED = HERE / "calibration" / "fixed.json"
FOUR_HOURS = 240.0
PACKAGES = ("ktrdr-core", "ktrdr-ml-torch", "numpy", "torch")


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    last = row["strength"] if "strength" in row else row["target"]
    return row["part"], row["family"], row["period"], last, row["seed"]


def left(worlds: Sequence[World], lines: Sequence[Mapping[str, Any]], tune: bool = False) -> list[World]:
    """Return the worlds that have no line in the results."""
    known = {_key(row) for row in verdicts_of(lines)}
    return [
        world
        for world in worlds
        if (world.part, world.family, world.period, world.strength if tune else world.sharpe, world.seed) not in known
    ]


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def begun(path: Path, lines: Sequence[Mapping[str, Any]], strategy: str, strengths: str) -> None:
    """Append a line for this run.

    Args:
        path: the results.
        lines: those that it has.
        strategy: hash of the strategy, which all lines depend on.
        strengths: hash of the strengths, which the worlds with an edge depend on; empty for the tuning that finds them.

    Raises:
        SystemExit: lines of the file are of another strategy or of other strengths.
    """
    runs = [line["run"] for line in lines if "run" in line]
    others = any(run["strategy"] != strategy for run in runs)
    if any(row["part"] == POWER for row in verdicts_of(lines) if "part" in row):
        others |= any(run["strengths"] != strengths for run in runs)
    if others:
        raise SystemExit(f"{path} has results of another strategy or of other strengths: choose another --results")
    known = versions()
    line = {
        "commit": commit(),
        "date": now(),
        "machine": machine(),
        "versions": {name: known[name] for name in PACKAGES if name in known},
        "strategy": strategy,
        "strengths": strengths,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"run": line}) + "\n")


def fixed_rows() -> list[dict[str, Any]]:
    """Return the lines of the fixed worlds, without their seconds."""
    return [{name: value for name, value in judged(world).items() if name != "seconds"} for world in fixed_worlds()]


def _told(ended: int, of: int, row: Mapping[str, Any]) -> None:
    if ended % 20 == 0 or ended == of:
        print(f"{ended:,} of {of:,}: {row['family']}, {row['period']}, seed {row['seed']}", flush=True)


def _write_page(path: Path) -> None:
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), kept(path), BLOCKS), encoding="utf-8")


def main() -> None:
    """Do what the options say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tune", action="store_true", help="write the strengths of the worlds with an edge")
    parser.add_argument("--fixed", action="store_true", help="write the words and figures of the fixed worlds")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    parser.add_argument("--only", choices=[FALSE_ALARMS, POWER], help="judge the worlds of this part only")
    parser.add_argument("--results", type=Path, help="keep the lines in this file, and go on from it")
    parser.add_argument("--minutes", type=float, default=FOUR_HOURS, help="begin no world after so many minutes")
    given = parser.parse_args()
    path = given.results or (RESULTS.with_name("tuning.jsonl") if given.tune else RESULTS)
    if given.fixed:
        FIXED.write_text("[\n" + ",\n".join(json.dumps(row) for row in fixed_rows()) + "\n]\n", encoding="utf-8")
        return
    if given.page:
        _write_page(path)
        return
    lines = kept(path)
    worlds = left(tuning_worlds() if given.tune else planned(), lines, given.tune)
    if given.only is not None:
        worlds = [world for world in worlds if world.part == given.only]
    begun(path, lines, _hash(STRATEGY), "" if given.tune else _hash(STRENGTHS))
    with embedded() as engine:
        whole = work(engine, traded if given.tune else judged, worlds, path, 60 * given.minutes, _told)
    if not whole and given.tune:
        raise SystemExit(f"the time is up: {path} is not complete; the same command goes on")
    if given.tune:
        found = interpolated(verdicts_of(kept(path)))
        STRENGTHS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    else:
        # What was judged so far is published, with its number of worlds.
        _write_page(path)
        if not whole:
            print(f"The time is up: {path} is not complete; the same command goes on.")
        if problems := broken(kept(path)):
            raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
