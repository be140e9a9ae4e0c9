"""Translation of messages from the command line's words to Python's.

The importer names its options as the command line does (``--skip-bad``). Where the caller is Python, the same options
are keyword arguments (``skip_bad=True``), and a command such as ``ktrdr data delete`` is a function.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from ktrdr.core.errors import KtrdrError

__all__ = ["in_python", "python_messages"]

_FLAGS = frozenset({"skip-bad", "align", "resume"})
_VALUES = r"us_futures|day-first|month-first|point|comma|open|close|portable|native|NAME|FX|24/7|\d{1,2}[mhdw]"
# An option and its value. A word in lower case that is no value belongs to the sentence.
_OPTION = re.compile(
    r"(?<![\w-])--(?P<option>[a-z]+(?:-[a-z]+)*)"
    rf"(?: (?P<role>[a-z]+)=(?P<column>\w+)| (?P<value>{_VALUES}|[+-]\d\d:\d\d|[A-Z^][\w^./=-]*\w|[A-Z])(?![\w-]))?"
)
_NEIGHBOURS = re.compile(r'(\w+="[^"]*") (?=\w+=)')
_COMMANDS = (
    (re.compile(r"`ktrdr data import FILE`"), "`kt.data.import_files(FILE)`"),
    (re.compile(r"`ktrdr data import`"), "`kt.data.import_files`"),
    (re.compile(r"`ktrdr data check`"), "`kt.data.check`"),
    (re.compile(r"`ktrdr train`"), "`kt.train`"),
    (re.compile(r"`ktrdr data synthesize`"), "`kt.data.synthesize`"),
    (re.compile(r"`ktrdr models list`"), "`kt.models.list()`"),
    (re.compile(r"`ktrdr data delete (\S+) (\S+)`"), r'`kt.data.delete("\1", "\2")`'),
    (re.compile(r"`ktrdr data delete (\S+)`"), r'`kt.data.delete("\1")`'),
    (re.compile(r"`ktrdr indicators` lists those there are"), "`kt.indicators.list()` lists those there are"),
    (re.compile(r"\bunknown key `"), "unknown parameter `"),
    (re.compile(r"\btrue or false\b"), "True or False"),
)


def in_python(message: str, *, noun: str = "file") -> str:
    """Return a message with keyword arguments and functions in the place of options and commands.

    Args:
        message: as the command line prints it.
        noun: the word that replaces ``file``.

    Example:
        >>> from ktrdr.core.data.python_words import in_python
        >>> in_python("say --decimal comma, or leave such rows out with --skip-bad")
        'say decimal="comma", or leave such rows out with skip_bad=True'
    """
    message = _NEIGHBOURS.sub(r"\1, ", _OPTION.sub(_argument, message))
    for pattern, replacement in _COMMANDS:
        message = pattern.sub(replacement, message)
    return message if noun == "file" else re.sub(r"\bfile\b", noun, message)


@contextlib.contextmanager
def python_messages(*, noun: str = "file") -> Iterator[None]:
    """Translate the messages of errors that leave the block, see :func:`in_python`."""
    try:
        yield
    except KtrdrError as error:
        error.args = (in_python(str(error), noun=noun),)
        raise


def _argument(match: re.Match[str]) -> str:
    option, value = match["option"], match["value"]
    if option in _FLAGS:
        return f"{option.replace('-', '_')}=True" + match[0].removeprefix(f"--{option}")
    if option == "column":
        return "`columns`" if match["column"] is None else f'columns={{"{match["role"]}": "{match["column"]}"}}'
    return f"`{option}`" if value is None else f'{option}="{value}"'
