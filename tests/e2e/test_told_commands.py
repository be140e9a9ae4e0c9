"""Commands that the server tells are commands that the command line takes."""

from __future__ import annotations

import re
import shlex

import pytest

from ktrdr.api.engine.port import Joining
from ktrdr.api.operations.waiting import what_is_missing
from ktrdr.core.cli.main import cli

PLACES = [Joining("tcp://127.0.0.1:8786"), Joining("tls://10.0.0.1:8786"), Joining(None)]


@pytest.mark.parametrize("joining", PLACES)
@pytest.mark.parametrize("requires", [["ml-torch"], ["ml-sklearn", "backtest"], ["ml-torch", "gpu"]])
def test_what_is_to_be_done_can_be_done_to_the_letter(joining, requires):
    told = re.findall("`(ktrdr [^`]*)`", what_is_missing(requires, [], joining))
    assert told
    for each in told:
        name, *arguments = shlex.split(each)[1:]
        context = cli.make_context("ktrdr", [name, *arguments])
        assert cli.get_command(context, name).make_context(name, arguments).params
