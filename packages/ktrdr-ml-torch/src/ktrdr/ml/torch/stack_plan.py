"""Plan of the stacks of a population: which members are trained together, and with how many threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ktrdr.core.errors import BadInputError
from ktrdr.core.limits import POPULATION_MEMORY_VARIABLE
from ktrdr.core.plugins import Member, Resources, TrainingTask
from ktrdr.ml.torch.anfis import Anfis
from ktrdr.ml.torch.consequents import solver_bytes
from ktrdr.ml.torch.declaration import MODEL_TYPES
from ktrdr.ml.torch.determinism import threads_for
from ktrdr.ml.torch.layout import BLOCK_VALUES
from ktrdr.ml.torch.model_description import Scaling, describe
from ktrdr.ml.torch.networks import empty_network
from ktrdr.ml.torch.stacked_networks import StackedNetwork, stacked

__all__ = ["StackPlan", "plan_stacks"]

# More members gain little, and their weights leave the caches of the processor; fewer gain much less.
_MOST_MEMBERS, _FEW_MEMBERS = 64, 16
# Float32 numbers that a stack has for each weight (the weight, its best, gradients, the state of the optimizer and what
# a step computes), bytes for each sample, and blocks of features and layers at one time.
_PER_WEIGHT, _BYTES_PER_SAMPLE, _LAYERS, _BLOCKS = 10, 48, 4, 8
_FLOAT = 4
_SHARED = _BLOCKS * _FLOAT * BLOCK_VALUES


@dataclass(frozen=True, slots=True)
class StackPlan:
    """Members that are trained together.

    Attributes:
        members: their numbers in the population.
        task: of the first of them.
        threads: of the CPU.
        at_once: how many stacks of this kind may be trained at the same time.
    """

    members: tuple[int, ...]
    task: TrainingTask
    threads: int
    at_once: int

    @property
    def alternates(self) -> bool:
        """True if consequents are solved for by least squares in each epoch."""
        return self.task.architecture.get("learning") == "hybrid"

    def network(self) -> nn.Module:
        """Return a network of the members on the CPU, with uninitialized weights."""
        return _network(self.task)


def _network(task: TrainingTask) -> nn.Module:
    # The scaling of labels is no part of the network.
    scaling = Scaling(mean=0.0, scale=1.0) if task.output == "regression" else None
    return empty_network(describe(task, scaling))


def _window(task: TrainingTask) -> int:
    name = MODEL_TYPES[task.model_type].window_parameter
    return int(task.architecture[name]) if name else 1


def plan_stacks(members: Sequence[Member], device: Any, resources: Resources | None) -> list[StackPlan]:
    """Return stacks of all members, each in order.

    Args:
        members: of one architecture.
        device: of the training. Only on the CPU members are known to be equal, bit for bit, in stacks of any size.
        resources: cores to train stacks at once, each with its share of the memory; ``None`` for no limit and one core.

    Raises:
        BadInputError: the memory does not suffice for one member, or the network cannot be built.
    """
    groups: dict[Any, list[int]] = {}
    for number, member in enumerate(members):
        groups.setdefault(_key(member), []).append(number)
    plans = []
    for numbers in groups.values():
        task = members[numbers[0]].task
        network = _network(task)
        kind = stacked(network)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        window = _window(task)
        threads = threads_for(task.settings["batch_size"], window, parameters)
        sizes = [_bytes(members[number], kind, window) for number in numbers]
        shared = _SHARED + (solver_bytes(network) if isinstance(network, Anfis) else 0)
        at_once = 1
        if resources is not None:
            _check_memory(numbers, sizes, shared, resources.memory)
            if threads == 1 and device.type == "cpu":
                at_once = min(resources.cores, resources.memory // (shared + max(sizes)))
        most = 1
        if _stacks(task, device, threads):
            # Several smaller stacks at once take less time than a large one.
            most = min(max(-(-len(numbers) // at_once), _FEW_MEMBERS), _MOST_MEMBERS)
        memory = None if resources is None else resources.memory // at_once
        plans += [StackPlan(tuple(own), task, threads, at_once) for own in _cut(numbers, sizes, shared, most, memory)]
    return plans


def _check_memory(numbers: Sequence[int], sizes: Sequence[int], shared: int, memory: int) -> None:
    for number, size in zip(numbers, sizes, strict=True):
        needed = shared + size
        if needed > memory:
            raise BadInputError(
                f"member {number + 1} of the population takes about {needed:,} bytes of memory, and the budget is "
                f"{memory:,}; set {POPULATION_MEMORY_VARIABLE} to {needed}, or use a smaller network or batch_size"
            )


def _stacks(task: TrainingTask, device: Any, threads: int) -> bool:
    """Return True if members of such a task are trained as a stack: where overhead, not arithmetic, takes the time."""
    if device.type != "cpu" or threads > 1:
        return False
    architecture = task.architecture
    return architecture.get("precision") == "float32" or architecture.get("learning") == "gradient"


def _key(member: Member) -> tuple[Any, ...]:
    """Return everything in which the members of a stack must be equal."""
    task, settings, samples = member.task, member.task.settings, len(member.data.train)
    size = min(settings["batch_size"], samples)
    return (
        size,
        bool(task.architecture.get("dropout")),
        settings["optimizer"],
        bool(settings["momentum"]),
        bool(settings["weight_decay"]),
        settings["gradient_clip"] is None,
        settings["loss"],
        settings["focal_gamma"] if settings["loss"] == "focal" else None,
        settings["huber_delta"] if settings["loss"] == "huber" else None,
        len(member.data.validation) > 0,
        # Memberships are kept in order after each step of all members.
        samples if task.architecture.get("learn_memberships") else None,
    )


def _bytes(member: Member, kind: StackedNetwork, window: int) -> int:
    data = member.data
    batch = min(member.task.settings["batch_size"], len(data.train)) * window * kind.values
    weights = _PER_WEIGHT * (kind.weights.size + kind.buffers.size)
    return _FLOAT * (weights + _LAYERS * batch) + _BYTES_PER_SAMPLE * (len(data.train) + len(data.validation))


def _cut(numbers: Sequence[int], sizes: Sequence[int], shared: int, most: int, memory: int | None) -> list[list[int]]:
    """Cut ``numbers`` into stacks of at most ``most`` members and ``memory`` bytes."""
    stacks: list[list[int]] = []
    taken = 0
    for number, size in zip(numbers, sizes, strict=True):
        if not stacks or len(stacks[-1]) == most or (memory is not None and taken + size > memory):
            stacks.append([])
            taken = shared
        stacks[-1].append(number)
        taken += size
    return stacks
