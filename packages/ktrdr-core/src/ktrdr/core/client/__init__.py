"""Client of the API, for commands that run on a server."""

from ktrdr.core.client.following import follow
from ktrdr.core.client.http import Client

__all__ = ["Client", "follow"]
