"""The address of a model's server, as people write it and as it is asked."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import parse_qsl, urlsplit, urlunsplit

_ENDS = (
    "/chat/completions",
    "/completions",
    "/responses",
    "/models",
)  # that the client adds itself


def tidied(text: str) -> str:
    """The base URL that a person meant. ValueError says what is wrong with it.

    Blanks around it go, and so does the path of a request at its end; a query (as `?api-version=...`) stays
    with every request. Without a scheme it is http on this machine and in its network, else https.
    """
    text = text.strip().strip("\"'").strip()
    if re.search(r"\s", text):
        raise ValueError("base_url holds a blank in its middle")
    if "://" not in text:
        text = f"{'http' if _is_near(text) else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"base_url is not an address: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(
            f"base_url begins with {parts.scheme}://, and http:// or https:// is needed"
        )
    if not host:
        raise ValueError("base_url names no host, as in http://127.0.0.1:8000/v1")
    return urlunsplit(parts._replace(path=_base(parts.path), fragment=""))


def with_version(address: str) -> str:
    """The address with /v1 at the end of its path."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/v1"))


def without_query(address: str) -> tuple[str, dict[str, object]]:
    """The address and, apart from it, what its query asks to be sent with every request."""
    parts = urlsplit(address)
    query: dict[str, object] = dict(parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit(parts._replace(query="")), query


def _base(path: str) -> str:
    path = path.rstrip("/")
    for end in _ENDS:
        path = path.removesuffix(end).rstrip("/")
    return path


def _is_near(text: str) -> bool:
    """Whether an address without a scheme is of this machine or its network."""
    try:
        host = urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan"))
