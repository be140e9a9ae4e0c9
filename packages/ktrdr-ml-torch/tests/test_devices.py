"""Devices: the best there is if nobody says otherwise, an error if what was asked for is not there."""

from __future__ import annotations

import types

import pytest
import torch

from ktrdr.core.errors import BadInputError
from ktrdr.ml.torch import devices
from ktrdr.ml.torch.determinism import repeatable, threads_for
from ktrdr.ml.torch.torch_loader import TorchLoader
from ktrdr.ml.torch.torch_storage import TorchStorage

CPU = torch.device("cpu")


@pytest.fixture
def machine(monkeypatch):
    """Return ``machine(cuda=2, mps=False)``: make torch say that these are there."""

    def pretend(cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        properties = types.SimpleNamespace(name="Some GPU", total_memory=80 << 30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 10 << 30)

    return pretend


def test_gpus_come_first_and_the_cpu_last(machine):
    machine(cuda=2)
    found = devices.list_devices()
    assert [(device.name, device.kind) for device in found] == [("cuda:0", "cuda"), ("cuda:1", "cuda"), ("cpu", "cpu")]
    assert found[0].memory == 80 << 30
    assert found[-1].memory > 0
    machine(mps=True)
    assert [device.name for device in devices.list_devices()] == ["mps", "cpu"]


@pytest.mark.parametrize(
    ("there", "asked", "got"),
    [
        ({}, "auto", "cpu"),
        ({"cuda": 2}, "auto", "cuda:0"),
        ({"cuda": 2}, "cuda", "cuda:0"),
        ({"cuda": 2}, "cuda:1", "cuda:1"),
        ({"cuda": 2}, "cpu", "cpu"),
        ({"mps": True}, "auto", "mps"),
    ],
)
def test_a_device_by_name(machine, there, asked, got):
    machine(**there)
    assert str(devices.resolve_device(asked)) == got


@pytest.mark.parametrize(
    ("there", "asked", "listed"),
    [
        ({}, "cuda", "cpu"),
        ({}, "mps", "cpu"),
        ({"cuda": 1}, "cuda:1", "cuda:0, cpu"),
        ({"cuda": 1}, "gpu", "cuda:0, cpu"),
        ({"mps": True}, "cuda:0", "mps, cpu"),
        ({}, "", "cpu"),
    ],
)
def test_a_device_that_is_absent_is_an_error_that_says_what_there_is(machine, there, asked, listed):
    machine(**there)
    with pytest.raises(BadInputError, match=rf"no device `{asked}` here; torch can use {listed}, or say `auto`"):
        devices.resolve_device(asked)


def test_training_and_loading_refuse_it_alike(machine, problem, train, tmp_path):
    machine()
    with pytest.raises(BadInputError, match="there is no device `cuda` here"):
        train(problem(device="cuda"))
    TorchStorage().save(train(problem()), tmp_path)
    with pytest.raises(BadInputError, match="there is no device `cuda` here"):
        TorchLoader().load(tmp_path, "cuda")


def test_the_number_of_threads_follows_from_the_task_alone(monkeypatch):
    assert threads_for(32, 1, 5_000) == 1
    assert threads_for(4096, 1, 1_000_000) == 4
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert threads_for(4096, 1, 1_000_000) == 4


def test_threads_are_put_back_and_do_not_change_the_result(problem, train, same):
    model = train(problem())
    torch.set_num_threads(2)
    try:
        assert same(train(problem()), model)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_settings_of_cuda_are_put_back_when_the_last_one_leaves(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    pretended = types.SimpleNamespace(type="cuda")
    assert not torch.are_deterministic_algorithms_enabled()
    with repeatable(pretended, 1):
        with repeatable(CPU, 1):
            assert torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", ["mlp", "lstm", "gru", "anfis"])
def test_on_cuda_a_run_repeats_and_predicts_as_on_the_cpu(problem, train, same, tmp_path, name):
    given = problem(name, device="cuda")
    model = train(given)
    assert same(model, train(given))
    TorchStorage().save(model, tmp_path)
    answers = [TorchLoader().load(tmp_path, device).predict(given.data.features) for device in ("cuda", "cpu")]
    import numpy as np

    np.testing.assert_allclose(*answers, atol=1e-5)
