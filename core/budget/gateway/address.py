"""Where a request goes: the address of a service, and the proxy on the way."""

from functools import lru_cache
from urllib.parse import quote as escaped
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import web

from core.budget.wire import Wire
from storage.queries.budget import Service


@lru_cache(maxsize=64)
def proxy_for(address: str) -> str | None:
    """The proxy of the environment for an address. Not left to the HTTP client, which would look into ``.netrc``."""
    parts = urlsplit(address)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def upstream(service: Service, wire: Wire, request: web.Request, model: str) -> str:
    """Where a request goes: the service's address with the path of the protocol, and the client's query without
    keys.
    """
    base = (service.base_url or wire.base_url).rstrip("/")
    path = request.path.split("/", 2)[2]
    if wire.name == "gemini":
        verb = path.rpartition(":")[2]
        path = f"v1beta/models/{escaped(model, safe='')}:{verb}"
    elif path.startswith("v1/models/"):
        path = f"models/{escaped(model, safe='')}"  # as one name: it must not lead to another path with our key
    elif wire.provider == "openai":
        path = path.removeprefix("v1/")
    query = "&".join(
        f"{escaped(name)}={escaped(value)}"
        for name, value in request.query.items()
        if name not in ("key", "access_token")
    )
    return f"{base}/{path}" + (f"?{query}" if query else "")
