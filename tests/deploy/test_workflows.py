"""The workflows hold to GitHub's schema, ask for no more rights than they need, and call sessions that there are."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nox
import pytest
import yaml

WORKFLOWS = ("tests", "images", "publish")


def run_tool(*command):
    tool = Path(sys.executable).with_name(command[0])
    return subprocess.run([str(tool), *command[1:]], capture_output=True, text=True, check=False)


def check_schema(path):
    return run_tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(path))


def audit(root, path):
    return run_tool("zizmor", "--offline", "--no-progress", "--config", str(root / ".github/zizmor.yml"), str(path))


@pytest.fixture(scope="session")
def sessions(root):
    """The nox sessions: the tags of each by its name."""
    spec = importlib.util.spec_from_file_location("noxfile", root / "noxfile.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return {name: set(function.tags) for name, function in nox.registry.get().items()}


def combinations(job):
    """Return what the matrix of a job makes of its variables, one mapping for each run."""
    matrix = dict(job.get("strategy", {}).get("matrix", {}))
    included, excluded = matrix.pop("include", []), matrix.pop("exclude", [])
    runs = [dict(zip(matrix, values, strict=True)) for values in itertools.product(*matrix.values())]
    runs = [run for run in runs if not any(each.items() <= run.items() for each in excluded)]
    return [*(run for run in runs if run), *included] or [{}]


def sessions_called(workflow):
    """Return the names of all nox sessions that a workflow runs."""
    found = set()
    for job in workflow["jobs"].values():
        for run in combinations(job):
            for step in job["steps"]:
                environ = {
                    name: re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda match, run=run: str(run[match[1]]), str(value))
                    for name, value in step.get("env", {}).items()
                }
                for line in step.get("run", "").splitlines():
                    words = shlex.split(line) if re.search(r"\bnox -s ", line) else []
                    if words:
                        after = words[words.index("nox") + 2 :]
                        names = itertools.takewhile(lambda word: not word.startswith("-"), after)
                        found |= {re.sub(r"\$\{(\w+)\}", lambda m, e=environ: e[m[1]], name) for name in names}
    return found


@pytest.fixture(params=WORKFLOWS)
def path(request, root):
    return root / f".github/workflows/{request.param}.yml"


def test_workflow_holds_to_the_schema(path):
    answer = check_schema(path)
    assert answer.returncode == 0, answer.stdout


def test_audit_finds_nothing(root, path):
    answer = audit(root, path)
    assert answer.returncode == 0, answer.stdout


def test_every_session_called_exists(sessions, path):
    called = sessions_called(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert called
    assert called - set(sessions) == set()


def test_every_session_of_both_circles_is_called(root, sessions):
    called = sessions_called(yaml.safe_load((root / ".github/workflows/tests.yml").read_text(encoding="utf-8")))
    both = {name for name, tags in sessions.items() if tags & {"first", "second"}}
    assert both - called == {"wheels"}  # the others ask for it


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ("nox -s lint types", "nox -s lint typing", {"typing"}),
        ("session: [contract,", "session: [contracts,", {"contracts"}),
        ("package: [core,", "package: [cor,", {"unit-cor"}),
    ],
)
def test_a_session_that_there_is_not_is_found(root, sessions, right, wrong, found):
    text = (root / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    assert right in text
    called = sessions_called(yaml.safe_load(text.replace(right, wrong)))
    assert called - set(sessions) == found


def test_a_key_that_there_is_not_is_found(root, tmp_path):
    broken = tmp_path / "tests.yml"
    text = (root / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    broken.write_text(text.replace("timeout-minutes:", "timeout:"), encoding="utf-8")
    assert check_schema(broken).returncode == 1


def test_a_title_that_becomes_a_command_is_found(root, tmp_path):
    workflow = tmp_path / ".github/workflows/tests.yml"
    workflow.parent.mkdir(parents=True)
    text = (root / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    command = 'run: echo "${{ github.event.pull_request.title }}"'
    workflow.write_text(text.replace("run: nox -s requirements_check", command), encoding="utf-8")
    answer = audit(root, workflow)
    assert answer.returncode != 0
    assert "template-injection" in answer.stdout


def test_images_published_are_those_that_there_are(root):
    workflow = yaml.safe_load((root / ".github/workflows/images.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    for run in combinations(job):
        assert (root / f"deploy/docker/Dockerfile.{run['role']}").is_file()
    (build,) = (step for step in job["steps"] if step.get("uses", "").startswith("docker/build-push-action@"))
    assert build["with"]["sbom"] is True
    assert build["with"]["provenance"] == "mode=max"


def test_a_distribution_is_published_without_a_token(root):
    workflow = yaml.safe_load((root / ".github/workflows/publish.yml").read_text(encoding="utf-8"))
    assert workflow[True] == {"push": {"tags": ["ktrdr-*-v*"]}}  # YAML 1.1 reads `on` as a boolean
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in (root / ".github/workflows/publish.yml").read_text(encoding="utf-8")
