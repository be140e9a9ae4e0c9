"""Version of everything that turns bars into features: two equal versions compute the same bits."""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ktrdr.core import __version__

__all__ = ["computation_version", "source_digest"]

_CORE = Path(__file__).parents[1]
# Sources that features depend on. The version of the distribution does not change while a developer edits them.
_SOURCES = ("comparisons.py", "data/*.py", "features/*.py", "fuzzy/*.py", "indicators/*.py")


@functools.cache
def computation_version() -> tuple[str, ...]:
    """Return the versions of KTRDR and of the libraries that compute features, and the kind of machine.

    The last bits of numpy's functions depend on the instructions of the processor and on the C library.
    """
    # numpy leaves out what is empty: a processor may have none of the instructions that it looks for.
    instructions = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return (
        f"ktrdr-core {__version__} {source_digest(_CORE)}",
        f"numpy {np.__version__}",
        f"TA-Lib {version('TA-Lib')}",
        f"{platform.machine()} {' '.join(platform.libc_ver())}",
        " ".join((*instructions.get("baseline", ()), *instructions.get("found", ()))),
    )


def source_digest(root: Path) -> str:
    """Return the sha256 (hex) of the sources below ``root`` that features depend on."""
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(root.glob(pattern)):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()
