"""Extension of Griffe: converts the docstrings and the pydantic models of KTRDR for the API reference.

Docstrings refer to objects as in Sphinx (``:class:`Bars```), and mark code with two colons, which Markdown does not
know. The parameters of pydantic models are their fields, which Griffe does not infer from the source.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:mod|class|func|meth|attr|data|exc):`(~?)([\w.]+)`")

_CODE_FOLLOWS = re.compile(r"::$", re.MULTILINE)


class House(griffe.Extension):
    """Converts roles to links, if the object has a page, and fields of models to parameters."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Convert a whole package, after it is loaded completely, so that names can be resolved."""
        self._visit(pkg)

    def _visit(self, obj: griffe.Object) -> None:
        if obj.docstring and (":`" in obj.docstring.value or "::" in obj.docstring.value):
            text = _ROLE.sub(lambda found: _link(obj, found), obj.docstring.value)
            obj.docstring.value = _CODE_FOLLOWS.sub(":", text)
        if isinstance(obj, griffe.Class):
            _show_fields(obj)
            obj.bases = [base for base in obj.bases if not str(base).startswith("_")]
        for member in list(obj.members.values()):
            if isinstance(member, griffe.Object):
                self._visit(member)


_MODELS = ("BaseModel", "_Section", "BaseSettings")


def _show_fields(model: griffe.Class) -> None:
    """Set the signature of a pydantic model from its fields."""
    if not any(str(base).rpartition(".")[2] in _MODELS for base in model.bases):
        return
    fields = [each for each in model.attributes.values() if each.annotation is not None and each.is_public]
    parameters = [
        griffe.Parameter(each.name, annotation=_type(each.annotation), default=_default(each), kind=_KEYWORD)
        for each in sorted(fields, key=lambda each: each.lineno or 0)
    ]
    model.set_member("__init__", griffe.Function("__init__", parameters=griffe.Parameters(*parameters)))


_KEYWORD = griffe.ParameterKind.keyword_only


def _type(annotation: str | griffe.Expr | None) -> str | griffe.Expr | None:
    """Return the type without the constraints of ``Annotated``."""
    if isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) == "Annotated":
        inner = annotation.slice
        return inner.elements[0] if isinstance(inner, griffe.ExprTuple) else inner
    return annotation


def _default(field: griffe.Attribute) -> str | griffe.Expr | None:
    """Return the default of a field: for ``Field(default, ...)`` its first argument."""
    value = field.value
    if isinstance(value, griffe.ExprCall) and str(value.function) == "Field":
        value = next((each for each in value.arguments if not isinstance(each, griffe.ExprKeyword)), None)
    return value


def _link(obj: griffe.Object, role: re.Match[str]) -> str:
    short, name = role.groups()
    text = name.rpartition(".")[2] if short else name.lstrip(".")
    # `optional`: an object without a page is shown as code, without a warning.
    return f'<autoref optional identifier="{_resolve(obj, name)}"><code>{text}</code></autoref>'


def _resolve(obj: griffe.Object, name: str) -> str:
    """Return the full name of the object that ``name`` refers to in the docstring of ``obj``."""
    if name.startswith("ktrdr."):
        return name
    if name.startswith("."):
        module = obj.module
        package = module.path if module.is_package else module.path.rpartition(".")[0]
        return f"{package}{name}"
    first, _, rest = name.partition(".")
    try:
        found = obj.resolve(first)
    except griffe.NameResolutionError:
        return name
    return f"{found}.{rest}" if rest else found
