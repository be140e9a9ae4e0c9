"""Build and measure the images without the daemon of a container engine: with mmdebstrap for the base, and buildah.

``python deploy/images/build.py base|build|sizes|sbom|estimate [ROLE]``, without a role for all that are built in tests;
``nox -s images`` runs all of it. Needs root, and the Debian packages `buildah` and `mmdebstrap`. All files are below
``KTRDR_IMAGES`` (default ``~/.cache/ktrdr-images``), separate from other images of buildah on this machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SUITE = "bookworm"
"""Debian 12, whose Python is 3.11, as in the images."""

BASE = f"localhost/ktrdr-base:{SUITE}"
ROLES = ("backend", "worker-backtest", "worker-cpu")
"""The images that are built in tests. The other two need wheels of several gigabytes, or only repeat these steps."""

INCLUDED = ("python3", "python3-venv", "ca-certificates", "usr-is-merged")

LEFT_OUT = ("doc", "man", "locale", "info")
"""Directories of `/usr/share` that Debian's slim images leave out too."""

MERGED = "/usr/share/mmdebstrap/hooks/merged-usr"
"""Hooks of mmdebstrap that merge `/usr` as debootstrap does. A package can do that too, but needs Perl."""

INPUTS = "ktrdr.inputs"
"""Label of an image: a hash of the files that it was built from."""


def state() -> Path:
    """Return the directory of all files that this module writes."""
    given = os.environ.get("KTRDR_IMAGES")
    return Path(given).absolute() if given else Path.home() / ".cache" / "ktrdr-images"


def buildah(*arguments: str, capture: bool = True) -> str:
    """Run buildah on the storage in :func:`state` and return its output.

    Raises:
        SystemExit: buildah failed; its messages are on standard error.
    """
    command = ["buildah", "--root", str(state() / "storage"), "--runroot", str(state() / "run"), *arguments]
    answer = subprocess.run(command, stdout=subprocess.PIPE if capture else None, text=True, check=False)
    if answer.returncode:
        raise SystemExit(f"`buildah {arguments[0]}` failed with status {answer.returncode}")
    return (answer.stdout or "").strip()


def have(image: str) -> bool:
    """Return True if the image exists."""
    return image in buildah("images", "--all", "--format", "{{.Name}}:{{.Tag}}").splitlines()


def make_base() -> str:
    """Build the base image if it does not exist: a minimal Debian with Python, like the official slim image."""
    if have(BASE):
        return BASE
    container = buildah("from", "scratch")
    try:
        # Written directly into the container and without fsync: an incomplete base is never committed.
        tree = Path(buildah("mount", container))
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(INCLUDED)}"]
        command += [f"--hook-dir={MERGED}", "--dpkgopt=force-unsafe-io"]
        command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
        subprocess.run([*command, SUITE, str(tree)], check=True)
        for settings in ("apt/apt.conf.d", "dpkg/dpkg.cfg.d"):
            # Settings of this build, which must not affect later installations.
            (tree / "etc" / settings / "99mmdebstrap").unlink(missing_ok=True)
        buildah("config", "--cmd", "python3", container)
        buildah("commit", "--quiet", container, BASE)
    finally:
        buildah("rm", container)
    return BASE


def _scratch() -> Path:
    state().mkdir(parents=True, exist_ok=True)
    return state()


def image(role: str) -> str:
    """Return the name of a role's image."""
    return f"localhost/ktrdr-{role}:test"


def build(role: str) -> str:
    """Build a role's image with its bill of materials, unless it exists with the same inputs; return its name.

    Steps are not cached as layers: on an empty machine writing the layers takes as long as the steps.
    """
    inputs = _inputs(role)
    bill = _bill(role, inputs)
    if not (have(image(role)) and bill.exists() and _label(image(role), INPUTS) == inputs):
        bill.parent.mkdir(parents=True, exist_ok=True)
        _build(role, image(role), "--volume", f"{bill.parent}:/build/sbom", "--label", f"{INPUTS}={inputs}")
    return image(role)


def build_stage(role: str, stage: str, *, cached: bool = True) -> str:
    """Build the image of one stage and return its name; ``cached``: use the steps of earlier calls."""
    name = f"localhost/ktrdr-{role}-{stage}:test"
    _build(role, name, "--target", stage, "--layers", *([] if cached else ["--no-cache"]))
    return name


def _build(role: str, name: str, *options: str) -> None:
    arguments = ["build", "--isolation", "chroot", "--format", "docker", *options]
    arguments += ["--build-arg", f"BASE_IMAGE={make_base()}", *_sources()]
    arguments += ["--ignorefile", str(ROOT / ".dockerignore"), "--file", str(_dockerfile(role))]
    buildah(*arguments, "--tag", name, str(ROOT), capture=False)


def _dockerfile(role: str) -> Path:
    return ROOT / f"deploy/docker/Dockerfile.{role}"


def _inputs(role: str) -> str:
    """Return a hash of the inputs of an image: the base, and every file that its build may read."""
    digest = hashlib.sha256(buildah("images", "--no-trunc", "--format", "{{.ID}}", make_base()).encode())
    seen = [
        path
        for pattern in (
            *("deploy/docker/*.py", "deploy/requirements/*.txt", "dist/*.whl"),
            "examples/ktrdr-ml-example/src/ktrdr_ml_example/*.py",
        )
        for path in ROOT.glob(pattern)
    ]
    for path in [_dockerfile(role), *sorted(seen)]:
        digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _label(name: str, label: str) -> str | None:
    """Return the value of an image's label."""
    labels: dict[str, str] | None = json.loads(buildah("inspect", "--type", "image", name))["Docker"]["config"][
        "Labels"
    ]
    return (labels or {}).get(label)


def _sources() -> list[str]:
    """Return options that give the build the sources of this machine: a directory of wheels, certificates, indexes."""
    options = []
    links = os.environ.get("UV_FIND_LINKS", "")
    if Path(links).is_dir() and links:
        options += [
            "--volume",
            f"{Path(links).absolute()}:/build-wheels:ro",
            "--build-arg",
            "UV_FIND_LINKS=/build-wheels",
        ]
    trusted = os.environ.get("SSL_CERT_FILE", "")
    if trusted:
        options += ["--volume", f"{trusted}:/build-trusted.pem:ro"]
        options += ["--build-arg", "SSL_CERT_FILE=/build-trusted.pem", "--build-arg", "PIP_CERT=/build-trusted.pem"]
    for name in ("UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY"):
        if os.environ.get(name):
            options += ["--build-arg", f"{name}={os.environ[name]}"]
    return options


def _bill(role: str, inputs: str) -> Path:
    """Return the path of the role's bill of materials (CycloneDX, JSON) for these inputs."""
    return state() / "sbom" / inputs / f"ktrdr-{role}.cdx.json"


def bill_of_materials(role: str, directory: Path) -> Path:
    """Write the role's bill of materials into ``directory`` and return its path."""
    build(role)
    directory.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(_bill(role, _inputs(role)), directory))


def sizes(role: str) -> dict[str, float]:
    """Return MB (10^6 bytes) of the image ``on_disk``, base included, and ``compressed``, as it is transferred."""
    with tempfile.TemporaryDirectory(dir=_scratch()) as scratch:
        buildah("push", "--quiet", image(role), f"oci:{scratch}/image:test")
        blobs = sum(path.stat().st_size for path in Path(scratch).rglob("blobs/sha256/*"))
    container = buildah("from", image(role))
    try:
        used = sum(_lengths(Path(buildah("mount", container))))
    finally:
        buildah("rm", container)
    return {"compressed": round(blobs / 1e6, 1), "on_disk": round(used / 1e6, 1)}


def _lengths(tree: Path) -> Iterator[int]:
    """Yield the sizes of the files of a tree, hard links once, as container engines count."""
    seen = set()
    for directory, _, files in os.walk(tree):
        for name in files:
            state = os.lstat(os.path.join(directory, name))
            if state.st_ino not in seen:
                seen.add(state.st_ino)
                yield state.st_size


def heaviest(role: str, *, most: int = 15) -> list[tuple[float, str]]:
    """Return the largest parts of the environment of an image, as MB and path, largest first."""
    container = buildah("from", image(role))
    try:
        (site,) = Path(buildah("mount", container), "opt/ktrdr").glob("lib/python3.*/site-packages")
        used = subprocess.run(
            ["du", "--bytes", "--all", "--max-depth=1", str(site)], capture_output=True, text=True, check=True
        ).stdout
    finally:
        buildah("rm", container)
    rows = (line.split("\t") for line in used.splitlines())
    found = sorted(((int(size) / 1e6, Path(path).name) for size, path in rows), reverse=True)
    return [(round(size, 1), name) for size, name in found[1 : most + 1]]


def budget() -> dict[str, Any]:
    """Return the size limits of the images."""
    return tomllib.loads((ROOT / "deploy/images/budget.toml").read_text(encoding="utf-8"))


def estimate_gpu() -> float:
    """Return MB of all wheels of worker-gpu: about the transferred size of its layer of dependencies."""
    requirements = ROOT / "deploy/requirements/worker-gpu.txt"
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "pylock.toml"
        command = [
            *("uv", "pip", "compile", "--quiet", "--no-config", "--no-deps", "--format", "pylock.toml"),
            *("--python-version", "3.11", "--python-platform", "linux", "--only-binary", ":all:"),
            *(str(requirements), "--output-file", str(output)),
        ]
        environ = {key: value for key, value in os.environ.items() if key != "UV_FIND_LINKS"}
        subprocess.run(command, env=environ, check=True)
        packages = tomllib.loads(output.read_text(encoding="utf-8"))["packages"]
    return round(sum(_wheel_size(package) for package in packages) / 1e6, 1)


def _wheel_size(package: dict[str, Any]) -> int:
    """Return bytes of the largest wheel for CPython 3.11 on amd64 Linux: an upper bound of the installed one."""
    fitting = re.compile(r"-(py3|py2\.py3|cp311|cp3\d+-abi3|cp311-cp311)-.*(any|linux\S*x86_64)\S*\.whl$")
    found = [wheel["size"] for wheel in package["wheels"] if fitting.search(wheel["url"].rpartition("/")[2])]
    if not found:
        raise SystemExit(f"no wheel of {package['name']} {package['version']} fits")
    return max(found)


def main() -> None:
    """Run one action of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("base", "build", "sizes", "heaviest", "sbom", "estimate"))
    parser.add_argument("role", nargs="?", choices=ROLES)
    parser.add_argument("--output", type=Path, default=ROOT / "dist/sbom", help="directory of the bills of materials")
    asked = parser.parse_args()
    if asked.action in ("base", "estimate"):
        print(make_base() if asked.action == "base" else f"{estimate_gpu()} MB")
        return
    for role in ROLES if asked.role is None else (asked.role,):
        if asked.action == "build":
            print(build(role))
        elif asked.action == "sbom":
            print(bill_of_materials(role, asked.output))
        else:
            print(json.dumps(sizes(role) if asked.action == "sizes" else heaviest(role)))


if __name__ == "__main__":
    sys.exit(main())
