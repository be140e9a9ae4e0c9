"""The exchange whose sessions are the days of daily bars that name no calendar."""

from __future__ import annotations

import numpy as np

from ktrdr.core.data.exchange_sessions import exchange_sessions
from ktrdr.core.errors import BadInputError

__all__ = ["fitting_exchange"]

_DAY = 86_400_000_000_000

# Exchanges with holidays of their own, the largest first. Any two of them differ in more than 1 % of their sessions,
# except those of the euro area and Stockholm with Zurich, whose calendars then serve for each other.
# The last two take seconds to make.
_EXCHANGES = (
    *("XNYS", "XSHG", "XTKS", "XPAR", "XHKG", "XLON", "XTSE", "XFRA", "XSWX", "XTAI", "XASX", "XJSE", "BVMF", "XSTO"),
    *("XMAD", "XMIL", "XSES", "XMEX", "XBOM", "XKRX"),
)
_YEARS = 3_652
"""Days that are compared: the last ten years, as some calendars do not reach further back."""

_EXACT = 0.002
"""Sum of both shares up to which no other exchange can fit better."""


def fitting_exchange(time: np.ndarray, most: float, until: int | None = None) -> tuple[str, float] | None:
    """Return the exchange that fits the days of daily bars best, ``None`` if none does.

    It fits if few of its sessions have no bar, and few bars are on days without a session.

    Args:
        time: ``datetime64[ns]`` ``(n,)``, opens of daily bars, ascending.
        most: largest share of either.
        until: last day (since 1970) of a comparison with several symbols, whose calendars are then made once; by
            default the last of ``time``. A symbol without bars in the ten years before has its own.

    Returns:
        Its market identifier code, and the share of its sessions without a bar.
    """
    if not len(time):
        return None
    days = np.unique(time.astype("datetime64[ns]").astype(np.int64) // _DAY)
    last = int(days[-1])
    until = last if until is None or last <= until - _YEARS else until
    days = days[days > until - _YEARS]
    found: list[tuple[float, float, str]] = []
    for name in _EXCHANGES:
        try:
            sessions = exchange_sessions(name, until - _YEARS, until)[0]
        except BadInputError:
            continue  # its calendar does not reach so far
        sessions = sessions[(sessions >= days[0]) & (sessions <= days[-1])]
        # An exchange with a session on none of the days has no share to compare.
        missing = len(np.setdiff1d(sessions, days)) / max(len(sessions), 1)
        besides = len(np.setdiff1d(days, sessions)) / len(days)
        if max(missing, besides) <= most:
            found.append((missing + besides, missing, name))
            if missing + besides <= _EXACT:
                break
    if not found:
        return None
    _, missing, name = min(found, key=lambda each: each[0])
    return name, missing
