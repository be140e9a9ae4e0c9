"""Choice of a device by name, by kind or with `auto`. The devices are invented: no machine has all of them."""

from __future__ import annotations

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins.contract import Device
from ktrdr.core.training.task import detect_device

GPUS = [Device("cuda:0", "cuda"), Device("cuda:1", "cuda"), Device("cpu", "cpu")]


class Plugins:
    """Stands for a manager whose backend has these devices."""

    def __init__(self, devices):
        self._devices = devices

    def devices(self, name):
        assert name == "torch"
        return self._devices


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")],
)
def test_a_name_a_kind_or_the_best(wanted, found):
    assert detect_device(Plugins(GPUS), "torch", wanted).name == found


def test_auto_takes_what_there_is():
    assert detect_device(Plugins([Device("cpu", "cpu")]), "torch").name == "cpu"


@pytest.mark.parametrize("wanted", ["cuda", "mps", "cuda:7", "", "AUTO"])
def test_a_device_that_is_absent_is_an_error(wanted):
    with pytest.raises(BadInputError, match=r"there is no device `.*` here; plugin `torch` can use cpu, or say `auto`"):
        detect_device(Plugins([Device("cpu", "cpu")]), "torch", wanted)


def test_the_example_backend_has_a_cpu(example_plugins):
    assert detect_device(example_plugins, "example", "auto").kind == "cpu"
