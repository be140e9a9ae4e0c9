"""Recurrent layers, and the end of a sequence.

The input of a recurrent layer is a sequence ``(window, inputs, m)``, or consecutive rows ``(inputs, m + window - 1)``
that the windows share: then the product of the input weights and a row is computed once for all windows that hold it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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

    def steps(self, x: np.ndarray) -> list[np.ndarray]:
        """Return ``(outputs, m)`` for each step of a window, of a sequence or of shared rows."""
        found = np.matmul(self._weights, x)
        found += self._bias
        if x.ndim == 3:
            return list(found)
        m = x.shape[1] - self._window + 1
        return [found[:, step : step + m] for step in range(self._window)]

    def backward(self, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x`` of those with respect to all steps ``(k, window, outputs, m)``."""
        if x.ndim == 2:
            m = gradient.shape[-1]
            rows = np.zeros((len(gradient), gradient.shape[2], x.shape[1]), gradient.dtype)
            for step in range(self._window):
                rows[..., step : step + m] += gradient[:, step]
            gradient = rows
        found: np.ndarray = np.matmul(self._weights.T, gradient)
        return found


class LstmLayer:
    """Computes :class:`~ktrdr.core.inference.Lstm` for windows of ``window`` rows."""

    def __init__(self, node: Lstm, arrays: Mapping[str, np.ndarray], window: int) -> None:
        self._projection = _Projection(arrays[node.input_weights], arrays[node.bias], window)
        self._hidden_weights = np.ascontiguousarray(arrays[node.hidden_weights])

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return ``(window, hidden, m)``."""
        steps = self._projection.steps(x)
        hidden = self._hidden_weights.shape[1]
        y = np.empty((len(steps), hidden, steps[0].shape[1]), self._hidden_weights.dtype)
        cell = np.zeros_like(y[0])
        for step, part in enumerate(steps):
            gates = part.copy() if step == 0 else np.matmul(self._hidden_weights, y[step - 1])
            if step:
                gates += part
            i, f, g, o = gates.reshape(4, hidden, -1)
            _sigmoid(gates[: 2 * hidden])
            _sigmoid(o)
            np.tanh(g, out=g)
            cell *= f
            i *= g
            cell += i
            np.tanh(cell, out=y[step])
            y[step] *= o
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``. Gates and cells are computed again."""
        hidden = y.shape[1]
        gates, cells = self._states(x, y)
        scalars, window, _, m = gradient.shape
        found = np.empty((scalars, window, 4, hidden, m), y.dtype)
        by_state = np.zeros((scalars, hidden, m), y.dtype)
        by_cell = np.zeros_like(by_state)
        for step in reversed(range(window)):
            i, f, g, o = gates[step]
            by_state += gradient[:, step]
            bent = np.tanh(cells[step])
            by_cell += by_state * (o * (1 - bent * bent))
            before = cells[step - 1] if step else np.zeros_like(bent)
            found[:, step, 0] = by_cell * (g * i * (1 - i))
            found[:, step, 1] = by_cell * (before * f * (1 - f))
            found[:, step, 2] = by_cell * (i * (1 - g * g))
            found[:, step, 3] = by_state * (bent * o * (1 - o))
            by_cell *= f
            by_state = np.matmul(self._hidden_weights.T, found[:, step].reshape(scalars, 4 * hidden, m))
        return self._projection.backward(x, found.reshape(scalars, window, 4 * hidden, m))

    def _states(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gates ``(window, 4, hidden, m)`` and the cells ``(window, hidden, m)``."""
        window, hidden, m = y.shape
        gates = np.stack(self._projection.steps(x))
        gates[1:] += np.matmul(self._hidden_weights, y[:-1])
        gates = gates.reshape(window, 4, hidden, m)
        for part in (0, 1, 3):
            _sigmoid(gates[:, part])
        np.tanh(gates[:, 2], out=gates[:, 2])
        cells: np.ndarray = gates[:, 0] * gates[:, 2]
        for step in range(1, window):
            cells[step] += gates[step, 1] * cells[step - 1]
        return gates, cells


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
            gates = np.matmul(self._hidden_weights, state)
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
        inner = np.matmul(self._hidden_weights, before)
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
            by_state = by_state * z[step] + np.matmul(self._hidden_weights.T, own)
            own[:, 2 * hidden :] = by_new
        return self._projection.backward(x, found)


def _sigmoid(x: np.ndarray) -> None:
    """Replace ``x`` by its sigmoid."""
    x *= 0.5
    np.tanh(x, out=x)
    x *= 0.5
    x += 0.5
