"""Test that an image fulfils its role, and write the results to a file: ``python prove.py ROLE FILE``.

Runs in the image during its build, as the user of the image; the build fails if a test does.

* ``backend``: no ML framework can be imported; the API application and the drivers that it may need can.
* ``worker-backtest``: no ML framework or backend is installed; the process that a worker starts for an operation
  backtests a model whose backend is not installed, by its portable twin.
* ``worker-cpu``, ``worker-gpu``: both ML backends train a model through their plugins, with the right build of torch.
* ``dev``: both of these.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ktrdr.core.models.bundle import Bundle
    from ktrdr.core.plugins.manager import PluginManager

FRAMEWORKS = ("torch", "sklearn", "skops", "tensorflow", "jax")
WORKERS = {"worker-cpu": "cpu", "worker-gpu": "cuda", "dev": "cpu"}
"""Builds of torch in the images that train."""

TRAINED_ELSEWHERE = Path(__file__).parent / "trained_elsewhere"
"""Directory of the backend `example`, which needs numpy alone and is not installed."""

OURS = ("ktrdr-core", "ktrdr-ml-torch", "ktrdr-ml-sklearn", "ktrdr-api", "ktrdr-worker")


def prove_no_framework() -> dict[str, Any]:
    """Check that no ML framework is installed."""
    found = [name for name in FRAMEWORKS if importlib.util.find_spec(name) is not None]
    if found:
        raise SystemExit(f"this image must contain no ML framework, but has {', '.join(found)}")
    return {"frameworks": []}


def prove_api() -> dict[str, Any]:
    """Import the application, and the packages for PostgreSQL, certificates and Dask."""
    app = importlib.import_module("ktrdr.api.main").app
    for name in ("psycopg", "cryptography", "distributed"):
        importlib.import_module(name)
    loaded = [name for name in FRAMEWORKS if name in sys.modules]
    if loaded:
        raise SystemExit(f"importing the API loaded {', '.join(loaded)}")
    return {"paths": len(app.openapi()["paths"])}


def prove_backtest() -> dict[str, Any]:
    """Train a model with a backend that is not installed; backtest it in a process that cannot import this backend."""
    from ktrdr.core.plugins.manager import PluginManager

    if found := PluginManager().records():
        raise SystemExit(f"this image must contain no ML backend, but has {', '.join(each.name for each in found)}")
    job = {"model": _train_elsewhere(), "inference": "portable"}
    command = [sys.executable, "-m", "ktrdr.worker.child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        # Its standard input stays open until it has ended, because it stops at end of file.
        child.stdin.write(json.dumps({"kind": "backtest", "job": job}) + "\n")
        child.stdin.flush()
        ending = json.loads(child.stdout.read().splitlines()[-1])
    if ending["event"] != "completed":
        raise SystemExit(f"the backtest of {job['model']} failed: {ending}")
    return {"backends": [], "backtested": job["model"], "inference": ending["result"]["provenance"]["inference"]}


def _train_elsewhere() -> str:
    """Train a model with the backend in :data:`TRAINED_ELSEWHERE`, and return its reference."""
    import yaml

    from ktrdr.core.plugins.manager import PluginManager

    strategy = yaml.safe_load(_sample()) | {"name": "linear", "model": {"type": "softmax_regression"}}
    strategy["training"] = {name: strategy["training"][name] for name in ("labels", "data_split", "seed")}
    with tempfile.TemporaryDirectory() as directory:
        entry = Path(directory) / "ktrdr_ml_example-1.0.0.dist-info"
        entry.mkdir()
        (entry / "METADATA").write_text("Metadata-Version: 2.1\nName: ktrdr-ml-example\nVersion: 1.0.0\n")
        (entry / "entry_points.txt").write_text("[ktrdr.plugins]\nexample = ktrdr_ml_example.hooks\n")
        sys.path.insert(0, str(TRAINED_ELSEWHERE))
        try:
            bundle = _trained(yaml.safe_dump(strategy), PluginManager(path=[directory]), epochs=3)
        finally:
            sys.path.remove(str(TRAINED_ELSEWHERE))
    return bundle.manifest.ref


def prove_training(kind: str) -> dict[str, Any]:
    """Train one model with each ML backend through its plugin, on the sample data of core."""
    import torch
    import yaml

    if (torch.version.cuda is None) != (kind == "cpu"):
        raise SystemExit(f"torch {torch.__version__} is not the {kind} build")
    text = _sample()
    other = yaml.safe_load(text) | {"name": "plain", "model": {"type": "logistic_regression"}}
    other["training"] = {name: other["training"][name] for name in ("labels", "data_split", "seed")}
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "trained": [_train(text, epochs=1), _train(yaml.safe_dump(other), epochs=None)],
    }


def _sample() -> str:
    from importlib.resources import files

    return files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_text(encoding="utf-8")


def _train(text: str, *, epochs: int | None) -> str:
    from ktrdr.core.plugins.manager import default_manager

    return _trained(text, default_manager(), epochs=epochs).manifest.plugin.name


def _trained(text: str, plugins: PluginManager, *, epochs: int | None) -> Bundle:
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.sample import install_sample
    from ktrdr.core.jobs.job_settings import TrainingSettings
    from ktrdr.core.strategy.loader import load_strategy_text
    from ktrdr.core.workflows.run_training import train

    install_sample(default_store())
    loaded = load_strategy_text(text, plugins=plugins)
    return train(loaded, TrainingSettings(epochs=epochs, device="cpu"), plugins=plugins).bundle


def main() -> None:
    """Run the tests of the role in the arguments, and write the results."""
    role, file = sys.argv[1], Path(sys.argv[2])
    if os.getuid() == 0:
        raise SystemExit("the image must not run as root")
    proved: dict[str, Any] = {"role": role, "python": sys.version.split()[0]}
    installed = {each.name: each.version for each in importlib.metadata.distributions()}
    proved["distributions"] = {name: installed[name] for name in OURS if name in installed}
    with tempfile.TemporaryDirectory() as home:
        os.environ["KTRDR_HOME"] = home
        if role in ("backend", "worker-backtest"):
            proved |= prove_no_framework()
        if role in ("backend", "dev"):
            proved |= prove_api()
        if role == "worker-backtest":
            proved |= prove_backtest()
        if role in WORKERS:
            proved |= prove_training(WORKERS[role])
    file.write_text(json.dumps(proved, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
