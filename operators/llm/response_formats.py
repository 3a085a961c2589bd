"""The form an endpoint answers in: JSON by a schema, any JSON object, or free text; probed once.

A prompt states one form, that of free text; where another is asked for, it takes that one's place. Operators
read all of them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cache
from importlib import resources

from operators.llm.answer import Message, estimate_tokens
from operators.llm.settings import Endpoint
from operators.source.expressions import schema_of


class Form(StrEnum):
    """From the strictest down."""

    LINES = "lines"  # a schema made of the lines of the file: for small models, only where it is asked for
    SCHEMA = "schema"
    OBJECT = "object"
    TEXT = "text"


_EDIT = {
    "type": "object",
    "properties": {"search": {"type": "string"}, "replace": {"type": "string"}},
    "required": ["search", "replace"],
    "additionalProperties": False,
}
_ANSWER = {
    "type": "object",
    "properties": {
        "idea": {"type": "string"},
        "idea_numbers": {"type": "array", "items": {"type": "integer"}},
        "edits": {"type": "array", "items": _EDIT},
        "file": {"type": "string"},
    },
    "required": ["idea", "idea_numbers", "edits", "file"],
    "additionalProperties": False,
}
_OK = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
PROBE = 'Answer with the JSON object {"ok": true} and nothing else.'


_PROBED = (Form.SCHEMA, Form.OBJECT, Form.TEXT)
_PROMPTS = {Form.LINES: "lines.md", Form.SCHEMA: "json.md", Form.OBJECT: "json.md"}


@cache
def answer_prompt(form: Form) -> str:
    """How a prompt asks for an answer in a form."""
    name = _PROMPTS.get(form, "answer.md")
    return (
        resources.files("operators").joinpath("prompts", name).read_text(encoding="utf-8").strip()
    )


def response_format(
    form: Form, messages: Sequence[Message] = (), probe: bool = False
) -> dict[str, object] | None:
    """What to send as `response_format` with this conversation; None: nothing."""
    if form in (Form.SCHEMA, Form.LINES):
        edited = messages[0].edited if messages else ""
        by_lines = schema_of(edited) if form is Form.LINES and not probe else None
        schema = _OK if probe else by_lines or _ANSWER
        named = {"name": "probe" if probe else "edit", "strict": True, "schema": schema}
        return {"type": "json_schema", "json_schema": named}
    return {"type": "json_object"} if form is Form.OBJECT else None


def dressed(messages: Sequence[Message], form: Form) -> tuple[Message, ...]:
    """The conversation, asking for an answer in this form in place of free text."""
    edited = messages[0].edited
    if form is Form.LINES and schema_of(edited) is None:
        form = Form.SCHEMA
    plain, asked = answer_prompt(Form.TEXT), answer_prompt(form)
    if form is Form.TEXT:
        return tuple(messages)
    if not any(plain in one.content for one in messages):
        return _asked_last(messages, asked)
    more = estimate_tokens(asked) - estimate_tokens(plain)
    return tuple(
        replace(
            one,
            content=one.content.replace(plain, asked),
            parts={name: n + more * (name == "brief") for name, n in one.parts.items()},
        )
        for one in messages
    )


def _asked_last(messages: Sequence[Message], asked: str) -> tuple[Message, ...]:
    *before, last = messages
    parts = {**last.parts, "form": estimate_tokens(asked)}
    return (*before, replace(last, content=f"{last.content}\n\n{asked}", parts=parts))


def is_probed(text: str) -> bool:
    """Whether a probe was answered in JSON as asked."""
    try:
        return bool(json.loads(text) == {"ok": True})
    except (ValueError, RecursionError):
        return False


_REFUSES = " refuses"  # behind the key of an endpoint: the fields that it does not take


def _key(endpoint: Endpoint) -> str:
    return f"{endpoint.name} {endpoint.model} {endpoint.base_url or ''}"


class Forms:
    """What each endpoint can do, as far as it is known. Thread-safe; `keep` hears of all that is known."""

    def __init__(
        self,
        known: Mapping[str, str] | None = None,
        keep: Callable[[dict[str, str]], None] = lambda known: None,
    ) -> None:
        self._known, self._keep = dict(known or {}), keep
        self._probing: set[str] = set()
        self._lowered: dict[str, Form] = {}  # where a form that the config names was refused
        self._asked: dict[str, int] = {}  # questions to those of whom nothing is known yet
        self._lock = threading.Lock()

    def of(self, endpoint: Endpoint, probe: Callable[[Form], bool | None]) -> Form:
        """The form to ask this endpoint for; `probe` says whether it can do one, None: it did not say.

        A server that refuses everything is down, not unable: nothing is remembered of it, and it is probed
        again at its 2nd, 4th, 8th, ... question. While one thread probes, the others ask for free text.
        """
        key = _key(endpoint)
        if endpoint.reply != "auto":
            with self._lock:
                return self._lowered.get(key, Form(endpoint.reply))
        with self._lock:
            if key in self._known:
                return Form(self._known[key])
            if key in self._probing or not self._is_due(key):
                return Form.TEXT
            self._probing.add(key)
        try:
            for form in _PROBED:
                able = probe(form)
                if able is None:
                    return Form.TEXT
                if able:
                    with self._lock:
                        self._known[key] = form.value
                        self._keep(dict(self._known))
                    return form
            return Form.TEXT
        finally:
            with self._lock:
                self._probing.discard(key)

    def lower(self, endpoint: Endpoint, form: Form) -> Form:
        """The form below one that was refused, which is asked for from now on."""
        forms = list(Form)
        below = forms[min(forms.index(form) + 1, len(forms) - 1)]
        with self._lock:
            if endpoint.reply == "auto":
                self._known[_key(endpoint)] = below.value
                self._keep(dict(self._known))
            else:
                self._lowered[_key(endpoint)] = below
        return below

    def refused(self, endpoint: Endpoint) -> frozenset[str]:
        """The fields that it was found to refuse."""
        with self._lock:
            return frozenset(self._known.get(f"{_key(endpoint)}{_REFUSES}", "").split(",")) - {""}

    def keep_refused(self, endpoint: Endpoint, fields: frozenset[str]) -> None:
        """Keep the fields that it refuses."""
        with self._lock:
            self._known[f"{_key(endpoint)}{_REFUSES}"] = ",".join(sorted(fields))
            self._keep(dict(self._known))

    def _is_due(self, key: str) -> bool:
        """Whether to probe now: at the first question, then at the 2nd, 4th, 8th, ..."""
        self._asked[key] = asked = self._asked.get(key, 0) + 1
        return asked & (asked - 1) == 0
