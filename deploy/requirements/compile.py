"""Pin the packages of each image, with hashes and without URLs: ``nox -s requirements``.

``--check`` writes nothing, and fails if a file is not up to date: ``nox -s requirements_check``.

torch exists in two builds. The image worker-gpu uses the build of the package index, which includes CUDA. The others
use the CPU build, whose version ends in ``+cpu`` and which is not in the usual index: it must be in a directory of
``UV_FIND_LINKS`` when the files are written, and also there, or in the index of PyTorch, when an image is built.
Without it the pins of these images cannot be computed: the check then says so, and compares only the direct
requirements of these images.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PYTHON = "3.11"
"""Python version of the images, for which the CPU build of torch is."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Role:
    """The packages of an image: dependencies of our distributions (with extras), and tools.

    ``torch``: ``cpu``, ``cuda`` or empty. ``groups``: dependency groups of the workspace.
    """

    distributions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    torch: str = ""
    groups: tuple[str, ...] = ()


# SHA-256 of torch-VERSION-cp311-cp311-manylinux_2_28_aarch64.whl, which was not available: taken from nixpkgs
# (torch/bin). A second public list agrees with it, and with the hash of our own file for amd64.
TORCH_CPU_ARM64 = {"2.13.0+cpu": "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7"}

# The init of every image is a package too, so that its hash is pinned, on any base.
INIT = "dumb-init>=1.2.5"
API = {"ktrdr-core": (), "ktrdr-api": ("postgresql", "tls")}
WORKER = {"ktrdr-core": (), "ktrdr-worker": ()}
TRAINER = WORKER | {"ktrdr-ml-torch": (), "ktrdr-ml-sklearn": ()}

ROLES = {
    # Needed in builds, not part of any image.
    "build": Role(tools=("uv>=0.13", "cyclonedx-bom>=7")),
    "backend": Role(API, (INIT,)),
    "worker-backtest": Role(WORKER, (INIT,)),
    "worker-cpu": Role(TRAINER, (INIT,), torch="cpu"),
    "worker-gpu": Role(TRAINER, (INIT,), torch="cuda"),
    "dev": Role(API | TRAINER, (INIT, "watchfiles>=1"), torch="cpu", groups=("test", "lint", "types")),
}


def direct(role: Role) -> list[str]:
    """Return the requirements other than our distributions, in the order of their declaration."""
    found = list(role.tools)
    for name, extras in role.distributions.items():
        project = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        found += project["dependencies"]
        for extra in extras:
            found += project["optional-dependencies"][extra]
    for group in role.groups:
        found += PROJECT["dependency-groups"][group]
    found = [each for each in dict.fromkeys(found) if not each.startswith("ktrdr-")]
    return [each for each in found if not (role.torch and each.startswith("torch"))] + _torch(role)


def _torch(role: Role) -> list[str]:
    if not role.torch:
        return []
    constraints = PROJECT["tool"]["uv"]["constraint-dependencies"]
    (version,) = (each.removeprefix("torch==") for each in constraints if each.startswith("torch=="))
    if role.torch == "cuda":
        return [f"torch=={version}"]
    return [f"torch=={version}+cpu"]


def compile_role(name: str, role: Role) -> str | None:
    """Return the text of the role's file; ``None`` if it needs the CPU build of torch, which is not available.

    Raises:
        SystemExit: the requirements cannot be resolved; the message is that of uv.
    """
    environ = {key: value for key, value in os.environ.items() if key not in ("UV_FIND_LINKS", "VIRTUAL_ENV")}
    if role.torch == "cpu":
        links = os.environ.get("UV_FIND_LINKS", "")
        wanted = _torch(role)[0].removeprefix("torch==")
        if not any(list(Path(each).glob(f"torch-{wanted}-cp311-*.whl")) for each in re.split(r"[ ,]", links) if each):
            return None
        environ["UV_FIND_LINKS"] = links
    target = HERE / f"{name}.txt"
    with tempfile.TemporaryDirectory() as scratch:
        source, output = Path(scratch) / f"{name}.in", Path(scratch) / f"{name}.txt"
        source.write_text("\n".join(direct(role)) + "\n", encoding="utf-8")
        # Pins are kept while they are within the bounds. Remove the file to update all of them.
        if target.exists():
            output.write_bytes(target.read_bytes())
        command = [
            *("uv", "pip", "compile", "--quiet", "--no-config", "--generate-hashes", "--no-header", "--no-annotate"),
            *("--no-emit-index-url", "--no-emit-find-links", "--python-version", PYTHON),
            *("--python-platform", "linux", "--only-binary", ":all:"),
            *("--exclude-newer", PROJECT["tool"]["uv"]["exclude-newer"], str(source), "--output-file", str(output)),
        ]
        answer = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise SystemExit(f"{name}: {answer.stderr.strip()}")
        return _header(role) + _for_arm64(output.read_text(encoding="utf-8"))


def _for_arm64(text: str) -> str:
    """Add the hash of torch's CPU build for arm64, because uv sees only the build for amd64.

    Raises:
        SystemExit: the hash of the pinned version is not known.
    """

    def both(pin: re.Match[str]) -> str:
        if pin[1] not in TORCH_CPU_ARM64:
            raise SystemExit(f"torch=={pin[1]}: add its hash for arm64 to TORCH_CPU_ARM64 in {Path(__file__).name}")
        return f"{pin[0]} \\\n    --hash=sha256:{TORCH_CPU_ARM64[pin[1]]}"

    return re.sub(r"^torch==(\S+\+cpu) \\\n    --hash=sha256:[0-9a-f]{64}$", both, text, flags=re.MULTILINE)


def _header(role: Role) -> str:
    lines = ["# Made by `nox -s requirements` from the distributions' pyproject.toml; do not edit."]
    if role.torch == "cpu":
        lines += [
            "# torch's CPU build is in no ordinary index: name a directory that has it in UV_FIND_LINKS, or the index",
            "# of torch's makers in UV_EXTRA_INDEX_URL with UV_INDEX_STRATEGY=unsafe-best-match: the hashes make that",
            "# safe. The hashes are those of the wheels for amd64 and arm64.",
        ]
    return "\n".join(lines) + "\n"


def lacking(name: str, role: Role) -> list[str]:
    """Return the direct requirements that the role's file does not pin within their bounds."""
    from packaging.requirements import Requirement

    text = (HERE / f"{name}.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE))
    pins = {re.sub(r"[-_.]+", "-", key).lower(): value for key, value in pins.items()}

    def pinned(requirement: Requirement) -> bool:
        found = pins.get(re.sub(r"[-_.]+", "-", requirement.name).lower())
        return found is not None and requirement.specifier.contains(found, prereleases=True)

    return [each for each in direct(role) if not pinned(Requirement(each))]


def main() -> int:
    """Write or check all files; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = 0
    for name, role in ROLES.items():
        target = HERE / f"{name}.txt"
        text = compile_role(name, role)
        if text is None and not check:
            raise SystemExit(f"{name}: torch's CPU build is in no directory of UV_FIND_LINKS")
        if text is None:
            missing = lacking(name, role)
            print(f"{name}: NOT compiled, as torch's CPU build is not available; its direct requirements are compared")
            stale += bool(missing)
            print(f"{name}: {'does not pin ' + ', '.join(missing) if missing else 'they are pinned'}")
        elif not check:
            target.write_text(text, encoding="utf-8")
            print(f"{name}: {text.count('==')} packages")
        elif not target.exists() or target.read_text(encoding="utf-8") != text:
            print(f"{name}: stale; run `nox -s requirements` and commit deploy/requirements/{name}.txt")
            stale += 1
        else:
            print(f"{name}: up to date")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
