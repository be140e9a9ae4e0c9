"""Close a run of sessions: what was not run and why, how many tests, how long beside what it may take.

    python tools/results.py [--budget SECONDS]

It reads what the run left in ``.nox``: nox's report, and each session's results in JUnit's format. With ``--budget`` it
shows the seconds that the whole took beside the table of minutes in `noxfile.py`. nox itself says whether all is well.
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
    """What one session's tests came to; ``skipped`` counts the tests by the reason that they gave."""

    passed: int
    failed: int
    skipped: Counter[str]


def read_results(path: Path) -> Tests:
    """Read one session's results in JUnit's format, as pytest writes them."""
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
    """Return what was not run, line by line, and the count of all tests.

    Args:
        sessions: The sessions of nox's report: ``name``, ``result`` and, where it was skipped, ``reason``.
        tests: The results of the sessions that run tests, by the session's name.
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
    """Return the table of minutes: what each issue may take, and what the whole took beside what has landed."""
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
    """Print the closing lines of the last run."""
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
