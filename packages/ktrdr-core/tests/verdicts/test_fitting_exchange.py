"""The exchange of daily bars follows from their days, if these are its sessions and no others."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.data.exchange_sessions import exchange_sessions
from ktrdr.core.verdicts import fitting_exchange as fitting_exchange_module
from ktrdr.core.verdicts.fitting_exchange import fitting_exchange

# 2010-01-04 to 2019-12-30, in days since 1970.
DECADE = (14_613, 18_260)


def opens(days: np.ndarray) -> np.ndarray:
    return days.astype("datetime64[D]").astype("datetime64[ns]")


@pytest.mark.parametrize("name", ["XNYS", "XTKS", "XPAR", "XTSE"])
def test_the_exchange_of_the_days_is_found(name: str):
    days = exchange_sessions(name, *DECADE)[0]
    assert fitting_exchange(opens(days), 0.01) == (name, 0.0)
    # Labelled with the open of the session, and a few of them absent.
    kept = np.ones(len(days), dtype=np.bool_)
    kept[200::700] = False
    found = fitting_exchange(opens(days[kept]) + np.timedelta64(9, "h"), 0.01)
    assert found is not None
    assert found[0] == name
    assert found[1] == pytest.approx((~kept).mean())


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out calendars that take seconds to make."""
    monkeypatch.setattr(fitting_exchange_module, "_EXCHANGES", ("XSHG", "XNYS", "XLON", "XTSE", "XPAR"))


@pytest.mark.usefixtures("few")
def test_all_weekdays_and_random_days_fit_none():
    weekdays = np.arange(*DECADE)[(np.arange(*DECADE) + 3) % 7 < 5]
    assert fitting_exchange(opens(weekdays), 0.01) is None
    days = exchange_sessions("XNYS", *DECADE)[0]
    assert fitting_exchange(opens(days[np.random.default_rng(1).random(len(days)) > 0.03]), 0.01) is None
    assert fitting_exchange(opens(days[:0]), 0.01) is None


@pytest.mark.usefixtures("few")
def test_exchanges_that_do_not_reach_so_far_are_left_out():
    days = exchange_sessions("XNYS", 0, 3650)[0]
    assert fitting_exchange(opens(days), 0.01) == ("XNYS", 0.0)


def test_symbols_that_end_at_different_times_are_compared_over_the_same_years():
    days = exchange_sessions("XTKS", *DECADE)[0]
    assert fitting_exchange(opens(days), 0.01, until=DECADE[1] + 200) == ("XTKS", 0.0)
    assert fitting_exchange(opens(days), 0.01, until=DECADE[1] + 4_000) == ("XTKS", 0.0)
