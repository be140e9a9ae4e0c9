"""The notebooks run from top to bottom, show what the command line shows, and their pages need no network."""

from __future__ import annotations

import importlib
import json
import math
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
NAMES = [path.name for path in NOTEBOOKS]


@pytest.fixture(scope="session")
def notebooks(docs):
    """The module that executes notebooks and makes their pages."""
    sys.path.insert(0, str(docs / "generate"))
    try:
        return importlib.import_module("notebooks")
    finally:
        sys.path.remove(str(docs / "generate"))


def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def errors(notebook):
    """Return the name of each error that a cell shows, with the tags of the cell."""
    return [
        (output.ename, cell.metadata.get("tags", []))
        for cell in code(notebook)
        for output in cell.outputs
        if output.output_type == "error"
    ]


def test_there_are_notebooks():
    assert NAMES == ["own-data.ipynb", "tutorial.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_stored_without_output(notebooks, path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebooks.unclean_cells(notebook) == []
    assert code(notebook)


# --- pages ------------------------------------------------------------------------------------------------------------


class Resources(HTMLParser):
    """What a page loads from elsewhere when it is opened; links that a reader follows are not among that."""

    LOADING = {
        "script": "src",
        "img": "src",
        "iframe": "src",
        "source": "src",
        "video": "src",
        "audio": "src",
        "embed": "src",
        "object": "data",
        "link": "href",
    }

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        url = dict(attributes).get(self.LOADING.get(tag, "")) or ""
        if re.match(r"(?:\w+:)?//", url):
            self.found.append(url)

    def handle_data(self, data):
        self.found += re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')\s]+)", data)


@pytest.fixture(scope="session")
def site():
    directory = ROOT / "site"
    if not (directory / "notebooks" / "tutorial.html").is_file():
        pytest.fail("there is no built documentation in site/; run `mkdocs build --strict` first")
    return directory


@pytest.fixture(scope="session")
def built(site, docs):
    """Return ``built(name)``: the page of a notebook as it was built, with the output of its cells."""

    def read_page(name):
        stored = (site / "notebooks" / name).read_bytes()
        assert stored == (docs / "notebooks" / name).read_bytes(), (
            "site/ is older than docs/: run `mkdocs build --strict`"
        )
        return (site / "notebooks" / name).with_suffix(".html").read_text(encoding="utf-8")

    return read_page


def row(page, name):
    """Return the numbers of the row with that name in the last table that has one."""
    cells = re.findall(rf"<th>{name}</th>((?:\s*<td>[^<]*</td>)+)", page)[-1]
    return [float(cell) for cell in re.findall(r"<td>([^<]*)</td>", cells)]


def test_no_page_loads_anything_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    found = {str(page.relative_to(site)): Resources(page.read_text(encoding="utf-8")).found for page in pages}
    assert {page: urls for page, urls in found.items() if urls} == {}
    styles = [sheet.read_text(encoding="utf-8") for sheet in site.rglob("*.css")]
    assert [re.findall(r"(?:@import|url\()[\s\"']*(?:https?:)?//[^)]+", sheet) for sheet in styles] == [[]] * len(
        styles
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_the_output(built, name):
    page = built(name)
    assert "data-output" not in page
    assert f'<a download href="{name}">' in page
    assert page.count('<div class="notebook-output">') >= 5
    # Warnings of Python or of a library would stand there.
    assert re.findall(r'<pre class="notebook-stderr">.*?</pre>', page, re.DOTALL) == []
    assert not re.search(r"/tmp/|/home/|\.ktrdr/home", page)


@pytest.mark.parametrize("name", NAMES)
def test_an_error_is_shown_on_purpose_and_is_ours(built, docs, name):
    shown = re.findall(r'<pre class="notebook-error"><code>(\w+): ', built(name))
    meant = [
        cell for cell in code(read(docs / "notebooks" / name)) if "raises-exception" in cell.metadata.get("tags", [])
    ]
    assert shown == ["StrategyError"] * len(meant)


@pytest.mark.slow
def test_the_twin_of_the_tutorial_shows_the_figures_of_the_command_line(built, console, docs, prepared, tmp_path):
    page = (docs / "tutorial.md").read_text(encoding="utf-8")
    (strategy,) = re.findall(r'```yaml title="rsi_turns.yaml"\n(.*?)```', page, re.DOTALL)
    assert any(strategy in cell.source for cell in code(read(docs / "notebooks" / "tutorial.ipynb")))

    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True, symlinks=True)
    (command,) = (each for each, _ in console.commands(page) if each.startswith("ktrdr backtest "))
    console.run(f"```console\n$ {command}\n...\n```\n", tmp_path)
    stored = (tmp_path / "home" / "runs" / "rsi_turns" / "1-1" / "metrics.json").read_text(encoding="utf-8")
    run = json.loads(stored)
    twin = built("tutorial.ipynb")
    columns = (run["metrics"], run["benchmark"], run["baselines"][0]["metrics"])
    shown = [name for name in run["metrics"] if re.search(rf"<th>{name}</th>\s*<td>", twin)]
    assert len(shown) > 30
    for name in shown:
        theirs = [column.get(name) for column in columns]
        expected = [math.nan if value is None else value for value in theirs]
        assert row(twin, name) == pytest.approx(expected, rel=1e-4, abs=1e-6, nan_ok=True), name
    assert f"{run['metrics']['sharpe']:.2f}" in re.sub(r"<[^>]+>", " ", twin)


def test_the_variants_of_own_data_are_counted_one_after_the_other(built):
    page = built("own-data.ipynb")
    names = re.findall(r"<th>(rsi_\d+)</th>", page)
    assert names[:5] == ["rsi_7", "rsi_14", "rsi_21", "rsi_28", "rsi_42"]
    rows = re.findall(r"<th>rsi_\d+</th>((?:\s*<td>[^<]*</td>)+)", page)
    counted = [re.findall(r"<td>([^<]*)</td>", cells)[-2] for cells in rows[:5]]
    assert counted == ["1", "2", "3", "4", "5"]
    assert "5 trials known to this ledger" in page


def test_figures_are_drawn_by_what_lies_beside_the_pages(site, built):
    page = built("tutorial.ipynb")
    figures = re.findall(r'<div class="notebook-figure"><script type="application/json">(.*?)</script>', page)
    assert len(figures) >= 2
    assert all(json.loads(figure)["data"] for figure in figures)
    sources = re.findall(r'<script src="([^"]+)"></script>', page)
    assert "../javascripts/plotly.min.js" in sources
    assert all((site / "notebooks" / source).is_file() for source in sources)


# --- the guards themselves --------------------------------------------------------------------------------------------


def test_output_that_is_stored_is_found(notebooks):
    notebook = new_notebook(
        cells=[new_markdown_cell("# A"), new_code_cell("1"), new_code_cell("2"), new_code_cell("3")]
    )
    notebook.cells[1].execution_count = 1
    notebook.cells[3].outputs = [new_output("stream", text="3")]
    assert notebooks.unclean_cells(notebook) == [1, 3]


def test_a_broken_cell_is_found(notebooks, tmp_path):
    notebook = new_notebook(cells=[new_code_cell("a = 1"), new_code_cell("a / 0")])
    with pytest.raises(CellExecutionError, match="a / 0") as caught:
        notebooks.execute(notebook, tmp_path)
    assert (caught.value.ename, caught.value.evalue) == ("ZeroDivisionError", "division by zero")


def test_an_error_on_purpose_is_shown_in_one_line(notebooks, tmp_path):
    cell = new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})
    path = new_code_cell("import os; print(os.environ['KTRDR_HOME'])")
    notebook = notebooks.execute(new_notebook(cells=[cell, path]), tmp_path)
    assert errors(notebook) == [("ZeroDivisionError", ["raises-exception"])]
    page = notebooks.page_of(notebook)
    assert page.outputs == (
        '<pre class="notebook-error"><code>ZeroDivisionError: division by zero</code></pre>',
        '<pre class="notebook-stdout"><code>~/.ktrdr</code></pre>',
    )
    assert not (tmp_path / "home").exists()


def test_each_kind_of_output_has_its_place(notebooks):
    table = '<div>\n<style scoped>\n.dataframe {}\n</style>\n<table border="1" class="dataframe"></table></div>'
    figure = {"data": [{"name": "</script>"}], "layout": {}, "config": {}}
    outputs = [
        new_output("stream", text="10%\r20%\rdone\n"),
        new_output("stream", text="\x1b[31ma < b\x1b[0m\n"),
        new_output("display_data", data={"text/html": ""}),
        new_output("display_data", data={"text/html": table, "text/plain": "table"}),
        new_output("display_data", data={notebooks.FIGURE: figure, "text/html": "<p>figure</p>"}),
        new_output("execute_result", data={"text/plain": "'a'"}),
    ]
    page = notebooks.page_of(new_notebook(cells=[new_markdown_cell("# A"), new_code_cell("show()", outputs=outputs)]))
    assert page.outputs == (
        '<pre class="notebook-stdout"><code>done\na &lt; b</code></pre>',
        "<div>\n<table></table></div>",
        '<div class="notebook-figure"><script type="application/json">'
        '{"data": [{"name": "\\u003c/script>"}], "layout": {}}</script></div>',
        '<pre class="notebook-value"><code>&#x27;a&#x27;</code></pre>',
    )
    assert page.markdown.startswith("# A\n\n```python\nshow()\n```\n\n")
    built = notebooks.put_in_output(page.markdown, page.outputs)
    assert built.count('<div class="notebook-output"><') == 4
    assert "data-output" not in built


@pytest.mark.parametrize(
    "loading",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<link rel="stylesheet" href="//example.org/a.css">',
        '<img src="http://example.org/a.png">',
        "<style>@import 'https://example.org/a.css';</style>",
        "<style>a { background: url(https://example.org/a.png) }</style>",
    ],
)
def test_what_is_loaded_from_elsewhere_is_found(loading):
    (url,) = Resources(f'<a href="https://example.org">link</a>{loading}').found
    assert "example.org/a." in url
