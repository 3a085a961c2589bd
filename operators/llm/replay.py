"""Answers from the records of an earlier campaign: no network, nothing billed, every answer on record again."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from operators.llm.accounting import ASKED, CallLog
from operators.llm.answer import Message, Reply, prompt_text, scrub
from operators.llm.response_formats import Form, dressed
from operators.llm.settings import Endpoint, LlmSettings, drawn
from operators.operator import ProposalFailed
from population.store import Store
from population.types import Cost, LlmCall


class Recorded:
    """The ended requests of a campaign's store by endpoint and prompt. StoreError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._answers: dict[str, list[tuple[str, str]]] = defaultdict(list)
        sql = """SELECT endpoint, prompt, outcome, reply FROM llm_calls
            WHERE outcome NOT IN ('asked', 'interrupted') ORDER BY id"""
        with Store.open(path, read_only=True) as store:
            for endpoint, prompt, outcome, reply in store.query(sql):
                self._answers[_key(endpoint, prompt)].append((outcome, reply))

    def take(self, endpoint: str, prompt: str) -> tuple[str, str] | None:
        """Outcome and reply: answers in their order, the last one for ever; failures before an answer are
        passed over, as the client's retries passed over them. None: this was never asked."""
        with self._lock:
            known = self._answers.get(_key(endpoint, prompt))
            if not known:
                return None
            while len(known) > 1:
                first = known.pop(0)
                if first[0] == "ok":
                    return first
            return known[0]


class ReplayClient:
    """Stands where the client stands. Endpoints are drawn as it draws them, without asking for keys."""

    def __init__(self, settings: LlmSettings, recorded: Recorded, call_log: CallLog) -> None:
        self._settings, self._recorded, self._call_log = settings, recorded, call_log

    def is_unavailable(self) -> bool:
        """Records never rest."""
        return False

    def endpoints(self) -> tuple[str, ...]:
        """The names of all endpoints."""
        return tuple(one.name for one in self._settings.endpoints)

    def ask(
        self,
        messages: Sequence[Message],
        rng: np.random.Generator,
        proposal_number: int = 0,
        endpoint: str = "",
        as_text: bool = False,
    ) -> Reply:
        """What the endpoint answered to this very prompt. Raises ProposalFailed when it never did."""
        chosen = self._pick(rng, endpoint)
        for form in (Form.TEXT,) if as_text else reversed(Form):
            prompt = scrub(prompt_text(dressed(messages, form)), [])
            found = self._recorded.take(chosen.name, prompt)
            if found is not None:
                break
        if found is None:
            raise ProposalFailed(
                f"{chosen.name}: the replayed campaign never sent this prompt", model=chosen.model
            )
        outcome, text = found
        parts = {name: n for one in messages for name, n in one.parts.items()}
        because = messages[-1].again_because
        self._record(chosen, prompt, outcome, text, proposal_number, parts, because)
        if outcome != "ok":
            raise ProposalFailed(f"{chosen.name}: {outcome} (replayed)", model=chosen.model)
        return Reply(text, chosen.name, chosen.model, Cost())

    def _pick(self, rng: np.random.Generator, name: str) -> Endpoint:
        endpoints = self._settings.endpoints
        named = [one for one in endpoints if one.name == name]
        if named:
            return named[0]
        return drawn(endpoints, rng)

    def _record(
        self,
        chosen: Endpoint,
        prompt: str,
        outcome: str,
        reply: str,
        number: int,
        parts: dict[str, int],
        because: str,
    ) -> None:
        def call(outcome: str, reply: str) -> LlmCall:
            return LlmCall(
                chosen.name,
                chosen.model,
                prompt,
                reply,
                0,
                0,
                0.0,
                0.0,
                outcome,
                number,
                parts,
                because,
            )

        self._call_log.answered(self._call_log.asked(call(ASKED, "")), call(outcome, reply))


def _key(endpoint: str, prompt: str) -> str:
    return hashlib.sha256(f"{endpoint}\0{prompt}".encode(errors="replace")).hexdigest()
