"""Hooks of MkDocs: refuse pages with outdated generated parts, insert the plots, and make pages of notebooks."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from generated_parts import renewed
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from notebooks import notebook_page, put_in_output, without_colours
from plots import plot

_PICTURE = re.compile(r'<div class="plot" data-plot="([\w:]+)"></div>')
_PLOTLY = "javascripts/plotly.min.js"


class NotebookFile(File):
    """A notebook in ``docs/``, which becomes a page; links lead to it by the name of its file."""

    def is_documentation_page(self) -> bool:
        """Return True."""
        return True

    @property
    def content_string(self) -> str:
        """The Markdown of the page, made by executing the notebook."""
        try:
            page = notebook_page(_stored(self)).markdown
        except (CellExecutionError, CellTimeoutError) as error:
            raise PluginError(f"{self.src_uri}: {without_colours(str(error))}") from None
        return f'{page}\n<a download href="{Path(self.src_uri).name}">Download this notebook</a>\n'


def on_files(files: Files, *, config: Any, **_: Any) -> Files:
    """Turn notebooks into pages, and add plotly.js for their figures."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            files.remove(file)
            files.append(NotebookFile(file.src_uri, config.docs_dir, config.site_dir, config.use_directory_urls))
    # The file of the installed plotly: the pages work offline.
    from plotly.offline import get_plotlyjs

    files.append(File.generated(config, _PLOTLY, content=get_plotlyjs()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return ``markdown`` unchanged. Raises ``PluginError`` if a generated part of the page is outdated."""
    if renewed(markdown) != markdown:
        raise PluginError(f"{page.file.src_uri} is out of date; `nox -s reference` updates it")
    return markdown


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Insert the plots, and in the page of a notebook its output and the scripts that draw its figures."""
    output = _PICTURE.sub(lambda found: plot(found[1]), output)
    if not isinstance(page.file, NotebookFile):
        return output
    output = put_in_output(output, notebook_page(_stored(page.file)).outputs)
    root = "../" * page.url.count("/")
    scripts = "".join(f'<script src="{root}{name}"></script>' for name in (_PLOTLY, "javascripts/figures.js"))
    return output.replace("</body>", f"{scripts}</body>")


def on_post_build(config: Any, **_: Any) -> None:
    """Copy the stored notebooks to the folder of their pages, so that a reader can download them."""
    for path in sorted(Path(config.docs_dir).glob("notebooks/*.ipynb")):
        shutil.copy(path, Path(config.site_dir, "notebooks"))


def _stored(file: NotebookFile) -> str:
    assert file.abs_src_path is not None
    return Path(file.abs_src_path).read_text(encoding="utf-8")
