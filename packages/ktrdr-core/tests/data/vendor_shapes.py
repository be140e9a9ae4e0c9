"""Writes one series of bars in the shapes of vendors' files: every combination of signs, dates, clocks and headings."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

SEPARATORS = (",", ";", "\t", "|")
DECIMALS = (".", ",")
# None, the two signs, a space, a no-break space, a narrow one, an apostrophe.
THOUSANDS = ("", ",", ".", " ", "\u00a0", "\u202f", "'")
DATES = {
    "iso": "%Y-%m-%d",
    "year/": "%Y/%m/%d",
    "year.": "%Y.%m.%d",
    "day.": "%d.%m.%Y",
    "day/": "%d/%m/%Y",
    "month/": "%m/%d/%Y",
    "name": "%d-%b-%Y",
    "compact": "%Y%m%d",
}
CLOCKS = ("", "H:M", "H:M:S", "H:M:S.f", "am", "HMS", "h:m", "hms", "24:00")
ZONES = ("", "Z", " UTC", "+01:00", " GMT+0100", " US/Eastern", "local")
HEADINGS = ("plain", "preamble", "metatrader", "yfinance", "bare6", "bare7", "bare8", "mean8", "binance")
EPOCHS = ("s", "ms", "us", "ns", "ms+us")
LINE_ENDS = ("\n", "\r\n")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")

_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_NEW_YORK = ZoneInfo("America/New_York")
_COLUMNS = {
    "plain": ("Time", "Open", "High", "Low", "Close", "Volume"),
    "preamble": ("time", "open", "high", "low", "close", "volume"),
    "metatrader": ("<DATE>", "<TIME>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<TICKVOL>", "<VOL>", "<SPREAD>"),
    "yfinance": ("Price", "Close", "High", "Low", "Open", "Volume"),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """How a file is written. Not every combination is one: see :func:`possible`."""

    separator: str = ","
    decimal: str = "."
    thousands: str = ""
    fixed: bool = True
    currency: str = ""
    suffix: bool = False
    date: str = "iso"
    clock: str = "H:M"
    joint: str = " "
    zone: str = ""
    epoch: str = ""
    heading: str = "plain"
    line_end: str = "\n"
    encoding: str = "utf-8"
    packed: bool = False
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """Bars as whole numbers of ticks, so that what is written is exact.

    Attributes:
        opens: seconds since 1970, ascending.
        step: seconds of a bar.
        digits: decimals of a price.
        prices: open, high, low, close of each bar, in ticks.
        volumes: in hundredths of ``volume_unit``; None where there is none.
        volume_unit: 1, or what the suffix K, M or B stands for.
    """

    opens: tuple[int, ...]
    step: int
    digits: int
    prices: tuple[tuple[int, int, int, int], ...]
    volumes: tuple[int | None, ...]
    volume_unit: int = 1


def possible(shape: Shape) -> bool:
    """Tell whether files can be written like this."""
    if shape.thousands == shape.decimal or (_is_german_in_commas(shape) and not shape.fixed):
        return False
    if shape.epoch:
        plain = (shape.date, shape.clock, shape.joint, shape.zone) == ("iso", "H:M", " ", "")
        return plain and shape.heading != "metatrader"
    if shape.clock == "" and (shape.zone or shape.heading == "metatrader"):
        return False
    if shape.clock == "am" and shape.zone in ("Z", "+01:00"):
        return False  # these follow the last digit of a clock
    if shape.joint == "T" and (shape.date != "iso" or shape.clock not in ("H:M", "H:M:S", "H:M:S.f")):
        return False
    return shape.heading != "metatrader" or (shape.zone in ("", "local") and shape.joint == " ")


def _is_german_in_commas(shape: Shape) -> bool:
    """Tell whether quoted cells such as ``"1.234,50"`` are separated by commas.

    There a file of nothing but whole numbers such as ``1.234`` is read with a decimal point, as everybody else writes
    who separates by commas: its prices need decimals to be told.
    """
    return (shape.separator, shape.decimal, shape.thousands) == (",", ",", ".")


def shapes(generator: random.Random, **given: object) -> Shape:
    """Draw one possible shape that has the ``given`` fields."""
    while True:
        drawn: dict[str, object] = {
            "separator": generator.choice(SEPARATORS),
            "decimal": generator.choice(DECIMALS),
            "thousands": generator.choice(THOUSANDS),
            "fixed": generator.random() < 0.6,
            "currency": generator.choice(("", "", "", "$")),
            "suffix": generator.random() < 0.2,
            "heading": generator.choice(HEADINGS),
            "line_end": generator.choice(LINE_ENDS),
            "encoding": generator.choice(("utf-8", "utf-8", "utf-8", *ENCODINGS)),
            "packed": generator.random() < 0.1,
            "newest_first": generator.random() < 0.2,
        }
        if generator.random() < 0.15:
            drawn["epoch"] = generator.choice(EPOCHS)
        else:
            drawn["date"] = generator.choice(tuple(DATES))
            drawn["clock"] = generator.choice(CLOCKS)
            drawn["zone"] = generator.choice(ZONES)
            drawn["joint"] = generator.choice((" ", " ", "T"))
        shape = replace(Shape(), **{**drawn, **given})  # type: ignore[arg-type]
        if possible(shape):
            return shape


def all_of(generator: random.Random, **axes: tuple[object, ...]) -> Iterator[Shape]:
    """Yield a shape for every possible combination of ``axes``; the other fields are drawn anew for each."""
    for values in itertools.product(*axes.values()):
        given = dict(zip(axes, values, strict=True))
        if given.get("epoch"):
            given = {"date": "iso", "clock": "H:M", "joint": " ", "zone": "", **given}
        elif {"date", "clock", "zone"} & given.keys():
            given = {"epoch": "", **given}
        if _can_be(given):
            yield shapes(generator, **given)


def _can_be(given: dict[str, object]) -> bool:
    """Tell whether any possible shape has these fields."""
    return any(
        possible(replace(Shape(), **{"joint": " ", "zone": zone, "heading": heading, "thousands": thousands, **given}))  # type: ignore[arg-type]
        for zone in ("", "local")
        for heading in ("plain", "metatrader")
        for thousands in ("", "'")
    )


def series(generator: random.Random, shape: Shape, length: int = 24) -> Series:
    """Draw a series that can be written in ``shape``: prices of any size, some across 1,000, some whole."""
    step = 86400 if shape.clock == "" and not shape.epoch else 1800
    opens = _opens(generator, shape, step, length)
    # Three decimals look like thousands, and no decimals like thousands that are meant.
    digits = generator.choice((1, 2, 3, 4) if _is_german_in_commas(shape) else (0, 0, 1, 2, 2, 3, 3, 4, 5, 6))
    middle = max(
        20,
        round(float(generator.choice(("0.0001", "0.01", "1.1", "30", "998", "1000", "4500", "100000"))) * 10**digits),
    )
    spread = max(2, min(middle // 8, middle - 5))
    prices = []
    for _ in opens:
        open_, close = (middle + generator.randint(-spread // 2, spread // 2) for _ in range(2))
        high = max(open_, close) + generator.randint(0, spread // 4)
        low = min(open_, close) - generator.randint(0, spread // 4)
        prices.append((open_, high, low, close))
    unit = generator.choice((1_000, 1_000_000, 1_000_000_000)) if shape.suffix else 1
    most = 99_999 if shape.suffix else generator.choice((900, 500_000, 200_000_000))
    whole = not shape.suffix and generator.random() < 0.6
    volumes: list[int | None] = [
        generator.randint(0, most) // (100 if whole else 1) * (100 if whole else 1) for _ in opens
    ]
    if generator.random() < 0.2:
        volumes[generator.randrange(1, len(volumes))] = None
    return Series(tuple(opens), step, digits, tuple(prices), tuple(volumes), unit)


def _opens(generator: random.Random, shape: Shape, step: int, length: int) -> list[int]:
    if shape.zone in ("local", " US/Eastern"):
        # Clocks change at 07:00 UTC on 2017-03-12 and at 06:00 UTC on 2017-11-05.
        starts = [dt.datetime(2017, 3, 12, 4), dt.datetime(2017, 11, 5, 2)]
    else:
        # Some begin late enough to reach the end of their day.
        hour = generator.choice((0, 20, 22)) if step < 86400 else 0
        day = dt.datetime(2017, 1, 1, hour) + dt.timedelta(days=generator.randrange(365))
        starts = [day, day + dt.timedelta(days=generator.choice((20, 40)))]
    opens: list[int] = []
    for start in starts:
        first = int(start.replace(tzinfo=dt.UTC).timestamp()) + step * generator.randrange(0, 3)
        opens.extend(first + step * i for i in range(length // 2))
    return opens


def write(path: Path, shape: Shape, bars: Series) -> None:
    """Write ``bars`` to ``path``."""
    text = _text(shape, bars)
    data = text.encode(shape.encoding)
    path.write_bytes(gzip.compress(data, 1) if shape.packed else data)


def _text(shape: Shape, bars: Series) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=shape.separator, lineterminator=shape.line_end)
    if shape.heading == "preamble":
        out.write(f"Prices by Vendor{shape.line_end}Source: www.vendor.example{shape.line_end}")
    if shape.heading in _COLUMNS:
        writer.writerow(_COLUMNS[shape.heading])
    if shape.heading == "yfinance":
        writer.writerow(["Ticker", *["BTC-USD"] * 5])
        writer.writerow(["Datetime" if shape.clock else "Date", *[""] * 5])
    rows = [_row(shape, bars, i) for i in range(len(bars.opens))]
    writer.writerows(reversed(rows) if shape.newest_first else rows)
    return out.getvalue()


def _row(shape: Shape, bars: Series, i: int) -> list[str]:
    open_, high, low, close = (_number(shape, _scaled(ticks, bars.digits), shape.currency) for ticks in bars.prices[i])
    volume = _volume(shape, bars, i)
    count = str(7 + i)
    time = _time(shape, bars, i)
    match shape.heading:
        case "metatrader":
            return [*time, open_, high, low, close, volume, "0", "1"]
        case "yfinance":
            return [*time, close, high, low, open_, volume]
        case "bare7":
            return [*time, open_, high, low, close, volume, count]
        case "bare8":
            return [*time, open_, high, low, close, volume, close, count]
        case "mean8":
            return [*time, open_, high, low, close, close, volume, count]
        case "binance":
            return [*time, open_, high, low, close, volume, *time, volume, count, volume, volume, "0"]
        case _:
            return [*time, open_, high, low, close, volume]


def _scaled(ticks: int, digits: int) -> Decimal:
    return Decimal(ticks).scaleb(-digits)


def _number(shape: Shape, value: Decimal, currency: str = "") -> str:
    """Write a number: with all of its digits, or with as few as it needs."""
    text = f"{value:f}"
    if not shape.fixed and "." in text:
        text = text.rstrip("0").rstrip(".")
    whole, _, fraction = text.partition(".")
    if shape.thousands:
        whole = re.sub(r"(?<=\d)(?=(\d{3})+$)", shape.thousands, whole)
    return currency + whole + (shape.decimal + fraction if fraction else "")


def _volume(shape: Shape, bars: Series, i: int) -> str:
    hundredths = bars.volumes[i]
    if hundredths is None:
        return ""
    value = _scaled(hundredths, 2)
    if shape.suffix:
        return _number(shape, value) + {1_000: "K", 1_000_000: "M", 1_000_000_000: "B"}[bars.volume_unit]
    return _number(shape, value if any((each or 0) % 100 for each in bars.volumes) else value.to_integral_value())


def _time(shape: Shape, bars: Series, i: int) -> list[str]:
    instant = bars.opens[i] + (bars.step if shape.clock == "24:00" else 0)
    if shape.epoch:
        unit = shape.epoch
        if unit == "ms+us":
            unit = "ms" if i < len(bars.opens) // 2 else "us"
        return [str(instant * 10**9 // _UNITS[unit])]
    zone = {"+01:00": dt.timezone(dt.timedelta(hours=1)), " GMT+0100": dt.timezone(dt.timedelta(hours=1))}.get(
        shape.zone, _NEW_YORK if shape.zone in ("local", " US/Eastern") else dt.UTC
    )
    local = dt.datetime.fromtimestamp(instant, zone)
    shown = local
    if shape.clock == "24:00" and (local.hour, local.minute) == (0, 0):
        shown = local - dt.timedelta(days=1)
    date = shown.strftime(DATES[shape.date])
    clock = {
        "": "",
        "H:M": f"{local:%H:%M}",
        "H:M:S": f"{local:%H:%M:%S}",
        "H:M:S.f": f"{local:%H:%M:%S}.000",
        "am": f"{(local.hour - 1) % 12 + 1}:{local:%M %p}",
        "HMS": f"{local:%H%M%S}",
        "h:m": f"{local.hour}:{local:%M}",
        "hms": f"{local.hour}{local:%M%S}",
        "24:00": f"{local:%H:%M}" if shown == local else "24:00",
    }[shape.clock]
    if shape.heading == "metatrader":
        return [date, clock]
    zone_text = "" if shape.zone == "local" else shape.zone
    return [f"{date}{shape.joint}{clock}{zone_text}" if clock else date]


def options(shape: Shape) -> dict[str, object]:
    """Return what a user has to say of any file of this shape."""
    said: dict[str, object] = {"symbol": "BTCUSD", "calendar": "24/7"}
    if shape.clock == "24:00":
        said["label"] = "close"
    if shape.zone == "local":
        said["timezone"] = "America/New_York"
    return said


def answer(shape: Shape, message: str) -> dict[str, object]:
    """Return the options that a message asks for where the file can be read in two ways; none for other messages."""
    if "--decimal point" in message and "--decimal comma" in message:
        return {"decimal": "point" if shape.decimal == "." else "comma"}
    if "--dates day-first" in message and "month-first" in message:
        return {"dates": "month-first" if shape.date == "month/" else "day-first"}
    if "--column volume=6" in message and "--column volume=7" in message:
        return {"columns": {"volume": "6" if shape.heading == "bare8" else "7"}}
    return {}


def expected(shape: Shape, bars: Series) -> dict[str, np.ndarray]:
    """Return the bars as they have to be stored: ``time`` in int64 seconds, prices and ``volume`` in float64."""
    prices = np.array([[float(_scaled(ticks, bars.digits)) for ticks in row] for row in bars.prices])
    volume = [np.nan if each is None else float(_scaled(each, 2) * bars.volume_unit) for each in bars.volumes]
    names = ("open", "high", "low", "close")
    return {
        "time": np.array(bars.opens, dtype=np.int64),
        **{name: prices[:, place] for place, name in enumerate(names)},
        "volume": np.array(volume),
    }


def differences(shape: Shape) -> str:
    """Return the fields in which a shape is not the plainest one, to be read in a failure."""
    plain = Shape()
    return ", ".join(
        f"{field.name}={getattr(shape, field.name)!r}"
        for field in fields(Shape)
        if getattr(shape, field.name) != getattr(plain, field.name)
    )
