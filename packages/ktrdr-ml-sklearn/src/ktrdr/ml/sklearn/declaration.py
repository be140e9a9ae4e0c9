"""The model types of this backend, as plain data without an import of scikit-learn."""

from __future__ import annotations

from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins import ModelType, PluginInfo
from ktrdr.ml.sklearn import __version__

__all__ = ["INFO", "NAME"]

NAME = "sklearn"

# Members of a population are trained apart from each other: they may differ in all parameters.

_GRADIENT_BOOSTING = ModelType(
    name="gradient_boosting",
    description="Histogram gradient boosting of trees; one epoch is one boosting round.",
    architecture=(
        Parameter("learning_rate", "float", 0.1, minimum=0, exclusive_minimum=True, maximum=1,
                  description="Shrinkage: the share of each round's trees that is added."),
        Parameter("max_leaf_nodes", "int", 31, minimum=2, maximum=4096,
                  description="Maximum number of leaves of a tree."),
        Parameter("max_depth", "int", None, minimum=1, maximum=64, description="Maximum depth of a tree."),
        Parameter("min_samples_leaf", "int", 20, minimum=1, description="Minimum number of samples in a leaf."),
        Parameter("l2_regularization", "float", 0.0, minimum=0, description="L2 penalty on the values of the leaves."),
        Parameter("max_bins", "int", 255, minimum=2, maximum=255, description="Maximum number of bins per feature."),
        Parameter("max_features", "float", 0.8, minimum=0, exclusive_minimum=True, maximum=1,
                  description="Share of the features drawn at random for each split; 1 makes the seed irrelevant."),
    ),
    training_keys=frozenset({"epochs", "early_stopping", "class_weights"}),
    writes_checkpoints=False,
    member_parameters=frozenset({
        "learning_rate", "max_leaf_nodes", "max_depth", "min_samples_leaf", "l2_regularization", "max_bins",
        "max_features",
    }),
)  # fmt: skip

_RANDOM_FOREST = ModelType(
    name="random_forest",
    description="Random forest: trees grown on bootstrap samples, averaged.",
    architecture=(
        Parameter("n_estimators", "int", 200, minimum=1, maximum=10_000, description="Number of trees."),
        Parameter("max_depth", "int", None, minimum=1, maximum=256, description="Maximum depth of a tree."),
        Parameter("min_samples_leaf", "int", 10, minimum=1, description="Minimum number of samples in a leaf."),
        Parameter("max_features", "str", "sqrt", choices=("sqrt", "log2", "all"),
                  description="Number of features drawn at random for each split."),
    ),
    training_keys=frozenset({"class_weights"}),
    writes_checkpoints=False,
    member_parameters=frozenset({"n_estimators", "max_depth", "min_samples_leaf", "max_features"}),
)  # fmt: skip

_LOGISTIC_REGRESSION = ModelType(
    name="logistic_regression",
    description="Multinomial logistic regression with an L2 penalty; one epoch is one iteration of L-BFGS.",
    outputs=("classification",),
    architecture=(
        Parameter(
            "C", "float", 1.0, minimum=0, exclusive_minimum=True, description="Inverse of the strength of the penalty."
        ),
        Parameter("fit_intercept", "bool", True, description="Whether the model has an intercept."),
    ),
    training_keys=frozenset({"epochs", "class_weights"}),
    writes_checkpoints=False,
    member_parameters=frozenset({"C", "fit_intercept"}),
)

INFO = PluginInfo(
    name=NAME,
    version=__version__,
    contract="2.2",
    model_types=(_GRADIENT_BOOSTING, _RANDOM_FOREST, _LOGISTIC_REGRESSION),
    requires=("scikit-learn", "skops"),
)
