"""Portable twins: what they contain, and that core predicts from them what torch does."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.inference import TwinGraph
from ktrdr.core.plugins import Portable
from ktrdr.ml.torch.declaration import MODEL_TYPES
from ktrdr.ml.torch.model_description import FuzzyVariable
from ktrdr.ml.torch.torch_twin import make_twin

KINDS = {
    "mlp": ["dense", "activation", "dense"],
    "lstm": ["lstm", "lstm", "last", "dense"],
    "gru": ["gru", "gru", "last", "dense"],
    "anfis": ["standardize", "rules"],
}


@pytest.mark.parametrize("output", ["classification", "regression"])
@pytest.mark.parametrize("name", sorted(MODEL_TYPES))
def test_a_twin_is_the_layers_of_the_network(problem, train, name, output):
    given = problem(name, output, settings={"epochs": 1})
    predictor = train(given).predictor()
    assert isinstance(predictor, Portable)
    twin = predictor.twin()
    graph = TwinGraph.model_validate(twin.graph)
    assert [node.kind for node in graph.nodes] == [*KINDS[name], "softmax" if output == "classification" else "scale"]
    assert (graph.input_size, graph.window) == (predictor.input_size, predictor.window)
    assert (graph.output, graph.outputs) == (output, len(given.task.classes) or 1)
    assert sorted(graph.array_names()) == sorted(twin.arrays)
    assert {array.dtype for array in twin.arrays.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(twin.arrays[graph.average], predictor._average)


@pytest.mark.parametrize("name", sorted(MODEL_TYPES))
def test_equal_models_have_equal_twins(problem, train, name):
    model = train(problem(name, settings={"epochs": 1}))
    first, again = model.predictor().twin(), model.predictor().twin()
    assert first.graph == again.graph
    assert list(first.arrays) == list(again.arrays)
    assert [array.tobytes() for array in first.arrays.values()] == [array.tobytes() for array in again.arrays.values()]


def test_a_twin_keeps_its_weights_when_those_of_the_network_change(problem, train):
    predictor = train(problem(settings={"epochs": 1})).predictor()
    twin = predictor.twin()
    before = {name: array.copy() for name, array in twin.arrays.items()}
    for parameter in predictor._network.parameters():
        parameter.fill_(0)
    for name, array in twin.arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_network_too_large_for_the_vocabulary_is_refused_with_the_reason(problem, train):
    predictor = train(problem("anfis", settings={"epochs": 1})).predictor()
    one = FuzzyVariable(name="flat", column=0, functions=(("all", "gaussian", (0.0, 1.0)),))
    many = predictor.description.model_copy(update={"fuzzy_variables": (one,) * 257})
    with pytest.raises(BadInputError, match=r"the model is too large .*at most 256 items"):
        make_twin(many, predictor._network, predictor._average)
