"""Random twins that are correct, of every layer except trees."""

import numpy as np
from hypothesis import strategies as st

from ktrdr.core.inference import (
    Activation,
    Dense,
    FuzzyInput,
    Gru,
    Last,
    Lstm,
    Mean,
    Pair,
    Rules,
    Scale,
    Softmax,
    Spread,
    Standardize,
    TwinGraph,
)

ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky_relu", "gelu")
SHAPES = ("trapezoidal", "gaussian", "sigmoid", "bell")


class Drawn:
    """Nodes and arrays, as they are drawn."""

    def __init__(self, draw):
        self.draw = draw
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.nodes, self.arrays = [], {}

    def array(self, values, dtype=np.float32):
        name = f"a{len(self.arrays)}"
        self.arrays[name] = np.asarray(values, dtype=dtype)
        return name

    def normal(self, *shape, dtype=np.float32):
        return self.array(self.random.normal(size=shape) / np.sqrt(shape[-1]), dtype)

    def add(self, kind, read, **fields):
        name = f"n{len(self.nodes)}"
        self.nodes.append(kind(name=name, input=read, **fields))
        return name

    def dense(self, read, inputs, outputs):
        dtype = self.draw(st.sampled_from([np.float32, np.float64]))
        weights = self.normal(outputs, inputs, dtype=dtype)
        return self.add(Dense, read, weights=weights, bias=self.normal(outputs, dtype=dtype))

    def standardize(self, read, inputs):
        scale = self.array(self.random.uniform(0.5, 2, inputs))
        return self.add(Standardize, read, center=self.normal(inputs), scale=scale)

    def recurrent(self, read, inputs, hidden):
        if self.draw(st.booleans()):
            fields = {"bias": self.normal(4 * hidden)}
            kind, gates = Lstm, 4
        else:
            fields = {"input_bias": self.normal(3 * hidden), "hidden_bias": self.normal(3 * hidden)}
            kind, gates = Gru, 3
        inputs, states = self.normal(gates * hidden, inputs), self.normal(gates * hidden, hidden)
        return self.add(kind, read, input_weights=inputs, hidden_weights=states, **fields)

    def rules(self, read, inputs, outputs):
        fuzzy, sizes = [], []
        for _ in range(self.draw(st.integers(1, 3))):
            functions = self.draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
            fuzzy.append(FuzzyInput(column=self.draw(st.integers(0, inputs - 1)), functions=tuple(functions)))
            sizes += [self.sizes(function) for function in functions]
        rules = int(np.prod([len(each.functions) for each in fuzzy]))
        consequents = self.array(self.random.normal(size=(rules, inputs + 1, outputs)))
        places = self.array(self.random.normal(size=len(sizes)))
        return self.add(
            Rules, read, fuzzy_inputs=tuple(fuzzy), places=places, sizes=self.array(sizes), consequents=consequents
        )

    def sizes(self, function):
        one, two, three = self.random.uniform(0.5, 2, 3)
        match function:
            case "trapezoidal":
                # Shoulders, and functions without a top.
                return np.array([one, two, three]) * self.draw(st.tuples(*[st.sampled_from([0, 1, 1])] * 3))
            case "sigmoid":
                return [self.draw(st.sampled_from([-1, 1])) * one, 0, 0]
            case _:
                return [one, two, 0]

    def member(self, read, inputs, classes, window):
        """Return the name of a node with predictions: probabilities, or a value."""
        if window > 1:
            if self.draw(st.booleans()):
                read = self.standardize(read, inputs)
            for _ in range(self.draw(st.integers(0, 2))):
                hidden = self.draw(st.integers(1, 5))
                read, inputs = self.recurrent(read, inputs, hidden), hidden
            read = self.add(Last, read)
        for _ in range(self.draw(st.integers(0, 3))):
            match self.draw(st.sampled_from(["dense", "activation", "standardize", "rules"])):
                case "dense":
                    width = self.draw(st.integers(1, 6))
                    read, inputs = self.dense(read, inputs, width), width
                case "activation":
                    read = self.add(Activation, read, function=self.draw(st.sampled_from(ACTIVATIONS)))
                case "standardize":
                    read = self.standardize(read, inputs)
                case _:
                    width = self.draw(st.integers(1, 3))
                    read, inputs = self.rules(read, inputs, width), width
        if not classes:
            read = self.dense(read, inputs, 1)
            return self.add(Scale, read, factor=float(self.random.normal()), offset=0.5)
        seen = sorted(self.draw(st.sets(st.integers(0, classes - 1), min_size=2)))
        if len(seen) == 2 and self.draw(st.booleans()):
            read = self.add(Pair, self.dense(read, inputs, 1))
        else:
            read = self.dense(read, inputs, len(seen))
        read = self.add(Softmax, read)
        return read if len(seen) == classes else self.add(Spread, read, columns=tuple(seen), width=classes)


@st.composite
def random_twins(draw, most_features=4):
    """Return a twin with an average sample: one model, or the mean of several over common first layers."""
    drawn = Drawn(draw)
    features, window = draw(st.integers(1, most_features)), draw(st.sampled_from([1, 1, 2, 3, 5]))
    classes = draw(st.sampled_from([0, 2, 3]))
    read = "features"
    if draw(st.booleans()):
        read = drawn.standardize(read, features)
    members = [drawn.member(read, features, classes, window) for _ in range(draw(st.integers(1, 3)))]
    if len(members) > 1:
        drawn.nodes.append(Mean(name="mean", inputs=tuple(members)))
    graph = TwinGraph(
        input_size=features,
        window=window,
        output="classification" if classes else "regression",
        outputs=classes or 1,
        nodes=tuple(drawn.nodes),
        average=drawn.normal(features),
    )
    return graph, drawn.arrays
