"""Populations of the torch backend beside a bare loop for each member, and a thousand trainings of the demo.

    python benchmarks/populations.py [--quick] [--only TEXT] [--json FILE]

- *ktrdr, 64 members* is `train_many`, including shuffling, accuracy, progress and the copy of the best epoch.
- *bare loop* is a minimal loop for one member with torch's own layers and its Adam: shuffle, index, step, and in the
  contests with evaluation the validation loss. Rules have no layer in torch: there it steps our own network.

Both have one thread. The figures are the CPU time of the bare loop over that of one of 64 members, for an epoch; that
of rules leaves out the least squares before the first epoch, which the bare loop does without.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Contest, Figure, main, own_peak_mib, reported
from torch import nn

from ktrdr.core.limits import POPULATION_MEMORY
from ktrdr.core.parameters import validate_parameters
from ktrdr.core.plugins import CrispInput, Member, Resources, Split, TrainingData, TrainingTask
from ktrdr.core.strategy.model import CLASSES
from ktrdr.core.testing.learning_problems import SETTINGS
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.torch.declaration import MODEL_TYPES
from ktrdr.ml.torch.model_description import describe
from ktrdr.ml.torch.networks import empty_network
from ktrdr.ml.torch.torch_trainer import TorchTrainer

__all__ = ["cost_of_member", "thousand_trainings"]

MEMBERS, EPOCHS = 64, 26
# The demo's samples: three months of hourly bars.
SAMPLES, VALIDATION = 1_081, 232
HIDDEN = (32, 16)


@dataclass(frozen=True, slots=True)
class Kind:
    """Members of one architecture.

    Attributes:
        name: of the contest.
        model_type: ``mlp`` or ``anfis``.
        features: number of features.
        batch: size of the batches.
        validates: whether there are validation samples.
        cheaper: by this factor a member is to cost less than a bare loop.
    """

    name: str
    model_type: str
    features: int
    batch: int
    validates: bool
    cheaper: float


KINDS = (
    Kind("mlp 18-32-16-3, batches of 32", "mlp", 18, 32, False, 25.0),
    Kind("mlp 18-32-16-3, batches of 64", "mlp", 18, 64, False, 15.0),
    Kind("mlp 18-32-16-3, batches of 32, evaluated", "mlp", 18, 32, True, 15.0),
    Kind("mlp 18-32-16-3, batches of 64, evaluated", "mlp", 18, 64, True, 10.0),
    Kind("anfis, 27 rules, batches of 32", "anfis", 3, 32, False, 10.0),
)


def data_of(kind: Kind) -> TrainingData:
    """Return random samples: the time does not depend on what can be learned."""
    random = np.random.default_rng(0)
    features = random.random((SAMPLES + VALIDATION, kind.features)).astype(np.float32)
    labels = random.integers(0, len(CLASSES), len(features))

    def split(first: int, last: int) -> Split:
        rows = np.arange(first, last)
        return Split(rows, labels[rows], np.ones(len(rows), np.float32))

    last = len(features) if kind.validates else SAMPLES
    return TrainingData(features, split(0, SAMPLES), split(SAMPLES, last))


def task_of(kind: Kind, seed: int, epochs: int) -> TrainingTask:
    """Return the task of one member."""
    rules = kind.model_type == "anfis"
    given = {"learning": "gradient"} if rules else {"hidden_layers": list(HIDDEN)}
    architecture, problems = validate_parameters(given, MODEL_TYPES[kind.model_type].architecture)
    assert not problems, problems
    functions = {name: ("gaussian", (center, 0.15)) for name, center in (("low", 0.2), ("middle", 0.5), ("high", 0.8))}
    crisp = tuple(CrispInput(f"x{number}", number, functions) for number in range(kind.features)) if rules else ()
    return TrainingTask(
        model_type=kind.model_type,
        architecture=architecture,
        output="classification",
        classes=CLASSES,
        feature_ids=tuple(f"x{number}" for number in range(kind.features)),
        settings={**SETTINGS, "epochs": epochs, "batch_size": kind.batch, "early_stopping": None},
        seed=seed,
        device="cpu",
        crisp_inputs=crisp,
    )


def train_many(members: list[Member], cores: int = 1) -> Any:
    """Train all members at once."""
    return TorchTrainer().train_many(
        members,
        progress=NO_PROGRESS,
        cancellation=Cancellation(),
        checkpoint=None,
        resources=Resources(memory=POPULATION_MEMORY, cores=cores),
    )


def stacked(kind: Kind, epochs: int = EPOCHS) -> None:
    """Train the members with the backend."""
    torch.set_num_threads(1)
    data = data_of(kind)
    train_many([Member(task_of(kind, seed, epochs), data) for seed in range(MEMBERS)])


def bare(kind: Kind, epochs: int = EPOCHS) -> None:
    """Train one member with a minimal loop."""
    torch.set_num_threads(1)
    data, network = data_of(kind), _network(kind)
    optimizer = torch.optim.Adam(network.parameters(), lr=SETTINGS["learning_rate"])
    x, y = (torch.from_numpy(part) for part in (data.features[data.train.rows], data.train.labels))
    x_val, y_val = (torch.from_numpy(part) for part in (data.features[data.validation.rows], data.validation.labels))
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), kind.batch):
            at = order[start : start + kind.batch]
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[at]), y[at]).backward()
            optimizer.step()
        if kind.validates:
            with torch.no_grad():
                nn.functional.cross_entropy(network(x_val), y_val).item()


def _network(kind: Kind) -> nn.Module:
    if kind.model_type == "anfis":
        network: Any = empty_network(describe(task_of(kind, 0, 1), None))
        network.start([0.5] * kind.features, [0.3] * kind.features)
        return network
    first, second = HIDDEN
    layers = [nn.Linear(kind.features, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 3)]
    return nn.Sequential(*layers)


def _cpu(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def cost_of_member(kind: Kind, turns: int = 5) -> float:
    """Return the CPU time of an epoch of one of 64 members over that of the bare loop, both the best of some turns."""
    stacked(kind, 1)
    bare(kind, 1)
    ours, first, theirs = [], [], []
    for _ in range(turns):
        ours.append(_cpu(partial(stacked, kind)))
        theirs.append(_cpu(partial(bare, kind)))
        first.append(_cpu(partial(stacked, kind, 1)) if kind.model_type == "anfis" else 0.0)
    epochs = EPOCHS - 1 if kind.model_type == "anfis" else EPOCHS
    return (min(ours) - min(first)) / MEMBERS / epochs / (min(theirs) / EPOCHS)


def thousand_trainings() -> dict[str, float]:
    """Train the demo's strategy with a thousand seeds, 26 epochs each, on two cores; return seconds and peak GB."""
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.sample import install_sample
    from ktrdr.core.workflows.run_training import train

    with tempfile.TemporaryDirectory() as home:
        os.environ["KTRDR_HOME"] = home
        install_sample(BarStore(Path(home) / "data"))
        seen: list[Member] = []
        honest = TorchTrainer.train

        def kept(self: TorchTrainer, task: TrainingTask, data: TrainingData, **rest: Any) -> Any:
            seen.append(Member(task, data))
            return honest(self, task, data, **rest)

        TorchTrainer.train = kept  # type: ignore[method-assign]
        train(str(resources("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml")))
        TorchTrainer.train = honest  # type: ignore[method-assign]
        (first,) = seen
        settings = {**first.task.settings, "epochs": EPOCHS, "early_stopping": None}
        members = [replace(first, task=replace(first.task, settings=settings, seed=seed)) for seed in range(1_000)]
        began = time.perf_counter()
        outcomes = train_many(members, cores=2)
        seconds = time.perf_counter() - began
    assert all(len(outcome.history) == EPOCHS for outcome in outcomes)
    return {"seconds": seconds, "gigabytes": own_peak_mib() * 2**20 / 1e9}


def contests(quick: bool) -> list[Contest]:
    """Return no contests: members and loops are compared for an epoch, not for the same work."""
    return []


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield the ratios, and the cost of a thousand trainings, with their limits."""
    for kind in KINDS[:1] if quick else KINDS:
        ratio = 1 / cost_of_member(kind, 1 if quick else 5)
        yield Figure(f"bare loop beside one of 64 members: {kind.name}", ratio, "times", at_least=kind.cheaper)
    if quick:
        return
    found = reported(__file__, "thousand_trainings()")
    of = f"the demo's strategy, {EPOCHS} epochs, two cores"
    yield Figure("1,000 trainings", found["seconds"], "s", at_most=60.0, of=of)
    yield Figure("peak memory of 1,000 trainings", found["gigabytes"], "GB", at_most=1.5, of=of)


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)
