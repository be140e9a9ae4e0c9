"""What images install is pinned by hash, and names no address."""

from __future__ import annotations

import re

import pytest
import yaml

ROLES = ("build", "backend", "worker-backtest", "worker-cpu", "worker-gpu", "dev")
FRAMEWORKS = {"torch", "scikit-learn", "skops", "safetensors", "tensorflow", "jax"}


def pins(text):
    """Return name to (version, number of hashes)."""
    found = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s\\]+)", block)
        if match:
            found[match[1]] = (match[2], block.count("--hash=sha256:"))
    return found


@pytest.mark.parametrize("role", ROLES)
def test_everything_is_pinned_and_nothing_has_an_address(root, role):
    text = (root / f"deploy/requirements/{role}.txt").read_text(encoding="utf-8")
    statements = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert len(pins(text)) == len(statements) >= 20
    assert all(hashes >= 1 for _, hashes in pins(text).values())
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_each_role_has_what_it_should(root):
    read = {role: pins((root / f"deploy/requirements/{role}.txt").read_text(encoding="utf-8")) for role in ROLES}
    assert FRAMEWORKS & read["backend"].keys() == set()
    assert FRAMEWORKS & read["worker-backtest"].keys() == set()
    assert read["worker-backtest"].items() <= read["worker-cpu"].items()
    assert {"fastapi", "psycopg-binary", "cryptography", "dumb-init"} <= read["backend"].keys()
    assert "fastapi" not in read["worker-cpu"]
    assert read["worker-cpu"]["torch"][0].endswith("+cpu")
    assert [read[role]["torch"][1] for role in ("worker-cpu", "dev")] == [2, 2]  # amd64 and arm64
    assert not any(name.startswith(("nvidia-", "cuda-")) for name in read["worker-cpu"])
    assert "+" not in read["worker-gpu"]["torch"][0]
    assert "nvidia-cublas" in read["worker-gpu"]
    # Scheduler, API and workers speak the same protocol only then.
    assert len({read[role]["distributed"] for role in ROLES if role != "build"}) == 1


def test_the_environments_builds_use_the_dockerfiles(root):
    text = (root / "deploy/environments/local/compose.yaml").read_text(encoding="utf-8")
    builds = [each["build"] for each in yaml.safe_load(text)["services"].values() if "build" in each]
    for build in builds:
        assert (root / build["dockerfile"]).is_file()
        assert (root / "deploy/environments/local" / build["context"]).resolve() == root
