"""What images weigh, that two builds are the same, and that what is in them is written down."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


ROLES = ("backend", "worker-backtest", "worker-cpu")


@pytest.mark.parametrize("role", ROLES)
def test_image_keeps_to_its_budget(builder, role, capsys):
    sizes = builder.sizes(role)
    allowed = builder.budget()[role]
    with capsys.disabled():
        said = ", ".join(f"{size:g} MB {kind} (of {allowed.get(kind, '-')})" for kind, size in sizes.items())
        print(f"\n{role}: {said}; heaviest: {builder.heaviest(role, most=6)}")
    assert {kind: sizes[kind] <= limit for kind, limit in allowed.items()} == dict.fromkeys(allowed, True)


def test_worker_gpu_keeps_to_its_budget_by_its_wheels(builder, capsys):
    size = builder.estimate_gpu()
    allowed = builder.budget()["worker-gpu"]["wheels"]
    with capsys.disabled():
        print(f"\nworker-gpu: {size:g} MB of wheels (of {allowed})")
    assert 1000 < size <= allowed


@pytest.mark.parametrize("role", ROLES)
def test_bill_of_materials_lists_what_is_installed(role):
    bill = json.loads((ROOT / f"dist/sbom/ktrdr-{role}.cdx.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {component["name"].lower().replace("_", "-") for component in bill["components"]}
    pinned = {
        line.partition("==")[0]
        for line in (ROOT / f"deploy/requirements/{role}.txt").read_text(encoding="utf-8").splitlines()
        if line and line[0] not in " #"
    }
    assert pinned - listed == set()
    assert {"ktrdr-core"} <= listed


def contents(tree):
    """Return path to what can differ between two builds: kind, mode, owner, and of a file time and hash or target.

    The time of a directory is that at which the tool put a layer together.
    """
    found = {}
    for directory, below, files in os.walk(tree):
        for name in [*below, *files]:
            path = Path(directory, name)
            state = path.lstat()
            what = ""
            if stat.S_ISREG(state.st_mode):
                what = hashlib.sha256(path.read_bytes()).hexdigest()
            elif stat.S_ISLNK(state.st_mode):
                what = os.readlink(path)
            key = path.relative_to(tree).as_posix()
            time = None if stat.S_ISDIR(state.st_mode) else int(state.st_mtime)
            found[key] = (state.st_mode, state.st_uid, time, what)
    return found


def test_two_builds_are_the_same(builder):
    """A second build of the environment, without any layer of the first: same files, modes, owners, times and bytes.

    And the same bill of materials, taken here as `docs/deploy.md` takes it: from the stage of its own.
    """
    again = builder.build_stage("backend", "assembled", cached=False)
    bill = builder.build_stage("backend", "sbom")
    name = "ktrdr-backend.cdx.json"
    container = builder.buildah("from", bill)
    try:
        listed = Path(builder.buildah("mount", container), name).read_bytes()
    finally:
        builder.buildah("rm", container)
    assert listed == (ROOT / "dist/sbom" / name).read_bytes()
    trees = []
    for image in (builder.image("backend"), again):
        container = builder.buildah("from", image)
        try:
            trees.append(contents(Path(builder.buildah("mount", container)) / "opt/ktrdr"))
        finally:
            builder.buildah("rm", container)
    builder.buildah("rmi", again, bill)
    first, second = trees
    # The record of the proof is written by a run, and has the time of it: the stage before the proof has none.
    del first["role.json"]
    assert first.keys() == second.keys()
    assert {path: (first[path], second[path]) for path in first if first[path] != second[path]} == {}
    assert len(first) > 5000
