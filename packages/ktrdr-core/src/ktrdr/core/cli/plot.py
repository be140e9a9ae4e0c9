"""`ktrdr strategy plot`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["plot"]


@click.command()
@click.argument("strategy_file", metavar="STRATEGY", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="HTML file to write.  [default: <name>-memberships.html here]",
)
@click.option("--symbol", help="Symbol of the values to draw.  [default: the strategy's first symbol]")
@click.option("--sample", is_flag=True, help="Draw values of the shipped EURUSD sample instead of stored data.")
def plot(strategy_file: Path, output: Path | None, symbol: str | None, sample: bool) -> None:
    """Draw membership functions over the values they read.

    Writes one self-contained HTML file that needs no network.
    """
    import numpy as np

    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.errors import BadInputError
    from ktrdr.core.features.inputs import inputs_for
    from ktrdr.core.features.pipeline import FeaturePipeline
    from ktrdr.core.report.membership_plot import membership_figure
    from ktrdr.core.report.plot_page import write_page
    from ktrdr.core.strategy.loader import load_strategy

    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise BadInputError(f"`{output}`: pictures are written as HTML; give a name that ends in .html")
    strategy = load_strategy(strategy_file).strategy
    if not strategy.fuzzy_sets:
        raise BadInputError(f"`{strategy_file}` has no fuzzy sets; there is nothing to draw")
    pipeline = FeaturePipeline(strategy)
    bars = inputs_for(strategy, pipeline.timeframes, symbol=symbol, sample=sample, store=default_store())
    base = bars[pipeline.timeframes[0]]
    values = pipeline.indicator_values(bars)
    drawn = {(column.timeframe, column.indicator) for column in pipeline.columns if column.fuzzy_set}
    for timeframe, indicator in sorted(drawn):
        if np.isnan(values[timeframe, indicator]).all():
            raise BadInputError(
                f"`{indicator}` has no value on {len(bars[timeframe]):,} bars of {base.symbol} {timeframe}: give more"
                " bars or shorten its period"
            )
    figure = membership_figure(strategy, values)
    target = output or Path(f"{strategy.name}-memberships.html")
    span = f"{len(base):,} bars of {base.symbol} {base.timeframe}"
    if len(base):
        span += f", {str(base.time[0])[:10]} to {str(base.time[-1])[:10]}"
    write_page(figure, target, title=f"{strategy.name}: membership functions", subtitle=f"Over {span}")
    click.echo(f"Wrote {target}")
