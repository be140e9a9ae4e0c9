"""Settings say once what may be asked; jobs are settings, and a sweep's settings hold those of its backtests."""

from __future__ import annotations

import datetime as dt

import click
import pytest
from click.testing import CliRunner
from pydantic import Field, ValidationError

from ktrdr.core.cli.setting_options import OwnOption, setting_options
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import (
    BacktestSettings,
    EvaluationSettings,
    SweepSettings,
    TradingSettings,
    TrainingSettings,
    VerdictSettings,
)
from ktrdr.core.jobs.kinds import JOB_KINDS, BacktestJob, VerdictJob
from ktrdr.core.jobs.refusals import read_settings
from ktrdr.core.limits import FEWEST_VERDICT_SEEDS

KINDS = {"training": TrainingSettings, "backtest": BacktestSettings, "sweep": SweepSettings}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described_and_a_job_adds_its_subject_alone(kind):
    assert all(field.description for field in KINDS[kind].model_fields.values())
    assert issubclass(JOB_KINDS[kind], KINDS[kind])
    assert len(JOB_KINDS[kind].model_fields) == len(KINDS[kind].model_fields) + 1


def test_they_are_frozen_and_refuse_unknown_fields():
    settings = TrainingSettings(epochs=3)
    with pytest.raises(ValidationError):
        settings.epochs = 4
    with pytest.raises(ValidationError):
        TrainingSettings(epoks=3)


def test_a_job_gives_its_settings():
    job = BacktestJob(model="a/1", capital=5, start=dt.date(2020, 1, 1))
    assert job.to(BacktestSettings) == BacktestSettings(capital=5, start=dt.date(2020, 1, 1))


def test_the_backtests_of_a_sweep_have_all_its_trading_settings():
    values = {
        "symbols": ("A",), "start": dt.date(2020, 1, 1), "end": dt.date(2020, 2, 1), "device": "cpu", "capital": 5.0,
        "commission": 0.1, "slippage": 0.2, "trials": 9, "inference": "native",
    }  # fmt: skip
    assert values.keys() == TradingSettings.model_fields.keys()
    swept = SweepSettings(settings={"risk.lot_size": (1,)}, **values)
    assert swept.backtest() == BacktestSettings(**values)


@pytest.mark.parametrize("kind", [BacktestSettings, EvaluationSettings])
@pytest.mark.parametrize("value", ["yes", "true", 1, 1.0, None])
def test_nothing_but_true_opens_a_reserve(kind, value):
    """What has been looked at cannot be unseen, so nothing is taken for a yes."""
    assert kind(reserve=True).reserve
    with pytest.raises(BadInputError, match=f"reserve must be true or false, not {value!r} \\(open the reserve"):
        read_settings(kind, {"reserve": value})


def test_a_given_number_of_seeds_alone_is_refused_by_the_quick_form_on_every_way():
    quick = VerdictSettings(quick=True)
    job = quick.to(VerdictJob, strategy="x")
    assert job.to(VerdictSettings) == read_settings(VerdictSettings, quick.model_dump(mode="json")) == quick
    assert read_settings(VerdictJob, job.model_dump(mode="json")) == job
    for seeds in (FEWEST_VERDICT_SEEDS, FEWEST_VERDICT_SEEDS + 1):
        with pytest.raises(BadInputError, match="the quick form has one seed; leave out `seeds`"):
            read_settings(VerdictSettings, {"quick": True, "seeds": seeds})


@pytest.mark.parametrize(("given", "used"), [({}, FEWEST_VERDICT_SEEDS), ({"seeds": 7}, 7), ({"quick": True}, 1)])
def test_the_evaluation_of_a_verdict_has_the_seeds_of_its_form(given, used):
    settings = VerdictSettings(commission=0.1, **given)
    assert settings.evaluation() == EvaluationSettings(commission=0.1, seeds=used)


class Planted(TrainingSettings):
    patience: int = Field(default=7, ge=3, lt=10, description="A field that was planted.")
    names: tuple[str, ...] | None = Field(default=None, description="Names.")


@pytest.fixture
def planted():
    @click.command()
    @setting_options(Planted)
    @click.option("--other", is_flag=True)
    def command(settings, other):
        click.echo(f"{settings!r} {other}")

    return lambda *arguments: CliRunner().invoke(command, arguments)


def test_a_field_is_an_option_with_its_description_default_and_bounds(planted):
    shown = " ".join(planted("--help").output.split())
    assert "--patience INTEGER A field that was planted. [default: 7; >=3, <10]" in shown
    assert "--names A,B Names." in shown
    assert shown.index("--symbols") < shown.index("--patience") < shown.index("--other")


def test_the_command_gets_one_object(planted):
    output = planted("--patience", "4", "--names", "a, b", "--end", "2020-01-31", "--other").output
    expected = Planted(patience=4, names=("a", "b"), end=dt.date(2020, 1, 31))
    assert output == f"{expected!r} True\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--patience", "10"], "--patience must be below 10, not 10 (a field that was planted)"),
        (["--names", "a,,b"], "--names 'a,,b' has an empty part"),
        (["--device", "G"], "--device must be written like auto or cpu or cuda:1, not 'G'"),
    ],
)
def test_what_the_model_refuses_is_one_sentence_that_names_the_option(planted, arguments, message):
    error = planted(*arguments).exception
    assert isinstance(error, BadInputError)
    assert message in str(error)
    assert "\n" not in str(error)


def test_some_fields_alone_and_one_with_an_option_of_its_own():
    @click.command()
    @setting_options(SweepSettings, only=("settings", "metric"), settings=OwnOption("--set", "K=V", lambda given: {}))
    def command(settings):
        raise AssertionError("it ran")

    assert [option.name for option in command.params] == ["settings", "metric"]
    assert "--set K=V" in CliRunner().invoke(command, ["--help"]).output
    error = CliRunner().invoke(command, ["--set", "x"]).exception
    assert str(error) == "--set is empty; give at least one"
