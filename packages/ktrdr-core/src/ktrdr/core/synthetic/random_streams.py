"""Random numbers that anybody can reproduce: the same on every machine, in every order, for any length."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["normals", "uniforms"]


def uniforms(seed: int, stream: int, n: int) -> np.ndarray:
    """Return numbers in (0, 1]: the 53 upper bits of the words of PCG64, plus one, divided by ``2 ** 53``.

    The generator is seeded by ``numpy.random.SeedSequence(seed, spawn_key=(stream,))``; numpy keeps both unchanged
    (NEP 19). The first numbers of a longer series are those of a shorter one.

    Args:
        seed: seed of the market.
        stream: number of the series within the market.
        n: number of values.

    Returns:
        float64 ``(n,)``.
    """
    words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,))).random_raw(n)
    return ((words >> np.uint64(11)) + np.uint64(1)) * 2.0**-53


def normals(seed: int, stream: int, n: int) -> np.ndarray:
    """Return standard normal numbers: of each pair ``u, v`` of :func:`uniforms`, ``sqrt(-2 ln u) cos(2 pi v)``.

    Formula: G. E. P. Box and M. E. Muller, "A Note on the Generation of Random Normal Deviates" (Annals of Mathematical
    Statistics, 1958).

    Args:
        seed: seed of the market.
        stream: number of the series within the market.
        n: number of values.

    Returns:
        float64 ``(n,)``.
    """
    pairs = uniforms(seed, stream, 2 * n)
    return np.asarray(np.sqrt(-2.0 * np.log(pairs[0::2])) * np.cos(2.0 * math.pi * pairs[1::2]))
