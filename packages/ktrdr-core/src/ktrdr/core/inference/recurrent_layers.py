"""Recurrent layers, and the end of a sequence.

The input of a recurrent layer is a sequence ``(window, inputs, m)``, or consecutive rows ``(inputs, m + window - 1)``
that the windows share: then the product of the input weights and a row is computed once for all windows that hold it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ktrdr.core.inference.matrix_product import product
from ktrdr.core.inference.vocabulary import Gru, Lstm

__all__ = ["GruLayer", "LastLayer", "LstmLayer"]


class LastLayer:
    """Computes :class:`~ktrdr.core.inference.Last` for windows of ``window`` rows."""

    def __init__(self, window: int) -> None:
        self._window = window

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return ``(width, m)`` of a sequence or of shared rows."""
        return (x[-1] if x.ndim == 3 else x[:, self._window - 1 :]).copy()

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``, 0 before the last row."""
        found = np.zeros((len(gradient), *x.shape), gradient.dtype)
        if x.ndim == 3:
            found[:, -1] = gradient
        else:
            found[..., self._window - 1 :] = gradient
        return found


class _Projection:
    """``weights @ x + bias`` of every row of windows of ``window`` rows."""

    def __init__(self, weights: np.ndarray, bias: np.ndarray, window: int) -> None:
        self._weights = np.ascontiguousarray(weights)
        self._bias = bias[:, np.newaxis]
        self._window = window

    def sizes(self, x: np.ndarray) -> tuple[int, int]:
        """Return the number of steps and of predictions, of a sequence or of shared rows."""
        return self._window, x.shape[-1] if x.ndim == 3 else x.shape[-1] - self._window + 1

    def steps(self, x: np.ndarray) -> list[np.ndarray]:
        """Return ``(outputs, m)`` for each step of a window, of a sequence or of shared rows."""
        found = product(self._weights, x)
        found += self._bias
        window, m = self.sizes(x)
        return list(found) if x.ndim == 3 else [found[:, step : step + m] for step in range(window)]

    def backward(self, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x`` of those with respect to all steps ``(k, window, outputs, m)``."""
        if x.ndim == 2:
            m = gradient.shape[-1]
            rows = np.zeros((len(gradient), gradient.shape[2], x.shape[1]), gradient.dtype)
            for step in range(self._window):
                rows[..., step : step + m] += gradient[:, step]
            gradient = rows
        found: np.ndarray = product(self._weights.T, gradient)
        return found


class LstmLayer:
    """Computes :class:`~ktrdr.core.inference.Lstm` for windows of ``window`` rows.

    Inside, the gates are in the order input, forget, output, cell, and the weights of the first three are halved: their
    sigmoid is ``tanh(x / 2) / 2 + 1 / 2``, so one call computes all four.
    """

    def __init__(self, node: Lstm, arrays: Mapping[str, np.ndarray], window: int) -> None:
        inputs, states, bias = (_halved(arrays[name]) for name in (node.input_weights, node.hidden_weights, node.bias))
        self._projection = _Projection(inputs, bias, window)
        self._hidden_weights = states
        # Of a row, a 1 for the bias, and a state.
        self._joint_weights = np.concatenate((inputs, bias[:, np.newaxis], states), axis=1)

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return ``(window, hidden, m)``."""
        window, m = self._projection.sizes(x)
        hidden = self._hidden_weights.shape[1]
        y = np.empty((window, hidden, m), self._hidden_weights.dtype)
        cell = np.zeros_like(y[0])
        for gates, state in zip(self._joint_sums(x, y) if x.ndim == 3 else self._shared_sums(x, y), y, strict=True):
            i, f, o, g = _activate(gates).reshape(4, hidden, m)
            cell *= f
            g *= i
            cell += g
            np.tanh(cell, out=state)
            state *= o
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``. Gates and cells are computed again."""
        scalars, window, hidden, m = gradient.shape
        gates, cells = self._states(x, y)
        found = np.empty((scalars, window, 4, hidden, m), y.dtype)
        by_state = np.zeros((scalars, hidden, m), y.dtype)
        by_cell = np.zeros_like(by_state)
        for step in reversed(range(window)):
            i, f, o, g = gates[step]
            by_state += gradient[:, step]
            bent = np.tanh(cells[step])
            by_cell += by_state * (o * (1 - bent * bent))
            before = cells[step - 1] if step else np.zeros_like(bent)
            found[:, step, 0] = by_cell * (2 * g * i * (1 - i))
            found[:, step, 1] = by_cell * (2 * before * f * (1 - f))
            found[:, step, 2] = by_state * (2 * bent * o * (1 - o))
            found[:, step, 3] = by_cell * (i * (1 - g * g))
            by_cell *= f
            by_state = product(self._hidden_weights.T, found[:, step].reshape(scalars, 4 * hidden, m))
        return self._projection.backward(x, found.reshape(scalars, window, 4 * hidden, m))

    def _shared_sums(self, x: np.ndarray, y: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the sums of the gates of each step, once the state of the step before is in ``y``; of shared rows."""
        steps = self._projection.steps(x)
        yield steps[0].copy()
        gates = np.empty_like(steps[0], order="C")
        for part, state in zip(steps[1:], y, strict=False):
            product(self._hidden_weights, state, out=gates)
            gates += part
            yield gates

    def _joint_sums(self, x: np.ndarray, y: np.ndarray) -> Iterator[np.ndarray]:
        """Do the same for a sequence: one product of each row and state instead of two and a sum."""
        _, inputs, m = x.shape
        joint = np.zeros((self._joint_weights.shape[1], m), y.dtype)
        joint[inputs] = 1
        gates = np.empty((len(self._joint_weights), m), y.dtype)
        for step, row in enumerate(x):
            joint[:inputs] = row
            if step:
                joint[inputs + 1 :] = y[step - 1]
            yield product(self._joint_weights, joint, out=gates)

    def _states(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gates ``(window, 4, hidden, m)`` and the cells ``(window, hidden, m)``."""
        window, hidden, m = y.shape
        gates = np.stack(self._projection.steps(x))
        gates[1:] += product(self._hidden_weights, y[:-1])
        for each in gates:
            _activate(each)
        gates = gates.reshape(window, 4, hidden, m)
        cells: np.ndarray = gates[:, 0] * gates[:, 3]
        for step in range(1, window):
            cells[step] += gates[step, 1] * cells[step - 1]
        return gates, cells


def _halved(array: np.ndarray) -> np.ndarray:
    """Return the parts input, forget, output of the gates input, forget, cell, output, halved, and then cell."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate((i * 0.5, f * 0.5, o * 0.5, g))


def _activate(gates: np.ndarray) -> np.ndarray:
    """Replace the sums ``(4 * hidden, m)`` of the inner gates of an LSTM by the gates, and return them."""
    np.tanh(gates, out=gates)
    sigmoids = gates[: 3 * len(gates) // 4]
    sigmoids *= 0.5
    sigmoids += 0.5
    return gates


class GruLayer:
    """Computes :class:`~ktrdr.core.inference.Gru` for windows of ``window`` rows."""

    def __init__(self, node: Gru, arrays: Mapping[str, np.ndarray], window: int) -> None:
        self._projection = _Projection(arrays[node.input_weights], arrays[node.input_bias], window)
        self._hidden_weights = np.ascontiguousarray(arrays[node.hidden_weights])
        self._hidden_bias = arrays[node.hidden_bias][:, np.newaxis]

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return ``(window, hidden, m)``."""
        steps = self._projection.steps(x)
        hidden = self._hidden_weights.shape[1]
        m = steps[0].shape[1]
        y = np.empty((len(steps), hidden, m), self._hidden_weights.dtype)
        state = np.zeros_like(y[0])
        for step, part in enumerate(steps):
            gates = product(self._hidden_weights, state)
            gates += self._hidden_bias
            gates[: 2 * hidden] += part[: 2 * hidden]
            _sigmoid(gates[: 2 * hidden])
            r, z, n = gates.reshape(3, hidden, m)
            n *= r
            n += part[2 * hidden :]
            np.tanh(n, out=n)
            # (1 - z) * n + z * state
            np.subtract(state, n, out=y[step])
            y[step] *= z
            y[step] += n
            state = y[step]
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``. The gates are computed again."""
        scalars, window, hidden, m = gradient.shape
        before = np.concatenate((np.zeros_like(y[:1]), y[:-1]))
        inner = product(self._hidden_weights, before)
        inner += self._hidden_bias
        outer = np.stack(self._projection.steps(x))
        gates: np.ndarray = outer[:, : 2 * hidden] + inner[:, : 2 * hidden]
        _sigmoid(gates)
        r, z = gates[:, :hidden], gates[:, hidden:]
        n = np.tanh(outer[:, 2 * hidden :] + r * inner[:, 2 * hidden :])
        found = np.empty((scalars, window, 3 * hidden, m), y.dtype)
        by_state = np.zeros((scalars, hidden, m), y.dtype)
        for step in reversed(range(window)):
            by_state += gradient[:, step]
            by_new = by_state * ((1 - z[step]) * (1 - n[step] * n[step]))
            own = found[:, step]
            own[:, :hidden] = by_new * (inner[step, 2 * hidden :] * r[step] * (1 - r[step]))
            own[:, hidden : 2 * hidden] = by_state * ((before[step] - n[step]) * z[step] * (1 - z[step]))
            own[:, 2 * hidden :] = by_new * r[step]
            by_state = by_state * z[step] + product(self._hidden_weights.T, own)
            own[:, 2 * hidden :] = by_new
        return self._projection.backward(x, found)


def _sigmoid(x: np.ndarray) -> None:
    """Replace ``x`` by its sigmoid."""
    x *= 0.5
    np.tanh(x, out=x)
    x *= 0.5
    x += 0.5
