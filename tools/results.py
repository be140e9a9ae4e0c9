"""Summary of a run of nox sessions: what was not run and why, the number of tests, and the time against its budget.

    python tools/results.py [--budget SECONDS]

The files of the run are in ``.nox``: nox's report, and the results of each session in JUnit's format. With ``--budget``
the summary compares SECONDS, the time of the whole run, with the budget in `noxfile.py`. The exit status of nox says
whether the run succeeded.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / ".nox" / "report.json"
RESULTS = ROOT / ".nox" / "results"


@dataclass(frozen=True, slots=True)
class Tests:
    """Results of the tests of one session; ``skipped`` counts skipped tests by their reason."""

    passed: int
    failed: int
    skipped: Counter[str]


def read_results(path: Path) -> Tests:
    """Read the results of one session from pytest's file in JUnit's format."""
    passed = failed = 0
    skipped: Counter[str] = Counter()
    for case in ElementTree.parse(path).iter("testcase"):
        reason = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif reason is not None:
            skipped[reason.get("message", "")] += 1
        else:
            passed += 1
    return Tests(passed, failed, skipped)


def closing_lines(sessions: Iterable[Mapping[str, object]], tests: Mapping[str, Tests]) -> list[str]:
    """Return a line for everything that was not run, and one with the number of tests.

    Args:
        sessions: of nox's report: ``name``, ``result`` and, if skipped, ``reason``.
        tests: results of the sessions that run tests, by the name of the session.
    """
    lines = []
    for session in sessions:
        name = str(session["name"])
        if session["result"] in ("skipped", "aborted"):
            why = str(session.get("reason") or session["result"])
            lines.append(f"NOT RUN: {name}: {why.removeprefix('NOT RUN: ')}")
        skipped = tests[name].skipped if name in tests else Counter()
        lines += [f"NOT RUN: {name}: {count} tests: {reason}" for reason, count in sorted(skipped.items())]
    passed, failed = (sum(getattr(each, key) for each in tests.values()) for key in ("passed", "failed"))
    skipped_in_all = sum(each.skipped.total() for each in tests.values())
    return [*lines, f"{passed} passed, {failed} failed, {skipped_in_all} skipped"]


def budget_lines(seconds: float, landed: Mapping[str, int], to_come: Mapping[str, int], limit: int) -> list[str]:
    """Return the table of the time budget, in minutes per issue, and the time of the run against the part in use."""
    allowed, all_of_it = sum(landed.values()), sum(landed.values()) + sum(to_come.values())
    rows = [(name, minutes, "") for name, minutes in landed.items()]
    rows += [(name, minutes, "to come") for name, minutes in to_come.items()]
    width = max(len(name) for name, _, _ in rows)
    lines = [f"{name:<{width}}  {minutes:>3} min  {note}".rstrip() for name, minutes, note in rows]
    over = seconds / 60 - allowed
    verdict = f"{over:.1f} min too many" if over > 0 else f"{-over:.1f} min to spare"
    return [
        "Budget of minutes on two cores (noxfile.py):",
        *lines,
        f"in all {all_of_it} of {limit}; landed {allowed}, used {seconds / 60:.1f}: {verdict}",
    ]


def main() -> None:
    """Print the summary of the last run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, metavar="SECONDS")
    given = parser.parse_args()
    sessions = json.loads(REPORT.read_text(encoding="utf-8"))["sessions"]
    names = {session["name"] for session in sessions}
    tests = {path.stem: read_results(path) for path in sorted(RESULTS.glob("*.xml")) if path.stem in names}
    if given.budget is not None:
        sys.path.insert(0, str(ROOT))
        import noxfile

        table = noxfile.BUDGET_LANDED, noxfile.BUDGET_TO_COME, noxfile.BUDGET_LIMIT
        print("\n".join(budget_lines(given.budget, *table)))
    print("\n".join(closing_lines(sessions, tests)))


if __name__ == "__main__":
    main()
