"""What a campaign file says about language models, and how much of a prompt each part may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

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
    wanted = [one.key_env for one in settings.endpoints if one.key(environ) is None]
    return tuple(dict.fromkeys(wanted))
