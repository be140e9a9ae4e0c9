"""The references say all there is to say, and what they show is valid."""

from __future__ import annotations

import importlib
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from ktrdr.core.fuzzy.membership import MEMBERSHIP_TYPES
from ktrdr.core.indicators.registry import get_indicator, indicator_names
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.document import plain, read_document
from ktrdr.core.strategy.label_parameters import LABEL_SOURCES
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.read_risk import SIZINGS
from ktrdr.core.strategy.schema import strategy_schema
from ktrdr.core.strategy.training_parameters import LR_SCHEDULERS
from ktrdr.core.strategy.validation_parameters import LENGTHS, VALIDATIONS

ROOT = Path(__file__).parents[2]
BACKENDS = ("torch", "sklearn")
GROUPS = ("momentum", "trend", "volatility", "volume", "statistics")
# Maps that one of their keys decides about: by what the others are told apart.
BY_WORD = {
    ("training", "labels"): ("source", {name: source.parameters for name, source in LABEL_SOURCES.items()}),
    ("training", "lr_scheduler"): ("type", LR_SCHEDULERS),
    ("risk", "sizing"): ("type", SIZINGS),
    ("validation",): ("type", VALIDATIONS),
}
# Maps of older files that hold the keys of `training` once more.
OLDER = {("model", "training"), ("model", "features")}
ARCHITECTURES = {("model", "architecture"), ("model", "of", "architecture")}


class Page(HTMLParser):
    """A built page: the rows of its tables by the ids in them, its YAML, and its pictures."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        self.ids, self.rows, self.examples = [], {}, []
        self._cells, self._row_ids, self._code = None, [], None
        self._depth = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            self.ids.append(attributes["id"])
            if self._cells is not None:
                self._row_ids.append(attributes["id"])
        if tag == "tr":
            self._cells, self._row_ids = [], []
        elif tag == "td" and self._cells is not None:
            self._cells.append("")
        elif tag == "div" and "language-yaml" in attributes.get("class", ""):
            self._code = ""

    def handle_endtag(self, tag):
        if tag == "tr":
            self.rows |= {key: [cell.strip() for cell in self._cells] for key in self._row_ids}
            self._cells = None
        elif tag == "pre" and self._code is not None:
            self.examples.append(self._code)
            self._code = None

    def handle_data(self, data):
        if self._cells:
            self._cells[-1] += data
        if self._code is not None:
            self._code += data


@pytest.fixture(scope="module")
def site():
    directory = ROOT / "site"
    if not (directory / "reference" / "strategy.html").is_file():
        pytest.fail("there is no built documentation in site/; run `mkdocs build --strict` first")
    return directory / "reference"


@pytest.fixture(scope="module")
def page(site):
    def read(name):
        return Page((site / f"{name}.html").read_text(encoding="utf-8"))

    return read


@pytest.fixture(scope="module")
def plugins():
    return PluginManager(environ={"KTRDR_LOAD_PLUGINS": ",".join(BACKENDS)})


@pytest.fixture(scope="module")
def schema(plugins):
    return strategy_schema(plugins)


@pytest.fixture(scope="module")
def model_types(plugins):
    return {each.name: each for name in BACKENDS for each in plugins.info(name).model_types}


def properties(node, path=()):
    """Yield ``(path, schema)`` of every property at any depth; `*` stands for a key of the user's."""
    for key, value in node.get("properties", {}).items():
        if value is not True and value != {"type": "null"}:
            yield (*path, key), value
            yield from properties(value, (*path, key))
    if isinstance(node.get("additionalProperties"), dict):
        yield from properties(node["additionalProperties"], (*path, "*"))
    for each in [*node.get("anyOf", ()), *([node["items"]] if "items" in node else [])]:
        yield from properties(each, path)
    for rule in node.get("allOf", ()):
        if rule["then"].get("additionalProperties") is False or path == ("model",):
            yield from properties(rule["then"], path)


def anchors_of(schema, model_types):
    """Return the ids that the pages must have, by page."""
    found = {"strategy": set(), "models": set()}
    for path, _ in properties(schema):
        if (path[:2] in OLDER and len(path) > 2) or (
            path[:1] == ("indicators",) and path[-1] not in ("indicators", "type")
        ):
            continue
        if any(path[: len(own)] == own and len(path) > len(own) for own in ARCHITECTURES):
            continue
        by = BY_WORD.get(path[:-1])
        if by is None or path[-1] == by[0]:
            found["strategy"].add(".".join(part.replace("*", "id") for part in path))
    for place, (_, words) in BY_WORD.items():
        for word, parameters in words.items():
            found["strategy"] |= {".".join((*place, word, parameter.name)) for parameter in parameters}
    found["strategy"] |= {f"validation.walk_forward.{key}" for key in LENGTHS}
    for each in model_types.values():
        found["models"] |= {f"{each.name}.{parameter.name}" for parameter in each.architecture}
    return found


def test_every_key_says_what_it_is_for(schema):
    silent = [".".join(path) for path, value in properties(schema) if not value.get("description")]
    assert silent == []


def test_every_key_has_a_row_that_says_all_of_it(page, schema, model_types):
    anchors = anchors_of(schema, model_types)
    assert len(anchors["strategy"]) > 110
    for name, expected in anchors.items():
        rows = page(name).rows
        assert expected - rows.keys() == set()
        assert [key for key in expected if len(rows[key]) != 4 or not all(rows[key])] == []


def test_the_rows_show_what_is_declared(page, model_types):
    rows = page("strategy").rows
    for place, (_, words) in BY_WORD.items():
        for word, parameters in words.items():
            for parameter in parameters:
                check_row(rows[".".join((*place, word, parameter.name))], parameter)
    for key, description in LENGTHS.items():
        _, kind, default, told = rows[f"validation.walk_forward.{key}"]
        assert told.lower() == description.replace("`", "").lower()
        assert default == ("none" if key == "step" else "required")
        assert kind.startswith("whole number from 1 to 1,000,000,000 or duration, such as ")
    rows = page("models").rows
    for model_type in model_types.values():
        for parameter in model_type.architecture:
            check_row(rows[f"{model_type.name}.{parameter.name}"], parameter)


def check_row(row, parameter):
    _, kind, default, description = row
    assert description.rstrip(".").lower() == parameter.description.replace("`", "").rstrip(".").lower()
    if parameter.required:
        assert default == "required"
    elif parameter.default is None:
        assert default == "none"
    else:
        shown = yaml.safe_load(default)
        assert (tuple(shown) if isinstance(shown, list) else shown) == parameter.default
    for bound, word in ((parameter.minimum, "from|above"), (parameter.maximum, "to|below")):
        if bound is not None:
            assert any(float(each.replace(",", "")) == bound for each in re.findall(rf"(?:{word}) ([\d.,]+)", kind))
    assert all(choice in kind for choice in parameter.choices)


# --- examples ---------------------------------------------------------------------------------------------------------

BASE = {
    "name": "base",
    "training_data": {
        "symbols": {"mode": "single", "symbol": "EURUSD"},
        "timeframes": {"mode": "single", "timeframe": "1h"},
    },
    "indicators": {"rsi_14": {"type": "rsi"}},
    "fuzzy_sets": {"rsi": {"indicator": "rsi_14", "low": [0, 0, 60], "high": [40, 100, 100]}},
    "nn_inputs": [{"fuzzy_set": "rsi", "timeframes": "all"}],
    "model": {"type": "mlp"},
    "decisions": {"output_format": "classification"},
    "training": {"labels": {"source": "zigzag"}},
}


def completed(example):
    """Put an example in the place of the same keys of a small strategy."""
    if "name" in example:
        return example
    whole = {**BASE, **{key: value for key, value in example.items() if not isinstance(value, dict)}}
    for key, value in example.items():
        if isinstance(value, dict):
            whole[key] = {**BASE.get(key, {}), **value}
    return whole


def used_in(data):
    """Yield the id of every key of ``data``."""

    def walk(value, path):
        if isinstance(value, list):
            for each in value:
                yield from walk(each, path)
        if not isinstance(value, dict):
            return
        for key, inner in value.items():
            place = (*path, key)
            if path in BY_WORD and key != BY_WORD[path][0]:
                place = (*path, value[BY_WORD[path][0]], key)
            elif path in ARCHITECTURES:
                place = (data["model"].get("of", data["model"])["type"], key)
            elif path in (("indicators",), ("fuzzy_sets",)) or (path[:1] == ("fuzzy_sets",) and key != "indicator"):
                place = (*path, "id") if len(path) < 3 else place
            yield ".".join(place)
            yield from walk(inner, (*path, key) if place[-1] == key else place)

    yield from walk(data, ())


@pytest.mark.parametrize("name", ["strategy", "models", "labels", *(f"indicators/{group}" for group in GROUPS)])
def test_every_example_is_valid(page, plugins, name):
    examples = page(name).examples
    assert examples
    for text in examples:
        data = plain(read_document(text).root)
        load_strategy_text(yaml.safe_dump(completed(data), sort_keys=False), plugins=plugins)


def test_every_key_is_in_an_example(page, schema, model_types):
    used = set()
    for name in ("strategy", "models"):
        for text in page(name).examples:
            used |= set(used_in(yaml.safe_load(text)))
    assert set.union(*anchors_of(schema, model_types).values()) - used == set()


def test_the_commands(docs, console, tmp_path):
    assert console.run((docs / "reference" / "strategy.md").read_text(encoding="utf-8"), tmp_path) == 1
    assert (tmp_path / "strategy.schema.json").stat().st_size > 50_000


# --- indicators, memberships, labels ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def indicator_pages(page):
    return {group: page(f"indicators/{group}") for group in GROUPS}


def test_every_indicator_has_a_section_with_its_parameters_an_example_and_a_picture(indicator_pages):
    rows = {key: row for found in indicator_pages.values() for key, row in found.rows.items()}
    ids = [each for found in indicator_pages.values() for each in found.ids]
    used = {}
    for found in indicator_pages.values():
        for text in found.examples:
            used |= {each["type"]: each for each in yaml.safe_load(text)["indicators"].values()}
    for name in indicator_names():
        indicator = get_indicator(name)
        assert name in ids
        assert used[name].keys() - {"type"} == {parameter.name for parameter in indicator.parameters}
        for parameter in indicator.parameters:
            check_row(rows[f"{name}.{parameter.name}"], parameter)


def pictures(text):
    return re.findall(r'<svg class="plot" role="img" aria-label="([^"]+)" .*?</svg>', text, re.DOTALL)


def test_every_indicator_membership_and_label_has_a_picture(page, indicator_pages):
    labels = [label for found in indicator_pages.values() for label in pictures(found.text)]
    assert [label.partition(" on ")[0] for label in labels] == list(indicator_names())
    assert [label.rpartition(" ")[2] for label in pictures(page("fuzzy").text)] == list(MEMBERSHIP_TYPES)
    assert len(pictures(page("labels").text)) == len(LABEL_SOURCES)


def test_pictures_take_the_colour_of_the_page(indicator_pages):
    for found in indicator_pages.values():
        assert "data-plot" not in found.text
        for svg in re.findall(r"<svg class=\"plot\".*?</svg>", found.text, re.DOTALL):
            assert "currentColor" in svg
            assert not re.search(r"#010203|#000000|#ffffff|(?:fill|stroke): (?:black|white)", svg)
    assert len(found.ids) == len(set(found.ids))


def test_every_label_source_is_described(page):
    found = page("labels")
    for name, source in LABEL_SOURCES.items():
        assert name in found.ids
        for parameter in source.parameters:
            check_row(found.rows[f"{name}.{parameter.name}"], parameter)


# --- Python -----------------------------------------------------------------------------------------------------------


def modules(docs):
    """Yield ``(page, full name)`` of every package or module that a page of the Python reference shows."""
    for file in sorted((docs / "reference" / "api").glob("*.md")):
        for name in re.findall(r"^::: (\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE):
            yield file.stem, name


def exported(file):
    """Read ``__all__`` from the source: the API and the worker need not be installed here."""
    found = re.findall(r"^__all__ = \[(.*?)\]", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [name for names in found for name in re.findall(r'"(\w+)"', names)]


def public_names(name):
    distribution = {"api": "ktrdr-api", "worker": "ktrdr-worker"}.get(name.split(".")[1], "ktrdr-core")
    path = ROOT / "packages" / distribution / "src" / Path(*name.split("."))
    return exported(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))


def public_packages():
    """Return the full names of the packages whose `__init__` has an `__all__`."""
    found = set()
    for source in (ROOT / "packages").glob("*/src"):
        inits = (file for file in source.rglob("__init__.py") if exported(file))
        found |= {".".join(file.parent.relative_to(source).parts) for file in inits}
    return found


def test_every_public_name_is_documented(page, docs):
    shown = {name for _, name in modules(docs)}
    checked = 0
    for stem, name in modules(docs):
        ids = page(f"api/{stem}").ids
        # A package that is a public name, such as `ktrdr.core.data`, has a page of its own.
        expected = [each for each in public_names(name) if f"{name}.{each}" not in shown]
        assert [each for each in expected if f"{name}.{each}" not in ids] == []
        checked += len(expected)
    assert checked > 100


def test_the_reference_follows_what_is_public(docs):
    """Every package with public names has a page; beside them stand the settings of server and worker."""
    for_operators = {"ktrdr.api.app", "ktrdr.api.settings", "ktrdr.worker.main", "ktrdr.worker.self_check"}
    assert {name for _, name in modules(docs)} == public_packages() | for_operators


def test_docstrings_are_shown_as_they_are_meant(page, docs):
    for stem in {stem for stem, _ in modules(docs)}:
        html = page(f"api/{stem}").text
        assert "::</p>" not in html
        text = re.sub(r"<[^>]+>", "", html)
        assert not re.search(r":(?:class|func|meth|mod|attr|data|exc):", text)


# --- guards -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hooks(docs, monkeypatch):
    """The hooks as MkDocs loads them: with their folder on the path."""
    monkeypatch.syspath_prepend(docs / "generate")
    names = ("hooks", "generated_parts", "options", "tables", "plots", "schema_keys", "notebooks")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("hooks")
    for name in names:
        sys.modules.pop(name, None)


class Source:
    def __init__(self, path):
        self.file = self
        self.src_uri = path


def part(what, body=""):
    return f"<!-- generated: {what} -->\n{body}<!-- end of generated -->"


def test_a_part_that_nothing_makes_ends_the_build(hooks):
    with pytest.raises(ValueError, match=r"no generator `kys`; there are keys, sample"):
        hooks.on_page_markdown(part("kys training"), Source("reference/strategy.md"))
    with pytest.raises(KeyError, match="trainig"):
        hooks.on_page_markdown(part("keys trainig"), Source("reference/strategy.md"))


def test_a_page_with_a_stale_part_does_not_build(hooks):
    fresh = f"# Here\n\n{hooks.renewed(part('core-keys'))}\n\nand {part('nothing')!r}, which is text\n"
    assert hooks.on_page_markdown(fresh, Source("guide/x.md")) == fresh
    for stale in (part("core-keys"), fresh.replace("seed", "seeds", 1), fresh.replace("\n\n<!-- end", "\n<!-- end", 1)):
        with pytest.raises(hooks.PluginError, match="guide/x.md is out of date; `nox -s reference` updates it"):
            hooks.on_page_markdown(stale, Source("guide/x.md"))


def test_writing_all_leaves_no_stale_part(hooks, docs, tmp_path, monkeypatch):
    parts = sys.modules["generated_parts"]
    page = tmp_path / "deep" / "page.md"
    page.parent.mkdir()
    page.write_text(f"# Here\n\n{part('core-keys')}\n", encoding="utf-8")
    (tmp_path / "other.md").write_text("# There\n", encoding="utf-8")
    monkeypatch.setattr(parts, "_PAGES", tmp_path)
    assert parts.write_all() == [page]
    assert "[`seed`](strategy.md#training.seed)" in page.read_text(encoding="utf-8")
    assert parts.write_all() == []


def test_every_page_can_be_read_in_a_checkout(docs):
    pages = [file for file in docs.rglob("*.md") if "<!-- generated:" in file.read_text(encoding="utf-8")]
    assert len(pages) > 15
    for file in pages:
        text = file.read_text(encoding="utf-8")
        assert "{{" not in text, file
        assert not re.search(r"<!-- generated: [^\n]*-->\n+<!-- end", text), file


def test_an_indicator_on_no_page_ends_the_build(hooks, monkeypatch):
    tables = sys.modules["tables"]
    monkeypatch.setattr(tables, "indicator_names", lambda: ("rsi", "phase_of_the_moon"))
    with pytest.raises(ValueError, match="indicators on no page: phase_of_the_moon"):
        hooks.on_page_markdown(part("indicator-table"), Source("reference/indicators/index.md"))
