"""Core predicts and explains from the twins of random networks of every kind what torch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.inference import TwinGraph
from ktrdr.core.inference.comparison import compare
from ktrdr.core.inference.graph_check import check_graph
from ktrdr.core.inference.portable_predictor import portable_predictor
from ktrdr.core.parameters import validate_parameters
from ktrdr.ml.torch.declaration import MODEL_TYPES
from ktrdr.ml.torch.model_description import Description, FuzzyVariable, Scaling
from ktrdr.ml.torch.networks import empty_network
from ktrdr.ml.torch.torch_loader import TorchLoader
from ktrdr.ml.torch.torch_model import make_predictor

CPU = torch.device("cpu")
ROWS = 60
# Of each feature, as that of a normalized indicator, an RSI or a MACD.
CENTERS, SCALES = (0.0, 50.0, -2.0), (1.0, 15.0, 0.01)

seeds = st.integers(0, 2**32 - 1)
outputs = st.sampled_from(["regression", 2, 3, 7])
inputs = st.integers(1, 6)


def describe(model_type, columns, output, architecture, variables=()):
    complete, problems = validate_parameters(architecture, MODEL_TYPES[model_type].architecture)
    assert problems == []
    classes = () if output == "regression" else tuple(f"class {number}" for number in range(output))
    return Description(
        model_type=model_type,
        output="classification" if classes else "regression",
        classes=classes,
        feature_ids=tuple(f"1h_x{column}_value" for column in range(columns)),
        architecture=complete,
        fuzzy_variables=variables,
        scaling=None if classes else Scaling(mean=0.0003, scale=0.02),
    )


@st.composite
def perceptrons(draw):
    architecture = {
        "hidden_layers": draw(st.lists(st.integers(1, 40), min_size=1, max_size=4)),
        "activation": draw(st.sampled_from(["relu", "tanh", "sigmoid", "leaky_relu", "gelu"])),
        "batch_norm": draw(st.booleans()),
        "dropout": draw(st.sampled_from([0.0, 0.3])),
    }
    return describe("mlp", draw(inputs), draw(outputs), architecture)


@st.composite
def recurrents(draw):
    architecture = {
        "sequence_length": draw(st.integers(1, 7)),
        "hidden_size": draw(st.integers(1, 24)),
        "num_layers": draw(st.integers(1, 3)),
        "dropout": draw(st.sampled_from([0.0, 0.3])),
    }
    return describe(draw(st.sampled_from(["lstm", "gru"])), draw(inputs), draw(outputs), architecture)


@st.composite
def functions(draw, column):
    """Return a membership around the values of a column: some have shoulders, no top, or a falling slope."""
    center, scale = CENTERS[column % 3], SCALES[column % 3]
    place = center + draw(st.floats(-2, 2)) * scale
    size = draw(st.floats(0.3, 3)) * scale
    kind = draw(st.sampled_from(["triangular", "trapezoidal", "gaussian", "sigmoid", "bell"]))
    ramps = [draw(st.sampled_from([0.0, 0.4, 1.0])) * size for _ in range(3)]
    match kind:
        case "triangular":
            left, _, right = ramps
            return kind, (place - left, place, place + (right if left or right else size))
        case "trapezoidal":
            left, top, right = ramps
            top = top if left or right else size
            return kind, (place - left, place, place + top, place + top + right)
        case "gaussian":
            return kind, (place, size)
        case "sigmoid":
            return kind, (place, draw(st.sampled_from([-1, 1])) / size)
        case _:
            return kind, (size, draw(st.sampled_from([0.5, 1.0, 2.0, 3.7])), place)


@st.composite
def rules(draw):
    columns = draw(inputs)
    variables = []
    for number in range(draw(st.integers(1, 3))):
        column = draw(st.integers(0, columns - 1))
        count = draw(st.integers(1, 4))
        made = tuple((f"term{each}", *draw(functions(column))) for each in range(count))
        variables.append(FuzzyVariable(name=f"set{number}", column=column, functions=made))
    architecture = {"learn_memberships": draw(st.booleans())}
    return describe("anfis", columns, draw(outputs), architecture, tuple(variables))


def fill(network, random):
    """Set weights of the size of an initialization, and any running statistics."""
    for name, tensor in network.state_dict().items():
        fan = tensor[0].numel() if tensor.ndim > 1 else 1
        values = random.uniform(-1, 1, tensor.shape) / np.sqrt(fan)
        if name.endswith("running_var"):
            values = random.uniform(0.25, 4, tensor.shape)
        tensor.copy_(torch.as_tensor(values, dtype=tensor.dtype))


def start_rules(network, random):
    """Set inputs, memberships and measurements of rules; memberships that are learned have moved a bit."""
    columns = len(network.center)
    network.start([CENTERS[each % 3] for each in range(columns)], [SCALES[each % 3] for each in range(columns)])
    network.consequents.copy_(torch.as_tensor(random.normal(0, 0.3, network.consequents.shape)))
    network.shares.copy_(torch.as_tensor(random.dirichlet(np.ones(len(network.shares)))))
    if network.centers is not None:
        network.centers.copy_(torch.as_tensor(random.normal(0, 1, network.centers.shape)))
    if network.learns_memberships:
        for parameter in network.memberships.parameters():
            parameter.add_(torch.as_tensor(random.normal(0, 0.2, parameter.shape)))


@torch.no_grad()
def predictor_of(description, seed):
    random = np.random.default_rng(seed)
    network = empty_network(description)
    if description.fuzzy_variables:
        start_rules(network, random)
    else:
        fill(network, random)
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    average = torch.as_tensor(center_of(description), dtype=torch.float32)
    return make_predictor(description, {**tensors, "average": average}, CPU, "a random network")


def center_of(description):
    scaled = description.model_type == "anfis"
    return np.array([CENTERS[each % 3] if scaled else 0.5 for each in range(description.input_size)])


def rows_of(description, seed):
    """Return ordinary rows, rows at the limits of the features and far beyond, and rows with NaN between them."""
    random = np.random.default_rng(seed)
    columns = description.input_size
    scale = np.array([SCALES[each % 3] if description.model_type == "anfis" else 1.0 for each in range(columns)])
    rows = random.normal(size=(ROWS, columns))
    first = ROWS // 2
    for number, far in enumerate((-3, 3, -6, 6), first):
        rows[number] = far
        rows[number + 4] = random.choice([-far, far], columns)
    rows[[0, first + 12], 0] = np.nan
    rows[first + 20] = np.inf
    return (center_of(description) + rows * scale).astype(np.float32)


def portable_of(native):
    twin = native.twin()
    graph = TwinGraph.model_validate(twin.graph)
    check_graph(graph, twin.arrays)
    return portable_predictor(graph, twin.arrays)


def check(description, seed):
    native = predictor_of(description, seed)
    rows = rows_of(description, seed)
    # Raises if a prediction differs by more than 1e-6, or has NaN elsewhere.
    compared = compare(native, portable_of(native), rows)
    assert 0 < compared.rows < len(rows)


@given(perceptrons(), seeds)
def test_a_perceptron(description, seed):
    check(description, seed)


@given(recurrents(), seeds)
def test_a_recurrent_network(description, seed):
    check(description, seed)


@given(rules(), seeds)
def test_rules(description, seed):
    check(description, seed)


@given(st.one_of(perceptrons(), recurrents(), rules()), seeds)
def test_contributions(description, seed):
    native = predictor_of(description, seed)
    portable = portable_of(native)
    rows = rows_of(description, seed)[20:45]
    expected, found = native.contributions(rows), portable.contributions(rows)
    predictions = native.predict(rows)
    size = np.nanstd(predictions) if description.output == "regression" else 1.0
    np.testing.assert_allclose(found / size, expected / size, rtol=1e-5, atol=1e-5)


def test_rows_where_no_rule_fires():
    """All scores are 0: classes are equally likely."""
    functions = (("low", "triangular", (-1.0, 0.0, 1.0)), ("high", "trapezoidal", (0.0, 1.0, 1.0, 2.0)))
    variables = tuple(FuzzyVariable(name=f"set{each}", column=each, functions=functions) for each in (0, 1))
    native = predictor_of(describe("anfis", 2, 3, {}, variables), 1)
    rows = np.array([[0.5, 0.5], [-1, 0.5], [-1e30, 1e30], [3, 0.5], [0.5, 2.5], [np.nan, 0]], np.float32)
    predicted = portable_of(native).predict(rows)
    np.testing.assert_allclose(predicted[[1, 2, 3, 4]], 1 / 3, rtol=1e-12)
    assert np.abs(predicted[0] - 1 / 3).max() > 1e-3
    compare(native, portable_of(native), rows)


@pytest.mark.parametrize("output", ["classification", "regression"])
def test_models_of_format_1_have_twins(output):
    native = TorchLoader().load(Path(__file__).parent / "files" / f"older_anfis_{output}", "cpu")
    rows = np.random.default_rng(0).random((12, 4), dtype=np.float32)
    assert compare(native, portable_of(native), rows).rows == 12
