"""How bodies that are files are sent: as they are."""

import schemathesis


@schemathesis.serializer("application/yaml", "application/zip", "application/octet-stream")
def as_it_is(ctx, value):
    if isinstance(value, bytes):
        return value
    data = getattr(value, "data", None)
    if isinstance(data, bytes):
        return data
    # Written out, a number or a map would be a text like any other: what is no string is sent as what is no text.
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"\xff"
