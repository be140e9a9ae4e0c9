"""No annotation of core or api names a type of a framework: pydantic and FastAPI may look at them at run time."""

from __future__ import annotations

import json

WALK = """
import importlib, inspect, json, pkgutil, sys, typing
from pydantic import BaseModel

import ktrdr.core, ktrdr.api

sys.path[:0] = json.loads({extra!r})
FRAMEWORKS = ("torch", "tensorflow", "jax", "sklearn", "skops")
# The conformance kit is a pytest plugin and needs pytest, which users have no reason to install; certificates are made
# with the extra `tls`; Alembic's entry is run by Alembic, and is no module to import.
SKIP = ("ktrdr.core.testing", "ktrdr.api.engine.certificates", "ktrdr.api.ledger.migrations.env")

names = json.loads({modules!r})
for package in () if names else (ktrdr.core, ktrdr.api):
    names += [m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
              if not m.name.startswith(SKIP)]

def parts(hint):
    yield hint
    for argument in typing.get_args(hint):
        yield from parts(argument) if not isinstance(argument, (list, str)) else map(lambda a: a, [argument])

def mentions(hint):
    return [repr(part) for part in parts(hint)
            if getattr(part, "__module__", "").partition(".")[0] in FRAMEWORKS
            or (isinstance(part, str) and part.partition(".")[0] in FRAMEWORKS)]

seen, found, unresolved = 0, [], []
def look(where, thing):
    global seen
    try:
        hints = typing.get_type_hints(thing)
    except NameError as error:
        # A name imported for type checkers only (pandas, to keep start-up light): look at the text instead.
        text = json.dumps([str(v) for v in getattr(thing, "__annotations__", {{}}).values()])
        unresolved.append(f"{{where}}: {{error}}")
        if any(framework + "." in text for framework in FRAMEWORKS):
            found.append(f"{{where}}: {{text}}")
        return
    seen += len(hints)
    for name, hint in hints.items():
        found.extend(f"{{where}}({{name}}): {{m}}" for m in mentions(hint))

for name in names:
    module = importlib.import_module(name)
    for attribute, value in vars(module).items():
        if getattr(value, "__module__", None) != name:
            continue
        if inspect.isfunction(value):
            look(f"{{name}}.{{attribute}}", value)
        elif inspect.isclass(value):
            look(f"{{name}}.{{attribute}}", value)
            for member, function in vars(value).items():
                function = getattr(function, "__func__", getattr(function, "fget", function))
                if inspect.isfunction(function):
                    look(f"{{name}}.{{attribute}}.{{member}}", function)
            if issubclass(value, BaseModel):
                for field, info in value.model_fields.items():
                    seen += 1
                    found.extend(f"{{name}}.{{attribute}}.{{field}}: {{m}}" for m in mentions(info.annotation))
loaded = sorted({{m.partition(".")[0] for m in sys.modules}} & set(FRAMEWORKS))
print(json.dumps({{"seen": seen, "found": found, "unresolved": unresolved, "loaded": loaded, "modules": len(names)}}))
"""


def walk(environment, modules=(), extra=()):
    answer = environment.run(WALK.format(modules=json.dumps(list(modules)), extra=json.dumps(list(extra))))
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


def test_no_annotation_of_core_and_api_names_a_framework_type(full_environment):
    report = walk(full_environment)
    assert report["found"] == []
    assert report["modules"] > 30
    assert report["seen"] > 300
    # Only pandas and the like may be left to type checkers, and those few are looked at as text.
    assert len(report["unresolved"]) < report["seen"] / 20, report["unresolved"]


def test_importing_every_module_of_core_and_api_loads_no_framework(full_environment):
    assert walk(full_environment)["loaded"] == []


def test_the_walk_finds_what_it_looks_for(full_environment, tmp_path):
    (tmp_path / "planted.py").write_text(
        "import torch\n"
        "from pydantic import BaseModel, ConfigDict\n"
        "def function(x: 'list[torch.Tensor] | None') -> None: ...\n"
        "class Model(BaseModel):\n"
        "    model_config = ConfigDict(arbitrary_types_allowed=True)\n"
        "    weight: torch.Tensor\n",
        encoding="utf-8",
    )
    found = walk(full_environment, modules=["planted"], extra=[str(tmp_path)])["found"]
    assert any(entry.startswith("planted.function(x)") for entry in found)
    assert any(entry.startswith("planted.Model.weight") for entry in found)
