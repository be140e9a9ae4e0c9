"""`ktrdr explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import click

from ktrdr.core.jobs.job_settings import Inference

if TYPE_CHECKING:
    from ktrdr.core.backtesting.explanation import Explanation, InputShare

__all__ = ["explain"]

_MOST_INPUTS = 25
_MOST_RULES = 20


@click.command()
@click.argument("model")
@click.option("--at", metavar="TIME", help="A time (UTC) within the bar.  [default: the latest BUY or SELL]")
@click.option("--symbol", help="Symbol of the bars.  [default: the first the model was trained on]")
@click.option(
    "--inference",
    type=click.Choice(get_args(Inference)),
    default="auto",
    show_default=True,
    help="What predicts: the model's portable twin, its ML framework, or the twin where there is one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(model: str, at: str | None, symbol: str | None, inference: Inference, as_json: bool) -> None:
    """Explain one decision of a model.

    Prints the inputs of the model at a bar, the contribution of each input, and the outputs; for a rule-based model,
    also its rules. Whether a decision becomes an order also depends on the position, which only a backtest knows. MODEL
    is `name` for the latest version of a model, or `name/3` for one.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.data.times import parse_time
    from ktrdr.core.workflows.run_explanation import explain as explain_decision

    time = None if at is None else parse_time(at, "--at")
    explained = explain_decision(model, symbol=symbol, at=time, inference=inference)
    if as_json:
        print_json(explained.to_json())
    else:
        _print(explained)


def _print(explained: Explanation) -> None:
    from ktrdr.core.data.times import format_time
    from ktrdr.core.names import named_market

    market = f"{named_market(explained.symbol, explained.world)} {explained.timeframe}"
    click.echo(
        f"{explained.model} on {market}: bar of {format_time(explained.time)},"
        f" decided at its close, {format_time(explained.known_at)} UTC"
    )
    outputs = ", ".join(f"{name} {value:.4g}" for name, value in explained.outputs.items())
    click.echo(f"Outputs: {outputs}")
    click.echo(f"Decision: {explained.decision}; {explained.reason}.")
    _print_inputs(explained)
    _print_rules(explained)


def _print_inputs(explained: Explanation) -> None:
    from ktrdr.core.cli.output import print_table

    output = max(explained.outputs, key=lambda name: explained.outputs[name])
    told = any(share.contributions is not None for share in explained.inputs)

    def weight(group: list[InputShare]) -> float:
        contributions = group[0].contributions
        return -abs(contributions[output]) if contributions else 0.0

    # Memberships that the model does not receive are listed below the value they read.
    groups: list[list[InputShare]] = []
    for share in explained.inputs:
        if share.seen is None:
            groups[-1].append(share)
        else:
            groups.append([share])
    groups.sort(key=weight)
    headings = ["input", "indicator value", "membership or input", *([f"adds to {output}"] if told else [])]
    rows = []
    for share in (share for group in groups[:_MOST_INPUTS] for share in group):
        name, seen = (f"  {share.id}", share.degree) if share.seen is None else (share.id, share.seen)
        added = f"{share.contributions[output]:+.4f}" if share.contributions else ""
        rows.append([name, f"{share.value:.5g}", f"{seen:.4g}", *([added] if told else [])])
    print_table(headings, rows, right=headings[1:])
    if len(groups) > _MOST_INPUTS:
        click.echo(f"{len(groups) - _MOST_INPUTS} more inputs with --json.")
    if told:
        click.echo(f"The sum is the difference between {output} here and {output} for the average training sample.")
    elif explained.hidden_by_vote:
        click.echo("A majority vote has no contributions of its inputs; `vote: average` has.")
    else:
        click.echo("Models of this type do not give the contribution of each input.")


def _print_rules(explained: Explanation) -> None:
    if not explained.rules:
        return
    shown = explained.rules[:_MOST_RULES]
    click.echo(f"\n{len(explained.rules)} rules, by weight: the share of the training samples that each decided")
    for rule in shown:
        click.echo(f"  {rule.weight:6.1%}  {rule.text}")
    if len(shown) < len(explained.rules):
        click.echo(f"  ... {len(explained.rules) - len(shown)} more with --json")
