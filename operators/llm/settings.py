"""How much of a prompt each part may take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

SHARES = {
    "ideas": 0.2,
    "under_way": 0.1,
    "tried": 0.2,
    "settings": 0.1,
    "notes": 0.1,
    "inspirations": 0.1,
    "knowledge": 0.2,
}


class PromptSettings(BaseModel):
    """Tokens for what is told beside brief, sources and task, and how the parts share them.

    What a part leaves over goes to the parts after it. Tokens are estimated as a third of the UTF-8 bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: int = Field(default=6000, ge=0, description="for all parts together")
    shares: dict[str, float] = Field(default=SHARES, description="of them by part")
    knowledge_passages: int = Field(default=4, ge=0, le=50)

    @field_validator("shares")
    @classmethod
    def _known_parts(cls, shares: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(shares) - set(SHARES))
        if unknown:
            raise ValueError(f"there is no part {unknown[0]!r}; parts: {', '.join(SHARES)}")
        if any(not 0 <= share <= 1 for share in shares.values()) or sum(shares.values()) > 1.001:
            raise ValueError("shares must be between 0 and 1 and add up to at most 1")
        return shares


# -- What a campaign file says about language models.


PLACEHOLDER_KEY = "no-key"


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
    temperature: float | None = Field(default=None, ge=0, le=2)  # None: the server's own
    max_tokens: int = Field(default=8192, ge=16)  # of one answer
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    price_in: float | None = Field(default=None, ge=0)  # dollars per million tokens; None: unknown
    price_out: float | None = Field(default=None, ge=0)
    reply: Literal["auto", "schema", "object", "text"] = "auto"
    timeout_seconds: float = Field(default=300, gt=0)  # for one whole answer
    stream: bool = True  # answers come piece by piece, where the server can
    silence_seconds: float = Field(default=60, gt=0)  # between two pieces, then it is given up
    weight: float = Field(default=1, gt=0)  # how often it is asked, relative to the others

    def address(self, environ: Mapping[str, str]) -> str | None:
        """The server's base URL; None means the client library's own default."""
        return self.base_url or environ.get("OPENAI_BASE_URL") or None

    def key(self, environ: Mapping[str, str]) -> str | None:
        """The key to send; None when the variable that should hold it is empty."""
        if not self.key_env:
            return PLACEHOLDER_KEY
        return environ.get(self.key_env, "").strip() or None

    def dollars(self, tokens_in: int, tokens_out: int) -> float | None:
        """The price of a call; None while one of the two prices is unknown."""
        if self.price_in is None or self.price_out is None:
            return None
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


class LlmSettings(_Frozen):
    """The models to ask and how patiently. Unknown keys are errors."""

    endpoints: tuple[Endpoint, ...] = Field(min_length=1)
    attempts: int = Field(default=4, ge=1, le=10)  # of one request, the first included
    first_wait_seconds: float = Field(default=1, ge=0)  # doubles from attempt to attempt, jittered
    longest_wait_seconds: float = Field(default=60, ge=0)  # a Retry-After beyond it gives up
    rest_after: int = Field(default=5, ge=1)  # failed requests in a row, then an endpoint rests
    first_rest_seconds: float = Field(default=15, gt=0)  # doubles from probe to probe, jittered
    longest_rest_seconds: float = Field(default=600, gt=0)
    notes_every: int = Field(default=40, ge=0)  # measurements between two research notes; 0: none
    prompt: PromptSettings = PromptSettings()
    replay: Path | None = None

    @field_validator("endpoints")
    @classmethod
    def _names_differ(cls, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        names = [endpoint.name for endpoint in endpoints]
        if len(set(names)) != len(names):
            raise ValueError("two endpoints have the same name")
        return endpoints


def missing_keys(settings: LlmSettings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The environment variables that should hold a key and do not."""
    wanted = [one.key_env for one in settings.endpoints if one.key(environ) is None]
    return tuple(dict.fromkeys(wanted))
