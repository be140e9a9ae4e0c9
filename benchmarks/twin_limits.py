"""How many times as long as torch a portable twin may take: the benchmark and the guard use it."""

from __future__ import annotations

__all__ = ["MOST_BESIDE_TORCH", "MOST_MILLISECONDS"]

MOST_BESIDE_TORCH = {
    "mlp, relu": 1.1,
    "mlp, tanh": 1.1,
    "mlp, leaky_relu": 1.1,
    "mlp, sigmoid": 1.3,
    "mlp, gelu": 2.0,
    "anfis, 27 rules, triangular": 1.1,
    "anfis, 27 rules, gaussian": 1.1,
    "anfis, 256 rules, triangular": 1.1,
    "lstm": 1.3,
}
MOST_MILLISECONDS = 1.0
