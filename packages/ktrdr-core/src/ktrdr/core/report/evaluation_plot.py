"""The accounts of an evaluation as one interactive plotly figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktrdr.core.report.evaluation_content import MOST_POINTS, accounts_picture
from ktrdr.core.report.timeline import Timeline
from ktrdr.core.validation.evaluation_parts import Evaluation

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["evaluation_plot"]

_TICKS = 6


def evaluation_plot(evaluation: Evaluation) -> Figure:
    """Return the equity of every account and of buy and hold, as in the report.

    The axis has one place per bar and none for the time a market is closed.

    Args:
        evaluation: the evaluation.
    """
    import plotly.graph_objects as go

    curves = evaluation.curves
    timeline = Timeline.of(curves.time, MOST_POINTS)
    picture = accounts_picture(evaluation.facts, timeline, curves.equity, curves.buy_and_hold)
    figure = go.Figure(data=picture["data"], layout={**picture["layout"], "template": "plotly_white"})
    labels = timeline.labels
    step = max(1, len(labels) // _TICKS)
    figure.update_xaxes(tickvals=list(range(0, len(labels), step)), ticktext=[label[:10] for label in labels[::step]])
    return figure
