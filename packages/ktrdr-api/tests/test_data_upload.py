"""The upload of bars has the options of `ktrdr data import`, and its messages name them as query parameters."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import ktrdr.core.data.vendor
from ktrdr.api.http.query_options import as_query
from ktrdr.api.routes.data import import_data
from ktrdr.core.cli.data import data as data_commands

_HEAD = "time,open,high,low,close,volume\n"
_HOURS = [f"2020-01-02 {hour}:00,10,12,9,11,5\n" for hour in (10, 11, 12)]
_GERMAN = "time;open;high;low;close\n" + "".join(f"2020-01-02 {hour}:00;1.010;1.012;1.009;1.011\n" for hour in (10, 11))
_SHORT = "".join(
    f"2020-01-0{day} {clock},10,12,9,11,5\n" for day in (2, 3) for clock in ("14:30", "15:00", "16:00", "17:00")
)


@pytest.mark.parametrize(
    ("body", "query", "remedy"),
    [
        (_HEAD + "".join(_HOURS) + "source: a vendor\n", "", "skip_bad=true"),
        (_HEAD + "".join(_HOURS).replace("2020-01-02", "02/03/2020"), "", "dates=month-first"),
        (_GERMAN, "", "decimal=comma"),
        (_HEAD + _SHORT, "", "align=true"),
        (_HEAD + _HOURS[0], "", "timeframe=1h"),
    ],
)
def test_the_remedy_of_a_refusal_works_as_it_is_written(client, body, query, remedy):
    address = f"/api/v1/data?filename=EURUSD.csv{query}"
    answer = client.post(address, content=body)
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert (remedy if remedy != "timeframe=1h" else "timeframe") in detail
    assert "--" not in detail
    mended = client.post(f"{address}&{remedy}", content=body)
    assert mended.status_code == 201, mended.text


def test_columns_zones_and_labels_can_be_given(client):
    body = "when,px,h,l,c\n2020-01-02 10:00,10,12,9,11\n2020-01-02 11:00,10,12,9,11\n"
    query = "column=time=when&column=open=px&timezone=%2B02:00&label=close&symbol=EURUSD&calendar=FX"
    answer = client.post(f"/api/v1/data?filename=x.csv&{query}", content=body)
    assert answer.status_code == 201, answer.text
    assert client.get("/api/v1/data/EURUSD/1h").json()["time"][0] == "2020-01-02T07:00:00Z"
    answer = client.post(f"/api/v1/data?filename=x.csv&{query.replace('open=', 'opening=')}", content=body)
    assert answer.status_code == 422
    assert "column=opening=px: unknown role" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("leave such rows out with --skip-bad", "leave such rows out with skip_bad=true"),
        ("say --dates day-first or --dates month-first", "say dates=day-first or dates=month-first"),
        ("say --decimal comma for 1234", "say decimal=comma for 1234"),
        ("or name the zone with --timezone if its clocks", "or name the zone with timezone if its clocks"),
        ("import it again with --timezone +02:00 --label close", "import it again with timezone=%2B02:00 label=close"),
        ("such as --column open=PX_OPEN", "such as column=open=PX_OPEN"),
        ("give --calendar 24/7 or --calendar XNYS", "give calendar=24/7 or calendar=XNYS"),
        ("--align puts it on the grid", "align=true puts it on the grid"),
        ("overwrite it with --force", "overwrite it with --force"),
    ],
)
def test_options_become_query_parameters(message, told):
    assert as_query(message, inspect.signature(import_data).parameters, ("skip_bad", "align")) == told


def test_every_option_that_the_importer_names_is_one_of_the_command_and_of_the_route():
    (folder,) = ktrdr.core.data.vendor.__path__
    sources = [*Path(folder).glob("*.py"), *Path(folder).parent.glob("*.py")]
    named = {name for path in sources for name in re.findall(r"--([a-z]+(?:-[a-z]+)*)", path.read_text("utf-8"))}
    named -= {"force"}  # of the export
    command = data_commands.commands["import"]
    options = {option.lstrip("-") for parameter in command.params for option in parameter.opts}
    assert {"skip-bad", "column", "timezone"} <= named
    assert named <= options
    assert {name.replace("-", "_") for name in named} <= inspect.signature(import_data).parameters.keys()
