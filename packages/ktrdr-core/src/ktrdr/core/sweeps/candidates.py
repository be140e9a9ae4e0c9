"""The strategy of a trained model with other `decisions` and `risk`: what may change without training again."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping

from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.document import Node, Scalar, read_document
from ktrdr.core.strategy.editing import with_value
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.strategy.read_model import read_decisions
from ktrdr.core.strategy.read_risk import read_risk
from ktrdr.core.strategy.section import Report, Section

__all__ = ["CandidateStrategies", "describe"]

_SECTIONS = ("decisions", "risk")


def describe(changes: Mapping[str, Scalar]) -> str:
    """Return changes as they are written on the command line."""
    return " ".join(f"{name}={_written(value)}" for name, value in changes.items())


class CandidateStrategies:
    """Makes strategies from one: ``strategy`` as it is, and ``text`` as it was written.

    Changed sections are read by the same code that reads strategy files, so what is a mistake there is one here.
    """

    def __init__(self, strategy: Strategy, text: str) -> None:
        root = read_document(text).root
        if root is None or not isinstance(root.value, dict):
            raise BadInputError(f"the strategy of `{strategy.name}` cannot be read any more; train it again")
        self._strategy = strategy
        self._written = {name: root.value[name].node if name in root.value else Node(1, 1, {}) for name in _SECTIONS}

    def strategy(self, changes: Mapping[str, Scalar]) -> Strategy:
        """Return the strategy with ``changes``: dotted keys as in the file, such as ``risk.stop_loss.atr``.

        Raises:
            BadInputError: a key or value is none of the strategy language, or can only be changed by training.
        """
        sections = dict(self._written)
        for name, value in changes.items():
            section, *keys = name.split(".")
            if section not in _SECTIONS or not keys or not all(keys):
                raise BadInputError(
                    f"`{name}` cannot be swept on a trained model: only what is below `decisions` and `risk`, such as"
                    " decisions.confidence_threshold or risk.stop_loss.atr"
                )
            if name == "decisions.output_format":
                raise BadInputError(f"`{name}` cannot be swept: what a model gives out is settled by its training")
            sections[section] = with_value(sections[section], tuple(keys), _scalar(value))
        report = Report()
        parts = {name: Section.of(report, node, node, (name,)) for name, node in sections.items()}
        decisions = None if parts["decisions"] is None else read_decisions(parts["decisions"]).section
        risk = None if parts["risk"] is None else read_risk(parts["risk"])
        errors = [item for item in report.diagnostics if item.severity == "error"]
        if errors or decisions is None or risk is None:
            reason = errors[0].message if errors else "it is not complete"
            raise BadInputError(f"{describe(changes)}: {reason}")
        return self._strategy.model_copy(update={"decisions": decisions, "risk": risk})


def _scalar(value: Scalar) -> Node:
    return _node_of(_written(value)) or Node(1, 1, value, "")


# Each of the few values of a setting comes again in every other cell.
@functools.lru_cache(maxsize=1024)
def _node_of(text: str) -> Node | None:
    return read_document(text).root


def _written(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)
