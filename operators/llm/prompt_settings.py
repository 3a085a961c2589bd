"""How much of a prompt each part may take."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

SHARES = {
    "ideas": 0.2,
    "tried": 0.2,
    "settings": 0.1,
    "notes": 0.15,
    "inspirations": 0.1,
    "knowledge": 0.25,
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
