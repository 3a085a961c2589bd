"""Operator `replicate`: the parent's code again under another id, as a control that cannot be better.

Whatever a search keeps of its replicates, it keeps by luck: their share is its false alarms, measured.
"""

from __future__ import annotations

import re

from operators.operator import Draft, ParentRule, Request

NAME = "replicate"  # its children are exempt from the check for repeats
_MARK = re.compile(r"\n?# replicate \d+\n\Z")


class Replicate:
    """Copies its parent; a last comment with the proposal's number makes the id another one."""

    name = NAME
    parent_rule = ParentRule.ONE

    def propose(self, request: Request) -> Draft:
        """The same code: its fingerprint is the parent's."""
        source = _MARK.sub("\n", request.parent("parent").source)
        return Draft(f"{source.rstrip()}\n\n# replicate {request.number}\n", "the same code again")
