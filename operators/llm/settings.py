"""What a campaign file says about language models, and how much of a prompt each part may take."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

if TYPE_CHECKING:
    import numpy as np

MAX_CONTEXT_TOKENS = 6000  # of a prompt, for all that is told beside brief, sources and task
SHARES = {  # of these tokens
    "ideas": 0.2,
    "under_way": 0.05,
    "tried": 0.2,
    "settings": 0.1,
    "leader": 0.15,
    "notes": 0.1,
    "inspirations": 0.1,
    "knowledge": 0.1,
}


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """Tokens for what is told beside brief, sources and task, and how the parts share them.

    What a part leaves over goes to the parts after it. Tokens are estimated as a third of the UTF-8 bytes.
    """

    tokens: int = MAX_CONTEXT_TOKENS
    shares: Mapping[str, float] = field(default_factory=lambda: SHARES)


PLACEHOLDER_KEY = "no-key"
# fields of a request that may stand beside `extra_body`
SAMPLING = ("temperature", "top_p", "reasoning_effort")
_OURS = {  # fields of a request, and where they come from
    "model": "give `model`",
    "messages": "they are the prompt",
    "stream": "whether a server streams is found out",
    "stream_options": "whether a server streams is found out",
    "response_format": "give `reply`",
    "n": "one answer is asked for",
    "tools": "no tool is run",
}
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Endpoint(_Frozen):
    """One model behind one OpenAI-compatible server."""

    name: str = Field(min_length=1)
    model: str = Field(min_length=1)
    base_url: str | None = None  # None: OPENAI_BASE_URL, else OpenAI itself
    key_env: str = (
        "OPENAI_API_KEY"  # the environment variable with the key; "": the server asks none
    )
    max_tokens: int = Field(default=8192, ge=16)  # of one answer
    extra_body: dict[str, Any] = {}  # further fields of each request, such as those of SAMPLING
    extra_headers: dict[str, str] = {}  # $NAME in one stands for an environment variable
    price_in: float | None = Field(default=None, ge=0)  # dollars per million tokens; None: unknown
    price_out: float | None = Field(default=None, ge=0)
    reply: Literal["auto", "lines", "schema", "object", "text"] = "auto"
    timeout_seconds: float = Field(default=300, gt=0)  # for one whole answer

    @model_validator(mode="before")
    @classmethod
    def _sampling_in_the_body(cls, given: Any) -> Any:
        """The well-known fields of a request may stand beside `extra_body`, as they do in one."""
        if not isinstance(given, Mapping):
            return given
        beside = {name: given[name] for name in SAMPLING if given.get(name) is not None}
        rest = {name: one for name, one in given.items() if name not in SAMPLING}
        body = rest.get("extra_body") or {}
        if not beside or not isinstance(body, Mapping):
            return rest
        if both := sorted(beside.keys() & body.keys()):
            raise ValueError(f"{both[0]} is given twice, beside extra_body and in it")
        return {**rest, "extra_body": {**body, **beside}}

    @field_validator("extra_body")
    @classmethod
    def _fits_a_request(cls, body: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(body.keys() & _OURS):
            raise ValueError(f"extra_body.{taken[0]} is ours to send: {_OURS[taken[0]]}")
        for name, most in (("temperature", 2), ("top_p", 1)):
            value = body.get(name, 0)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not 0 <= value <= most
            ):
                raise ValueError(f"{name} should be a number from 0 to {most} (given: {value!r})")
        try:
            json.dumps(body, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"extra_body cannot be sent as JSON: {error}") from None
        return body

    @field_validator("extra_headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name) or not value.isascii() or not value.isprintable():
                raise ValueError(f"extra_headers.{name}: not the name and value of a header")
        return headers

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        return tidied(url) if url and url.strip() else None

    def address(self, environ: Mapping[str, str]) -> str | None:
        """The server's base URL; None means the client library's own default. ValueError: it is none."""
        named = self.base_url or environ.get("OPENAI_BASE_URL", "").strip()
        return tidied(named) if named else None

    def key(self, environ: Mapping[str, str]) -> str | None:
        """The key to send; None when a variable that should hold one is empty."""
        if self.wanting(environ):
            return None
        return environ[self.key_env].strip() if self.key_env else PLACEHOLDER_KEY

    def wanting(self, environ: Mapping[str, str]) -> list[str]:
        """The environment variables that should hold a key or a part of a header, and hold nothing."""
        named = [self.key_env] if self.key_env else []
        return [one for one in (*named, *self._variables()) if not environ.get(one, "").strip()]

    def headers(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The further headers, their variables filled in."""
        return {
            name: _VARIABLE.sub(lambda found: environ.get(found[1] or found[2], "").strip(), value)
            for name, value in self.extra_headers.items()
        }

    def secrets(self, environ: Mapping[str, str]) -> list[str]:
        """What must not reach a record: the key, and what headers take from the environment."""
        named = [self.key_env] if self.key_env else []
        held = (environ.get(one, "").strip() for one in (*named, *self._variables()))
        return [one for one in held if one]

    def _variables(self) -> list[str]:
        return [a or b for one in self.extra_headers.values() for a, b in _VARIABLE.findall(one)]

    def dollars(self, tokens_in: int, tokens_out: int) -> float | None:
        """The price of a call; None while one of the two prices is unknown."""
        if self.price_in is None or self.price_out is None:
            return None
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


class LlmSettings(_Frozen):
    """The models to ask. Unknown keys are errors."""

    endpoints: tuple[Endpoint, ...] = Field(min_length=1)
    notes_every: int = Field(default=40, ge=0)  # measurements between two research notes; 0: none
    replay: Path | None = None

    @field_validator("endpoints")
    @classmethod
    def _names_differ(cls, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        names = [endpoint.name for endpoint in endpoints]
        if len(set(names)) != len(names):
            raise ValueError("two endpoints have the same name")
        return endpoints


def drawn(endpoints: Sequence[Endpoint], rng: np.random.Generator) -> Endpoint:
    """One of them, each as likely. By shares, as when they had weights: old records replay."""
    many = len(endpoints)
    return endpoints[int(rng.choice(many, p=[1.0 / many] * many))]


def missing_keys(settings: LlmSettings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The environment variables that should hold a key and do not."""
    wanted = (name for one in settings.endpoints for name in one.wanting(environ))
    return tuple(dict.fromkeys(wanted))


# -- The address of a model's server, as people write it and as it is asked.


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
