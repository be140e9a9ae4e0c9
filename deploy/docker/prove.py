"""Test that an image fulfils its role, and write the results to a file: ``python prove.py ROLE FILE``.

Runs in the image during its build, as the user of the image; the build fails if a test does.

* ``backend``: no ML framework can be imported; the API application and the drivers that it may need can.
* ``worker-cpu``, ``worker-gpu``: both ML backends train a model through their plugins, with the right build of torch.
* ``dev``: both of these.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

FRAMEWORKS = ("torch", "sklearn", "skops", "tensorflow", "jax")
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


def prove_training(kind: str) -> dict[str, Any]:
    """Train one model with each ML backend through its plugin, on the sample data of core."""
    from importlib.resources import files

    import torch
    import yaml

    if (torch.version.cuda is None) != (kind == "cpu"):
        raise SystemExit(f"torch {torch.__version__} is not the {kind} build")
    text = files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_text(encoding="utf-8")
    other = yaml.safe_load(text) | {"name": "plain", "model": {"type": "logistic_regression"}}
    other["training"] = {name: other["training"][name] for name in ("labels", "data_split", "seed")}
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "trained": [_train(text, epochs=1), _train(yaml.safe_dump(other), epochs=None)],
    }


def _train(text: str, *, epochs: int | None) -> str:
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.sample import install_sample
    from ktrdr.core.jobs.job_settings import TrainingSettings
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.strategy.loader import load_strategy_text
    from ktrdr.core.workflows.run_training import train

    install_sample(default_store())
    loaded = load_strategy_text(text, plugins=default_manager())
    trained = train(loaded, TrainingSettings(epochs=epochs, device="cpu"))
    return trained.bundle.manifest.plugin.name


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
        if role == "backend":
            proved |= prove_no_framework()
        if role in ("backend", "dev"):
            proved |= prove_api()
        if role != "backend":
            proved |= prove_training("cuda" if role == "worker-gpu" else "cpu")
    file.write_text(json.dumps(proved, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
