"""The fields of a request beside its messages, and what each endpoint was found to refuse of them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from operators.llm.answer import CallFailed, Message
from operators.llm.completion import REFUSING
from operators.llm.settings import Endpoint
from operators.llm.stream import StreamMode

LIMITS = ("max_tokens", "max_completion_tokens")  # two names of one thing
SYSTEM, VERSION = "system", "/v1"  # beside fields: a message of that role, an address without it
_CAP = "at most "  # before how many tokens of an answer a server takes
_FORMS = ("response_format", "json_schema", "json_object", "grammar")
_REFUSAL = re.compile(
    r"support|unknown|unrecogni[sz]|unexpected|permit|forbid|allow|invalid|extra|too large|exceed|"
    r"deprecat|must be|cannot|not available|at most|less than",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(r"too large|exceed|at most|less than|maximum|range", re.IGNORECASE)
_LARGEST = re.compile(
    r"(?:at most|up to|<=|less than or equal to|\[\s*\d+\s*,|maximum (?:value )?(?:is|of))\s*(\d+)",
    re.IGNORECASE,
)

Refused = frozenset[str]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a request is made: in which stream mode (None: the best known), without what is `refused`."""

    stream_mode: StreamMode | None = None
    refused: Refused = frozenset()


AS_KNOWN = Manner()


def fields_of(
    endpoint: Endpoint, response_format: Mapping[str, object] | None, refused: Refused
) -> dict[str, object]:
    """What a request says beside its messages and of streaming."""
    fields: dict[str, object] = {}
    limit = next((name for name in LIMITS if name not in refused), None)
    if limit and not any(name in endpoint.extra_body for name in LIMITS):
        caps = [int(one.removeprefix(_CAP)) for one in refused if one.startswith(_CAP)]
        fields[limit] = min([endpoint.max_tokens, *caps])
    if response_format is not None:
        fields["response_format"] = response_format
    fields |= endpoint.extra_body
    return {name: value for name, value in fields.items() if name not in refused}


def messages_of(messages: Sequence[Message], refused: Refused) -> list[dict[str, str]]:
    """The messages as they are sent: where no system role is taken, its text leads the first turn."""
    plain = [{"role": one.role, "content": one.content} for one in messages]
    if SYSTEM not in refused or len(plain) < 2 or plain[0]["role"] != "system":
        return plain
    first, second, *rest = plain
    return [{**second, "content": f"{first['content']}\n\n{second['content']}"}, *rest]


def refuses_form(refusal: CallFailed) -> bool:
    """Whether an error says that the form of the answer cannot be asked for."""
    said = refusal.reply.lower()
    return refusal.status in REFUSING and any(name in said for name in _FORMS)


class Refusals:
    """What each endpoint refuses, learned from its own words once and kept. Thread-safe.

    A server that does not take a field is unable, not down: it is asked once more without.
    """

    def __init__(
        self,
        known: Callable[[Endpoint], Refused] = lambda endpoint: frozenset(),
        keep: Callable[[Endpoint, Refused], None] = lambda endpoint, refused: None,
    ) -> None:
        self._load, self._keep = known, keep
        self._known: dict[str, Refused] = {}
        self._lock = threading.Lock()

    def of(self, endpoint: Endpoint) -> Refused:
        """What is known to be refused."""
        with self._lock:
            if endpoint.name not in self._known:
                self._known[endpoint.name] = self._load(endpoint)
            return self._known[endpoint.name]

    def learn(self, endpoint: Endpoint, refused: Refused) -> Refused:
        """Keep what a request did well without; what of it is new."""
        known = self.of(endpoint)
        with self._lock:
            new = refused - self._known.get(endpoint.name, known)
            if new:
                self._known[endpoint.name] = refused | known
                self._keep(endpoint, refused | known)
            return new


def named_in(
    refusal: CallFailed, sent: Mapping[str, object], address: str, messages: Sequence[Message]
) -> Refused:
    """What an error refuses of what was sent, by its own words; empty when it names nothing."""
    said = refusal.reply or refusal.reason
    if _is_elsewhere(refusal, said, address):
        return frozenset({VERSION})
    if refusal.status not in REFUSING or not _REFUSAL.search(said):
        return frozenset()
    roles = {one.role for one in messages}
    if "system" in roles and re.search(r"\bsystem\b", said, re.IGNORECASE) and "role" in said:
        return frozenset({SYSTEM})
    places = {name: found.start() for name in sent if (found := _name(name).search(said))}
    places.pop("response_format", None)  # that is a form, and forms have an order of their own
    if not places or any(form in said for form in _FORMS):
        return frozenset()
    name = min(places, key=lambda one: places[one])
    if name in LIMITS and _TOO_LARGE.search(said):
        return _smaller(said, sent[name])
    return frozenset({name})


def _name(field: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(field)}(?!\w)", re.IGNORECASE)


def _smaller(said: str, sent: object) -> Refused:
    """A limit of tokens that is taken, where the server tells one; else none is sent."""
    told = [int(one) for one in _LARGEST.findall(said)]
    fitting = [one for one in told if isinstance(sent, int) and 16 <= one < sent]
    return frozenset({f"{_CAP}{max(fitting)}"} if fitting else LIMITS)


def _is_elsewhere(refusal: CallFailed, said: str, address: str) -> bool:
    """Whether a server has nothing at an address without a version, and says nothing of a model."""
    path = address.partition("?")[0]
    if not address or re.search(r"/v\d|/openai/|/api/", path) or "model" in said.lower():
        return False
    return refusal.status in (404, 405) or refusal.no_json
