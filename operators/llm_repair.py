"""Operator `llm_repair`: a child that failed gets another chance, its idea kept."""

from __future__ import annotations

from operators.briefing import repair_messages
from operators.llm_operators import Ask, LlmOperator
from operators.operator import ParentRule, Request


class LlmRepair(LlmOperator):
    """Mends a failed child, shown how it ended and what it changed."""

    def __init__(self, llm: Ask) -> None:
        super().__init__("llm_repair", ParentRule.FAILED, "parent", repair_messages, llm)

    def _idea_id(self, request: Request, reply: str) -> int | None:
        """The idea stays the failed child's: all children that tried it judge it."""
        return request.parent("parent").idea_id
