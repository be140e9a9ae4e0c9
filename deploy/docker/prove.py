"""Prove that an image is what its name says, and write down what was proved: ``python prove.py ROLE FILE``.

Runs while the image is built, in the image, as the user that the image runs as; a proof that fails ends the build.

* ``backend``: no ML framework can be imported, the API application can, and the drivers it may need are there.
* ``worker-cpu``, ``worker-gpu``: both backends train a model through their plugins; torch is the build it should be.
* ``dev``: both.
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
    """Look for every framework, installed or not; asking for one must fail as a user would see it."""
    found = [name for name in FRAMEWORKS if importlib.util.find_spec(name) is not None]
    if found:
        raise SystemExit(f"this image must hold no ML framework, but has {', '.join(found)}")
    return {"frameworks": []}


def prove_api() -> dict[str, Any]:
    """Import the application and what PostgreSQL and certificates need."""
    app = importlib.import_module("ktrdr.api.main").app
    for name in ("psycopg", "cryptography", "distributed"):
        importlib.import_module(name)
    loaded = [name for name in FRAMEWORKS if name in sys.modules]
    if loaded:
        raise SystemExit(f"importing the API loaded {', '.join(loaded)}")
    return {"paths": len(app.openapi()["paths"])}


def prove_training(kind: str) -> dict[str, Any]:
    """Train one epoch with each backend through its plugin, on the sample that comes with core."""
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
