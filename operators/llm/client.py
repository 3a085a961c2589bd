"""The one door to language models: bounded retries, hard budgets, every request on record."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tenacity

from operators.llm.accounting import ASKED, CallLog, Hold, TokenBudget
from operators.llm.answer import (
    CallFailed,
    Message,
    Reply,
    Unusable,
    Usage,
    cost_of,
    estimate_tokens,
    prompt_text,
    scrub,
)
from operators.llm.breaker import PATIENCE, Breaker, Patience
from operators.llm.completion import REFUSING
from operators.llm.fields import AS_KNOWN, Manner, Refusals, Refused, refuses_form
from operators.llm.response_formats import (
    PROBE,
    Form,
    Forms,
    dressed,
    is_probed,
    response_format,
)
from operators.llm.settings import Endpoint, LlmSettings, drawn
from operators.llm.wire import POLL_SECONDS, STOPPING, Answered, Question, Wire
from operators.operator import ProposalFailed
from population.types import LlmCall

_PROBE_TOKENS = 2048  # a model that thinks first does so over a probe too


@dataclass(frozen=True, slots=True)
class _Call:
    """One request to be made, the same for all its attempts."""

    endpoint: Endpoint
    messages: tuple[Message, ...]
    prompt: str
    hold: Hold
    proposal_number: int
    response_format: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """What one small question showed of an endpoint. `answered` is None where `reason` says why there is none.

    `form`: the strictest one of answers that works; `seconds`: of the last request; `calls`: all requests.
    """

    form: Form
    seconds: float
    answered: Answered | None
    reason: str
    calls: tuple[LlmCall, ...]
    refused: Refused


class LlmClient:
    """Asks models; safe to share between threads."""

    def __init__(
        self,
        settings: LlmSettings,
        budget: TokenBudget,
        call_log: CallLog,
        stopping: Callable[[], bool] = lambda: False,
        environ: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda text: None,
        forms: Forms | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._patience = patience = patience or PATIENCE
        self._settings, self._budget, self._call_log = settings, budget, call_log
        self._stopping, self._say = stopping, say
        self._forms = forms or Forms()
        self._environ = os.environ if environ is None else environ
        refusals = Refusals(self._forms.refused, self._forms.keep_refused)
        self._wire = Wire(lambda: self._stopping(), patience.stream_idle_seconds, refusals)
        self._breakers = {
            one.name: Breaker(patience, one.timeout_seconds) for one in settings.endpoints
        }

    def is_unavailable(self) -> bool:
        """Whether no endpoint is to be asked now, so that other operators should go first."""
        return not self._ready()

    def endpoints(self) -> tuple[str, ...]:
        """The names of the endpoints that may be asked now."""
        return tuple(one.name for one in self._ready())

    def _ready(self) -> list[Endpoint]:
        """The endpoints that have their key and are not paused."""
        return [
            one
            for one in self._settings.endpoints
            if one.key(self._environ) is not None and not self._breakers[one.name].is_unavailable()
        ]

    def ask(
        self,
        messages: Sequence[Message],
        rng: np.random.Generator,
        proposal_number: int = 0,
        endpoint: str = "",
        as_text: bool = False,
    ) -> Reply:
        """The answer of the named endpoint, or of one drawn evenly.

        `as_text`: free text, whatever form the endpoint can answer edits in. Raises ProposalFailed
        with a reason and the cost of all attempts.
        """
        chosen = self._pick(rng, endpoint)
        begun, spent = time.monotonic(), list[LlmCall]()
        form = Form.TEXT
        if not as_text:
            form = self._forms.of(
                chosen, lambda one: self._probe(chosen, one, proposal_number, spent)
            )
        while True:
            schema = response_format(form, messages)
            call = _call_of(chosen, dressed(messages, form), proposal_number, schema)
            try:
                text = self._retrying(rng)(self._attempt, call, spent, rng)
                break
            except CallFailed as failed:
                if form is not Form.TEXT and refuses_form(failed):
                    form = self._forms.lower(chosen, form)
                    continue
                reason = f"{chosen.name}: {failed.reason}"
                reason += f" ({len(spent)} attempts)" if len(spent) > 1 else ""
                cost = cost_of(spent, time.monotonic() - begun)
                clean, resting = self._clean(reason), failed.resting
                raise ProposalFailed(clean, cost, chosen.model, resting) from None
        cost = cost_of(spent, time.monotonic() - begun)
        return Reply(text, chosen.name, chosen.model, cost)

    def check(self) -> None:
        """Raises ValueError where an endpoint cannot be asked from here, whatever its server does."""
        for one in self._settings.endpoints:
            key = one.key(self._environ)
            try:
                if key is not None:
                    self._wire.check(one, key, one.address(self._environ))
            except CallFailed as failed:
                raise ValueError(f"{one.name}: {self._clean(failed.reason)}") from None

    def examine(self, endpoint: Endpoint) -> Examined:
        """What a small question to this endpoint shows; never raises for what its server does."""
        heard, spent = list[Answered](), list[LlmCall]()

        def probe(form: Form) -> bool | None:
            heard.clear()
            return self._probe(endpoint, form, 0, spent, heard)

        form = self._forms.of(endpoint, probe)
        if not spent:  # the form is known
            probe(form)
        last = spent[-1] if spent else None
        return Examined(
            form=form,
            seconds=last.seconds if last else 0.0,
            answered=heard[-1] if heard else None,
            reason="" if heard else last.outcome if last else "it was not asked",
            calls=tuple(spent),
            refused=self._forms.refused(endpoint),
        )

    def _probe(
        self,
        endpoint: Endpoint,
        form: Form,
        number: int,
        spent: list[LlmCall],
        heard: list[Answered] | None = None,
    ) -> bool | None:
        """Whether an endpoint answers in a form; an error of the server means that it cannot.

        Its breaker hears nothing of it: a field that is not supported is not a server that is down. It has
        as long as any answer: one that does not come in time says nothing of forms.
        """
        key, breaker = endpoint.key(self._environ), self._breakers[endpoint.name]
        if key is None or breaker.is_unavailable() or self._stopping():
            return None
        asked = (Message("user", PROBE, {"probe": estimate_tokens(PROBE)}),)
        most = min(endpoint.max_tokens, _PROBE_TOKENS)
        bounded = endpoint.model_copy(update={"max_tokens": most})
        call = _call_of(bounded, asked, number, response_format(form, probe=True))
        try:
            answered = self._paid(call, key, spent)
        except Unusable as unusable:  # it answers, and not in this form
            return None if unusable.only_thoughts else form is Form.TEXT
        except CallFailed as failed:
            return False if failed.status in REFUSING and form is not Form.TEXT else None
        if heard is not None:
            heard.append(answered)
        return form is Form.TEXT or is_probed(answered.text)

    def _pick(self, rng: np.random.Generator, name: str) -> Endpoint:
        every = self._settings.endpoints
        named = [one for one in every if one.name == name]
        if named:
            return named[0]
        endpoints = self._ready() or every
        return drawn(endpoints, rng)

    # -- attempts ------------------------------------------------------------------------------------

    def _retrying(self, rng: np.random.Generator) -> tenacity.Retrying:
        """Attempts bounded in number, waits bounded in length and jittered."""
        patience = self._patience

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.wait if isinstance(error, CallFailed) else None
            usual = patience.first_wait_seconds * 2.0 ** (state.attempt_number - 1)
            jittered = min(usual, patience.max_wait_seconds) * (0.5 + 0.5 * float(rng.random()))
            return max(jittered, (asked or 0.0) * (1.0 + 0.2 * float(rng.random())))

        def again(error: BaseException) -> bool:
            if not isinstance(error, CallFailed) or not error.again:
                return False
            return (error.wait or 0) <= patience.max_wait_seconds

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(patience.attempts),
            wait=wait,
            retry=tenacity.retry_if_exception(again),
            sleep=self._sleep,
            reraise=True,
        )

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stopping():
                raise CallFailed(STOPPING)
            time.sleep(min(left, POLL_SECONDS))

    def _attempt(self, call: _Call, spent: list[LlmCall], rng: np.random.Generator) -> str:
        """One request, let through by the endpoint's breaker, which hears how it ended."""
        key = call.endpoint.key(self._environ)
        if self._stopping():
            raise CallFailed(STOPPING)
        if key is None:
            (name, *_) = call.endpoint.wanting(self._environ)
            raise CallFailed(f"the environment variable {name} holds no key")
        breaker = self._breakers[call.endpoint.name]
        ticket = breaker.enter()
        if ticket is None:
            paused = CallFailed("it is paused after failures in a row")
            paused.resting = True
            raise paused
        try:
            text = self._paid(call, key, spent).text
        except CallFailed as failed:
            if failed.ours:
                breaker.abandon(ticket)
                raise
            seconds = breaker.failed(ticket, float(rng.random()), failed.wait or 0.0)
            if seconds is not None:
                self._tell_rest(call.endpoint, failed, seconds)
            failed.resting = failed.again and breaker.is_resting()
            failed.again = failed.again and not failed.resting
            raise
        except BaseException:
            breaker.abandon(ticket)
            raise
        if breaker.answered(ticket):
            self._say(f"the model {call.endpoint.name} answers again")
        return text

    def _tell_rest(self, endpoint: Endpoint, failed: CallFailed, seconds: float) -> None:
        times = self._patience.breaker_failures
        self._say(
            f"the model {endpoint.name} is paused after {times} failures in a row "
            f"({self._clean(failed.reason)}); asked again in {seconds:.0f} s, then ever more rarely; "
            "other operators go on"
        )

    def _paid(self, call: _Call, key: str, spent: list[LlmCall]) -> Answered:
        """One request, and at once another where the server refused only the manner of it."""
        manner = AS_KNOWN
        while True:
            try:
                return self._sent(call, key, spent, manner)
            except CallFailed as refusal:
                if not isinstance(refusal.manner, Manner):
                    raise
                manner = refusal.manner

    def _sent(self, call: _Call, key: str, spent: list[LlmCall], manner: Manner) -> Answered:
        """One request, granted by the budget, settled and recorded whatever comes."""
        if not self._budget.reserve(call.hold):
            raise CallFailed("the budget for language models is used up", ours=True)
        begun, outcome, text = time.monotonic(), "interrupted", ""
        held = Usage(call.hold.tokens - call.endpoint.max_tokens, call.endpoint.max_tokens)
        usage = replace(held, estimated=True)
        done = self._call(call, usage, 0.0, ASKED, "")
        number: int | None = None
        try:
            number = self._call_log.asked(done)
            answered = self._wire.ask(self._question(call, key, manner))
            outcome, text, usage = "ok", answered.text, answered.usage
            self._tell_refused(call.endpoint, answered.newly_refused)
            return replace(answered, text=self._clean(text))
        except CallFailed as failed:
            usage = _larger(usage, failed.usage) if failed.unknown else failed.usage
            outcome, text = failed.reason, failed.reply
            raise
        finally:
            if number is None:  # nothing was sent
                self._budget.settle(call.hold, 0, 0.0)
            else:
                done = self._call(call, usage, time.monotonic() - begun, outcome, text)
                spent.append(done)
                self._budget.settle(call.hold, done.tokens_in + done.tokens_out, done.dollars)
                self._call_log.answered(number, done)

    def _question(self, call: _Call, key: str, manner: Manner) -> Question:
        endpoint = call.endpoint
        try:
            address = endpoint.address(self._environ)
        except ValueError as error:
            raise CallFailed(f"OPENAI_BASE_URL: {error}") from None
        headers = endpoint.headers(self._environ)
        return Question(
            endpoint, key, address, call.messages, call.response_format, manner, headers
        )

    def _tell_refused(self, endpoint: Endpoint, refused: Refused) -> None:
        """Say which fields that somebody set are not sent any more."""
        if fields := sorted(refused & endpoint.extra_body.keys()):
            self._say(f"the model {endpoint.name} takes no {', '.join(fields)}: not sent any more")

    def _call(self, call: _Call, usage: Usage, seconds: float, outcome: str, reply: str) -> LlmCall:
        used = usage.tokens_in or usage.tokens_out
        return LlmCall(
            endpoint=call.endpoint.name,
            model=call.endpoint.model,
            prompt=self._clean(call.prompt),
            reply=self._clean(reply),
            tokens_in=usage.tokens_in,
            tokens_out=usage.tokens_out,
            dollars=_dollars(call.endpoint, usage) if used else usage.dollars or 0.0,
            seconds=seconds,
            outcome=self._clean(outcome),
            proposal_number=call.proposal_number,
            parts={name: n for one in call.messages for name, n in one.parts.items()},
            again_because=self._clean(call.messages[-1].again_because),
            estimated=bool(used) and usage.estimated,
        )

    def _clean(self, text: str) -> str:
        every = self._settings.endpoints
        return scrub(text, [key for one in every for key in one.secrets(self._environ)])


def _dollars(endpoint: Endpoint, usage: Usage) -> float | None:
    """What a call cost: by the prices, or what the server says where that is more."""
    known = [
        one
        for one in (endpoint.dollars(usage.tokens_in, usage.tokens_out), usage.dollars)
        if one is not None
    ]
    return max(known, default=None)


def _larger(one: Usage, other: Usage) -> Usage:
    dollars = max(
        (given for given in (one.dollars, other.dollars) if given is not None), default=None
    )
    tokens_in = max(one.tokens_in, other.tokens_in)
    return Usage(tokens_in, max(one.tokens_out, other.tokens_out), dollars, estimated=True)


def _call_of(
    endpoint: Endpoint,
    messages: tuple[Message, ...],
    number: int,
    response_format: dict[str, object] | None,
) -> _Call:
    prompt = prompt_text(messages)
    tokens_in = estimate_tokens(prompt)
    hold = Hold(tokens_in + endpoint.max_tokens, endpoint.dollars(tokens_in, endpoint.max_tokens))
    return _Call(endpoint, messages, prompt, hold, number, response_format)
