"""Networks and rules predicted by core alone, from portable twins, against torch.

    python benchmarks/inference_networks.py [--quick] [--only TEXT] [--json FILE]

- *ktrdr, portable* is the predictor over the twin, as a backtest uses it.
- *torch* is the predictor of the plugin, over the network that the twin was made from.

Both have one thread, and weights of the size of an initialization. The perceptrons have 18 inputs, 64 and 32 hidden
units and 3 classes; the recurrent networks two layers of 64 units over 20 steps; the rules 3 or 4 inputs with 3 or 4
memberships each. One row of a recurrent network is one prediction, as a live strategy makes it with each bar.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from harness import Contest, Figure, find, main
from twin_limits import MOST_BESIDE_TORCH, MOST_MILLISECONDS

from ktrdr.core.inference import TwinGraph
from ktrdr.core.inference.portable_predictor import PortablePredictor, portable_predictor
from ktrdr.core.parameters import validate_parameters
from ktrdr.ml.torch.declaration import MODEL_TYPES
from ktrdr.ml.torch.model_description import Description, FuzzyVariable
from ktrdr.ml.torch.networks import empty_network
from ktrdr.ml.torch.torch_model import TorchPredictor, make_predictor

PORTABLE, TORCH = "ktrdr, portable", "torch"
FEATURES, CLASSES = 18, ("buy", "hold", "sell")
STEPS = 20
ROWS = (10_000, 100_000, 1_000_000)
WINDOWS = (1_000, 5_000, 20_000)


@dataclass(frozen=True, slots=True)
class Model:
    """A network.

    Attributes:
        kind: the plugin's name of the model type.
        architecture: parameters that are not at their defaults.
        memberships: number of fuzzy inputs, and of the memberships of each, and their type.
    """

    kind: str
    architecture: Mapping[str, Any]
    memberships: tuple[int, str] | None = None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of rows."""
        return WINDOWS if self.kind in ("lstm", "gru") else ROWS


MODELS = {
    **{
        f"mlp, {activation}": Model("mlp", {"activation": activation})
        for activation in ("relu", "tanh", "leaky_relu", "sigmoid", "gelu")
    },
    "anfis, 27 rules, triangular": Model("anfis", {}, (3, "triangular")),
    "anfis, 27 rules, gaussian": Model("anfis", {}, (3, "gaussian")),
    "anfis, 256 rules, triangular": Model("anfis", {}, (4, "triangular")),
    "lstm": Model("lstm", {"sequence_length": STEPS, "hidden_size": 64, "num_layers": 2}),
    "gru": Model("gru", {"sequence_length": STEPS, "hidden_size": 64, "num_layers": 2}),
}


def _variables(number: int, kind: str) -> tuple[FuzzyVariable, ...]:
    """Return as many fuzzy inputs as memberships of each, which cross in the middle."""
    centers = np.linspace(-2, 2, number).tolist()
    width = centers[1] - centers[0]
    functions = tuple(
        (f"term{at}", kind, (center - width, center, center + width) if kind == "triangular" else (center, width / 2))
        for at, center in enumerate(centers)
    )
    return tuple(FuzzyVariable(name=f"input{at}", column=at, functions=functions) for at in range(number))


@cache
@torch.no_grad()
def native_of(name: str) -> TorchPredictor:
    """Return the predictor of the plugin."""
    torch.set_num_threads(1)
    model = MODELS[name]
    variables = _variables(*model.memberships) if model.memberships else ()
    description = Description(
        model_type=model.kind,
        output="classification",
        classes=CLASSES,
        feature_ids=tuple(f"x{at}" for at in range(len(variables) or FEATURES)),
        architecture=validate_parameters(model.architecture, MODEL_TYPES[model.kind].architecture)[0],
        fuzzy_variables=variables,
    )
    network: Any = empty_network(description)
    if variables:
        network.start([0.0] * len(variables), [1.0] * len(variables))
    random = np.random.default_rng(0)
    for parameter in network.parameters():
        values = random.uniform(-1, 1, parameter.shape) / np.sqrt(parameter.shape[-1])
        parameter.copy_(torch.from_numpy(values))
    tensors = {f"network.{key}": tensor for key, tensor in network.state_dict().items()}
    average = torch.zeros(description.input_size)
    return make_predictor(description, {**tensors, "average": average}, torch.device("cpu"), name)


@cache
def portable_of(name: str) -> PortablePredictor:
    """Return what predicts from the twin."""
    twin = native_of(name).twin()
    return portable_predictor(TwinGraph.model_validate(twin.graph), twin.arrays)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to predict with a model."""

    model: str
    x: np.ndarray


def prepared(name: str, number: int) -> Rows:
    """Return rows, when both predictors are there."""
    width = portable_of(name).input_size
    return Rows(name, np.random.default_rng(0).normal(size=(number, width)).astype(np.float32))


def portable(rows: Rows) -> np.ndarray:
    """Predict with core."""
    return portable_of(rows.model).predict(rows.x)


def native(rows: Rows) -> np.ndarray:
    """Predict with torch."""
    return native_of(rows.model).predict(rows.x)


def agree(rows: Rows) -> None:
    """Fail if the predictions differ by more than a twin's may."""
    few = Rows(rows.model, rows.x[:20_000])
    np.testing.assert_allclose(portable(few), native(few), rtol=0, atol=1e-6)


def within(name: str) -> str:
    """Return the name of the contest of a model."""
    return f"prediction from a twin, {name}"


def contests(quick: bool) -> list[Contest]:
    """Return a contest for each model."""
    return [
        Contest(
            within(name),
            {PORTABLE: portable, TORCH: native},
            partial(prepared, name),
            sizes=tuple(size // 50 for size in model.sizes) if quick else model.sizes,
            unit="rows",
            group="prediction from a twin",
            check=agree,
            rounds=1 if quick else 5,
        )
        for name, model in MODELS.items()
    ]


def milliseconds_of_one(name: str) -> float:
    """Return the CPU time of one prediction of a recurrent network."""
    predictor, rows = portable_of(name), prepared(name, STEPS).x

    def once() -> float:
        began = time.process_time()
        for _ in range(20):
            predictor.predict(rows)
        return (time.process_time() - began) / 20 * 1000

    return min(once() for _ in range(20))


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield times beside torch, and that of one row, with their limits."""
    if quick:
        return
    for name, model in MODELS.items():
        size = model.sizes[-1]
        ratio = 1 / find(rows, within(name), TORCH, size)["ratio_cpu"]["median"]
        yield Figure(
            f"{name}, beside {TORCH}", ratio, "times", at_most=MOST_BESIDE_TORCH.get(name), of=f"{size:,} rows"
        )
    yield Figure("one row of an lstm", milliseconds_of_one("lstm"), "CPU ms", at_most=MOST_MILLISECONDS)


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)
