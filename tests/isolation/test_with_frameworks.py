"""The API where every framework is installed: none of them is imported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

FRAMEWORKS = ("torch", "tensorflow", "jax", "sklearn", "skops")

REPORT = f"""
import json, sys
loaded = sorted({{name.partition('.')[0] for name in sys.modules}} & set({FRAMEWORKS!r}))
print(json.dumps(loaded))
"""

# Through ASGI itself: the application in this very interpreter, started and stopped as a server would.
LIST_EVERYTHING = """
import asyncio, json
from ktrdr.api.main import app
from ktrdr.core.plugins.manager import default_manager

async def ask(method, path, body=b''):
    sent = []
    async def receive():
        return {'type': 'http.request', 'body': body, 'more_body': False}
    async def send(message):
        sent.append(message)
    scope = {'type': 'http', 'asgi': {'version': '3.0'}, 'http_version': '1.1', 'method': method, 'scheme': 'http',
             'path': path, 'raw_path': path.encode(), 'query_string': b'', 'headers': [(b'host', b'localhost')],
             'client': ('127.0.0.1', 1), 'server': ('127.0.0.1', 80)}
    await app(scope, receive, send)
    assert sent[0]['status'] == 200, sent
    return json.loads(b''.join(message.get('body', b'') for message in sent[1:]))

async def main():
    inbox, heard = asyncio.Queue(), asyncio.Queue()
    server = asyncio.create_task(app({'type': 'lifespan', 'asgi': {'version': '3.0'}}, inbox.get, heard.put))
    await inbox.put({'type': 'lifespan.startup'})
    assert (await heard.get())['type'] == 'lifespan.startup.complete'
    plugins = await ask('GET', '/api/v1/plugins')
    assert {plugin['name'] for plugin in plugins} == {'torch', 'sklearn'}, plugins
    assert await ask('GET', '/api/v1/models') == []
    for type_ in ('mlp', 'gradient_boosting'):
        answer = await ask('POST', '/api/v1/validate-strategy', STRATEGY.replace('mlp', type_).encode())
        assert answer['valid'], answer
    await inbox.put({'type': 'lifespan.shutdown'})
    assert (await heard.get())['type'] == 'lifespan.shutdown.complete'
    await server

from ktrdr.api.routes.strategies import EXAMPLE as STRATEGY
asyncio.run(main())
assert set(default_manager().infos()) == {'torch', 'sklearn'}, default_manager().broken
"""

BLOCK_TORCH = """
import sys
from importlib.abc import MetaPathFinder

class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'torch':
            raise RuntimeError(f'{name} was imported')

sys.meta_path.insert(0, Blocker())
"""


def loaded_after(environment, code):
    answer = environment.run(code + REPORT)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


def test_importing_the_api_loads_no_framework(full_environment):
    assert loaded_after(full_environment, "from ktrdr.api.main import app") == []


def test_listing_plugins_and_models_and_checking_strategies_loads_no_framework(full_environment):
    assert loaded_after(full_environment, LIST_EVERYTHING) == []


def test_the_frameworks_really_are_there(full_environment):
    assert loaded_after(full_environment, "import torch, sklearn, skops") == ["sklearn", "skops", "torch"]


def test_the_api_starts_where_any_import_of_torch_raises(full_environment):
    assert loaded_after(full_environment, BLOCK_TORCH + LIST_EVERYTHING) == []
    blocked = full_environment.run(BLOCK_TORCH + "import torch")
    assert "torch was imported" in blocked.stderr


def test_the_check_fails_when_the_api_imports_torch(full_environment, tmp_path):
    """The test of the test: break a copy of the installed API on purpose."""
    found = full_environment.run("import ktrdr.api.main as m; print(m.__file__)")
    installed = found.stdout.strip()
    copy = tmp_path / "ktrdr" / "api"
    shutil.copytree(installed.rpartition("/")[0], copy)
    main = copy / "main.py"
    main.write_text(
        "import torch\n" + main.read_text(encoding="utf-8").replace("from __future__ import annotations", "")
    )
    prefer_copy = f"import ktrdr; ktrdr.__path__ = [{str(tmp_path / 'ktrdr')!r}, *ktrdr.__path__]\n"
    assert loaded_after(full_environment, prefer_copy + "from ktrdr.api.main import app") == ["torch"]


RUN_COMMANDS = """
import contextlib, io
from ktrdr.core.cli.main import main
for arguments in COMMANDS:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            main(arguments)
        except SystemExit as end:
            status = end.code
    print(json.dumps([status, said.getvalue()]))
"""
STRATEGY = str(Path(__file__).parents[2] / "strategies" / "neuro_mean_reversion.yaml")
# The demo has trained two: the first on EURUSD.
MODEL = "neuro_mean_reversion/1"
WITHOUT_DATA = [
    (["train", STRATEGY, "--symbols", "eurusd"], "did you mean `EURUSD`?"),
    (["train", STRATEGY, "--start", "2010-01-01", "--end", "2010-12-31"], "there are no 1h bars of EURUSD from"),
    (["backtest", MODEL, "--symbols", "eurusd"], "did you mean `EURUSD`?"),
    (["backtest", MODEL, "--start", "2030-01-01"], "there are no 1h bars of EURUSD to trade"),
    (
        ["sweep", MODEL, "--set", "decisions.confidence_threshold=0.4,0.5", "--symbols", "GBPUSD"],
        "no 1h bars of GBPUSD",
    ),
    (["explain", MODEL, "--symbol", "EURUS"], "did you mean `EURUSD`?"),
    (["explain", MODEL, "--at", "2030-01-01"], "there is no 1h bar of EURUSD at 2030-01-01"),
]


@pytest.fixture(scope="session")
def home_with_a_model(full_environment):
    made = full_environment.run("from ktrdr.core.cli.main import main; main(['demo', '--epochs', '1'])")
    assert made.returncode == 0, made.stderr


@pytest.mark.usefixtures("home_with_a_model")
def test_what_the_data_lack_is_said_before_any_framework_is_imported(full_environment):
    commands = "import json" + RUN_COMMANDS.replace("COMMANDS", repr([arguments for arguments, _ in WITHOUT_DATA]))
    answer = full_environment.run(BLOCK_TORCH + commands + REPORT)
    assert answer.returncode == 0, answer.stderr
    *answers, loaded = map(json.loads, answer.stdout.splitlines())
    assert loaded == []
    for (arguments, expected), (status, said) in zip(WITHOUT_DATA, answers, strict=True):
        assert (status, expected in said) == (2, True), (arguments, said)
