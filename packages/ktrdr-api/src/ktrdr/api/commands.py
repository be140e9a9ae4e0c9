"""Commands that this distribution adds to `ktrdr`."""

from __future__ import annotations

import click

__all__ = ["serve"]


@click.command()
@click.option("--host", help="Address to listen on (default KTRDR_API_HOST or 127.0.0.1).")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port (default KTRDR_API_PORT or 8000; 0 takes a free one)."
)
def serve(host: str | None, port: int | None) -> None:
    """Run the API server.

    On any other address than loopback it refuses to start without KTRDR_API_TOKEN or KTRDR_API_TOKEN_FILE.
    """
    import uvicorn
    from pydantic import ValidationError

    from ktrdr.api.app import create_app
    from ktrdr.api.settings import ApiSettings
    from ktrdr.core.errors import BadInputError

    given = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    try:
        settings = ApiSettings.model_validate({**ApiSettings().model_dump(), **given})
    except ValidationError as error:
        first = error.errors()[0]
        name = "KTRDR_API_" + "_".join(str(part) for part in first["loc"]).upper()
        raise BadInputError(f"{name} is not valid: {first['msg']}") from None
    settings.check_exposure()
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port)
