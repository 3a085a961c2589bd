"""Operator `llm_simplify`: the same score with less code."""

from __future__ import annotations

from operators.briefing import simplify_messages
from operators.llm_operators import Ask, LlmOperator
from operators.operator import ParentRule, Request
from operators.source.edits import EditError
from population.fingerprint import count_nodes


class LlmSimplify(LlmOperator):
    """Takes code out of one parent; a result that is not smaller is asked for again."""

    def __init__(self, llm: Ask) -> None:
        super().__init__("llm_simplify", ParentRule.ONE, "parent", simplify_messages, llm)

    def _edit(self, request: Request, reply: str) -> str:
        source = super()._edit(request, reply)
        before, after = count_nodes(request.parent("parent").source), count_nodes(source)
        if after >= before:
            raise EditError(
                f"the result is not smaller: {after} syntax nodes, the parent has {before}"
            )
        return source
