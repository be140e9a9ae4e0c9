"""Architectures: what every parameter builds, and that windows are read where they lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ktrdr.core.errors import BadInputError
from ktrdr.ml.torch.declaration import MODEL_TYPES
from ktrdr.ml.torch.model_description import describe
from ktrdr.ml.torch.networks import Dropout, build_network
from ktrdr.ml.torch.samples import Matrix, as_tensor

CPU = torch.device("cpu")
ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "gelu": lambda x: x * torch.special.ndtr(torch.tensor(x)).numpy(),
}


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def arrays(model):
    return {name.removeprefix("network."): tensor.double().numpy() for name, tensor in model.tensors.items()}


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("batch_norm", [False, True])
def test_an_mlp_is_this_arithmetic(problem, train, activation, batch_norm):
    architecture = {"hidden_layers": [7, 5], "activation": activation, "batch_norm": batch_norm, "dropout": 0.2}
    given = problem(architecture=architecture)
    model = train(given)
    w = arrays(model)
    x = given.data.features.astype(np.float64)
    numbers = sorted({int(name.split(".")[1]) for name in w if name.startswith("layers")})
    for number in numbers:
        if f"layers.{number}.running_mean" in w:
            x = (x - w[f"layers.{number}.running_mean"]) / np.sqrt(w[f"layers.{number}.running_var"] + 1e-5)
            x = ACTIVATIONS[activation](x * w[f"layers.{number}.weight"] + w[f"layers.{number}.bias"])
            continue
        x = x @ w[f"layers.{number}.weight"].T + w[f"layers.{number}.bias"]
        if not batch_norm and number != numbers[-1]:
            x = ACTIVATIONS[activation](x)
    np.testing.assert_allclose(model.predictor().predict(given.data.features), softmax(x), atol=1e-5)


def test_hidden_layers_have_units(problem, train):
    for sizes in ([], [0], [8, -1]):
        with pytest.raises(BadInputError, match="model is not valid: architecture: `hidden_layers`"):
            train(problem(architecture={"hidden_layers": sizes}))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_recurrent_layers_are_torchs(problem, train, name):
    given = problem(name, architecture={"num_layers": 3, "hidden_size": 6})
    model = train(given)
    w = {key.removeprefix("network."): tensor for key, tensor in model.tensors.items()}
    stacked = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name](4, 6, num_layers=3, batch_first=True)
    with torch.no_grad():
        for parameter, tensor in stacked.named_parameters():
            layer = parameter[-1]
            tensor.copy_(w[f"layers.{layer}.{parameter[:-1]}0"])
        windows = np.lib.stride_tricks.sliding_window_view(given.data.features, 5, axis=0).transpose(0, 2, 1)
        states, _ = stacked(torch.tensor(windows.copy()))
        expected = torch.softmax(states[:, -1] @ w["head.weight"].T + w["head.bias"], 1)
    np.testing.assert_allclose(model.predictor().predict(given.data.features)[4:], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_window_may_be_one_row(problem, train, name):
    given = problem(name, architecture={"sequence_length": 1, "num_layers": 2}, settings={"epochs": 2})
    predictor = train(given).predictor()
    features = given.data.features
    assert predictor.window == 1
    answer = predictor.predict(features)
    # Every row is a sequence of its own.
    np.testing.assert_allclose(predictor.predict(features[::-1].copy())[::-1], answer, atol=1e-6)
    assert predictor.contributions(features[:3]).shape == (3, 4, 3)


def test_more_dropout_fits_the_training_part_less(problem, train):
    losses = []
    for share in (0.0, 0.4, 0.9):
        given = problem(settings={"epochs": 15}, architecture={"dropout": share})
        losses.append(train(given).history[-1].metrics["train_loss"])
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize("name", ["mlp", "lstm", "gru"])
def test_dropout_is_where_it_says(problem, name):
    for share, expected in ((0.0, 0), (0.5, 2 if name == "mlp" else 1)):
        architecture = {"dropout": share, **({"hidden_layers": [8, 8]} if name == "mlp" else {})}
        network = build_network(describe(problem(name, architecture=architecture).task, None))
        assert sum(isinstance(module, Dropout) for module in network.modules()) == expected


def test_bfloat16_products_change_the_run_but_neither_its_weights_type_nor_what_it_learns(problem, train, same):
    given = [problem(architecture={"precision": kind}, settings={"epochs": 8}) for kind in ("float32", "bfloat16")]
    exact, rough = (train(one) for one in given)
    assert not same(exact, rough)
    assert same(rough, train(given[1]))
    assert {tensor.dtype for tensor in rough.tensors.values()} == {torch.float32}
    answers = [model.predictor().predict(given[0].data.features) for model in (exact, rough)]
    np.testing.assert_allclose(answers[0], answers[1], atol=0.1)
    assert np.abs(answers[0] - answers[1]).max() > 1e-6


@pytest.mark.parametrize("name", sorted(MODEL_TYPES))
def test_softmax_is_for_classification(problem, train, name):
    train(problem(name, architecture={"output_activation": "softmax"}, settings={"epochs": 1}))
    with pytest.raises(BadInputError, match=r"`output_activation: softmax` is for classification; leave it out"):
        train(problem(name, "regression", architecture={"output_activation": "softmax"}))


def test_a_network_beyond_all_measure_is_refused(problem, train):
    with pytest.raises(BadInputError, match="more than 64 hidden layers"):
        train(problem(architecture={"hidden_layers": [2] * 65}))


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize("window", [1, 7])
def test_samples_are_read_where_they_lie(writeable, window):
    features = np.random.default_rng(0).random((500, 3), dtype=np.float32)
    features.flags.writeable = writeable
    matrix = Matrix(features, window, CPU)
    assert matrix._source.data_ptr() == features.ctypes.data
    assert matrix._source.untyped_storage().nbytes() == features.nbytes
    starts = np.array([0, 5, 5, 500 - window])
    taken = matrix.gather(torch.tensor(starts)).numpy()
    expected = np.stack([features[start : start + window] for start in starts])
    np.testing.assert_array_equal(taken, expected if window > 1 else expected[:, 0])


def test_rows_no_sample_refers_to_may_hold_anything(problem, train, same):
    given = problem("gru")
    model = train(given)
    padded = np.vstack([given.data.features, np.full((9, 4), np.nan, dtype=np.float32)])
    object.__setattr__(given.data, "features", padded)
    assert same(train(given), model)


def test_as_tensor_keeps_types_and_empty_arrays():
    for array in (
        np.arange(3),
        np.empty((0, 2), np.float32),
        np.array([True]),
        np.arange(6, dtype="f4").reshape(2, 3).T,
    ):
        array.flags.writeable = False
        np.testing.assert_array_equal(as_tensor(array).numpy(), array)


def test_predicting_a_million_rows_takes_blocks(problem, train):
    """Not a hidden layer's values for all of them at once."""
    given = problem(architecture={"hidden_layers": [512]}, settings={"epochs": 1})
    predictor = train(given).predictor()
    sizes = []
    predictor._network.register_forward_pre_hook(lambda module, x: sizes.append(len(x[0])))
    answer = predictor.predict(np.tile(given.data.features, (100, 1)))
    assert len(answer) == sum(sizes) == 36_000
    assert max(sizes) * 512 * 4 <= 4 << 20


def test_weights_that_predict_no_number_are_an_error_not_a_nan(problem, train):
    given = problem()
    predictor = train(given).predictor()
    for parameter in predictor._network.parameters():
        parameter.fill_(3e38)
    with pytest.raises(BadInputError, match="within rows 0 to 359 is not finite: its weights or the features"):
        predictor.predict(given.data.features)
