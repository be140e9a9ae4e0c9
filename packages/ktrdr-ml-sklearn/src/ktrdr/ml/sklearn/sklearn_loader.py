"""Loading of models. A file is checked completely before anything is built from it."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.reading import parse_json, read_plain
from ktrdr.core.jobs.refusals import message_of
from ktrdr.core.limits import LARGEST_JSON
from ktrdr.core.models.contents import BundleError, check_file, most_schema_values
from ktrdr.ml.sklearn.single_training import require_cpu
from ktrdr.ml.sklearn.sklearn_model import SklearnPredictor
from ktrdr.ml.sklearn.sklearn_storage import MODEL_FILE, WEIGHTS_FILE
from ktrdr.ml.sklearn.skops_io import skops_io
from ktrdr.ml.sklearn.trusted import ESTIMATORS, LOADERS, TRUSTED

__all__ = ["SklearnLoader"]

_WRONG = (TypeError, ValueError, KeyError, IndexError, AttributeError, NotImplementedError, RuntimeError, OverflowError)


class _Description(BaseModel):
    """`model.json`."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    format: Literal[1]
    model_type: str
    output: Literal["classification", "regression"]
    input_size: int = Field(gt=0)
    classes: list[str]
    seen: list[int]
    scikit_learn: str = Field(alias="scikit-learn", pattern=r"^\d+\.\d+(\.\w+)*$")

    @model_validator(mode="after")
    def _consistent(self) -> _Description:
        if (self.model_type, self.output) not in ESTIMATORS:
            raise ValueError(f"there is no {self.output} model type {self.model_type!r}")
        ascending = all(a < b for a, b in zip([-1, *self.seen], [*self.seen, len(self.classes)], strict=True))
        if not ascending or (self.output == "classification") != (len(self.seen) >= 2):
            raise ValueError("`classes`, `seen` and `output` contradict each other")
        return self


class SklearnLoader:
    """Reads the files of :class:`~ktrdr.ml.sklearn.sklearn_storage.SklearnStorage`, and refuses all others."""

    def load(self, directory: Path, device: str = "auto") -> SklearnPredictor:
        """Return a predictor.

        Raises:
            BadInputError: the device does not exist, or the files are not a model of this backend.
        """
        require_cpu(device)
        description = _read_description(directory / MODEL_FILE)
        path = directory / WEIGHTS_FILE
        key = (description.model_type, description.output)
        check_file(path)
        _check_schema(path, TRUSTED[key])
        try:
            estimator = _construct(path, sorted(TRUSTED[key]))
            if f"{type(estimator).__module__}.{type(estimator).__name__}" != ESTIMATORS[key]:
                raise BundleError(f"{WEIGHTS_FILE} holds a {type(estimator).__name__}, not a {description.model_type}")
            _check_trees(estimator, description)
            predictor = SklearnPredictor(
                estimator,
                description.model_type,
                description.output,
                description.input_size,
                tuple(description.classes),
                tuple(description.seen),
            )
            answer = predictor.predict(np.zeros((2, description.input_size), dtype=np.float32))
        except _WRONG as error:
            raise BundleError(f"{WEIGHTS_FILE} is damaged: {type(error).__name__}: {error}") from error
        if not np.isfinite(answer).all():
            raise BundleError(f"{WEIGHTS_FILE} is damaged: its predictions are not finite")
        return predictor


def _read_description(path: Path) -> _Description:
    import sklearn

    try:
        description = _Description.model_validate(parse_json(read_plain(path, LARGEST_JSON), path.name))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path.name} is not valid{f' at {place}' if place else ''}: {message_of(first)}") from None
    written, here = (_minor(version) for version in (description.scikit_learn, sklearn.__version__))
    if written > here:
        raise BadInputError(
            f"the model was stored with scikit-learn {description.scikit_learn}, {sklearn.__version__} is installed; "
            f"update it with `pip install 'scikit-learn>={written[0]}.{written[1]}'`"
        )
    return description


def _minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _check_schema(path: Path, trusted: frozenset[str]) -> None:
    """Refuse a file with a type or loader that is not trusted, before skops reads it."""
    with zipfile.ZipFile(path) as archive:
        members = set(archive.namelist())
        if "schema.json" not in members:
            raise BundleError(f"{path.name} has no schema.json")
        schema = parse_json(
            archive.read("schema.json"), f"{path.name}:schema.json", most=most_schema_values(path.stat().st_size)
        )
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            _check_node(node, path.name, trusted, members)
            pending += node.values()


def _check_node(node: dict[str, Any], name: str, trusted: frozenset[str], members: set[str]) -> None:
    if "__loader__" in node and node["__loader__"] not in LOADERS:
        raise BundleError(f"{name} uses the loader {node['__loader__']!r}, which models of this backend never use")
    if "__class__" in node or "__module__" in node:
        named = f"{node.get('__module__')}.{node.get('__class__')}"
        if named not in trusted:
            raise BundleError(f"{name} names the type {named!r}, which models of this type do not contain")
    if "file" in node and node["file"] not in members:
        raise BundleError(f"{name} refers to {node['file']!r}, which it does not contain")


def _construct(path: Path, trusted: list[str]) -> Any:
    io = skops_io()
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        with warnings.catch_warnings():
            # Warnings about an older scikit-learn: loading and prediction are checked next.
            warnings.simplefilter("ignore")
            return io.load(path, trusted=trusted)
    except UntrustedTypesFoundException as error:
        raise BundleError(f"{WEIGHTS_FILE} is refused: {error}") from None
    except (json.JSONDecodeError, RecursionError, zipfile.BadZipFile) as error:
        raise BundleError(f"{WEIGHTS_FILE} is damaged: {error}") from None


def _check_trees(estimator: Any, description: _Description) -> None:
    """Check that the links of trees stay inside the tree and lead away from the root; scikit-learn does not check."""
    size = description.input_size
    if estimator.n_features_in_ != size:
        raise BundleError(f"{WEIGHTS_FILE} is for {estimator.n_features_in_} features, {MODEL_FILE} says {size}")
    if description.classes and len(estimator.classes_) != len(description.seen):
        raise BundleError(f"{WEIGHTS_FILE} and {MODEL_FILE} do not agree on the classes")
    if description.model_type == "random_forest":
        for tree in (member.tree_ for member in estimator.estimators_):
            inner = tree.children_left != -1
            if tree.n_features != size or np.any((tree.children_left == -1) != (tree.children_right == -1)):
                raise BundleError(f"{WEIGHTS_FILE} holds a tree for other features")
            _check_links(inner, tree.children_left, tree.children_right, tree.feature, size)
    elif description.model_type == "gradient_boosting":
        from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

        for nodes in (tree.nodes for trees in estimator._predictors for tree in trees):
            if nodes.dtype != PREDICTOR_RECORD_DTYPE or nodes.ndim != 1 or np.any(nodes["is_categorical"]):
                raise BundleError(f"{WEIGHTS_FILE} holds a tree of an unknown layout")
            _check_links(nodes["is_leaf"] == 0, nodes["left"], nodes["right"], nodes["feature_idx"], size)


def _check_links(inner: np.ndarray, left: np.ndarray, right: np.ndarray, feature: np.ndarray, size: int) -> None:
    own = np.flatnonzero(inner)
    inside = len(inner) > 0 and all(
        np.all(child[inner].astype(np.int64) > own) and np.all(child[inner] < len(inner)) for child in (left, right)
    )
    if not inside or np.any(feature[inner].astype(np.int64) < 0) or np.any(feature[inner] >= size):
        raise BundleError(f"{WEIGHTS_FILE} holds a tree whose branches lead outside of it")
