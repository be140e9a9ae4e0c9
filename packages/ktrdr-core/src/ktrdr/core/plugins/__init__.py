"""The plugin contract: generic types, hook specs, and the manager that finds, checks and loads backends.

Importing it costs pluggy and numpy; no plugin and no framework is imported before it is asked for.
"""

from ktrdr.core.plugins.contract import (
    CONTRACT_VERSION,
    CheckpointWriter,
    CrispInput,
    Device,
    EpochRecord,
    ModelLoader,
    ModelStorage,
    ModelTrainer,
    ModelType,
    PluginInfo,
    Predictor,
    Split,
    TrainedModel,
    TrainingData,
    TrainingTask,
)
from ktrdr.core.plugins.markers import PROJECT, hookimpl, hookspec

__all__ = [
    "CONTRACT_VERSION",
    "PROJECT",
    "CheckpointWriter",
    "CrispInput",
    "Device",
    "EpochRecord",
    "ModelLoader",
    "ModelStorage",
    "ModelTrainer",
    "ModelType",
    "PluginInfo",
    "Predictor",
    "Split",
    "TrainedModel",
    "TrainingData",
    "TrainingTask",
    "hookimpl",
    "hookspec",
]
