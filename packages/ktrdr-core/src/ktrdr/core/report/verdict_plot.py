"""The null worlds of a verdict as one interactive plotly figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktrdr.core.errors import BadInputError
from ktrdr.core.report.verdict_pictures import null_picture
from ktrdr.core.verdicts.verdict_parts import Verdict

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["verdict_plot"]


def verdict_plot(verdict: Verdict) -> Figure:
    """Return the Sharpe ratio on the real bars beside those on copies without an edge, as in the report.

    Args:
        verdict: the verdict.

    Raises:
        BadInputError: the verdict has no null worlds, because it is INVALID.
    """
    import plotly.graph_objects as go

    facts = verdict.facts
    picture = null_picture(facts)
    if picture is None:
        raise BadInputError(
            f"the verdict on {facts.strategy} is {facts.word}, so nothing was trained that could be drawn; its report"
            " shows what was found"
        )
    return go.Figure(data=picture["data"], layout={**picture["layout"], "template": "plotly_white"})
