"""How bodies that are files are sent: as they are."""

import schemathesis


@schemathesis.serializer("application/yaml", "application/zip", "application/octet-stream")
def as_it_is(ctx, value):
    if isinstance(value, bytes):
        return value
    data = getattr(value, "data", None)
    return data if isinstance(data, bytes) else str(value).encode("utf-8", "surrogatepass")
