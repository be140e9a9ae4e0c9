"""Weights files made by someone else: refused before anything is built from them."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.testing.learning_problems import make_problem
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.sklearn.declaration import INFO
from ktrdr.ml.sklearn.sklearn_loader import SklearnLoader
from ktrdr.ml.sklearn.sklearn_storage import SklearnStorage
from ktrdr.ml.sklearn.sklearn_trainer import SklearnTrainer

TYPES = {model_type.name: model_type for model_type in INFO.model_types}


@pytest.fixture
def saved(tmp_path):
    def run(name):
        architecture = {"n_estimators": 3} if name == "random_forest" else {}
        given = make_problem(TYPES[name], "classification", architecture=architecture)
        model = SklearnTrainer().train(
            given.task, given.data, progress=NO_PROGRESS, cancellation=Cancellation(), checkpoint=None
        )
        SklearnStorage().save(model, tmp_path)
        SklearnLoader().load(tmp_path)
        return tmp_path / "weights.skops"

    return run


def rewrite(path, change):
    """Apply ``change(schema, members)`` to the archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members.pop("schema.json"))
    change(schema, members)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
        for name, content in members.items():
            archive.writestr(name, content)


def call_system(canary):
    """A node that would import a function and call it."""
    text = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "is_json": True}
    argument = {**text, "content": json.dumps(f"touch {canary}")}
    function = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "content": "system"}
    arguments = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": [argument]}
    return {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "ReduceNode",
        "__reduce__": {"args": arguments, "constructor": function},
        "content": argument,
    }


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_file_that_names_a_function_is_refused_and_does_not_run(saved, tmp_path, name):
    path, canary = saved(name), tmp_path / "the-code-ran"
    rewrite(path, lambda schema, members: schema["content"]["content"].update(random_state=call_system(canary)))
    with pytest.raises(BadInputError, match="models of this backend never use|names the type 'os.system'"):
        SklearnLoader().load(tmp_path)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("subprocess", "Popen"),
        ("sklearn.preprocessing._function_transformer", "FunctionTransformer"),
        ("sklearn.pipeline", "Pipeline"),
        ("joblib.numpy_pickle", "NumpyUnpickler"),
        ("a_module_that_would_be_imported", "X"),
    ],
)
def test_only_listed_types_pass(saved, tmp_path, module, kind):
    path = saved("logistic_regression")
    rewrite(path, lambda schema, members: schema.update(__module__=module, __class__=kind))
    with pytest.raises(BadInputError, match=r"names the type '.*', which models of this type do not contain"):
        SklearnLoader().load(tmp_path)


def test_a_type_of_another_model_type_does_not_pass(saved, tmp_path):
    saved("random_forest")
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(description | {"model_type": "logistic_regression"}))
    with pytest.raises(BadInputError, match="which models of this type do not contain"):
        SklearnLoader().load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"model_type": "svm"},
        {"output": "regression"},
        {"input_size": 0},
        {"input_size": 5},
        {"classes": []},
        {"seen": [0, 0, 1]},
        {"seen": [0, 1]},
        {"seen": [0, 1, 3]},
        {"seen": [-1, 0, 1]},
        {"extra": 1},
        {"scikit-learn": "99.0"},
        {"scikit-learn": "; rm -rf"},
    ],
)
@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_description_that_does_not_fit_is_refused(saved, tmp_path, name, change):
    saved(name)
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(description | change))
    with pytest.raises(BadInputError) as caught:
        SklearnLoader().load(tmp_path)
    assert "\n" not in str(caught.value)
    assert "Value error" not in str(caught.value), "the prefix is pydantic's"
    assert "('" not in str(caught.value), "the place is a path, not a tuple"


def array(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def poison(field, value):
    """Write ``value`` into ``field`` of the first inner node of the first tree."""

    def change(schema, members):
        for name in sorted(members, key=lambda name: int(name.partition(".")[0])):
            values = np.load(io.BytesIO(members[name]))
            if values.dtype.names and field in values.dtype.names:
                values = values.copy()
                values[field][0] = value
                members[name] = array(values)
                return
        raise AssertionError(f"no array with a field {field}")

    return change


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("gradient_boosting", "left", 10**6),
        ("gradient_boosting", "left", 0),
        ("gradient_boosting", "right", 2**32 - 1),
        ("gradient_boosting", "feature_idx", 10**6),
        ("gradient_boosting", "feature_idx", -1),
        ("gradient_boosting", "is_categorical", 1),
        ("random_forest", "left_child", 10**6),
        ("random_forest", "left_child", 0),
        ("random_forest", "right_child", -7),
        ("random_forest", "feature", 10**6),
        ("random_forest", "feature", -3),
    ],
)
def test_a_tree_that_would_lead_out_of_memory_is_refused(saved, tmp_path, name, field, value):
    rewrite(saved(name), poison(field, value))
    with pytest.raises(BadInputError, match=r"weights\.skops"):
        SklearnLoader().load(tmp_path)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_file_without_what_it_refers_to_is_refused(saved, tmp_path, name):
    rewrite(saved(name), lambda schema, members: members.clear())
    with pytest.raises(BadInputError, match="refers to '.*npy', which it does not contain"):
        SklearnLoader().load(tmp_path)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_missing_attributes_are_one_sentence(saved, tmp_path, name):
    rewrite(saved(name), lambda schema, members: schema["content"]["content"].pop("classes_"))
    with pytest.raises(BadInputError, match=r"weights\.skops is damaged"):
        SklearnLoader().load(tmp_path)


def test_nested_without_end_is_refused(saved, tmp_path):
    path = saved("logistic_regression")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", "[" * 100_000 + "]" * 100_000)
    with pytest.raises(BadInputError, match="nested too deeply|not valid JSON"):
        SklearnLoader().load(tmp_path)
