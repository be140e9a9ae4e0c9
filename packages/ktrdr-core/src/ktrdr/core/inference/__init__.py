"""Prediction without an ML framework, from the portable twin of a model.

A twin is a graph of layers as data (:class:`TwinGraph`) and arrays. A backend describes its models in this vocabulary,
see :class:`~ktrdr.core.plugins.Portable`; core stores twin and arrays in the bundle, and predicts from them with numpy.
Names are imported on first access.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktrdr.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from ktrdr.core.inference.twin_chain import TwinChain
    from ktrdr.core.inference.vocabulary import (
        FEATURES,
        Activation,
        Dense,
        FuzzyInput,
        Gru,
        Last,
        Lstm,
        Mean,
        Node,
        Pair,
        Rules,
        Scale,
        Softmax,
        Spread,
        Standardize,
        Trees,
        TwinGraph,
    )

__all__ = [
    "FEATURES",
    "Activation",
    "Dense",
    "FuzzyInput",
    "Gru",
    "Last",
    "Lstm",
    "Mean",
    "Node",
    "Pair",
    "Rules",
    "Scale",
    "Softmax",
    "Spread",
    "Standardize",
    "Trees",
    "TwinChain",
    "TwinGraph",
]

_MODULES = {**dict.fromkeys(__all__, f"{__name__}.vocabulary"), "TwinChain": f"{__name__}.twin_chain"}
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
