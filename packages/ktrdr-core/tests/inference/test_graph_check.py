"""Twins that do not fit together are refused before anything is computed; others predict."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.reading import FileError
from ktrdr.core.inference import TwinGraph
from ktrdr.core.inference.graph_check import check_graph
from ktrdr.core.inference.portable_predictor import portable_predictor
from ktrdr.core.inference.twin_error import TwinError
from ktrdr.core.inference.twin_files import read_twin, write_twin
from ktrdr.core.plugins.contract import Rule, Twin

KINDS = ["mlp", "lstm", "gru", "rules", "trees", "logistic"]


def test_there_is_a_twin_of_each_kind(twins):
    assert list(twins) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_of_every_kind_passes_and_predicts(kind, twins):
    graph, arrays = twins[kind]()
    check_graph(graph, arrays)
    rows = np.random.default_rng(3).normal(size=(9, graph.input_size)).astype(np.float32)
    predicted = portable_predictor(graph, arrays).predict(rows)
    assert predicted.shape == ((9,) if graph.output == "regression" else (9, graph.outputs))
    assert np.isfinite(predicted[graph.window - 1 :]).all()
    if graph.output == "classification":
        np.testing.assert_allclose(predicted.sum(axis=1), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_array_may_only_have_its_own_shape_dtype_and_finite_numbers(kind, twins):
    for name in twins[kind]()[1]:
        for broken in ("longer", "shorter", "deeper", "other dtype", "missing", "nan", "infinite"):
            graph, arrays = twins[kind]()
            array = arrays[name]
            match broken:
                case "longer":
                    arrays[name] = np.concatenate([array, array[:1]])
                case "shorter":
                    arrays[name] = array[:-1]
                case "deeper":
                    arrays[name] = array[None]
                case "other dtype":
                    arrays[name] = array.astype(np.float64 if array.dtype == np.float32 else np.float32)
                case "missing":
                    del arrays[name]
                case _:
                    if array.dtype.kind != "f":
                        continue
                    arrays[name] = array.copy()
                    arrays[name].flat[0] = np.nan if broken == "nan" else -np.inf
            with pytest.raises(TwinError, match=r"^[^\n]+$"):
                check_graph(graph, arrays)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_recurrent_layer_takes_the_row_of_a_model_without_a_window_as_a_sequence(kind, twins):
    graph, arrays = twins[kind]()
    one = TwinGraph.model_validate(graph.to_json() | {"window": 1})
    check_graph(one, arrays)
    rows = np.random.default_rng(3).normal(size=(9, 2)).astype(np.float32)
    # The first step of a longer window starts at the same state.
    alone = [portable_predictor(one, arrays).predict(row[None])[0] for row in rows]
    np.testing.assert_allclose(portable_predictor(one, arrays).predict(rows), alone, atol=1e-6)
    assert np.std(alone) > 0


def test_an_array_that_nothing_uses_is_refused(twins):
    graph, arrays = twins["mlp"]()
    with pytest.raises(TwinError, match="array 'more' is not used"):
        check_graph(graph, arrays | {"more": np.zeros(1, np.float32)})


def changed(graph: TwinGraph, change: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(json.dumps(graph.to_json()))
    change(value)
    return value


def at(*path: Any, value: Any) -> Any:
    def change(graph: Any) -> None:
        for key in path[:-1]:
            graph = graph[key]
        graph[path[-1]] = value

    return change


WRONG = {
    "a cycle": ("mlp", at("nodes", 0, "input", value="c"), "node 'a' reads 'c', which does not stand before it"),
    "a node that reads itself": ("mlp", at("nodes", 1, "input", value="b"), "'b' reads 'b', which does not stand"),
    "a name twice": ("mlp", at("nodes", 1, "name", value="a"), "the name 'a' stands twice"),
    "a node named as the features": ("mlp", at("nodes", 0, "name", value="features"), "the name 'features' stands"),
    "a node that is not read": ("mlp", at("nodes", 3, "input", value="b"), "nothing reads 'c'"),
    "features that are not read": ("mlp", lambda graph: graph["nodes"].pop(0), "reads 'a', which does not stand"),
    "an unknown layer": ("mlp", at("nodes", 1, "kind", value="attention"), "a layer of kind 'attention' is not known"),
    "no kind": ("mlp", lambda graph: graph["nodes"][1].pop("kind"), "Unable to extract tag"),
    "an unknown activation": ("mlp", at("nodes", 1, "function", value="swish"), "'relu', 'tanh'"),
    "an unknown key": ("mlp", at("nodes", 1, "slope", value=1), "Extra inputs are not permitted"),
    "a newer format": ("mlp", at("format", value=2), "twin format 2, this core reads up to 1; update core with"),
    "no format of ours": ("mlp", at("format", value=0), "'format': Input should be 1"),
    "no nodes": ("mlp", at("nodes", value=[]), "at least 1 item"),
    "an array used twice": ("mlp", at("nodes", 0, "bias", value="average"), "array 'average' is used twice"),
    "another number of inputs": ("mlp", at("input_size", value=5), "node 'a': array 'a.weights' is float32"),
    "a huge number of inputs": ("mlp", at("input_size", value=2**63), "input_size"),
    "another number of outputs": ("mlp", at("outputs", value=2), "its last node gives 3 outputs, not 2"),
    "a regression of probabilities": ("mlp", lambda graph: graph.update(output="regression", outputs=1), "3 outputs"),
    "a classification of values": ("gru", lambda graph: graph.update(output="classification"), "no probabilities"),
    "a window on a plain network": ("mlp", at("window", value=3), "node 'a': it reads a row, and is given a sequence"),
    "a row for a recurrent layer": (
        "lstm",
        lambda graph: graph["nodes"].insert(0, graph["nodes"].pop(1) | {"input": "features"})
        or graph["nodes"][1].update(input="last")
        or graph["nodes"][2].update(input="cell"),
        "node 'cell': it reads a sequence, and is given a row",
    ),
    "a window beyond all bounds": ("lstm", at("window", value=10**12), "window"),
    "a sequence as the result": ("lstm", lambda graph: graph["nodes"].__delitem__(slice(1, 4)), "is not used"),
    "a column that does not exist": ("rules", at("nodes", 1, "fuzzy_inputs", 0, "column", value=2), "column 2 of 2"),
    "more rules than consequents": (
        "rules", at("nodes", 1, "fuzzy_inputs", value=[{"column": 0, "functions": ["bell"] * 256}] * 200),
        r"array 'consequents' is float32 \(6, 3, 2\), not float32 \(256, 3, 2\)",
    ),
    "a size below zero": (
        "rules", at("nodes", 1, "fuzzy_inputs", 1, "functions", 0, value="gaussian"), "for a gaussian membership",
    ),
    "columns of too few classes": ("trees", at("nodes", 1, "columns", value=[0]), "are not 2 ascending numbers"),
    "columns that descend": ("trees", at("nodes", 1, "columns", value=[2, 0]), "are not 2 ascending numbers below 3"),
    "a column beyond the classes": ("trees", at("nodes", 1, "columns", value=[0, 3]), "ascending numbers below 3"),
    "contributions of trees": ("trees", at("average", value="start"), "array 'start' is used twice"),
    "a pair of two scores": ("logistic", at("nodes", 1, "input", value="d"), "reads 'd', which does not stand before"),
    "a mean of different nodes": ("logistic", at("nodes", 5, "inputs", value=["c", "d"]), "nothing reads 'e'"),
    "an infinite factor": ("gru", at("nodes", 3, "factor", value=1e999), "Infinity is not a JSON number"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_one_sentence_at_once(name, twins, tmp_path):
    kind, change, message = WRONG[name]
    good, arrays = twins[kind]()
    write_twin(tmp_path, Twin(good.to_json(), arrays))
    (tmp_path / "twin.json").write_text(json.dumps(changed(good, change)), encoding="utf-8")
    with pytest.raises(FileError, match=message) as caught:
        read_twin(tmp_path)
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in inner for found in leaves(child, (*path, key)))]


def predicted_or_none(graph: TwinGraph, arrays: Any, rows: np.ndarray) -> np.ndarray | None:
    """Return the prediction, or nothing if its numbers overflow, which is an error for a person."""
    try:
        return portable_predictor(graph, arrays).predict(rows)
    except BadInputError:
        return None


@given(data=st.data())
def test_a_graph_with_anything_anywhere_is_refused_or_predicts(twins, data):
    kind = data.draw(st.sampled_from(KINDS))
    graph, arrays = twins[kind]()
    value = json.loads(json.dumps(graph.to_json()))
    path = data.draw(st.sampled_from([found for found in leaves(value) if found]))
    names = st.sampled_from(sorted(arrays) + [node["name"] for node in value["nodes"]] + ["features"])
    at(*path, value=data.draw(names | JSON))(value)
    try:
        read = TwinGraph.model_validate(value)
        check_graph(read, arrays)
    except (ValidationError, TwinError):
        return
    rows = np.ones((read.window + 2 if read.window < 50 else 3, read.input_size), np.float32)
    predicted = predicted_or_none(read, arrays, rows)
    assert predicted is None or len(predicted) == len(rows)


@given(data=st.data())
def test_arrays_with_anything_in_them_are_refused_or_predict(twins, data):
    kind = data.draw(st.sampled_from(KINDS))
    graph, arrays = twins[kind]()
    name = data.draw(st.sampled_from(sorted(arrays)))
    arrays[name] = arrays[name].copy()
    place = data.draw(st.integers(0, arrays[name].size - 1))
    numbers = st.integers(-5, 5) if arrays[name].dtype.kind == "i" else st.floats(width=32)
    arrays[name].flat[place] = data.draw(numbers)
    try:
        check_graph(graph, arrays)
    except TwinError:
        return
    predicted = predicted_or_none(graph, arrays, np.ones((6, graph.input_size), np.float32))
    assert predicted is None or np.isfinite(predicted[graph.window - 1 :]).all()


def test_a_twin_is_the_same_after_writing_and_reading(twins, tmp_path):
    rule = Rule((("rsi", "low"),), 1.0, {"BUY": 0.25, "SELL": 0.75}, "if rsi is low then SELL 75%, BUY 25%")
    for kind, make in twins.items():
        graph, arrays = make()
        for name in ("one", "two"):
            (tmp_path / kind / name).mkdir(parents=True)
            write_twin(tmp_path / kind / name, Twin(graph.to_json(), arrays), [rule])
        read, found = read_twin(tmp_path / kind / "one")
        assert read.model_copy(update={"rules": ()}) == graph
        assert list(portable_predictor(read, found).rules()) == [rule]
        assert found.keys() == arrays.keys()
        for name in arrays:
            np.testing.assert_array_equal(found[name], arrays[name], strict=True)
        for file in ("twin.json", "twin.safetensors"):
            assert (tmp_path / kind / "one" / file).read_bytes() == (tmp_path / kind / "two" / file).read_bytes()


def test_a_twin_that_does_not_fit_is_not_written(twins, tmp_path):
    graph, arrays = twins["mlp"]()
    del arrays["average"]
    with pytest.raises(TwinError, match="array 'average' is missing"):
        write_twin(tmp_path, Twin(graph.to_json(), arrays))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["twin.json", "twin.safetensors"])
def test_any_other_bytes_in_a_file_are_refused(file, twins, tmp_path):
    graph, arrays = twins["rules"]()
    write_twin(tmp_path, Twin(graph.to_json(), arrays))
    whole = (tmp_path / file).read_bytes()
    for content in (b"", b"{}", b"null", whole[:-2], whole + b"\0", whole[1:], b"\x80\x04]."):
        (tmp_path / file).write_bytes(content)
        with pytest.raises(FileError, match=f"^{file}"):
            read_twin(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(FileError, match=f"{file} is missing"):
        read_twin(tmp_path)


def test_arrays_of_other_kinds_are_refused(twins, tmp_path):
    graph, arrays = twins["mlp"]()
    write_twin(tmp_path, Twin(graph.to_json(), arrays))
    path = tmp_path / "twin.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"U32"'))
    with pytest.raises(FileError, match="holds 'a.bias' as U32; it may hold F32, F64, I32"):
        read_twin(tmp_path)


def test_long_lists_of_the_wrong_kind_are_refused_at_their_first_item(twins):
    value = twins["trees"]()[0].to_json()
    value["nodes"][1]["columns"] = [-1] * 900_000
    with pytest.raises(ValidationError) as caught:
        TwinGraph.model_validate(value)
    assert caught.value.error_count() <= 2
    value["nodes"] = [0] * 900_000
    with pytest.raises(ValidationError) as caught:
        TwinGraph.model_validate(value)
    assert caught.value.error_count() <= 2
    read = TwinGraph.model_validate(twins["rules"]()[0].to_json() | {"rules": [0] * 900_000})
    with pytest.raises(TwinError, match="`rules` of the twin are no rules"):
        read.rule_records()


def test_text_of_a_file_does_not_reach_a_message_unquoted_or_whole(twins, tmp_path):
    graph, arrays = twins["mlp"]()
    for text in ("evil\x1b[2J\nfoo", "x" * 3_000_000):
        for change in (at("nodes", 1, text, value=1), at("nodes", 1, "kind", value=text), at(text, value=1)):
            write_twin(tmp_path, Twin(graph.to_json(), arrays))
            (tmp_path / "twin.json").write_text(json.dumps(changed(graph, change)), encoding="utf-8")
            with pytest.raises(FileError) as caught:
                read_twin(tmp_path)
            assert str(caught.value).isprintable()
            assert len(str(caught.value)) < 300
        with pytest.raises(TwinError) as caught:
            check_graph(graph, arrays | {text: np.zeros(1, np.float32)})
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 300


def test_layers_that_widen_beyond_all_bounds_are_refused(twins):
    from ktrdr.core.inference import Activation, Mean, Pair, Softmax, Spread

    _, arrays = twins["logistic"]()
    first = twins["logistic"]()[0].nodes[0]
    wide = [Spread(name="wide", input="p", columns=(0, 1), width=100_000)]
    many = [Activation(name=f"n{number}", input="wide", function="sigmoid") for number in range(20)]
    nodes = (first, Pair(name="pair", input="a"), Softmax(name="p", input="pair"), *wide, *many)
    mean = Mean(name="m", inputs=tuple(node.name for node in many))
    graph = TwinGraph(input_size=3, output="classification", outputs=100_000, nodes=(*nodes, mean))
    with pytest.raises(TwinError, match="its layers give 2,[0-9,]+ values for a row, more than the 1,048,576 allowed"):
        check_graph(graph, {name: arrays[name] for name in ("a.weights", "a.bias")})


def test_a_scale_of_0_is_refused(twins):
    graph, arrays = twins["rules"]()
    arrays["scale"][1] = 0
    with pytest.raises(TwinError, match="node 'z': array 'scale' has a 0"):
        check_graph(graph, arrays)
