"""What is missing or broken is said with the command that mends it."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from ktrdr.core.errors import PluginError
from ktrdr.ml.torch import hooks
from ktrdr.ml.torch.environment import validate_environment


def test_here_it_works():
    validate_environment()


@pytest.mark.parametrize("package", ["torch", "safetensors"])
def test_a_missing_package(monkeypatch, package):
    real = importlib.import_module

    def fake(name, *rest):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", fake)
    with pytest.raises(PluginError, match=rf"plugin `torch` needs {package}, .* with `pip install {package}`"):
        hooks.ktrdr_validate_environment()


@pytest.mark.parametrize("error", [OSError("libc10.so: cannot\nopen"), ImportError("no"), AttributeError("half")])
def test_a_broken_package(monkeypatch, error):
    def fake(name, *rest):
        raise error

    monkeypatch.setattr(importlib, "import_module", fake)
    with pytest.raises(PluginError, match=r"cannot import torch \(.*`pip install --force-reinstall torch`") as caught:
        validate_environment()
    assert "\n" not in str(caught.value)


def test_a_package_that_lacks_another_one_is_broken_not_missing(monkeypatch):
    def fake(name, *rest):
        raise ModuleNotFoundError("No module named 'sympy'", name="sympy")

    monkeypatch.setattr(importlib, "import_module", fake)
    with pytest.raises(PluginError, match="cannot import torch"):
        validate_environment()


def test_a_torch_that_cannot_add(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "ones", lambda *shape, dtype: torch.zeros(2))
    with pytest.raises(PluginError, match=r"torch computes 1 \+ 1 \+ 1 = 1\.0; install it again"):
        validate_environment()


def test_a_training_and_a_prediction_do_not_import_torchs_compiler():
    """It takes seconds, in each process that trains or predicts."""
    code = (
        "import sys\n"
        "from ktrdr.core.testing.learning_problems import make_problem\n"
        "from ktrdr.core.work import NO_PROGRESS, Cancellation\n"
        "from ktrdr.ml.torch.declaration import MODEL_TYPES\n"
        "from ktrdr.ml.torch.torch_trainer import TorchTrainer\n"
        "for kind in MODEL_TYPES.values():\n"
        "    given = make_problem(kind, 'classification', settings={'epochs': 1})\n"
        "    rest = {'progress': NO_PROGRESS, 'cancellation': Cancellation(), 'checkpoint': None}\n"
        "    predictor = TorchTrainer().train(given.task, given.data, **rest).predictor()\n"
        "    predictor.predict(given.data.features)\n"
        "    predictor.contributions(given.data.features[:9])\n"
        "print(sorted({'sympy', 'torch._dynamo', 'torch._inductor'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
