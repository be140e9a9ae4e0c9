"""The start page of the server, for browsers and for programs."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from ktrdr.api import __version__
from ktrdr.api.http.request_metrics import PREFIX

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_WHAT = "A server of KTRDR, which trains and backtests neuro-fuzzy trading strategies."
_PLACES = (
    ("docs", f"{PREFIX}/docs", "all routes, interactively; loads its script from a public server"),
    ("openapi", f"{PREFIX}/openapi.json", "the OpenAPI document, for programs"),
    ("health", f"{PREFIX}/health", "liveness of the server"),
    ("ready", f"{PREFIX}/health/ready", "whether the server accepts operations, whether they can run, and why not"),
)
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;color:#222;background:#fff}"
    "h1{font-size:1.5rem}h2{font-size:1.15rem}"
    "dt{font-family:monospace}dd{margin:0 0 .7rem 1.5rem}code{background:#f2f2f2;padding:0 .2rem}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# The page may use this style and nothing else: no scripts, images or resources of other sites.
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@router.get("/")
async def welcome(request: Request) -> Response:
    """Return the name of the server and its main URLs, as HTML for browsers, else as JSON. Needs no token."""
    headers = {"Vary": "Accept"}
    if "text/html" not in request.headers.get("accept", ""):
        told = {"name": "KTRDR", "what": _WHAT, "version": __version__}
        return JSONResponse(told | {name: path for name, path, _ in _PLACES}, headers=headers)
    return HTMLResponse(_page(), headers={**headers, "Content-Security-Policy": _POLICY})


def _page() -> str:
    places = "".join(f'<dt><a href="{path}">{path}</a></dt><dd>{escape(text)}</dd>' for _, path, text in _PLACES)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>KTRDR {__version__}</title><style>{_STYLE}</style></head><body><h1>KTRDR {__version__}</h1>"
        f"<p>{escape(_WHAT)}</p><h2>The API</h2><dl>{places}</dl><h2>The documentation</h2>"
        "<p>The guides are in the folder <code>docs</code> of KTRDR's source: <code>docs/api.md</code> for this API,"
        " <code>docs/operations.md</code> for the operator of this server. On the command line"
        " <code>ktrdr --help</code> lists the commands, and <code>--server</code> with this address runs them here.</p>"
        "</body></html>"
    )
