"""Execution of the notebooks, and their pages with the output of that execution.

A notebook is stored without output. Each build of the documentation executes it in a new kernel with a ``KTRDR_HOME``
of its own, and fails if a cell fails.
"""

from __future__ import annotations

import copy
import functools
import html
import json
import os
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

__all__ = ["NotebookPage", "execute", "notebook_page", "page_of", "put_in_output", "unclean_cells", "without_colours"]

CELL_TIMEOUT = 120
"""Seconds that a cell may take."""

FIGURE = "application/vnd.plotly.v1+json"

EXPECTED_ERROR = "raises-exception"
"""Tag of a cell that shows an error; nbclient and Jupyter know it."""

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_OUTPUT = re.compile(r'<div class="notebook-output" data-output="(\d+)"></div>')
# Tables of pandas bring a style and a border; without them they look like the other tables of the page.
_PANDAS_STYLE = re.compile(r"<style scoped>.*?</style>\s*", re.DOTALL)
_PANDAS_TABLE = re.compile(r'<table border="[01]" class="dataframe">')


class NotebookPage(NamedTuple):
    """A page made of an executed notebook.

    Attributes:
        markdown: text and code; an empty ``<div>`` with a number stands for each output.
        outputs: HTML of the outputs, in the order of their numbers.
    """

    markdown: str
    outputs: tuple[str, ...]


def unclean_cells(notebook: NotebookNode) -> list[int]:
    """Return the positions of the code cells that have output or an execution count."""
    return [
        position
        for position, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None)
    ]


def execute(notebook: NotebookNode, directory: Path) -> NotebookNode:
    """Execute all cells, in order, in a new kernel, and return a notebook with their output.

    Args:
        notebook: what to execute; it is not changed.
        directory: working directory of the kernel. ``KTRDR_HOME`` is ``home`` in it; where output shows that path, it
            is replaced by ``~/.ktrdr``.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed that is not tagged ``raises-exception``.
        nbclient.exceptions.CellTimeoutError: a cell took longer than ``CELL_TIMEOUT``.
    """
    home = directory / "home"
    # A figure is shown once, as data. The profile of whoever executes this has no influence.
    variables = {
        "KTRDR_HOME": str(home),
        "PLOTLY_RENDERER": "plotly_mimetype",
        "IPYTHONDIR": str(directory / "ipython"),
    }
    executed = copy.deepcopy(notebook)
    with tempfile.TemporaryDirectory() as sockets:
        # Sockets, in a folder with a short name: nobody else on the machine can connect.
        connection = {"transport": "ipc", "connection_file": str(Path(sockets, "kernel.json"))}
        config = Config({"KernelManager": connection, "NotebookClient": {"timeout": CELL_TIMEOUT}})
        client = NotebookClient(executed, config=config, resources={"metadata": {"path": str(directory)}})
        client.execute(env=os.environ | variables)
    shown = nbformat.writes(executed).replace(json.dumps(str(home))[1:-1], "~/.ktrdr")
    return nbformat.reads(shown, as_version=4)


def page_of(notebook: NotebookNode) -> NotebookPage:
    """Make the page of an executed notebook."""
    parts: list[str] = []
    outputs: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.cell_type == "code":
            parts.append(f"```python\n{cell.source}\n```")
            for shown in filter(None, (_output_html(each) for each in _joined(cell.outputs))):
                parts.append(f'<div class="notebook-output" data-output="{len(outputs)}"></div>')
                outputs.append(shown)
    return NotebookPage("\n\n".join(parts) + "\n", tuple(outputs))


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join the pieces of a stream that follow each other: where they are split is chance."""
    found: list[NotebookNode] = []
    for each in outputs:
        if found and each.output_type == "stream" == found[-1].output_type and each.name == found[-1].name:
            found[-1] = NotebookNode(found[-1] | {"text": found[-1].text + each.text})
        else:
            found.append(each)
    return found


def _output_html(output: NotebookNode) -> str:
    """Return the HTML that shows an output: a figure as data for plotly.js, HTML, or plain text."""
    if output.output_type == "stream":
        return _preformatted(_last_state(output.text), output.name)
    if output.output_type == "error":
        return _preformatted(f"{output.ename}: {output.evalue}", "error")
    data = output.data
    if FIGURE in data:
        # `<` cannot stand in a script element.
        figure = json.dumps({key: data[FIGURE][key] for key in ("data", "layout")}).replace("<", "\\u003c")
        return f'<div class="notebook-figure"><script type="application/json">{figure}</script></div>'
    if "text/html" in data:
        return _PANDAS_TABLE.sub("<table>", _PANDAS_STYLE.sub("", data["text/html"]))
    return _preformatted(data.get("text/plain", ""), "value")


def without_colours(text: str) -> str:
    """Return text without the escape sequences that colour it in a terminal."""
    return _ANSI.sub("", text)


def _preformatted(text: str, kind: str) -> str:
    text = without_colours(text).rstrip()
    return f'<pre class="notebook-{kind}"><code>{html.escape(text)}</code></pre>' if text else ""


def _last_state(text: str) -> str:
    """Return the text as a terminal shows it at the end: what follows a carriage return replaces its line."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join(lines)


@functools.cache
def notebook_page(stored: str) -> NotebookPage:
    """Return the page of a notebook, which is executed once in the life of this process.

    Args:
        stored: content of the ``.ipynb`` file.
    """
    with tempfile.TemporaryDirectory() as directory:
        return page_of(execute(nbformat.reads(stored, as_version=4), Path(directory)))


def put_in_output(page: str, outputs: tuple[str, ...]) -> str:
    """Put the outputs into the built page, in the places that ``page_of`` has left for them."""
    return _OUTPUT.sub(lambda found: f'<div class="notebook-output">{outputs[int(found[1])]}</div>', page)
