"""The keys of ``training``: one declaration for loader, schema, and the backends that act on them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ktrdr.core.limits import LARGEST_SEED, MOST_EPOCHS
from ktrdr.core.parameters import Parameter
from ktrdr.core.strategy.model import DataSplit, EarlyStopping, Training
from ktrdr.core.strategy.section_parameters import parameter_of

__all__ = [
    "CLASSIFICATION_LOSSES",
    "CORE_KEYS",
    "DATA_SPLIT",
    "EARLY_STOPPING",
    "LR_SCHEDULERS",
    "REGRESSION_LOSSES",
    "TRAINING",
    "TRAINING_KEYS",
]

TRAINING: tuple[Parameter, ...] = (
    parameter_of(
        Training,
        "embargo",
        "float",
        minimum=0,
        maximum=0.5,
        exclusive_maximum=True,
        description="share of the data left out after each split boundary, beside what labels look ahead",
    ),
    parameter_of(
        Training, "epochs", "int", minimum=1, maximum=MOST_EPOCHS, description="passes over the training part"
    ),
    parameter_of(Training, "batch_size", "int", minimum=1, maximum=10_000_000, description="samples per step"),
    parameter_of(
        Training,
        "learning_rate",
        "float",
        minimum=0,
        maximum=100,
        exclusive_minimum=True,
        description="step size of the optimizer",
    ),
    parameter_of(Training, "optimizer", "str", choices=("adam", "adamw", "sgd", "rmsprop"), description="optimizer"),
    parameter_of(Training, "weight_decay", "float", minimum=0, maximum=100, description="L2 penalty"),
    parameter_of(
        Training,
        "momentum",
        "float",
        minimum=0,
        maximum=1,
        exclusive_maximum=True,
        description="of the optimizers sgd and rmsprop",
    ),
    parameter_of(
        Training,
        "gradient_clip",
        "float",
        minimum=0,
        exclusive_minimum=True,
        description="largest norm of the gradient",
    ),
    parameter_of(
        Training,
        "loss",
        "str",
        choices=("cross_entropy", "focal", "huber", "mse"),
        description="what is minimized; regression has huber and mse (its default)",
    ),
    parameter_of(Training, "focal_gamma", "float", minimum=0, maximum=100, description="of the focal loss"),
    parameter_of(Training, "huber_delta", "float", minimum=0, exclusive_minimum=True, description="of the huber loss"),
    parameter_of(
        Training,
        "class_weights",
        "str",
        choices=("balanced", "none"),
        description="balanced: every class counts the same in total",
    ),
    parameter_of(
        Training,
        "sample_weights",
        "str",
        choices=("uniqueness", "none"),
        description="uniqueness: samples whose labels overlap count less",
    ),
    parameter_of(Training, "seed", "int", minimum=0, maximum=LARGEST_SEED, description="of every random choice"),
)
"""Plain keys of ``training``; ``labels``, ``data_split``, ``lr_scheduler`` and ``early_stopping`` are maps."""

TRAINING_KEYS: tuple[str, ...] = (
    "method",
    "labels",
    "data_split",
    *(parameter.name for parameter in TRAINING),
    "lr_scheduler",
    "early_stopping",
)
"""Every key of ``training``."""

CORE_KEYS = frozenset({"labels", "data_split", "embargo", "sample_weights", "seed", "method"})
"""Keys that have their effect in core, whatever the model type."""

CLASSIFICATION_LOSSES = ("cross_entropy", "focal")
REGRESSION_LOSSES = ("mse", "huber")

DATA_SPLIT: tuple[Parameter, ...] = (
    parameter_of(
        DataSplit,
        "train",
        "float",
        minimum=0,
        maximum=1,
        exclusive_minimum=True,
        description="share the model is fitted on, the earliest",
    ),
    parameter_of(
        DataSplit,
        "validation",
        "float",
        minimum=0,
        maximum=1,
        exclusive_maximum=True,
        description="share that decides which epoch is kept",
    ),
    parameter_of(
        DataSplit,
        "test",
        "float",
        minimum=0,
        maximum=1,
        exclusive_maximum=True,
        description="share nothing is decided by, the latest",
    ),
)

EARLY_STOPPING: tuple[Parameter, ...] = (
    parameter_of(
        EarlyStopping, "patience", "int", minimum=1, maximum=MOST_EPOCHS, description="epochs without improvement"
    ),
    parameter_of(EarlyStopping, "min_delta", "float", minimum=0, description="least change that is an improvement"),
    parameter_of(
        EarlyStopping,
        "monitor",
        "str",
        choices=("val_loss", "val_accuracy", "train_loss"),
        description="what is to improve",
    ),
)

_MIN_LR = Parameter("min_lr", "float", 0.0, minimum=0, description="the learning rate does not go below")


def _gamma(default: float, description: str) -> Parameter:
    return Parameter("gamma", "float", default, minimum=0, maximum=1, exclusive_minimum=True, description=description)


LR_SCHEDULERS: Mapping[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        "step": (
            Parameter("step_size", "int", 30, minimum=1, description="epochs between two steps"),
            _gamma(0.1, "factor at every step"),
        ),
        "exponential": (_gamma(0.95, "factor at every epoch"),),
        "cosine": (_MIN_LR,),
        "reduce_on_plateau": (
            Parameter(
                "factor",
                "float",
                0.5,
                minimum=0,
                maximum=1,
                exclusive_minimum=True,
                exclusive_maximum=True,
                description="factor when there is no improvement",
            ),
            Parameter("patience", "int", 5, minimum=0, description="epochs without improvement before that"),
            Parameter("threshold", "float", 1e-4, minimum=0, description="relative change that is an improvement"),
            _MIN_LR,
        ),
    }
)
"""Parameters of each ``training.lr_scheduler.type``. The first three act once per epoch; ``cosine`` reaches
``min_lr`` at the last of ``training.epochs``; ``reduce_on_plateau`` watches the validation loss, or the training loss
where there is no validation part."""
