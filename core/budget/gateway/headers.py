"""Which headers pass the gateway, there and back."""

from collections.abc import Mapping

_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}

_KEPT_HERE = _HOP | {
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "accept-encoding",
    "expect",
    "cookie",
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "openai-organization",
    "openai-project",
    "x-goog-user-project",
    "forwarded",
}

_NOT_BACK = _HOP | {"content-length", "content-encoding", "set-cookie", "date", "server", "alt-svc"}


def onward(given: Mapping[str, str]) -> dict[str, str]:
    """The client's headers without its token, without whose account it is, and with no compression: usage is read
    on the way.
    """
    kept = {name: value for name, value in given.items() if name.lower() not in _KEPT_HERE and not _forwarded(name)}
    return {**kept, "accept-encoding": "identity"}


def back(given: Mapping[str, str], service: str, model: str) -> dict[str, str]:
    """The provider's headers, and who answered."""
    kept = {name: value for name, value in given.items() if name.lower() not in _NOT_BACK}
    return {**kept, "x-quarterdeck-service": service, "x-quarterdeck-model": model}


def token_of(given: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The run token, from wherever a provider's client puts its key."""
    for name in ("x-api-key", "x-goog-api-key", "api-key"):
        if given.get(name):
            return given[name].strip()
    scheme, _, value = given.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return query.get("key")


def _forwarded(name: str) -> bool:
    return name.lower().startswith(("x-forwarded-", "x-real-", "sec-", "cf-"))
