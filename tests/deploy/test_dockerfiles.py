"""The Dockerfiles, read: linted, and alike in what all images promise. Those that are built are tried by `images`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROLES = ("backend", "worker-backtest", "worker-cpu", "worker-gpu", "dev")

# What the proof of a role needs besides its program.
OF_THE_PROOF = {
    "worker-backtest": [
        "COPY examples/ktrdr-ml-example/src/ktrdr_ml_example /proof/trained_elsewhere/ktrdr_ml_example",
    ]
}


def lint(path):
    hadolint = Path(sys.executable).with_name("hadolint")
    return subprocess.run([str(hadolint), "--no-color", str(path)], capture_output=True, text=True, check=False)


@pytest.fixture(params=ROLES)
def dockerfile(request, root):
    return root / f"deploy/docker/Dockerfile.{request.param}"


def test_hadolint_finds_nothing(dockerfile):
    answer = lint(dockerfile)
    assert answer.returncode == 0, answer.stdout


def test_hadolint_finds_what_is_wrong(root, tmp_path):
    broken = tmp_path / "Dockerfile"
    text = (root / "deploy/docker/Dockerfile.backend").read_text(encoding="utf-8")
    broken.write_text(text.replace('CMD ["ktrdr", "serve", "--host", "0.0.0.0"]', "CMD ktrdr serve"), encoding="utf-8")
    answer = lint(broken)
    assert answer.returncode == 1
    assert "DL3025" in answer.stdout


def test_promises_of_every_image(dockerfile):
    text = dockerfile.read_text(encoding="utf-8")
    role = dockerfile.name.partition(".")[2]
    assert text.index("ARG BASE_IMAGE=python:3.11-slim-bookworm") < text.index("FROM ")
    assert "--require-hashes" in text
    assert f"deploy/requirements/{role}.txt" in text
    final = text[text.index("FROM ${BASE_IMAGE} AS assembled") :]
    copied = [line for line in final.splitlines() if line.startswith("COPY ")]
    assert copied == [
        "COPY --from=environment /opt/ktrdr /opt/ktrdr",
        "COPY --from=environment /members/ /opt/ktrdr/",
        "COPY deploy/docker/prove.py /proof/prove.py",
        *OF_THE_PROOF.get(role, []),
        "COPY --from=proof --chown=0:0 /tmp/role.json /opt/ktrdr/role.json",
    ]
    # Of two of these the stage with the bill is never built on its own.
    assert "\nFROM scratch AS sbom\nCOPY --from=environment /build/sbom/ /\n" in text
    assert f"--output-file /build/sbom/ktrdr-{role}.cdx.json" in text
    assert re.findall(r"^USER (.*)$", final, re.MULTILINE) == ["10001:10001"]
    assert f'RUN ["python", "/proof/prove.py", "{role}", "/tmp/role.json"]' in final
    assert 'ENTRYPOINT ["/opt/ktrdr/bin/dumb-init", "--single-child", "--"]' in final
    assert len(re.findall(r"^HEALTHCHECK ", final, re.MULTILINE)) == 1
    assert f'org.opencontainers.image.title="ktrdr-{role}"' in final
