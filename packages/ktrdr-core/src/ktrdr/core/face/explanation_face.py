"""Explanations of single decisions from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ktrdr.core.backtesting.explanation import Explanation as ExplainedDecision
from ktrdr.core.data.frames import instant
from ktrdr.core.data.python_words import python_messages
from ktrdr.core.data.times import format_time
from ktrdr.core.face.arguments import TimeLike
from ktrdr.core.face.model_argument import ModelLike, find_bundle
from ktrdr.core.face.result_html import paragraph, result_block, table_html
from ktrdr.core.jobs.job_settings import Inference

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Explanation", "explain"]


class Explanation:
    """What led to one decision of a model. :func:`ktrdr.core.explain` makes it.

    Example:
        >>> import ktrdr.core as kt
        >>> explanation = kt.explain("neuro_mean_reversion/1", at="2017-11-01T12:30")
        >>> explanation.time
        Timestamp('2017-11-01 12:00:00+0000', tz='UTC')
        >>> explanation.outputs.index.tolist()
        ['BUY', 'HOLD', 'SELL']
    """

    def __init__(self, result: ExplainedDecision) -> None:
        self._result = result

    @property
    def decision(self) -> str:
        """``BUY``, ``SELL`` or ``HOLD``, before what depends on the position."""
        return self._result.decision

    @property
    def reason(self) -> str:
        """A sentence on how the outputs led to the decision."""
        return self._result.reason

    @property
    def time(self) -> pd.Timestamp:
        """Open of the bar, aware, UTC; the decision is made at its close."""
        import pandas as pd

        return pd.Timestamp(self._result.time).tz_localize("UTC")

    @property
    def outputs(self) -> pd.Series[float]:
        """Outputs of the model: probability of each class, or ``value``; float64."""
        import pandas as pd

        return pd.Series(dict(self._result.outputs), name="output", dtype=float)

    @property
    def inputs(self) -> pd.DataFrame:
        """One row per input of the model; index ``input``, the feature's name.

        Columns: ``indicator`` and its ``value`` in its own units; ``seen``, what the model got; ``degree`` of
        membership; and per output one column ``adds to <output>``: what the input added to it, compared with the
        average training sample (absent where the model cannot tell). Numbers are float64, NaN where there is none.
        """
        import pandas as pd

        rows = []
        for share in self._result.inputs:
            row: dict[str, Any] = {
                "indicator": share.indicator,
                "value": share.value,
                "seen": share.seen,
                "degree": share.degree,
            }
            row |= {f"adds to {name}": value for name, value in (share.contributions or {}).items()}
            rows.append(row)
        frame = pd.DataFrame(rows, index=pd.Index([share.id for share in self._result.inputs], name="input"))
        return frame.astype({name: float for name in frame.columns if name != "indicator"})

    @property
    def rules(self) -> pd.DataFrame:
        """Rules of a rule-based model, sorted by falling weight: columns ``rule`` and ``weight``; otherwise empty."""
        import pandas as pd

        rules = self._result.rules
        return pd.DataFrame({"rule": [rule.text for rule in rules], "weight": [rule.weight for rule in rules]})

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON-ready data, as ``ktrdr explain --json`` prints it."""
        return self._result.to_json()

    def _title(self) -> str:
        found = self._result
        return f"{found.model} on {found.symbol} {found.timeframe}, bar of {format_time(found.time)} UTC"

    def __repr__(self) -> str:
        return f"<Explanation {self._title()}: {self.decision}; {self.reason}>"

    def _repr_html_(self) -> str:
        inputs = self.inputs
        output = str(self.outputs.idxmax())
        if f"adds to {output}" in inputs:
            inputs = inputs[["value", "seen", f"adds to {output}"]]
        table = table_html(inputs, ".4g")
        return result_block(f"{self._title()}: {self.decision}", paragraph(self.reason), table)


def explain(
    model: ModelLike,
    *,
    symbol: str | None = None,
    at: TimeLike = None,
    inference: Inference = "auto",
) -> Explanation:
    """Explain one decision of a model on stored bars: what it saw, what each input added, and the answer.

    Args:
        model: what :func:`train` returned, a bundle, ``"name"``, ``"name/3"``, or the path of a strategy file.
        symbol: whose bars; by default the first symbol the model was trained on.
        at: a time within the bar, UTC where it has no zone; by default the latest bar on which the model buys or sells.
        inference: what predicts: the model's twin in core (``portable``), its ML framework (``native``), or the twin
            where there is one (``auto``).

    Returns:
        The explanation: ``.decision``, ``.inputs`` and ``.outputs``; of a model made of rules, ``.rules`` too.

    Raises:
        BadInputError: there is no such model or bar, or the bar does not have all features.
        KtrdrError: the model fails to predict.

    Example:
        >>> import ktrdr.core as kt
        >>> bars = kt.data.import_sample()
        >>> training = kt.train(kt.example_strategy(), progress=False)
        >>> explanation = kt.explain(training, at="2017-11-01 12:00")
        >>> explanation.decision in ("BUY", "HOLD", "SELL")
        True
        >>> explanation.inputs.loc["1h_rsi_neutral", "indicator"]
        'rsi_14'
    """
    from ktrdr.core.workflows.places import plugins_or_all
    from ktrdr.core.workflows.run_explanation import explain as run

    plugins = plugins_or_all(None)
    bundle = find_bundle(model, plugins)
    with python_messages():
        return Explanation(run(bundle, symbol=symbol, at=instant(at, "at"), inference=inference, plugins=plugins))
