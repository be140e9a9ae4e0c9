"""`model.json`: the description of a network, from which it is built again. It contains data, no code."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ktrdr.core.fuzzy.membership import MEMBERSHIP_TYPES
from ktrdr.core.jobs.refusals import message_of
from ktrdr.core.models.contents import BundleError
from ktrdr.core.parameters import validate_parameters
from ktrdr.core.plugins import CrispInput, ModelType, TrainingTask
from ktrdr.ml.torch.declaration import MODEL_TYPES

__all__ = ["Description", "FuzzyVariable", "Scaling", "describe", "parse_description"]

_MAX_LAYERS = 64
_MAX_FEATURES = 100_000
_MAX_MEMBERSHIPS = 256
# Parameters that models of format 1 lack, with the value that corresponds to them.
_ADDED_LATER = {"anfis": {"learning": "gradient"}}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class FuzzyVariable(_Part):
    """A :class:`~ktrdr.core.plugins.CrispInput`: ``functions`` are ``(name, type, parameters)`` in order."""

    name: str
    column: int = Field(ge=0)
    functions: tuple[tuple[str, str, tuple[float, ...]], ...] = Field(min_length=1, max_length=_MAX_MEMBERSHIPS)

    @model_validator(mode="after")
    def _functions_are_known(self) -> FuzzyVariable:
        for name, kind, parameters in self.functions:
            if len(parameters) != len(MEMBERSHIP_TYPES.get(kind, ())) or not all(map(math.isfinite, parameters)):
                raise ValueError(f"membership {name!r} is not a {kind} function")
        return self


class Scaling(_Part):
    """Labels of a regression are learned as ``(label - mean) / scale``."""

    mean: float = Field(allow_inf_nan=False)
    scale: float = Field(gt=0, allow_inf_nan=False)


class Description(_Part):
    """A complete description of a network without its weights.

    In format 1 the rules of an ``anfis`` have no ``centers``, and its architecture has no ``learning``.
    """

    format: Literal[1, 2] = 2
    model_type: str
    output: Literal["classification", "regression"]
    classes: tuple[str, ...]
    feature_ids: tuple[str, ...] = Field(min_length=1, max_length=_MAX_FEATURES)
    architecture: dict[str, Any]
    fuzzy_variables: tuple[FuzzyVariable, ...] = ()
    scaling: Scaling | None = None

    @model_validator(mode="before")
    @classmethod
    def _complete_older(cls, value: Any) -> Any:
        match value:
            case {"format": 1, "model_type": str(model_type), "architecture": dict(architecture)}:
                return {**value, "architecture": {**_ADDED_LATER.get(model_type, {}), **architecture}}
            case _:
                return value

    @model_validator(mode="after")
    def _consistent(self) -> Description:
        if self.model_type not in MODEL_TYPES:
            raise ValueError(f"there is no model type {self.model_type!r}")
        given = {name: value for name, value in self.architecture.items() if value is not None}
        complete, problems = validate_parameters(given, self.kind.architecture)
        if problems:
            raise ValueError(f"architecture: {problems[0].message}")
        if set(complete) != set(self.architecture):
            raise ValueError("architecture: a parameter is missing")
        if len(self.architecture.get("hidden_layers", ())) > _MAX_LAYERS:
            raise ValueError(f"architecture: more than {_MAX_LAYERS} hidden layers")
        if (self.output == "classification") != (len(self.classes) >= 2) or (self.output == "regression") != (
            self.scaling is not None
        ):
            raise ValueError("classes and scaling do not fit the output")
        if self.output == "regression" and self.architecture["output_activation"] is not None:
            raise ValueError("architecture: `output_activation: softmax` is for classification; leave it out")
        if (self.kind.inputs == "crisp") != bool(self.fuzzy_variables):
            raise ValueError(f"{self.model_type}: there are {len(self.fuzzy_variables)} fuzzy inputs")
        if any(variable.column >= self.input_size for variable in self.fuzzy_variables):
            raise ValueError("a fuzzy input reads a column that does not exist")
        return self

    @property
    def kind(self) -> ModelType:
        """What the plugin declares about the model type."""
        return MODEL_TYPES[self.model_type]

    @property
    def input_size(self) -> int:
        """Number of feature columns."""
        return len(self.feature_ids)

    @property
    def window(self) -> int:
        """Number of rows that one prediction uses."""
        name = self.kind.window_parameter
        return int(self.architecture[name]) if name else 1

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return len(self.classes) or 1


def describe(task: TrainingTask, scaling: Scaling | None) -> Description:
    """Return the description of the network of ``task``.

    Raises:
        BundleError: the task is contradictory.
    """
    return _validated(
        {
            "model_type": task.model_type,
            "output": task.output,
            "classes": task.classes,
            "feature_ids": task.feature_ids,
            "architecture": dict(task.architecture),
            "fuzzy_variables": [_variable(crisp) for crisp in task.crisp_inputs],
            "scaling": scaling,
        },
        "model",
    )


def _variable(crisp: CrispInput) -> dict[str, Any]:
    functions = [(name, kind, parameters) for name, (kind, parameters) in crisp.functions.items()]
    return {"name": crisp.name, "column": crisp.column, "functions": functions}


def parse_description(value: Any, name: str) -> Description:
    """Return the description in parsed JSON; ``name`` is for messages.

    Raises:
        BundleError: the value is not a valid description.
    """
    return _validated(value, name)


def _validated(value: Any, name: str) -> Description:
    try:
        return Description.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{name} is not valid{f' at {place}' if place else ''}: {message_of(first)}") from None
