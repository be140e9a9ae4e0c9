"""Populations of the scikit-learn backend against the same trainings one after another.

    python benchmarks/sklearn_populations.py [--quick] [--only TEXT] [--json FILE]

- *ktrdr, population* is `train_many` with two cores and a gigabyte: in this process, and where they save time in two
  processes that share the features.
- *one after another* calls `train` for each member, which uses the threads that scikit-learn chooses.

16 members differ in seed and in their rows. Elapsed time is compared, since the CPU time of other processes is not that
of this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from harness import Contest, Figure, find, main
from training import FEATURES, data_of

from ktrdr.core.parameters import validate_parameters
from ktrdr.core.plugins import Member, Resources, Split, TrainingTask
from ktrdr.core.strategy.model import CLASSES
from ktrdr.core.testing.learning_problems import SETTINGS
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.sklearn.declaration import INFO
from ktrdr.ml.sklearn.sklearn_trainer import SklearnTrainer

MEMBERS = 16
TYPES = {model_type.name: model_type for model_type in INFO.model_types}
POPULATION, ALONE = "ktrdr, population", "one after another"
SIZES = (2_000, 8_000)


def members_of(name: str, samples: int) -> list[Member]:
    """Return members over one matrix; each has nine tenths of its training samples."""
    architecture, problems = validate_parameters({}, TYPES[name].architecture)
    assert not problems, problems
    data, random = data_of(samples, 1), np.random.default_rng(0)
    task = TrainingTask(
        model_type=name,
        architecture=architecture,
        output="classification",
        classes=CLASSES,
        feature_ids=tuple(f"f{number}" for number in range(FEATURES)),
        settings={**SETTINGS, "epochs": 30, "early_stopping": None},
    )

    def member(seed: int) -> Member:
        kept = np.sort(random.permutation(samples)[: samples * 9 // 10])
        train = Split(data.train.rows[kept], data.train.labels[kept], data.train.weights[kept])
        return Member(replace(task, seed=seed), replace(data, train=train))

    return [member(seed) for seed in range(MEMBERS)]


def population(members: list[Member]) -> Any:
    """Train all members at once."""
    return SklearnTrainer().train_many(
        members,
        progress=NO_PROGRESS,
        cancellation=Cancellation(),
        checkpoint=None,
        resources=Resources(memory=1_000_000_000, cores=2),
    )


def one_after_another(members: list[Member]) -> Any:
    """Train each member alone."""
    return [
        SklearnTrainer().train(
            member.task, member.data, progress=NO_PROGRESS, cancellation=Cancellation(), checkpoint=None
        )
        for member in members
    ]


def agree(members: list[Member]) -> None:
    """Fail if a member of the population predicts otherwise than alone, by a bit."""
    pair = (population(members[:2]), one_after_another(members[:2]))
    for together, alone in zip(*pair, strict=True):
        answers = [model.predictor().predict(members[0].data.features) for model in (together, alone)]
        if not np.array_equal(*answers):
            raise SystemExit("sklearn_populations.py: a member is not as alone")


def contests(quick: bool) -> list[Contest]:
    """Return a contest for each model type."""
    return [
        Contest(
            f"16 trainings, {name}",
            {POPULATION: population, ALONE: one_after_another},
            partial(members_of, name),
            sizes=(100, 200) if quick else SIZES,
            unit="samples",
            group="populations of scikit-learn",
            check=agree,
            rounds=1 if quick else 2,
            clock="wall",
        )
        for name in TYPES
    ]


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield how much longer single trainings take; a population may not take over a tenth more than they do."""
    if quick:
        return
    for name in TYPES:
        ratio = find(rows, f"16 trainings, {name}", ALONE, SIZES[-1])["ratio_wall"]["median"]
        yield Figure(f"{ALONE} beside a population: 16 of {name}, 8,000 samples", ratio, "times", at_least=0.9)


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)
