"""The store of evaluations: `$KTRDR_HOME/evaluations/<strategy>/<number>/`."""

from __future__ import annotations

from ktrdr.core.files.numbered_results import NumberedResults

__all__ = ["EVALUATIONS"]

EVALUATIONS = NumberedResults(
    kind="evaluation",
    article="an",
    folder="evaluations",
    file="evaluation.json",
    command="ktrdr evaluate",
    again="evaluate the strategy again",
)
