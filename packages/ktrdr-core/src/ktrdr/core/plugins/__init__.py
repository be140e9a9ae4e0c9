"""The plugin contract: generic types, hook specs, and the manager that finds, checks and loads backends.

The ``hooks`` module of a plugin imports from here: ``from ktrdr.core.plugins import ModelType, PluginInfo, hookimpl``.
Names are imported on first access, so that the search for entry points does not import numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktrdr.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from ktrdr.core.parameters import Parameter
    from ktrdr.core.plugins.contract import (
        CONTRACT_VERSION,
        CheckpointWriter,
        CrispInput,
        Device,
        EpochRecord,
        Explainable,
        IdleKeys,
        Member,
        MemberOutcome,
        ModelLoader,
        ModelStorage,
        ModelTrainer,
        ModelType,
        PluginInfo,
        PopulationTrainer,
        Portable,
        Predictor,
        Resources,
        Rule,
        RuleBased,
        Split,
        TrainedModel,
        TrainingData,
        TrainingTask,
        Twin,
    )
    from ktrdr.core.plugins.markers import PROJECT, hookimpl, hookspec
    from ktrdr.core.plugins.rule_limit import too_many_rules

__all__ = [
    "CONTRACT_VERSION",
    "PROJECT",
    "CheckpointWriter",
    "CrispInput",
    "Device",
    "EpochRecord",
    "Explainable",
    "IdleKeys",
    "Member",
    "MemberOutcome",
    "ModelLoader",
    "ModelStorage",
    "ModelTrainer",
    "ModelType",
    "Parameter",
    "PluginInfo",
    "PopulationTrainer",
    "Portable",
    "Predictor",
    "Resources",
    "Rule",
    "RuleBased",
    "Split",
    "TrainedModel",
    "TrainingData",
    "TrainingTask",
    "Twin",
    "hookimpl",
    "hookspec",
    "too_many_rules",
]

_MODULES = {
    **dict.fromkeys(__all__, f"{__name__}.contract"),
    **dict.fromkeys(("PROJECT", "hookimpl", "hookspec"), f"{__name__}.markers"),
    "Parameter": "ktrdr.core.parameters",
    "too_many_rules": f"{__name__}.rule_limit",
}
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
