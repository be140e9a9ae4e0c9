"""Indicators of other distributions: found on disk, loaded when asked for, refused with the remedy."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError, PluginError
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.indicators.registry import IndicatorRegistry, default_registry


@pytest.fixture
def registry(site):
    def make(**environ):
        return IndicatorRegistry(path=[str(site)], environ=environ)

    return make


def test_is_listed_without_being_imported_and_computed_as_any_other(site, install, user_indicator, eurusd):
    install("my-indicators", "bar_share", user_indicator())
    found = default_registry()
    assert found.names()[-1] == "bar_share"
    assert found.resolve("Bar_Share") == "bar_share"
    assert "my_indicators" not in sys.modules
    assert found.get("bar_share").description.startswith("Range of the bar")
    assert found.origin("bar_share") == "my-indicators 1.2"
    assert found.origin("rsi") == "ktrdr-core"
    assert (found.is_foreign("bar_share"), found.is_foreign("rsi")) == (True, False)
    assert found.problems() == {}
    values = compute_indicator("bar_share", {"factor": 2}, eurusd)["share"]
    np.testing.assert_allclose(values, 2 * (eurusd.high - eurusd.low) / eurusd.close)
    assert "did you mean `bar_share`?" in found.unknown("bar_shar")


def test_parameters_are_checked_as_any_others(site, install, user_indicator, eurusd):
    install("my-indicators", "bar_share", user_indicator())
    with pytest.raises(BadInputError, match="`factor` must be above 0, not -1"):
        compute_indicator("bar_share", {"factor": -1}, eurusd)


@pytest.mark.parametrize("name", ["rsi", "williamsr", "zigzag"])
def test_a_name_of_ktrdr_itself_is_a_clash_and_the_built_in_type_is_not_replaced(
    registry, install, user_indicator, name
):
    install("my-indicators", name, user_indicator(name))
    found = registry()
    with pytest.raises(PluginError) as caught:
        found.get(name)
    assert f"ktrdr-core and my-indicators both provide `{name}`; uninstall my-indicators" in str(caught.value)
    assert f"KTRDR_BLOCK_PLUGINS={name}" in str(caught.value)
    assert len(found.problems()) == 1
    assert registry(KTRDR_BLOCK_PLUGINS="rsi,williamsr").get("rsi").outputs == ("rsi",)
    assert found.get("sma").name == "sma", "nobody else is concerned"


def test_one_name_from_two_distributions_is_a_clash_that_names_both(registry, install, user_indicator):
    install("one-indicators", "bar_share", user_indicator())
    install("two-indicators", "bar_share", user_indicator())
    found = registry()
    assert "bar_share" not in found.names()
    with pytest.raises(PluginError, match="one-indicators and two-indicators both provide `bar_share`; uninstall one"):
        found.get("bar_share")
    assert list(found.problems()) == ["bar_share"]


def test_a_blocked_one_says_which_variable_blocks_it(registry, install, user_indicator):
    install("my-indicators", "bar_share", user_indicator())
    found = registry(KTRDR_BLOCK_PLUGINS="bar_share")
    assert "bar_share" not in found.names()
    with pytest.raises(PluginError, match="listed in KTRDR_BLOCK_PLUGINS"):
        found.get("bar_share")
    with pytest.raises(PluginError, match="not listed in KTRDR_LOAD_PLUGINS"):
        registry(KTRDR_LOAD_PLUGINS="torch").get("bar_share")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no\\n luck')", "RuntimeError: no luck"),
        ("import absent_module", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("1 +", "SyntaxError"),
        ("", "has no attribute 'INDICATOR'"),
        ("INDICATOR = 3", "is int, and must be an IndicatorType"),
    ],
)
def test_a_broken_one_is_named_with_its_distribution_and_concerns_nobody_else(registry, install, code, reason):
    install("bad-indicators", "broken", code)
    found = registry()
    assert found.get("rsi").name == "rsi"
    with pytest.raises(PluginError) as caught:
        found.get("broken")
    text = str(caught.value)
    assert text.startswith("indicator `broken` of bad-indicators 1.2")
    assert reason in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"bar_share",', '"other",', "its name is `other`, and must be that of the entry point"),
        ('("share",)', "()", "its outputs must be one or more different names"),
        ('("share",)', '("share", "share")', "its outputs must be one or more different names"),
        (
            '("high", "low", "close"),',
            '("high", "bid"),',
            "its inputs must be among close, high, low, open, time, volume",
        ),
        ("lambda p: 0, (", "lambda p: 0, aliases=('x',), inputs=(", "aliases are not supported"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(registry, install, user_indicator, old, new, reason):
    code = user_indicator()
    assert old in code
    code = code.replace(old, new)
    if "aliases" in new:
        code = code.replace("(multiplier", "parameters=(multiplier")
    install("bad-indicators", "bar_share", code)
    with pytest.raises(PluginError, match=rf"`bar_share` of bad-indicators 1\.2: {reason}.*uninstall bad-indicators"):
        registry().get("bar_share")


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("1 / 0", r"failed on 6225 bars \(ZeroDivisionError: division by zero\)"),
        ("c['volume']", r"failed on 6225 bars \(KeyError: 'volume'\)"),
        ("c['high'].__imul__(2),", r"failed on 6225 bars \(ValueError: .*read-only"),
        ("c['high']", r"must return 1 arrays \(share\) as a list or tuple"),
        ("(c['high'], c['low'])", r"must return 1 arrays \(share\)"),
        ("(c['high'][1:],)", r"must return numbers of shape \(6225,\) for `share`, not float64 \(6224,\)"),
        ("(1.0,)", r"must return numbers of shape \(6225,\) for `share`, not float"),
        ("(c['high'].astype(str),)", r"must return numbers of shape \(6225,\) for `share`, not <U"),
    ],
)
def test_a_formula_that_goes_wrong_is_named_and_leaves_the_bars_alone(
    site, install, user_indicator, eurusd, formula, reason
):
    install("my-indicators", "bar_share", user_indicator(formula=formula))
    before = eurusd.high.copy()
    with pytest.raises(PluginError, match=rf"the formula of indicator `bar_share` \(my-indicators 1\.2\) {reason}"):
        compute_indicator("bar_share", {}, eurusd)
    np.testing.assert_array_equal(eurusd.high, before)
    eurusd.high[0] = before[0]  # still writable for whoever owns it


def test_whole_numbers_are_values_too(site, install, user_indicator, eurusd):
    install("my-indicators", "bar_share", user_indicator(formula="((c['close'] > c['low']).astype(int),)"))
    values = compute_indicator("bar_share", {}, eurusd)["share"]
    assert values.dtype == np.float64
    assert set(values) == {0.0, 1.0}


@pytest.mark.parametrize("kept", ["np.full(6225, np.inf)", "np.ma.MaskedArray(np.full(6225, np.inf))"])
def test_arrays_that_a_formula_keeps_or_returns_twice_are_not_changed(site, install, user_indicator, eurusd, kept):
    code = user_indicator(formula="(KEPT, KEPT)").replace('("share",)', '("share", "again")')
    code = code.replace("lambda p: 0", "lambda p: 3").replace("def formula", f"KEPT = {kept}\n            def formula")
    install("my-indicators", "bar_share", code)
    values = compute_indicator("bar_share", {}, eurusd)
    assert np.isinf(sys.modules["my_indicators"].KEPT).all()
    assert all(type(array) is np.ndarray and np.isnan(array).all() for array in values.values())
    assert not np.shares_memory(values["share"], values["again"])
