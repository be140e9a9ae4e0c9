"""Which types there are, by what names, and what they declare."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.indicators.description import describe
from ktrdr.core.indicators.registry import get_indicator, indicator_names, resolve_name, unknown_indicator

# The grammar's list, and the names older strategy files use.
GRAMMAR = {
    "rsi", "roc", "momentum", "cci", "williams_r", "stochastic", "rvi", "fisher", "aroon", "aroon_oscillator",
    "atr", "natr", "bbands", "bbands_width", "keltner", "donchian", "supertrend", "sma", "ema", "wma", "dema",
    "tema", "kama", "hma", "macd", "ppo", "adx", "parabolic_sar", "ichimoku", "obv", "vwap", "mfi", "cmf",
    "ad_line", "volume_ratio", "distance_from_ma", "squeeze", "zscore", "returns", "volatility", "stddev",
    "linreg_slope", "percentile_rank", "trix", "ultimate_oscillator", "vortex", "choppiness", "chande_momentum",
}  # fmt: skip
ALIASES = {
    "williamsr": "williams_r",
    "fishertransform": "fisher",
    "bollingerbands": "bbands",
    "bollingerbandwidth": "bbands_width",
    "keltnerchannels": "keltner",
    "donchianchannels": "donchian",
    "simplemovingaverage": "sma",
    "exponentialmovingaverage": "ema",
    "weightedmovingaverage": "wma",
    "parabolicsar": "parabolic_sar",
    "adline": "ad_line",
    "volumeratio": "volume_ratio",
    "distancefromma": "distance_from_ma",
    "squeezeintensity": "squeeze",
}
NAMES = indicator_names()
PARAMETERS = [(name, parameter) for name in NAMES for parameter in get_indicator(name).parameters]


def test_everything_the_grammar_names_is_there():
    assert set(NAMES) >= GRAMMAR
    assert len(NAMES) == len(set(NAMES))


def every_alias():
    return {alias: name for name in NAMES for alias in get_indicator(name).aliases}


@pytest.mark.parametrize(("alias", "name"), sorted((every_alias() | ALIASES).items()))
def test_an_alias_in_any_case_is_the_type(eurusd, alias, name):
    for spelling in (alias, alias.upper(), alias.title()):
        assert resolve_name(spelling) == name
        assert get_indicator(spelling) is get_indicator(name)
    found = compute_indicator(alias.upper(), {}, eurusd[:300])
    for output, values in compute_indicator(name, {}, eurusd[:300]).items():
        np.testing.assert_array_equal(found[output], values)


def test_no_alias_is_a_name_or_another_types_alias():
    aliases = [alias for name in NAMES for alias in get_indicator(name).aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(NAMES)
    assert all(word == word.lower() for word in [*aliases, *NAMES])


@pytest.mark.parametrize("name", NAMES)
def test_declarations_are_complete(name):
    indicator = get_indicator(name)
    assert indicator.name == name
    assert indicator.description.endswith(".")
    assert indicator.reference
    assert indicator.outputs
    assert len(set(indicator.outputs)) == len(indicator.outputs)
    assert set(indicator.output_aliases.values()) <= set(indicator.outputs)
    for old, new in indicator.output_aliases.items():
        assert indicator.resolve_output(old) == new
    assert indicator.resolve_output("nonsense") is None
    assert indicator.inputs or indicator.has_source
    values, problems = indicator.validate({})
    assert not problems, "every parameter has a default"
    assert indicator.warmup(values) >= 0
    assert not indicator.has_source or indicator.parameters[-1].name == "source"


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS, ids=[f"{name}-{p.name}" for name, p in PARAMETERS])
def test_ranges_are_declared_and_kept(name, parameter):
    assert parameter.description
    if parameter.kind == "str":
        assert parameter.default in parameter.choices
        good, bad = [choice.upper() for choice in parameter.choices], ["nonsense", 3, None]
    else:
        assert parameter.minimum is not None
        assert parameter.maximum is not None
        step = 1 if parameter.kind == "int" else 0.001
        good = [parameter.minimum + step * parameter.exclusive_minimum, parameter.maximum, parameter.default]
        bad = [parameter.minimum - step, parameter.maximum + step, float("nan"), "14", None, True]
        if parameter.exclusive_minimum:
            bad.append(parameter.minimum)
    # A rule between parameters (fast below slow) is not what this is about: only this one's own problems count.
    for value in good:
        _, problems = get_indicator(name).validate({parameter.name: value})
        assert not [problem for problem in problems if problem.path == (parameter.name,)], value
    for value in bad:
        _, problems = get_indicator(name).validate({parameter.name: value})
        assert [problem for problem in problems if problem.path == (parameter.name,)], value


@pytest.mark.parametrize("name", NAMES)
def test_a_description_as_plain_values_says_all_of_it(name):
    indicator = get_indicator(name)
    described = describe(indicator, "ktrdr-core")
    assert [entry["name"] for entry in described["parameters"]] == [p.name for p in indicator.parameters]
    assert described["outputs"] == list(indicator.outputs)
    assert described["formula"] == indicator.reference
    assert described["warmup"] == indicator.warmup(indicator.validate({})[0])


@pytest.mark.parametrize("spelling", ["zigzag", "ZigZag"])
def test_zigzag_is_refused_with_the_reason(eurusd, spelling):
    assert resolve_name(spelling) is None
    assert "looks into the future" in unknown_indicator(spelling)
    with pytest.raises(BadInputError, match="looks into the future, so it cannot be an indicator; .*label source"):
        compute_indicator(spelling, {}, eurusd)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("rsii", "rsi"), ("bolinger_bands", "bollinger_bands"), ("stoch", "stochastic"), ("MCAD", "macd")],
)
def test_a_name_that_does_not_exist_gets_a_suggestion(wrong, meant):
    assert unknown_indicator(wrong) == f"unknown indicator type `{wrong}`, did you mean `{meant}`?"
    assert "`ktrdr indicators` lists those there are" in unknown_indicator("qqqq")


def test_reading_declarations_loads_neither_talib_nor_pandas():
    code = (
        "import sys; from ktrdr.core.indicators import registry, description;"
        "[description.describe(registry.get_indicator(n), '') for n in registry.indicator_names()];"
        "print([m for m in ('talib._ta_lib', 'pandas', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
