"""The Python that README and guide show runs, from the top of a page to its end."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

# Page -> the heading below which its Python stands; none: anywhere.
PAGES = {"README.md": "## In Python", "docs/guide/python.md": ""}


def program(page: str, heading: str = "") -> str:
    """Return the lines of the blocks of Python, all others empty: an error names the line of the page."""
    inside = not heading
    block = False
    lines = []
    for line in page.splitlines():
        if not block and heading and re.match(r"#{1,2} ", line):
            inside = line == heading
        if line.startswith("```"):
            block = inside and line.startswith("```python")
            lines.append("")
        else:
            lines.append(line if block else "")
    return "\n".join(lines) + "\n"


def run(source, name, console, directory):
    """Run a program in a fresh interpreter, with the repository's strategies and samples in its folder."""
    for each in ("packages", "strategies"):
        (directory / each).symlink_to(console.ROOT / each)
    script = "import sys; exec(compile(sys.stdin.read(), sys.argv[1], 'exec'))"
    return subprocess.run(
        [sys.executable, "-c", script, name],
        input=source,
        cwd=directory,
        env=console.environment(directory),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "heading"), PAGES.items(), ids=list(PAGES))
def test_the_python_of_a_page_runs(console, tmp_path, name, heading):
    page = (console.ROOT / name).read_text(encoding="utf-8")
    source = program(page, heading)
    assert source.count("kt.") >= 4
    console.write_files(page, tmp_path)
    done = run(source, name, console, tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_readme_needs_ten_lines(console):
    source = program((console.ROOT / "README.md").read_text(encoding="utf-8"), PAGES["README.md"])
    lines = [line for line in source.splitlines() if line.strip()]
    assert 5 <= len(lines) <= 10


# --- the test itself --------------------------------------------------------------------------------------------------

PAGE = """\
# Page

```python
a = 1
```

## Other

```console
$ ktrdr
```

```python title="part.py"
b = a + missing
```
"""


def test_an_error_is_found_and_names_its_line(console, tmp_path):
    done = run(program(PAGE), "page.md", console, tmp_path)
    assert done.returncode == 1
    assert 'File "page.md", line 14' in done.stderr
    assert "name 'missing' is not defined" in done.stderr


def test_blocks_below_other_headings_are_left_out():
    assert program(PAGE, "# Page").split() == ["a", "=", "1"]
    assert program(PAGE, "## Other").split() == ["b", "=", "a", "+", "missing"]
