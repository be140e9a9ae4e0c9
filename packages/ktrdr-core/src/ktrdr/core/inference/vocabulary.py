"""The vocabulary of portable twins: every layer that core can predict with, as data.

A twin is a list of nodes. Each reads the output of one earlier node, or of :data:`FEATURES`, the features of the model;
the output of the last node is the prediction. There are no cycles, because a node reads only what stands before it.
Arrays are in a safetensors file; a field of a node that ends in the name of an array says which. Shapes below are of
one prediction; ``inputs`` and ``outputs`` are the widths of a node.

A model with a window reads a sequence ``(window, features)``, any other model one row ``(features,)``, which recurrent
layers take as a sequence of one.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, ValidationError, model_validator

from ktrdr.core.inference.twin_error import TwinError
from ktrdr.core.limits import LARGEST_WINDOW

__all__ = [
    "FEATURES",
    "MOST_NODES",
    "TWIN_FORMAT",
    "Activation",
    "Dense",
    "FuzzyInput",
    "Gru",
    "Last",
    "Lstm",
    "Mean",
    "Node",
    "Pair",
    "RuleRecord",
    "Rules",
    "Scale",
    "Softmax",
    "Spread",
    "Standardize",
    "Trees",
    "TwinGraph",
]

TWIN_FORMAT = 1
"""Version of the vocabulary. It is raised when a layer is added or changed; a newer twin is refused."""

FEATURES = "features"
"""Name that the first node reads."""

MOST_NODES = 1_000
"""Largest number of nodes of a twin."""

_MOST_WIDTH = 100_000
_MOST_FUNCTIONS = 256
_MOST_RULES = 65_536

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,63}$")]
"""Name of a node or an array."""

Width = Annotated[int, Field(ge=1, le=_MOST_WIDTH, strict=True)]
Text = Annotated[str, Field(max_length=100_000, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Node(_Part):
    """A layer.

    Attributes:
        name: name of the node's output.
        input: name of the node it reads.
    """

    arrays: ClassVar[tuple[str, ...]] = ()
    """Fields whose values are names of arrays."""

    name: Name
    input: Name

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the nodes that this one reads."""
        return (self.input,)


class Standardize(_Node):
    """Standardized rows: ``(x - center) / scale``.

    Attributes:
        center, scale: arrays ``(inputs,)``; no scale is 0.
    """

    arrays = ("center", "scale")
    kind: Literal["standardize"] = "standardize"
    center: Name
    scale: Name


class Dense(_Node):
    """A linear layer: ``weights @ x + bias``, computed in the dtype of its weights.

    A normalization with fixed statistics is folded into the weights of the layer before it.

    Attributes:
        weights: array ``(outputs, inputs)``, float32 or float64.
        bias: array ``(outputs,)`` of the same dtype.
    """

    arrays = ("weights", "bias")
    kind: Literal["dense"] = "dense"
    weights: Name
    bias: Name


class Activation(_Node):
    """An activation of every value: ``relu``, ``tanh``, ``sigmoid``, ``leaky_relu`` with a slope of 0.01 below 0, or
    ``gelu``, ``x`` times the distribution function of the normal distribution.
    """  # noqa: D205

    kind: Literal["activation"] = "activation"
    function: Literal["relu", "tanh", "sigmoid", "leaky_relu", "gelu"]


class Lstm(_Node):
    """A layer of LSTM cells over a sequence; its output is the sequence of hidden states ``(window, hidden)``.

    The gates are in the order input, forget, cell, output (S. Hochreiter, J. Schmidhuber, *Long short-term memory*,
    1997, with the forget gate of F. Gers, J. Schmidhuber, F. Cummins, *Learning to forget*, 2000): with
    ``i, f, g, o = input_weights @ x + hidden_weights @ h + bias``, the cell is ``sigmoid(f) * cell + sigmoid(i) *
    tanh(g)``, and the hidden state ``sigmoid(o) * tanh(cell)``. Both start at 0.

    Attributes:
        input_weights: array ``(4 * hidden, inputs)``.
        hidden_weights: array ``(4 * hidden, hidden)``.
        bias: array ``(4 * hidden,)``.
    """

    arrays = ("input_weights", "hidden_weights", "bias")
    kind: Literal["lstm"] = "lstm"
    input_weights: Name
    hidden_weights: Name
    bias: Name


class Gru(_Node):
    """A layer of gated recurrent units over a sequence; its output is the sequence of states ``(window, hidden)``.

    The gates are in the order reset, update, new (K. Cho and others, *Learning phrase representations using RNN
    encoder-decoder*, 2014, with the bias of the new gate inside of the reset): ``r`` and ``z`` are the sigmoids of the
    sums of their two parts, ``n = tanh(input part + r * hidden part)``, and the state ``(1 - z) * n + z * h``. It
    starts at 0.

    Attributes:
        input_weights: array ``(3 * hidden, inputs)``.
        hidden_weights: array ``(3 * hidden, hidden)``.
        input_bias, hidden_bias: arrays ``(3 * hidden,)``.
    """

    arrays = ("input_weights", "hidden_weights", "input_bias", "hidden_bias")
    kind: Literal["gru"] = "gru"
    input_weights: Name
    hidden_weights: Name
    input_bias: Name
    hidden_bias: Name


class Last(_Node):
    """The last row of a sequence."""

    kind: Literal["last"] = "last"


class FuzzyInput(_Part):
    """The memberships of one input of :class:`Rules`.

    Attributes:
        column: position of the input in the row that the node reads.
        functions: type of each membership. A triangular function is ``trapezoidal`` without a top.
    """

    column: Annotated[int, Field(ge=0, lt=_MOST_WIDTH, strict=True)]
    functions: Annotated[
        tuple[Literal["trapezoidal", "gaussian", "sigmoid", "bell"], ...],
        Field(min_length=1, max_length=_MOST_FUNCTIONS),
    ]


class Rules(_Node):
    """First-order Takagi-Sugeno rules, one for each combination of memberships of all fuzzy inputs.

    The rules are in the order of :func:`itertools.product`. The strength of a rule is the product of the degrees of its
    memberships, computed in logarithms relative to the strongest rule, and divided by the sum of all strengths. The
    output is the mean of ``coefficients @ x + constant`` of the rules, weighted by the strengths; 0 where no rule
    fires.

    A degree depends on the distance ``d`` of the input from the ``place`` of the function and its three ``sizes``:

    - ``trapezoidal``: 1 on the top of width ``sizes[1]``, which begins at the place; it rises over ``sizes[0]`` before
      it and falls over ``sizes[2]`` behind it. A ramp of 0 is a shoulder: the degree stays 1.
    - ``gaussian``: ``exp(-(d / sizes[0]) ** 2 / 2)``.
    - ``sigmoid``: ``1 / (1 + exp(-d * sizes[0]))``.
    - ``bell``: ``1 / (1 + abs(d / sizes[0]) ** (2 * sizes[1]))``.

    Attributes:
        fuzzy_inputs: the inputs and the types of their memberships.
        places: array ``(memberships,)`` of all inputs, in their order.
        sizes: array ``(memberships, 3)``.
        consequents: array ``(rules, inputs + 1, outputs)``: the coefficients of each rule, then its constant.
    """

    arrays = ("places", "sizes", "consequents")
    kind: Literal["rules"] = "rules"
    fuzzy_inputs: Annotated[tuple[FuzzyInput, ...], Field(min_length=1, max_length=_MOST_FUNCTIONS)]
    places: Name
    sizes: Name
    consequents: Name


class Trees(_Node):
    """Decision trees over one row, whose leaves are summed or averaged, in float64.

    A row goes left where ``features[node]`` of it is at most ``thresholds[node]``. Nodes of all trees are numbered
    together. The children of a node have larger numbers than the node; a leaf has itself as both children.

    Attributes:
        combine: ``sum`` adds the trees to ``start``; ``mean`` divides their sum by their number and then adds it.
        start: array float64 ``(outputs,)``.
        roots: array int32 ``(trees,)``.
        columns: array int32 ``(trees,)``: the first output that the values of a tree are added to.
        features: array int32 ``(nodes,)``.
        thresholds: array float64 ``(nodes,)``; 0 in leaves.
        left, right: arrays int32 ``(nodes,)``.
        values: array float64 ``(nodes, width)``; not used in inner nodes.
    """

    arrays = ("start", "roots", "columns", "features", "thresholds", "left", "right", "values")
    kind: Literal["trees"] = "trees"
    combine: Literal["sum", "mean"]
    start: Name
    roots: Name
    columns: Name
    features: Name
    thresholds: Name
    left: Name
    right: Name
    values: Name


class Pair(_Node):
    """Scores of two classes ``(0, x)``, of one score: the log-odds of the second class."""

    kind: Literal["pair"] = "pair"


class Softmax(_Node):
    """Probabilities: ``exp(x)`` divided by its sum, in float64."""

    kind: Literal["softmax"] = "softmax"


class Spread(_Node):
    """Probabilities of some of the classes, and 0 for the others.

    Attributes:
        columns: position of each input among the outputs, ascending.
        width: number of outputs.
    """

    kind: Literal["spread"] = "spread"
    columns: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=_MOST_WIDTH, strict=True)], ...],
        FailFast(),
        Field(min_length=1, max_length=_MOST_WIDTH),
    ]
    width: Width


class Scale(_Node):
    """Values in units of the labels: ``x * factor + offset``, in float64."""

    kind: Literal["scale"] = "scale"
    factor: float
    offset: float


class Mean(_Part):
    """The mean of the outputs of several nodes, in float64: an ensemble.

    Attributes:
        name: name of the node's output.
        inputs: names of the nodes it reads, which have equal widths.
    """

    arrays: ClassVar[tuple[str, ...]] = ()

    kind: Literal["mean"] = "mean"
    name: Name
    inputs: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MOST_NODES)]

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the nodes that this one reads."""
        return self.inputs


Node = Standardize | Dense | Activation | Lstm | Gru | Last | Rules | Trees | Pair | Softmax | Spread | Scale | Mean
"""A layer of a twin."""


class RuleRecord(_Part):
    """A fuzzy rule in words and numbers: see :class:`~ktrdr.core.plugins.Rule`."""

    conditions: Annotated[tuple[tuple[Text, Text], ...], Field(max_length=_MOST_FUNCTIONS)]
    weight: float
    outputs: dict[Text, float]
    text: Text


_RULES: TypeAdapter[tuple[RuleRecord, ...]] = TypeAdapter(
    Annotated[tuple[RuleRecord, ...], FailFast(), Field(max_length=_MOST_RULES)]
)


class TwinGraph(_Part):
    """The content of `twin.json`.

    Attributes:
        format: :data:`TWIN_FORMAT` of the core that wrote it.
        input_size: number of feature columns.
        window: number of rows that one prediction uses.
        output: kind of the output.
        outputs: number of classes, or 1 for a value.
        nodes: the layers; each reads only earlier ones, and each but the last is read.
        average: name of the array float32 ``(input_size,)`` with the average training sample, which contributions are
            relative to; ``None`` for a model without contributions.
        rules: a list of :class:`RuleRecord` of a rule-based model, the largest weight first. Core adds them. They are
            checked by :meth:`rule_records`, as a prediction does not need them.
    """

    format: Literal[1] = 1
    input_size: Width
    window: Annotated[int, Field(ge=1, le=LARGEST_WINDOW, strict=True)] = 1
    output: Literal["classification", "regression"]
    outputs: Width
    nodes: Annotated[
        tuple[Annotated[Node, Field(discriminator="kind")], ...],
        FailFast(),
        Field(min_length=1, max_length=MOST_NODES),
    ]
    average: Name | None = None
    rules: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> TwinGraph:
        known: set[str] = {FEATURES}
        read: set[str] = set()
        for node in self.nodes:
            if node.name in known:
                raise ValueError(f"the name {node.name!r} stands twice")
            if unknown := [name for name in node.reads if name not in known]:
                raise ValueError(f"node {node.name!r} reads {unknown[0]!r}, which does not stand before it")
            known.add(node.name)
            read.update(node.reads)
        if unread := sorted(known - read - {self.nodes[-1].name}):
            raise ValueError(f"nothing reads {unread[0]!r}")
        return self

    def array_names(self) -> list[str]:
        """Return the names of all arrays, each as often as it is used."""
        used = [] if self.average is None else [self.average]
        return used + [getattr(node, field) for node in self.nodes for field in node.arrays]

    def rule_records(self) -> tuple[RuleRecord, ...]:
        """Return the rules.

        Raises:
            TwinError: there is something else in their place.
        """
        try:
            return _RULES.validate_python(self.rules)
        except ValidationError as error:
            told = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise TwinError(f"`rules` of the twin are no rules: {told}") from None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        return self.model_dump(mode="json")
