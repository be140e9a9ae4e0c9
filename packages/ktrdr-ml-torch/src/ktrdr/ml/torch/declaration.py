"""The model types of this backend, as plain data without an import of torch."""

from __future__ import annotations

from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins import IdleKeys, ModelType, PluginInfo
from ktrdr.ml.torch import __version__

__all__ = ["INFO", "MODEL_TYPES", "NAME"]

NAME = "torch"

_TRAINING_KEYS = frozenset(
    {
        "epochs",
        "batch_size",
        "learning_rate",
        "optimizer",
        "weight_decay",
        "momentum",
        "gradient_clip",
        "lr_scheduler",
        "early_stopping",
        "loss",
        "focal_gamma",
        "huber_delta",
        "class_weights",
    }
)

# A dropout changes no shape.
_MEMBER_PARAMETERS = frozenset({"dropout"})

_OUTPUT_ACTIVATION = Parameter(
    "output_activation",
    "str",
    None,
    choices=("softmax",),
    description="Only for classification, where softmax is always used.",
)


def _dropout(default: float, where: str) -> Parameter:
    return Parameter("dropout", "float", default, minimum=0, maximum=1, exclusive_maximum=True,
                     description=f"Share of values set to 0 during training, {where}.")  # fmt: skip


_MLP = ModelType(
    name="mlp",
    description="Multilayer perceptron: fully connected layers.",
    architecture=(
        Parameter("hidden_layers", "int_list", (64, 32), minimum=1, maximum=65_536,
                  description="Units of each hidden layer, in order."),
        Parameter("activation", "str", "relu", choices=("relu", "tanh", "sigmoid", "leaky_relu", "gelu"),
                  description="Activation after every hidden layer."),
        _dropout(0.0, "after every hidden layer"),
        Parameter("batch_norm", "bool", False, description="Batch normalization before every activation."),
        Parameter("precision", "str", "float32", choices=("float32", "bfloat16"),
                  description="Precision of products in training; weights, losses and predictions are always float32."),
        _OUTPUT_ACTIVATION,
    ),
    training_keys=_TRAINING_KEYS,
    member_parameters=_MEMBER_PARAMETERS,
)  # fmt: skip


def _recurrent(name: str, description: str) -> ModelType:
    return ModelType(
        name=name,
        description=description,
        architecture=(
            Parameter("sequence_length", "int", 20, minimum=1, maximum=10_000,
                      description="Number of bars that a prediction uses, including its own."),
            Parameter("hidden_size", "int", 64, minimum=1, maximum=65_536, description="Units of each layer."),
            Parameter("num_layers", "int", 2, minimum=1, maximum=16, description="Number of stacked layers."),
            _dropout(0.2, "after every layer"),
            _OUTPUT_ACTIVATION,
        ),
        training_keys=_TRAINING_KEYS,
        window_parameter="sequence_length",
        member_parameters=_MEMBER_PARAMETERS,
    )  # fmt: skip


_ANFIS = ModelType(
    name="anfis",
    description="First-order Takagi-Sugeno network: one rule for each combination of memberships, with linear outputs.",
    architecture=(
        Parameter("max_rules", "int", 256, minimum=1, maximum=65_536,
                  description="Limit of the number of rules, one per combination of the inputs' memberships."),
        Parameter("learn_memberships", "bool", False,
                  description="Whether training changes the membership functions of the strategy."),
        Parameter("learning", "str", "hybrid", choices=("hybrid", "gradient"),
                  description="How the rules' outputs, which start as a least-squares solution, are learned: `hybrid` "
                              "solves again in each epoch, after a step of the optimizer for memberships; `gradient` "
                              "uses only the optimizer."),
        _OUTPUT_ACTIVATION,
    ),
    training_keys=_TRAINING_KEYS,
    inputs="crisp",
    rules_parameter="max_rules",
    idle_keys=(
        IdleKeys(
            frozenset({"batch_size"}), (("learning", "hybrid"),), "set `model.architecture.learning: gradient`"
        ),
        IdleKeys(
            frozenset({"learning_rate", "optimizer", "momentum", "gradient_clip", "lr_scheduler"}),
            (("learning", "hybrid"), ("learn_memberships", False)),
            "set `learn_memberships: true` or `learning: gradient` under `model.architecture`",
        ),
    ),
)  # fmt: skip

INFO = PluginInfo(
    name=NAME,
    version=__version__,
    contract="2.2",
    model_types=(
        _MLP,
        _recurrent("lstm", "Long short-term memory over the last bars."),
        _recurrent("gru", "Gated recurrent units over the last bars."),
        _ANFIS,
    ),
    requires=("torch", "safetensors"),
)

MODEL_TYPES = {model_type.name: model_type for model_type in INFO.model_types}
