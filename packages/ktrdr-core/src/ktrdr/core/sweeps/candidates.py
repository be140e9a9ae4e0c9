"""Variants of a trained model's strategy with other `decisions` and `risk`, which need no new training."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.document import Node, Scalar, read_document
from ktrdr.core.strategy.editing import node_of, with_value
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.strategy.read_model import read_decisions
from ktrdr.core.strategy.read_risk import read_risk
from ktrdr.core.strategy.section import Report, Section

__all__ = ["CandidateStrategies", "describe"]

_SECTIONS = ("decisions", "risk")


def describe(changes: Mapping[str, Scalar]) -> str:
    """Return changes in the syntax of the command line: ``risk.stop_loss.atr=2``, separated by spaces."""
    return " ".join(f"{name}={_written(value)}" for name, value in changes.items())


class CandidateStrategies:
    """Makes variants of one strategy.

    Changed sections are read by the code that reads strategy files, so the same mistakes are refused.

    Args:
        strategy: the strategy of a trained model.
        text: text of its file.
    """

    def __init__(self, strategy: Strategy, text: str) -> None:
        root = read_document(text).root
        if root is None or not isinstance(root.value, dict):
            raise BadInputError(f"the strategy of model `{strategy.name}` is not readable; train the model again")
        self._strategy = strategy
        self._written = {name: root.value[name].node if name in root.value else Node(1, 1, {}) for name in _SECTIONS}

    def strategy(self, changes: Mapping[str, Scalar]) -> Strategy:
        """Return the strategy with changed values.

        Args:
            changes: values by dotted key, such as ``risk.stop_loss.atr``.

        Raises:
            BadInputError: a key or value is not valid in a strategy file, or changing it needs a new training.
        """
        sections = dict(self._written)
        for name, value in changes.items():
            section, *keys = name.split(".")
            if section not in _SECTIONS or not keys or not all(keys):
                raise BadInputError(
                    f"`{name}` cannot be swept on a trained model; sweep keys of `decisions` and `risk`, such as"
                    " decisions.confidence_threshold or risk.stop_loss.atr"
                )
            if name == "decisions.output_format":
                raise BadInputError(f"`{name}` cannot be swept, as it is fixed by the training; remove it")
            sections[section] = with_value(sections[section], tuple(keys), node_of(value))
        report = Report()
        parts = {name: Section.of(report, node, node, (name,)) for name, node in sections.items()}
        decisions = None if parts["decisions"] is None else read_decisions(parts["decisions"]).section
        risk = None if parts["risk"] is None else read_risk(parts["risk"])
        errors = [item for item in report.diagnostics if item.severity == "error"]
        if errors or decisions is None or risk is None:
            reason = errors[0].message if errors else "the strategy is not complete"
            raise BadInputError(f"{describe(changes)}: {reason}")
        return self._strategy.model_copy(update={"decisions": decisions, "risk": risk})


def _written(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)
