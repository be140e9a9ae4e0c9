"""Import, export and verification of bundles in a child process with limits, for servers.

The cost of an untrusted file is bounded before it is parsed (:mod:`ktrdr.core.limits`). Parsing still blocks the
interpreter, and the process keeps the memory it once needed. A child process frees both, and the system ends it if a
limit is missing.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ktrdr.core.errors import (
    BadInputError,
    DiskFullError,
    ErrorRecord,
    KtrdrError,
    NotFoundError,
    StoreError,
    record_of,
)
from ktrdr.core.files.archives import files_below

__all__ = ["export_apart", "import_apart", "verify_apart"]

# Limits of CPU time: starting takes one second, checking less than one second per 100 MB.
_SECONDS, _SECONDS_PER_MEBIBYTE = 6, 0.1
# Limit of address space, part of which the interpreter and its libraries reserve without using it.
_MEMORY = 2 * 2**30
_PATIENCE = 600


def import_apart(root: Path, path: Path, *, own: bool = False) -> tuple[str, bool]:
    """Call :func:`~ktrdr.core.models.archive.import_bundle` in a child process, for the store at ``root``.

    Args:
        root: directory of the store.
        path: path of the exported bundle.
        own: see :func:`~ktrdr.core.models.archive.import_bundle`.

    Returns:
        ``name/version`` of the stored bundle, and whether it was added.

    Raises:
        BundleError: the file is not an exported bundle, or the bundle is broken, hostile or newer than this core.
        BadInputError: checking the bundle took more time or memory than its size explains.
        StoreError: the disk is full, or the place is not writable.
    """
    said = _ask({"do": "import", "root": str(root), "path": str(path), "own": own}, path.stat().st_size)
    return str(said["ref"]), bool(said["added"])


def verify_apart(root: Path, ref: str) -> str:
    """Call ``ModelStore.verify`` in a child process; return ``name/version`` and raise the same errors."""
    return str(_ask({"do": "verify", "root": str(root), "ref": ref}, _stored_bytes(root, ref))["ref"])


def export_apart(root: Path, ref: str, path: Path) -> None:
    """Call :func:`~ktrdr.core.models.archive.export_bundle` in a child process; raise the same errors."""
    _ask({"do": "export", "root": str(root), "ref": ref, "path": str(path)}, _stored_bytes(root, ref))


def _stored_bytes(root: Path, ref: str) -> int:
    try:
        return sum((root / ref / name).stat().st_size for name in files_below(root / ref))
    except OSError:
        return 0  # the child reports the error


def _ask(request: Mapping[str, Any], size: int) -> Mapping[str, Any]:
    seconds = int(_SECONDS + _SECONDS_PER_MEBIBYTE * size / 2**20)
    # One thread: a thread pool reserves memory per thread, and there is nothing to compute.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "ktrdr.core.models.apart"],
            input=json.dumps({**request, "seconds": seconds}),
            capture_output=True,
            text=True,
            env=environment,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StoreError(f"the bundle was not checked within {_PATIENCE} s; try again") from None
    try:
        said = json.loads(child.stdout)
    except ValueError:
        if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            raise BadInputError(
                f"the bundle is refused: checking it took more than {seconds} s or {_MEMORY // 2**20} MiB of memory, "
                "which no bundle of its size needs; check what made it"
            ) from None
        raise KtrdrError(f"the bundle could not be checked: its process ended with {child.returncode}") from None
    if "error" in said:
        raise _error(ErrorRecord.from_json(said["error"]))
    return dict(said)


def _error(record: ErrorRecord) -> KtrdrError:
    from ktrdr.core.models.contents import BundleError

    for kind in (BundleError, NotFoundError, BadInputError, DiskFullError, StoreError):
        if record.kind == kind.__name__:
            return kind(record.message)
    return KtrdrError(record.message)


def _main() -> None:
    request = json.loads(sys.stdin.readline())
    seconds = request["seconds"]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # macOS defines this limit but refuses to set it.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    # No reference cycles are made here, and searching a million values for them would take most of the time.
    gc.disable()
    try:
        said = _do(request)
    except (KtrdrError, OSError) as error:
        said = {"error": record_of(error).to_json()}
    except MemoryError:
        os.kill(os.getpid(), signal.SIGKILL)
    print(json.dumps(said))


def _do(request: Mapping[str, Any]) -> dict[str, Any]:
    from ktrdr.core.models.archive import export_bundle, import_bundle
    from ktrdr.core.models.model_store import ModelStore

    store = ModelStore(Path(request["root"]))
    match request["do"]:
        case "import":
            imported = import_bundle(store, Path(request["path"]), own=request["own"])
            return {"ref": imported.bundle.ref, "added": imported.added}
        case "verify":
            return {"ref": store.verify(request["ref"]).ref}
        case _:
            export_bundle(store, request["ref"], Path(request["path"]))
            return {}


if __name__ == "__main__":
    _main()
