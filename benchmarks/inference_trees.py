"""Trees predicted by core alone, from portable twins, against scikit-learn.

    python benchmarks/inference_trees.py [--quick] [--only TEXT] [--json FILE]

- *ktrdr, portable* is the predictor over the twin, as a backtest uses it.
- *scikit-learn* is `predict_proba` of the estimator that the twin was made from.

Both have one thread. The models were fitted to 10,000 samples of 12 features and three classes: gradient boosting of
100 rounds, which are 300 trees; a forest of 100 trees with 10 samples in a leaf; a deep forest of 300 trees with one.

The second table is of new processes, which import what they need and predict: core reads and checks the twin,
scikit-learn unpickles the estimator.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from harness import Contest, Figure, files, find, main, process

from ktrdr.core.inference import TwinGraph
from ktrdr.core.inference.graph_check import check_graph
from ktrdr.core.inference.portable_predictor import PortablePredictor, portable_predictor
from ktrdr.core.inference.twin_files import write_twin
from ktrdr.ml.sklearn.sklearn_twin import make_twin
from ktrdr.ml.sklearn.thread_pools import openmp_threads

FEATURES, SAMPLES, CLASSES = 12, 10_000, 3
PORTABLE, SKLEARN = "ktrdr, portable", "scikit-learn"
MODELS = ("gradient boosting, 100 rounds", "forest, 100 trees", "forest, 300 deep trees")
BOOSTING, FOREST, DEEP = MODELS
SMALL = 20_000
SIZES = {
    BOOSTING: (SMALL, 200_000, 1_000_000),
    FOREST: (SMALL, 200_000, 1_000_000),
    DEEP: (SMALL, 60_000, 200_000),
}
MOST_BESIDE, MOST_CHECK_SECONDS = 6.0, 0.5


def rows_of(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 features and the classes that belong to them."""
    random = np.random.default_rng(0)
    x = random.normal(size=(number, FEATURES)).astype(np.float32)
    score = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3] / 2 + random.normal(size=number)
    return x, np.digitize(score, [-0.5, 0.5])


@cache
def model_of(name: str) -> Any:
    """Return a fitted estimator."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    estimator = {
        BOOSTING: HistGradientBoostingClassifier(max_iter=100, max_features=0.8, early_stopping=False, random_state=0),
        FOREST: RandomForestClassifier(100, min_samples_leaf=10, random_state=0),
        DEEP: RandomForestClassifier(300, random_state=0),
    }[name]
    return estimator.fit(*rows_of(SAMPLES))


def twin_of(name: str) -> Any:
    """Return the twin of a model."""
    kind = "gradient_boosting" if name == BOOSTING else "random_forest"
    return make_twin(model_of(name), kind, "classification", FEATURES, CLASSES, range(CLASSES))


@cache
def predictor_of(name: str) -> PortablePredictor:
    """Return what predicts from the twin of a model."""
    twin = twin_of(name)
    return portable_predictor(TwinGraph.model_validate(twin.graph), twin.arrays)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to predict with a model."""

    model: str
    x: np.ndarray


def prepared(name: str, number: int) -> Rows:
    """Return rows, when estimator and twin are there."""
    predictor_of(name)
    return Rows(name, rows_of(number)[0])


def portable(rows: Rows) -> np.ndarray:
    """Predict with core."""
    return predictor_of(rows.model).predict(rows.x)


def sklearn(rows: Rows) -> np.ndarray:
    """Predict with scikit-learn, on one thread."""
    with openmp_threads(1):
        return model_of(rows.model).predict_proba(rows.x)


def agree(rows: Rows) -> None:
    """Fail if the predictions differ by more than the last bits."""
    few = Rows(rows.model, rows.x[:20_000])
    if not np.abs(portable(few) - sklearn(few)).max() <= 1e-12:
        raise SystemExit(f"inference_trees.py: {rows.model}: the predictions differ")


_OURS = """
import sys, numpy, pathlib
from ktrdr.core.inference.portable_predictor import portable_predictor
from ktrdr.core.inference.twin_files import read_twin
portable_predictor(*read_twin(pathlib.Path(sys.argv[1]))).predict(numpy.load(sys.argv[1] + "/rows.npy"))
"""
_THEIRS = """
import sys, numpy, pickle, pathlib
from sklearn import ensemble
model = pickle.loads(pathlib.Path(sys.argv[1], "model.pickle").read_bytes())
model.predict_proba(numpy.load(sys.argv[1] + "/rows.npy"))
"""


def stored(name: str, number: int) -> Path:
    """Return a directory with twin, pickled estimator and rows."""
    # A pickle is the fastest way for scikit-learn; this one is read back by the program that wrote it, and no bundle
    # has one.
    directory = files() / f"trees-{MODELS.index(name)}-{number}"
    if not directory.exists():
        directory.mkdir()
        write_twin(directory, twin_of(name))
        (directory / "model.pickle").write_bytes(pickle.dumps(model_of(name)))
        np.save(directory / "rows.npy", rows_of(number)[0])
    return directory


def alone(code: str, directory: Path) -> Any:
    """Run a program in a new interpreter."""
    return process(sys.executable, "-c", code, str(directory))


def within(name: str) -> str:
    """Return the name of the contest of a model within this process."""
    return f"trees, {name}"


def started(name: str) -> str:
    """Return the name of the contest of a model in new processes."""
    return f"trees in a new process, {name}"


def contests(quick: bool) -> list[Contest]:
    """Return a contest within this process for each model, then one of new processes."""
    here = [
        Contest(
            within(name),
            {PORTABLE: portable, SKLEARN: sklearn},
            partial(prepared, name),
            sizes=(100, 200) if quick else SIZES[name],
            unit="rows",
            group="trees",
            check=agree,
            few={PORTABLE: 2, SKLEARN: 2},
        )
        for name in MODELS
    ]
    return here + [
        Contest(
            started(name),
            {PORTABLE: partial(alone, _OURS), SKLEARN: partial(alone, _THEIRS)},
            partial(stored, name),
            sizes=(100 if quick else SMALL,),
            unit="rows",
            group="trees in a new process, with all imports",
            rounds=2 if quick else 3,
        )
        for name in MODELS
    ]


def check_seconds() -> float:
    """Return the CPU time of the check of the twin of the deep forest, which has more than a million nodes."""
    twin = twin_of(DEEP)
    graph = TwinGraph.model_validate(twin.graph)

    def seconds() -> float:
        began = time.process_time()
        check_graph(graph, twin.arrays)
        return time.process_time() - began

    return min(seconds() for _ in range(3))


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield what has a limit: times beside scikit-learn, and the check."""
    if quick:
        return
    for name in MODELS:
        size = SIZES[name][-1]
        ratio = 1 / find(rows, within(name), SKLEARN, size)["ratio_cpu"]["median"]
        yield Figure(f"{name}, beside {SKLEARN}", ratio, "times", at_most=MOST_BESIDE, of=f"{size:,} rows")
        ratio = 1 / find(rows, started(name), SKLEARN)["ratio_cpu"]["median"]
        yield Figure(f"{name}, in a new process, beside {SKLEARN}", ratio, "times", at_most=1.0, of=f"{SMALL:,} rows")
    yield Figure("check of a twin of 1.3 million nodes", check_seconds(), "CPU seconds", at_most=MOST_CHECK_SECONDS)


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)
