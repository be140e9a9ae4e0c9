"""Keys of the section ``training``, declared once for the loader, the JSON Schema and the backends."""

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
        description="fraction of the data left out after each split boundary, besides the bars that labels look ahead",
    ),
    parameter_of(
        Training,
        "epochs",
        "int",
        minimum=1,
        maximum=MOST_EPOCHS,
        description="maximum number of passes over the training part",
    ),
    parameter_of(
        Training, "batch_size", "int", minimum=1, maximum=10_000_000, description="number of samples per optimizer step"
    ),
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
        description="momentum of the optimizers sgd and rmsprop",
    ),
    parameter_of(
        Training,
        "gradient_clip",
        "float",
        minimum=0,
        exclusive_minimum=True,
        description="maximum norm of the gradient; a longer gradient is scaled down to it",
    ),
    parameter_of(
        Training,
        "loss",
        "str",
        choices=("cross_entropy", "focal", "huber", "mse"),
        description="loss function; for regression huber or mse (the default there)",
    ),
    parameter_of(Training, "focal_gamma", "float", minimum=0, maximum=100, description="gamma of the focal loss"),
    parameter_of(
        Training, "huber_delta", "float", minimum=0, exclusive_minimum=True, description="delta of the Huber loss"
    ),
    parameter_of(
        Training,
        "class_weights",
        "str",
        choices=("balanced", "none"),
        description="`balanced` gives every class the same total weight",
    ),
    parameter_of(
        Training,
        "sample_weights",
        "str",
        choices=("uniqueness", "none"),
        description="`uniqueness` gives samples with overlapping labels less weight",
    ),
    parameter_of(
        Training, "seed", "int", minimum=0, maximum=LARGEST_SEED, description="seed of all random numbers in training"
    ),
)
"""Keys of ``training`` with one value; ``labels``, ``data_split``, ``lr_scheduler`` and ``early_stopping`` are maps."""

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
"""Keys that core applies itself, for every model type."""

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
        description="earliest fraction of the data, used to fit the model",
    ),
    parameter_of(
        DataSplit,
        "validation",
        "float",
        minimum=0,
        maximum=1,
        exclusive_maximum=True,
        description="middle fraction of the data, used to choose the best epoch",
    ),
    parameter_of(
        DataSplit,
        "test",
        "float",
        minimum=0,
        maximum=1,
        exclusive_maximum=True,
        description="latest fraction of the data, used only to evaluate the model",
    ),
)

EARLY_STOPPING: tuple[Parameter, ...] = (
    parameter_of(
        EarlyStopping,
        "patience",
        "int",
        minimum=1,
        maximum=MOST_EPOCHS,
        description="number of epochs without improvement",
    ),
    parameter_of(
        EarlyStopping, "min_delta", "float", minimum=0, description="minimum change that counts as an improvement"
    ),
    parameter_of(
        EarlyStopping,
        "monitor",
        "str",
        choices=("val_loss", "val_accuracy", "train_loss"),
        description="metric that must improve",
    ),
)

_MIN_LR = Parameter("min_lr", "float", 0.0, minimum=0, description="minimum learning rate")


def _gamma(default: float, description: str) -> Parameter:
    return Parameter("gamma", "float", default, minimum=0, maximum=1, exclusive_minimum=True, description=description)


LR_SCHEDULERS: Mapping[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        "step": (
            Parameter("step_size", "int", 30, minimum=1, description="number of epochs between two steps"),
            _gamma(0.1, "factor on the learning rate at every step"),
        ),
        "exponential": (_gamma(0.95, "factor on the learning rate at every epoch"),),
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
                description="factor on the learning rate when there is no improvement",
            ),
            Parameter("patience", "int", 5, minimum=0, description="number of epochs without improvement to wait"),
            Parameter(
                "threshold",
                "float",
                1e-4,
                minimum=0,
                description="minimum relative change that counts as an improvement",
            ),
            _MIN_LR,
        ),
    }
)
"""Parameters of each ``training.lr_scheduler.type``.

``step``, ``exponential`` and ``cosine`` act once per epoch. ``cosine`` reaches ``min_lr`` at the last of
``training.epochs``. ``reduce_on_plateau`` monitors the validation loss, or the training loss if there is no validation
part."""
