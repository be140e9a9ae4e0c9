"""A twin whose layers stand one behind the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydantic import ValidationError

from ktrdr.core.errors import BadInputError
from ktrdr.core.inference.vocabulary import FEATURES, TwinGraph
from ktrdr.core.jobs.refusals import message_of
from ktrdr.core.plugins.contract import OutputKind, Twin

__all__ = ["TwinChain"]


class TwinChain:
    """Collects the nodes and arrays of a twin; every node reads the one before it, and the first the features.

    Example:
        >>> import numpy as np
        >>> from ktrdr.core.inference import Dense, Softmax, TwinChain
        >>> chain = TwinChain()
        >>> chain.add(Dense, "scores", {"weights": np.eye(2), "bias": np.zeros(2)})
        >>> chain.add(Softmax, "probabilities")
        >>> sorted(chain.twin(input_size=2, output="classification", outputs=2).arrays)
        ['scores.bias', 'scores.weights']
    """

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._arrays: dict[str, np.ndarray] = {}

    def add(self, kind: Any, name: str, arrays: Mapping[str, np.ndarray] | None = None, **fields: Any) -> None:
        """Add a node.

        Args:
            kind: class of the node, such as :class:`~ktrdr.core.inference.Dense`.
            name: of the node.
            arrays: arrays by field of the node; each is called ``name.field``. They are not copied.
            **fields: the other fields of the node.

        Raises:
            BadInputError: the vocabulary has no such node, because it is too large.
        """
        named = {field: f"{name}.{field}" for field in arrays or {}}
        before = self._nodes[-1].name if self._nodes else FEATURES
        with _too_large():
            self._nodes.append(kind(name=name, input=before, **named, **fields))
        self._arrays |= {named[field]: array for field, array in (arrays or {}).items()}

    def twin(
        self,
        *,
        input_size: int,
        output: OutputKind,
        outputs: int,
        window: int = 1,
        average: np.ndarray | None = None,
    ) -> Twin:
        """Return the twin, whose prediction is the output of the last node.

        Args:
            input_size: number of feature columns.
            output: kind of the output.
            outputs: number of classes, or 1 for a value.
            window: number of rows that one prediction uses.
            average: float32 ``(input_size,)``, the average training sample, of a model with contributions.

        Raises:
            BadInputError: the model is too large for the vocabulary.
        """
        arrays = self._arrays if average is None else {**self._arrays, "average": average}
        with _too_large():
            graph = TwinGraph(
                input_size=input_size,
                window=window,
                output=output,
                outputs=outputs,
                nodes=tuple(self._nodes),
                average=None if average is None else "average",
            )
        return Twin(graph.to_json(), arrays)


@contextmanager
def _too_large() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise BadInputError(f"the model is too large for a portable twin ({message_of(error.errors()[0])})") from None
