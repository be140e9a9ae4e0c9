"""The environments hold to the compose specification, and to what our own programs take.

The specification's JSON schema is the one that `check-jsonschema` ships.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ktrdr.api.commands import serve
from ktrdr.api.settings import ApiSettings, load_settings
from ktrdr.core.errors import BadInputError
from ktrdr.worker.commands import worker

# What the worker of a service requires.
REQUIRED = {"worker": ("torch",), "worker-gpu": ("torch:gpu",), "worker-backtest": ()}
ENVIRONMENTS = ("local", "sandbox", "canary", "homelab")
COMMANDS = {"serve": serve, "worker": worker}
# Read by `home_directory` and by plugin discovery, in every process of ours.
EVERYWHERE = {"KTRDR_HOME", "KTRDR_BLOCK_PLUGINS", "KTRDR_LOAD_PLUGINS"}


def command_of(service):
    """Return our click command that a service runs, and its arguments."""
    words = service.get("command", [])
    return (COMMANDS[words[1]], words[2:]) if words[:1] == ["ktrdr"] else (None, [])


def known_variables(command):
    """Return the names of the environment variables that a command's process reads."""
    known = set(EVERYWHERE)
    if command is serve:
        known |= {f"KTRDR_API_{name.upper()}" for name in ApiSettings.model_fields}
    if command is worker:
        known |= {option.envvar for option in worker.params if option.envvar}
    return known


def unknown_variables(services):
    """Return ``service: NAME`` for each KTRDR_ variable that the process of its service does not read."""
    return [
        f"{name}: {variable}"
        for name, service in services.items()
        for variable in service.get("environment", {})
        if variable.startswith("KTRDR_") and variable not in known_variables(command_of(service)[0])
    ]


def check_schema(path):
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("environment", [*ENVIRONMENTS, ""], ids=[*ENVIRONMENTS, "services"])
def test_file_holds_to_the_compose_specification(root, environment):
    path = root / "deploy/environments" / environment / "compose.yaml"
    answer = check_schema(path if environment else path.with_name("services.yaml"))
    assert answer.returncode == 0, answer.stdout


def test_a_file_that_does_not_is_found(root, tmp_path):
    text = (root / "deploy/environments/local/compose.yaml").read_text(encoding="utf-8")
    broken = tmp_path / "compose.yaml"
    broken.write_text(text.replace("ports:", "port:"), encoding="utf-8")
    answer = check_schema(broken)
    assert answer.returncode == 1
    assert "'port' was unexpected" in answer.stdout


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_variable_is_read_by_the_process_it_is_set_for(compose, environment):
    services = compose(environment)
    assert unknown_variables(services) == []
    assert sum(name.startswith("KTRDR_") for each in services.values() for name in each.get("environment", {})) >= 6


@pytest.mark.parametrize(
    ("service", "right", "wrong"),
    [
        ("backend", "KTRDR_API_DATABASE", "KTRDR_DB_URL"),
        ("backend", "KTRDR_API_SCHEDULER", "KTRDR_API_SCHEDULR"),
        ("worker", "KTRDR_CERTIFICATES", "KTRDR_CERTIFICATE"),
        ("worker", "KTRDR_CERTIFICATES", "KTRDR_API_CERTIFICATES"),  # known, but not to this process
    ],
)
def test_a_misspelt_variable_is_found(compose, service, right, wrong):
    services = compose("local")
    environment = services[service]["environment"]
    environment[wrong] = environment.pop(right)
    assert unknown_variables(services) == [f"{service}: {wrong}"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_values_are_accepted_by_the_settings(compose, environment, monkeypatch):
    values = compose(environment)["backend"]["environment"]
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.scheduler == "tls://scheduler:8786"
    assert "passfile=/run/ktrdr/backend/pgpass" in settings.database_url()
    monkeypatch.setenv("KTRDR_API_PORT", "many")
    with pytest.raises(BadInputError, match="KTRDR_API_PORT"):
        load_settings()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_commands_are_understood_and_workers_require_their_backend(compose, environment):
    workers = 0
    for name, service in compose(environment).items():
        command, arguments = command_of(service)
        if command is None:
            continue
        parsed = command.make_context(name, list(arguments)).params
        if command is worker:
            workers += 1
            assert parsed["require"] == REQUIRED[name]
            assert parsed["address"].startswith("tls://")
            # What a health check asks must be where the worker answers.
            check = service.get("healthcheck", {}).get("test", ["http://127.0.0.1:8788/health"])
            assert check[-1] == f"http://{parsed['http']}/health"
    assert workers >= 2


def test_an_option_that_there_is_not_is_found():
    with pytest.raises(click.NoSuchOption):
        worker.make_context("worker", ["tls://scheduler:8786", "--requires", "torch"])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_is_mounted_is_there_and_what_runs_is_limited(compose, environment):
    for name, service in compose(environment).items():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            if source.startswith("/") and "/deploy/environments/" in source:
                assert Path(source).exists(), f"{name} mounts {source}"
        if name == "setup":
            continue
        assert service["restart"] == "unless-stopped"
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
        if service["image"].startswith("ktrdr-"):
            assert service["cap_drop"] == ["ALL"]
            assert service["read_only"]
            # The grace of a worker and of the API is 30 seconds.
            assert int(service["stop_grace_period"].removesuffix("s")) > 30


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_secret_is_in_a_variable(compose, environment):
    for service in compose(environment).values():
        for name, value in service.get("environment", {}).items():
            if re.search("TOKEN|PASSWORD|SECRET|KEY", name):
                assert str(value).startswith("/run/ktrdr/"), name


def published(services):
    """Return the ports of this machine, and whether each is on loopback."""
    found = {}
    for service in services.values():
        for port in service.get("ports", []):
            host, _, _ = port.rpartition(":")
            found[int(host.rpartition(":")[2])] = host.startswith("127.0.0.1:")
    return found


def test_environments_stand_side_by_side(compose):
    sets = [published(compose(name)) for name in ("local", "canary", "homelab")]
    sets += [published(compose("sandbox", SLOT=str(slot))) for slot in range(10)]
    local, canary, homelab, *slots = sets
    assert all(len(each) == 3 for each in (local, canary, *slots))
    together = [*local, *canary, *(port for each in slots for port in each)]
    assert len(together) == len(set(together))
    assert min(canary) >= 18000
    # Only the scheduler of several machines is reached from others, with certificates.
    assert [port for each in sets for port, loopback in each.items() if not loopback] == [8786]
    assert 8786 in homelab


def test_canary_runs_images_under_test(compose):
    images = {service["image"] for name, service in compose("canary").items() if "ktrdr-" in service["image"]}
    assert images == {"ktrdr-backend:test", "ktrdr-worker-backtest:test", "ktrdr-worker-cpu:test"}
