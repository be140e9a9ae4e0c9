"""ktrdr-core alone uses models that were trained elsewhere: it backtests, sweeps, explains and reports."""

from __future__ import annotations

import json

import pytest

MODELS = ("network", "rules", "trees")
FRAMEWORKS = ("torch", "sklearn", "skops", "tensorflow", "jax")

# Runs commands in one process, so that none of them can import a framework unseen.
COMMANDS = """
import contextlib, io, json, os, sys
from ktrdr.core.cli.main import main

for arguments in json.loads(os.environ["COMMANDS"]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            main(arguments)
        except SystemExit as end:
            assert not end.code, arguments
    print(json.dumps(said.getvalue()))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} & set(json.loads(os.environ["NOT"])))))
"""

FACE = """
import json, os, sys
from pathlib import Path
import ktrdr.core as kt

directory = Path(os.environ["FROM"])
kt.data.import_sample()
found = {}
for name in json.loads(os.environ["MODELS"]):
    kt.models.import_file(directory / f"{name}.zip")
    backtest = kt.backtest(name, progress=False)
    sweep = kt.sweep(name, {"decisions.confidence_threshold": [0.5, 0.52]}, progress=False)
    explanation = kt.explain(name)
    found[name] = {
        "trades": json.loads(backtest.trades.to_json(orient="split", date_format="iso")),
        "report": backtest.report().stat().st_size,
        "inference": backtest.to_dict()["provenance"]["inference"],
        "sweep": len(sweep.table),
        "inputs": len(explanation.inputs),
        "rules": 0 if explanation.rules is None else len(explanation.rules),
    }
loaded = sorted({name.partition(".")[0] for name in sys.modules} & set(json.loads(os.environ["NOT"])))
print(json.dumps([found, loaded]))
"""


def answer_of(environment, code, **variables):
    answer = environment.run(code, NOT=json.dumps(FRAMEWORKS), **variables)
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


# Where the frameworks are installed none may be imported; where they are not, nothing may be missing.
@pytest.fixture(params=["core_environment", "full_environment"])
def environment(request):
    return request.getfixturevalue(request.param)


def test_core_alone_has_no_framework_and_no_backend(core_environment):
    installed = core_environment.distributions()
    assert "ktrdr-core" in installed
    assert not {name for name in installed if name.startswith("ktrdr-") and name != "ktrdr-core"}
    assert not installed & {"torch", "scikit-learn", "skops", "safetensors", "onnxruntime"}


def test_commands_use_models_of_absent_frameworks(environment, trained_elsewhere, tmp_path):
    bars = tmp_path / "EURUSD_1h.csv"
    commands = [
        ["data", "export", "EURUSD", "1h", str(bars)],
        *(["models", "import", str(trained_elsewhere / f"{name}.zip")] for name in MODELS),
        ["models", "list", "--json"],
        *(["backtest", name, "--report", str(tmp_path / f"{name}.html"), "--json"] for name in MODELS),
        *(["sweep", name, "--set", "decisions.confidence_threshold=0.5,0.52", "--json"] for name in MODELS),
        *(["explain", name, "--json"] for name in MODELS),
    ]
    home = str(tmp_path / "home")
    sample = environment.run("import ktrdr.core as kt; kt.data.import_sample()", KTRDR_HOME=home)
    assert sample.returncode == 0, sample.stderr
    *said, loaded = answer_of(environment, COMMANDS, COMMANDS=json.dumps(commands), KTRDR_HOME=home)
    assert loaded == []
    by_command = {}
    for (name, *_), text in zip(commands, said, strict=True):
        by_command.setdefault(name, []).append(text)
    assert [json.loads(text)["provenance"]["inference"] for text in by_command["backtest"]] == ["portable"] * 3
    assert [len(json.loads(text)["rows"]) for text in by_command["sweep"]] == [2, 2, 2]
    assert all(json.loads(text)["inputs"] for text in by_command["explain"])
    for name in MODELS:
        page = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert page.lstrip().lower().startswith("<!doctype html>")
        assert name in page


def test_the_python_interface_gives_the_trades_of_the_frameworks(environment, trained_elsewhere, tmp_path):
    variables = {"FROM": str(trained_elsewhere), "MODELS": json.dumps(MODELS), "KTRDR_HOME": str(tmp_path / "home")}
    ((found, loaded),) = answer_of(environment, FACE, **variables)
    assert loaded == []
    for name in MODELS:
        trades = json.loads((trained_elsewhere / f"{name}.json").read_text(encoding="utf-8"))
        assert len(trades["data"]) > 3
        assert found[name]["trades"]["columns"] == trades["columns"]
        assert found[name]["trades"]["data"] == trades["data"]
        assert found[name]["inference"] == "portable"
        assert found[name]["sweep"] == 2
        assert found[name]["report"] > 100_000
        assert found[name]["inputs"] > 3
        assert (found[name]["rules"] > 0) == (name == "rules")


def test_what_needs_the_framework_says_what_to_install(core_environment, trained_elsewhere, tmp_path):
    asked = [
        (["backtest", "network", "--inference", "native"], "install it with `pip install ktrdr-ml-torch`"),
        (["backtest", "trees", "--inference", "native"], "install it with `pip install ktrdr-ml-sklearn`"),
    ]
    code = (
        "import os\nfrom ktrdr.core.cli.main import main\nimport ktrdr.core as kt\n"
        "kt.data.import_sample()\nkt.models.import_file(os.environ['FILE'])\nmain(os.environ['ASKED'].split())"
    )
    for arguments, said in asked:
        variables = {"FILE": str(trained_elsewhere / f"{arguments[1]}.zip"), "ASKED": " ".join(arguments)}
        answer = core_environment.run(code, KTRDR_HOME=str(tmp_path / arguments[1]), **variables)
        assert answer.returncode == 2
        assert said in answer.stderr.splitlines()[-1]
        assert "Traceback" not in answer.stderr
