"""The types that a weights file may name, per model type and output: only those of fitted models."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ESTIMATORS", "LOADERS", "TRUSTED"]

_PLAIN = frozenset({"builtins.dict", "builtins.list", "builtins.str", "builtins.tuple", "numpy.ndarray"})
_BOOSTING = _PLAIN | {
    "sklearn._loss.link.Interval",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
}
_FOREST = _PLAIN | {"numpy.int64", "sklearn.tree._tree.Tree"}
_HGB = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting."

ESTIMATORS: Mapping[tuple[str, str], str] = {
    ("gradient_boosting", "classification"): f"{_HGB}HistGradientBoostingClassifier",
    ("gradient_boosting", "regression"): f"{_HGB}HistGradientBoostingRegressor",
    ("random_forest", "classification"): "sklearn.ensemble._forest.RandomForestClassifier",
    ("random_forest", "regression"): "sklearn.ensemble._forest.RandomForestRegressor",
    ("logistic_regression", "classification"): "sklearn.linear_model._logistic.LogisticRegression",
}
"""(model type, output) -> type of the estimator."""

_PARTS: Mapping[tuple[str, str], frozenset[str]] = {
    ("gradient_boosting", "classification"): _BOOSTING
    | {
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss._loss.CyHalfMultinomialLoss",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
    },
    ("gradient_boosting", "regression"): _BOOSTING
    | {
        "sklearn._loss._loss.CyHalfSquaredError",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.loss.HalfSquaredError",
    },
    ("random_forest", "classification"): _FOREST | {"sklearn.tree._classes.DecisionTreeClassifier"},
    ("random_forest", "regression"): _FOREST | {"sklearn.tree._classes.DecisionTreeRegressor"},
    ("logistic_regression", "classification"): _PLAIN,
}

TRUSTED: Mapping[tuple[str, str], frozenset[str]] = {
    key: _PARTS[key] | {estimator} for key, estimator in ESTIMATORS.items()
}
"""(model type, output) -> every type that may occur in the file."""

LOADERS = frozenset(
    {"DictNode", "JsonNode", "ListNode", "LossNode", "NdArrayNode", "ObjectNode", "TreeNode", "TupleNode", "TypeNode"}
)
"""The node types of skops that a file may use; none of them calls a function that the file names."""
