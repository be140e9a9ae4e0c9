"""What importing the API costs, beside the libraries it is made of.

Each measurement is CPU time of a fresh interpreter, the least of several; the two alternate, so that whatever else the
machine does meets both.

    python benchmarks/api_import.py [--runs 7]
"""

from __future__ import annotations

import argparse
import subprocess
import sys

LIBRARIES = "import fastapi, uvicorn, pydantic_settings, sqlalchemy"
API = "import ktrdr.api.main"
BUDGET = 1.3

PROGRAM = "import time\nstart = time.process_time()\n{}\nprint(time.process_time() - start)"


def seconds(statement: str) -> float:
    """Return the CPU seconds of ``statement`` in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM.format(statement)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    seconds(API)  # writes compiled files, where there are none yet
    measured = [(seconds(LIBRARIES), seconds(API)) for _ in range(runs)]
    libraries, api = (min(column) for column in zip(*measured, strict=True))
    ratio = api / libraries
    print(f"{LIBRARIES}: {libraries * 1000:.0f} ms")
    print(f"{API}: {api * 1000:.0f} ms")
    print(f"ratio {ratio:.2f} (budget {BUDGET})")
    sys.exit(0 if ratio <= BUDGET else 1)


if __name__ == "__main__":
    main()
