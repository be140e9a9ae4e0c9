"""Prediction from a twin, number by number in float64: what the layers are compared with."""

import itertools
import math

import numpy as np

from ktrdr.core.inference import FEATURES

FUNCTIONS = {
    "relu": lambda x: max(x, 0.0),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
}


def degree(function, distance, sizes):
    """Return the degree of a membership at a distance from its place."""
    one, two, three = sizes
    match function:
        case "trapezoidal":
            if distance < 0:
                return max(1 + distance / one, 0.0) if one else 1.0
            if distance > two:
                return max(1 - (distance - two) / three, 0.0) if three else 1.0
            return 1.0
        case "gaussian":
            return math.exp(-((distance / one) ** 2) / 2)
        case "sigmoid":
            return 1 / (1 + math.exp(-distance * one))
        case _:
            return 1 / (1 + abs(distance / one) ** (2 * two))


def rules(node, x, arrays):
    places, sizes = arrays[node.places].tolist(), arrays[node.sizes].tolist()
    by_input, first = [], 0
    for fuzzy in node.fuzzy_inputs:
        own = range(first, first + len(fuzzy.functions))
        by_input.append(
            [degree(f, x[fuzzy.column] - places[at], sizes[at]) for f, at in zip(fuzzy.functions, own, strict=True)]
        )
        first += len(own)
    strengths = [math.prod(degrees) for degrees in itertools.product(*by_input)]
    total = sum(strengths)
    scores = [0.0] * arrays[node.consequents].shape[2]
    for strength, consequent in zip(strengths, arrays[node.consequents].tolist(), strict=True):
        for output in range(len(scores)):
            linear = sum(value * row[output] for value, row in zip([*x, 1.0], consequent, strict=True))
            scores[output] += strength / total * linear if total else 0.0
    return scores


def dense(weights, bias, x):
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weights, bias, strict=True)]


def lstm(node, rows, arrays):
    inputs, states, bias = (arrays[name].tolist() for name in (node.input_weights, node.hidden_weights, node.bias))
    hidden = len(states[0])
    h, cell, found = [0.0] * hidden, [0.0] * hidden, []
    for row in rows:
        sums = [a + b for a, b in zip(dense(inputs, bias, row), dense(states, [0.0] * len(bias), h), strict=True)]
        i, f, g, o = (sums[part * hidden : (part + 1) * hidden] for part in range(4))
        sigmoid = FUNCTIONS["sigmoid"]
        cell = [sigmoid(f[u]) * cell[u] + sigmoid(i[u]) * math.tanh(g[u]) for u in range(hidden)]
        h = [sigmoid(o[u]) * math.tanh(cell[u]) for u in range(hidden)]
        found.append(h)
    return found


def gru(node, rows, arrays):
    names = (node.input_weights, node.hidden_weights, node.input_bias, node.hidden_bias)
    inputs, states, input_bias, hidden_bias = (arrays[name].tolist() for name in names)
    hidden = len(states[0])
    h, found = [0.0] * hidden, []
    for row in rows:
        outer, inner = dense(inputs, input_bias, row), dense(states, hidden_bias, h)
        sigmoid = FUNCTIONS["sigmoid"]
        r = [sigmoid(outer[u] + inner[u]) for u in range(hidden)]
        z = [sigmoid(outer[hidden + u] + inner[hidden + u]) for u in range(hidden)]
        n = [math.tanh(outer[2 * hidden + u] + r[u] * inner[2 * hidden + u]) for u in range(hidden)]
        h = [(1 - z[u]) * n[u] + z[u] * h[u] for u in range(hidden)]
        found.append(h)
    return found


def output(node, x, arrays):
    """Return the output of a node, a list of numbers or, of a sequence, of lists."""
    match node.kind:
        case "standardize":
            center, scale = arrays[node.center].tolist(), arrays[node.scale].tolist()
            rows = x if isinstance(x[0], list) else [x]
            rows = [[(v - c) / s for v, c, s in zip(row, center, scale, strict=True)] for row in rows]
            return rows if isinstance(x[0], list) else rows[0]
        case "dense":
            return dense(arrays[node.weights].tolist(), arrays[node.bias].tolist(), x)
        case "activation":
            return [FUNCTIONS[node.function](v) for v in x]
        case "lstm":
            return lstm(node, x, arrays)
        case "gru":
            return gru(node, x, arrays)
        case "last":
            return x[-1]
        case "rules":
            return rules(node, x, arrays)
        case "pair":
            return [0.0, x[0]]
        case "softmax":
            powers = [math.exp(v - max(x)) for v in x]
            return [power / sum(powers) for power in powers]
        case "spread":
            return [x[node.columns.index(at)] if at in node.columns else 0.0 for at in range(node.width)]
        case _:
            return [v * node.factor + node.offset for v in x]


def predict_window(graph, arrays, window):
    """Return the outputs, of float64 ``(window, features)``."""
    rows = window.tolist()
    values = {FEATURES: rows if graph.window > 1 else rows[0]}
    for node in graph.nodes:
        read = [values[name] for name in node.reads]
        if node.kind == "mean":
            values[node.name] = [sum(each) / len(each) for each in zip(*read, strict=True)]
        else:
            values[node.name] = output(node, read[0], arrays)
    return values[graph.nodes[-1].name]


def predict(graph, arrays, features):
    """Return what a predictor returns."""
    found = np.full((len(features), graph.outputs), np.nan)
    for last in range(graph.window - 1, len(features)):
        window = features[last - graph.window + 1 : last + 1].astype(np.float64)
        if np.isfinite(window).all():
            found[last] = predict_window(graph, arrays, window)
    return found[:, 0] if graph.output == "regression" else found


def contributions_of_window(graph, arrays, window, average, steps=32, h=1e-5):
    """Return ``(features, outputs)``: integrated gradients, by finite differences."""
    nodes, shares = np.polynomial.legendre.leggauss(steps)
    way = window - average
    found = np.zeros((window.shape[1], graph.outputs))
    for node, share in zip((nodes + 1) / 2, shares / 2, strict=True):
        point = average + node * way
        for row, column in np.ndindex(*window.shape):
            step = np.zeros_like(point)
            step[row, column] = h
            above, below = (np.array(predict_window(graph, arrays, point + sign * step)) for sign in (1, -1))
            found[column] += share * way[row, column] * (above - below) / (2 * h)
    return found
