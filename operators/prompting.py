"""What a model is told: the prompts in prompts/*.md filled from a request.

Whatever a variant, a run or another model wrote is quoted as data, delimited and capped in length.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from string import Template

from operators.llm.answer import Message, estimate_tokens, one_line
from operators.llm.response_formats import Form, answer_prompt
from operators.operator import (
    KnobSetting,
    ParentView,
    ProposalContext,
    ProposalFailed,
    Request,
    RunState,
    Tried,
)
from operators.source.compare import source_diff
from operators.source.constants import constants, distance, tunable
from operators.source.knobs import (
    Knob,
    KnobError,
    Value,
    at_edge,
    range_text,
    same_value,
    sound_knobs,
)
from operators.source.outline import MAX_SOURCE_CHARS, shown_within
from operators.source.parse import SourceError
from population.metrics import METRICS
from population.types import Estimate, JudgedIdea, Status

MAX_DIFF_CHARS = 20_000
MAX_EDITS_SHARE = 0.25  # of the tokens of the context: for the edits of one parent's line
MAX_DECIMALS = 9  # of a number with its error; an error that needs as many is none
MAX_LOG_CHARS = 2_000
MAX_REASON_CHARS = 160
MAX_REPLY_CHARS = 40_000  # of an answer shown again with the reason why it could not be used


def mutate_messages(request: Request) -> tuple[Message, ...]:
    """The prompt for one focused change to one parent."""
    return messages_about(request, "mutate.md")


def rewrite_messages(request: Request) -> tuple[Message, ...]:
    """The prompt for a bold change to one parent."""
    return messages_about(request, "rewrite.md")


def simplify_messages(request: Request) -> tuple[Message, ...]:
    """The prompt for the same score with less code."""
    return messages_about(request, "simplify.md")


def repair_messages(request: Request) -> tuple[Message, ...]:
    """The prompt for mending a failed child ("parent") of a variant that worked ("ancestor")."""
    failed, worked, context = request.parent("parent"), request.parent("ancestor"), request.context
    told, source, diff = (
        context_text(context, nearby(request)),
        _source(failed, "train.py", request),
        _diff(worked, failed),
    )
    user = fill(
        "repair.md",
        numbers=metrics_in_words(worked),
        source=source,
        idea=quoted("idea", _short(failed.idea)),
        diff=diff,
        failure=quoted("failure", in_sentences(without_folders(context.failure), MAX_IDEA_CHARS)),
        setting=setting_in_words(context),
        tried=told.text,
        log=_log(context),
    )
    return _briefed(context, user, told, source + diff)


def messages_about(
    request: Request, prompt: str, system: str = "system.md", **more: str
) -> tuple[Message, ...]:
    """A prompt about one parent; `more`: what this prompt has beside what all have, such as its `runs`."""
    parent, context = request.parent("parent"), request.context
    told = context_text(
        context,
        () if "runs" in more else nearby(request),
        () if "runs" in more else leader_lines(context.leader, parent),
    )
    source = _source(parent, "train.py", request)
    parts = {"numbers": numbers_in_words(parent), "source": source, "tried": told.text, **more}
    user = fill(prompt, setting=setting_in_words(context), log=_log(context), **parts)
    return _briefed(context, user, told, source, system)


def crossover_messages(request: Request) -> tuple[Message, ...]:
    """The prompt for joining two or three parents; the reply edits the first."""
    first, ancestor, context = request.parent("first"), request.parent("ancestor"), request.context
    others = [view for view in request.parents if view not in (first, ancestor)]
    edits = _edits(first, context)
    partners = "\n\n".join(_partner(ancestor, one, context) for one in others)
    shown = [edit for view in request.parents for edit in view.edits]
    ideas = {_short(one.idea) for one in shown}
    told = context_text(_without(context, shown), nearby(request), shown=ideas)
    source = _source(first, "first", request)
    user = fill(
        "crossover.md",
        numbers=numbers_in_words(first),
        numbers_ancestor=metrics_in_words(ancestor),
        source=source,
        edits=edits,
        others=partners,
        roles=" and in the ".join(one.role for one in others),
        setting=setting_in_words(context),
        tried=told.text,
    )
    return _briefed(context, user, told, source + edits + partners)


def _without(context: ProposalContext, shown: Collection[Tried]) -> ProposalContext:
    """The context without the variants that the parents' own edits tell of already."""
    variants = {one.variant_id for one in shown} - {""}
    tried = tuple(one for one in context.tried if one.variant_id not in variants)
    return replace(context, tried=tried)


def _partner(ancestor: ParentView, view: ParentView, context: ProposalContext) -> str:
    return fill(
        "crossover_other.md",
        role=view.role,
        title=view.role.capitalize(),
        numbers=numbers_in_words(view),
        diff=_diff(ancestor, view),
        edits=_edits(view, context),
    ).strip()


def again_messages(
    messages: tuple[Message, ...], reply: str, reason: str, prompt: str = "again.md"
) -> tuple[Message, ...]:
    """The same conversation, going on with a reply that could not be used and why."""
    answer = Message("assistant", reply[:MAX_REPLY_CHARS])
    asked = fill(prompt, reason=in_sentences(reason, MAX_IDEA_CHARS))
    tokens = estimate_tokens(answer.content + asked)
    return (*messages, answer, Message("user", asked, {"again": tokens}))


def _briefed(
    context: ProposalContext, user: str, told: Context, shown: str, prompt: str = "system.md"
) -> tuple[Message, ...]:
    """The conversation, with about how many tokens each part of it has; `shown`: the sources in it."""
    system, sources = _system(context, prompt), estimate_tokens(shown)
    task = estimate_tokens(user) - sources - sum(told.tokens.values())
    parts = {"brief": estimate_tokens(system.content), "task": task, "sources": sources}
    return (system, Message("user", user, {**parts, **told.tokens}))


def _system(context: ProposalContext, prompt: str) -> Message:
    brief = context.brief.strip() or "Lower the first objective."
    contract = f"{context.contract.strip()}\n\n" if context.contract.strip() else ""
    answer = answer_prompt(Form.TEXT)
    return Message("system", fill(prompt, brief=brief, contract=contract, answer=answer))


# -- parts -------------------------------------------------------------------------------------------


def _source(view: ParentView, name: str, request: Request) -> str:
    shown = shown_within(view.source, MAX_SOURCE_CHARS, request.number)
    if view.source and not shown.whole:
        raise ProposalFailed(
            f"the parent has {len(view.source)} characters, more than fit a prompt ({MAX_SOURCE_CHARS}), and "
            "lines too long to show a part"
        )
    said = f"\n\n{shown.said(name)}\n\n"
    return quoted(name, shown.whole) + (
        said + quoted(f"{name}-outline", shown.outline) if shown.outline else ""
    )


def _diff(old: ParentView, new: ParentView) -> str:
    lines = source_diff(old.source, new.source, ("ancestor {}", f"{new.role} {{}}"), context=2)
    text = "\n".join(lines)
    if len(text) > MAX_DIFF_CHARS:
        text = text[:MAX_DIFF_CHARS] + "\n(the rest is left out)"
    return quoted(f"diff-{new.role}", text) if text else "Nothing."


def _edits(view: ParentView, context: ProposalContext) -> str:
    """The edits that made a parent of the ancestor, the oldest first, each with its own effect."""
    if not view.edits:
        return "Not known."
    objective = context.objectives[0] if context.objectives else "the first objective"
    lines, left = list[str](), MAX_EDITS_SHARE * context.prompt.tokens
    for one in reversed(view.edits):
        line = tried_line(one)
        left -= estimate_tokens(line) + 1
        if left < 0:
            break
        lines.insert(0, line)
    left_out = len(view.edits) - len(lines)
    if left_out:
        lines.insert(0, f"- ({left_out} older edits are left out)")
    told = quoted(f"edits-{view.role}", "\n".join(lines))
    return f"Each with {objective} before -> after it and the change ± standard error:\n\n{told}"


def numbers_in_words(view: ParentView) -> str:
    """Each metric with its uncertainty, and the idea the parent came from."""
    text = metrics_in_words(view)
    if view.larger:
        text += f"\n\nAt larger scale: {'; '.join(view.larger)}"
    if view.why:
        text += f"\n\n{view.why}"
    if edges := edges_in_words(view.source):
        text += f"\n\n{edges}"
    if view.idea and not view.edits:  # else it is told as the last of its edits
        text += "\n\nThe idea it came from:\n" + quoted("idea", _short(view.idea))
    return text


def edges_in_words(source: str) -> str:
    """The knobs that stand at an end of their range, and that a range may be widened; "" without any."""
    told = [
        f"{knob.name} = {knob.text} ({range_text(knob)})"
        for knob in sound_knobs(source)
        if at_edge(knob)
    ]
    if not told:
        return ""
    return (
        f"At the end of their ranges: {', '.join(told)}. Better values may lie beyond: an answer may "
        "widen these ranges."
    )


def metrics_in_words(view: ParentView) -> str:
    """Each metric of a parent with its uncertainty."""
    parts = [
        f"{name} {estimate_in_words(name, value)}"
        for name, value in view.estimates.items()
        if name not in METRICS or not METRICS[name].self_reported  # moved by what the script says
    ]
    return "; ".join(parts) or "not measured yet"


def estimate_in_words(name: str, value: Estimate) -> str:
    """A metric's value, with error and n where the metric has noise that is known."""
    if name in METRICS and METRICS[name].counted:
        return f"{value.mean:.6g}"
    if not math.isfinite(value.sd):
        return f"{value.mean:.6g} ({_runs(value.n)})"
    digits = decimals(value.sd)
    if digits == MAX_DECIMALS or not value.sd:
        return f"{value.mean:.6g}"
    return f"{value.mean:.{digits}f} ± {value.sd:.{digits}f} (n = {value.n})"


def _runs(n: int) -> str:
    return "one run" if n == 1 else f"{n} runs"


def decimals(se: float) -> int:
    """As many as show two digits of a standard error."""
    return min(max(1 - math.floor(math.log10(se)), 0), MAX_DECIMALS) if 0 < se < math.inf else 4


def setting_in_words(context: ProposalContext) -> str:
    """How it was measured: objectives, constraints, rung, noise floor."""
    lines = []
    if context.objectives:
        lines.append("Objectives, the most important first: " + "; ".join(context.objectives) + ".")
    if context.trade:
        lines.append(context.trade)
    if context.constraints:
        lines.append(
            "Constraints; what breaks one cannot win, however good it is: "
            + "; ".join(context.constraints)
            + "."
        )
    if context.rung:
        lines.append(f"Rung: {context.rung}.")
    lines.append(noise_sentence(context.noise_sd))
    if context.run:
        lines.append(f"The last run of the parent that you edit: {context.run}.")
    if context.dearest:
        lines.append(
            "The operations that take longest in a step, as the script's own run tells:\n"
            + quoted("operations", context.dearest)
        )
    return "\n".join(lines)


def noise_sentence(noise_sd: float | None) -> str:
    """The noise floor in words; two single runs differ with sd sqrt(2) x the run-to-run sd."""
    if noise_sd is None:
        return "The run-to-run noise is not measured yet: trust no small difference."
    floor = 2 * math.sqrt(2) * noise_sd
    return (
        f"Run-to-run sd of the first objective: {noise_sd:.2g}. "
        f"Differences between two single runs below {floor:.2g} are noise."
    )


def _log(context: ProposalContext) -> str:
    if not context.log_tail.strip():
        return ""
    text = without_folders(context.log_tail[-MAX_LOG_CHARS:])
    lines = [one_line(line, 200) for line in text.splitlines()]
    return f"# The last lines of its log\n\n{quoted('log', chr(10).join(lines))}\n\n"


# -- What a prompt tells beside brief, sources and task: each part within its share of the tokens.
# Everything here was written by models, variants or people: it is quoted as data, one capped line each.


MAX_TRIED = 20
_PATH = re.compile(
    r"(?<![\w.:/])/(?:[^\s/:'\",()<>]+/)*?"
    r"(?:(?:site|dist)-packages/(?P<library>[^\s:'\",()<>]+)|(?P<file>[^\s/:'\",()<>]+))(?=[\s:'\",()<>]|$)"
)


@dataclass(frozen=True, slots=True)
class Context:
    """The parts as one text, and about how many tokens each took."""

    text: str
    tokens: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    head: str
    lines: Sequence[str]  # the most important first


def context_text(
    context: ProposalContext,
    settings: Sequence[str] = (),
    leader: Sequence[str] = (),
    shown: Collection[str] = (),
) -> Context:
    """The parts that have something to tell, the most important lines of each first.

    `settings`: what is known of other constants in the parent's code; `leader`: what the best variant has
    beside it; each in pieces that are told whole or not at all. `shown`: ideas that were told before.
    """
    sections, spent, left, known = [], {}, 0.0, dict[str, str]()
    for part in _parts(context, settings, leader, shown):
        left += context.prompt.tokens * context.prompt.shares.get(part.name, 0.0)
        kept: list[str] = []
        for full in part.lines:
            line = _by_number(full, known)
            cost = estimate_tokens(line) + 1
            if cost > left:
                break
            kept.append(line)
            left -= cost
        if part.name == "ideas":
            told = zip(kept, context.ideas, strict=False)
            known = {f": {_short(one.text)}": f": idea {one.id}" for _, one in told}
        if kept:
            text = f"# {part.head}\n\n{quoted(part.name, chr(10).join(kept))}\n\n"
            sections.append(text)
            spent[part.name] = estimate_tokens(text)
    return Context("".join(sections), spent)


def _parts(
    context: ProposalContext,
    settings: Sequence[str],
    leader: Sequence[str],
    shown: Collection[str],
) -> list[_Part]:
    objective = context.objectives[0] if context.objectives else "the first objective"
    change = f"the change from parent to child in {objective} ± standard error"
    tried = [tried_line(one) for one in reversed(context.tried[-MAX_TRIED:])]
    return [
        _Part("ideas", f"Ideas, judged by all children that tried them ({change})",
              [idea_line(one, shown) for one in context.ideas]),
        _Part("under_way", "Being tried now, not measured yet: do not repeat", _under_way(context)),
        _Part("tried", f"Already tried near here ({objective}: the parent's -> the child's, the change ± "
              "standard error)", tried),
        _Part("settings", f"The parent's code with other constants, the nearest first ({objective}: the "
              "parent's -> theirs, the change ± standard error): nearly the same again shows nothing new",
              settings),
        _Part("leader", "The best variant so far, and what its code changes in the parent", leader),
        _Part("notes", "Research notes",
              [f"- note {one.id}, {one_line(one.author, 40)}: {in_sentences(one.text, MAX_NOTE_CHARS)}"
               for one in reversed(context.notes)]),
        _Part("inspirations", "Other good variants", [_inspiration(one) for one in context.inspirations
               if not (leader and context.leader and one.variant_id == context.leader.variant_id)]),
        _Part("knowledge", "From the user's papers and notes",
              [f"- {one_line(one.source, 100)}: {in_sentences(one.text, MAX_PASSAGE_CHARS)}"
               for one in context.passages]),
    ]  # fmt: skip


def _under_way(context: ProposalContext) -> list[str]:
    """Children without a score, and answers about the same parents that have not come yet."""
    number = len(context.awaited)
    awaited = f"- {number} more asked about these parents now ({', '.join(context.awaited)}): take another way"
    ideas = [f"- {one.operator}: {_short(one.idea)}" for one in context.under_way]
    return [awaited, *ideas] if number else ideas


def _short(idea: str) -> str:
    return in_sentences(idea, MAX_IDEA_CHARS)


def _by_number(line: str, known: Mapping[str, str]) -> str:
    """A line that ends with an idea which the list of ideas told already, with its number in its place."""
    end = next((one for one in known if line.endswith(one)), None)
    return line.removesuffix(end) + known[end] if end else line


def tried_line(one: Tried) -> str:
    """One child in a line: what its parent had and what it has, or why it failed."""
    idea = _short(one.idea)
    if one.effect is None:
        reason = (
            f" ({in_sentences(without_folders(one.reason), MAX_REASON_CHARS)})"
            if one.reason
            else ""
        )
        without = ", no comparison" if one.status == Status.OK else reason
        return f"- {one.operator}, {one.status}{without}: {idea}"
    return (
        f"- {one.operator}: {change_in_words(one.value, one.effect, one.effect_se, one.n)}: {idea}"
    )


def idea_line(one: JudgedIdea, shown: Collection[str] = ()) -> str:
    """One idea in a line, with what its children say of it; its words once, not where they are `shown`."""
    ends = f"{one.children} {'child' if one.children == 1 else 'children'}, {one.ok} ran, {one.failed} failed"
    if one.effect is not None:
        of = f"mean of {one.n}" if one.n > 1 else ""
        ends += f", {effect_in_words(one.effect, one.effect_se, of)}"
    elif not one.children:
        ends = "not tried yet"
    text = "told above, among the edits" if _short(one.text) in shown else _short(one.text)
    return f"- idea {one.id}, {one_line(one.author, 40)}, {ends}: {text}"


def change_in_words(value: float | None, effect: float, se: float | None, n: int) -> str:
    """Parent's value -> child's value, and the effect; `value`: the child's, None where it is not known."""
    told = effect_in_words(effect, se, _runs(n) if se is None else f"n = {n}")
    if value is None:
        return told
    digits = decimals(se) if se is not None else 4
    return f"{value - effect:.{digits}f} -> {value:.{digits}f}, {told}"


def effect_in_words(effect: float, se: float | None, of: str) -> str:
    """An effect with its standard error and `of` how many it is, and whether it could be none."""
    of = f" ({of})" if of else ""
    if se is None:
        return f"{effect:+.4f}{of}"
    digits = decimals(se)
    told = f"{effect:+.{digits}f} ± {se:.{digits}f}{of}"
    return f"{told}, inconclusive" if abs(effect) < 2 * se else told


def leader_lines(leader: ParentView | None, parent: ParentView) -> list[str]:
    """The best variant with its numbers and idea, and its code as a change of the parent's."""
    if leader is None or not leader.source:
        return []
    change = source_diff(parent.source, leader.source, ("parent {}", "best {}"), context=1)
    return [_inspiration(leader), "\n".join(change)]


def _inspiration(one: ParentView) -> str:
    return f"- {one.variant_id[:8]}, {metrics_in_words(one)}: {_short(one.idea)}"


def without_folders(text: str) -> str:
    """The text with files named without the folders of the machine they lie on."""
    return _PATH.sub(lambda found: found["library"] or found["file"], text)


# -- Foreign text as delimited data, and prompt files filled with it.


MAX_IDEA_CHARS = 300
MAX_NOTE_CHARS = 800
_SENTENCE_END = re.compile(r"[.;!?](?= )")
MAX_PASSAGE_CHARS = 1200


def in_sentences(text: str, limit: int) -> str:
    """The text as one line of at most `limit` characters, cut after a sentence, else after a word."""
    line = one_line(text, max(len(text), 1))
    if len(line) <= limit:
        return line
    start = line[: limit - 1]
    ends = [found.end() for found in _SENTENCE_END.finditer(start) if found.end() >= limit // 3]
    if ends:
        return start[: ends[-1]].rstrip() + " …"
    words = start.rstrip() if line[limit - 1] == " " else start.rpartition(" ")[0]
    return (words if len(words) >= limit // 3 else start) + "…"


def fill(prompt: str, **parts: str) -> str:
    """A prompt file with its parts put in. Raises KeyError when a part is missing."""
    return Template(_prompt(prompt)).substitute(parts)


def quoted(name: str, text: str) -> str:
    """A text as delimited data: its end mark carries its own hash, so that no text can hold it."""
    code = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12]
    return f"<data {name} {code}>\n{text}\n</data {code}>"


@cache
def _prompt(name: str) -> str:
    return resources.files("operators").joinpath("prompts", name).read_text(encoding="utf-8")


# -- What is known of a parent's very code with other constants: shown before a model proposes nearly the same.


MAX_SETTINGS = 8


def nearby(request: Request) -> list[str]:
    """The nearest measured settings of the first parent's structure, one line each, the nearest first.

    Each is told with the parent's value and its own, the change ± standard error and n, and what differs in
    it, by any operator and from any parent; but for those that are told, constants and
    all, among what was tried.
    """
    parent = request.parents[0]
    try:
        ranges = request.history.ranges()
        start, knobs = constants(parent.source), tunable(parent.source, (), {}, ranges)
    except (KnobError, SourceError):
        return []
    told = {one.variant_id: one.idea for one in request.context.tried}
    settings = [one for one in request.history.settings(parent.variant_id) if one.own]
    here = next((one for one in settings if one.variant_id == parent.variant_id), None)
    known = [
        one
        for one in settings
        if one.state is not RunState.WAITING
        and (moved := _moved(one.constants, start))
        and not _names(told.get(one.variant_id, ""), one.constants, moved)
    ]
    known.sort(key=lambda one: _apart(knobs, one.constants, start))
    sign = 1.0 if request.context.lower_is_better else -1.0
    return [_line(one, here, start, sign) for one in known[:MAX_SETTINGS]]


def differences(values: Mapping[str, Value], start: Mapping[str, Value]) -> str:
    """The constants that are not as in `start`, with their values; "" for none."""
    return ", ".join(f"{name} = {values[name]!r}" for name in _moved(values, start))


def _names(idea: str, values: Mapping[str, Value], moved: Sequence[str]) -> bool:
    """Whether an idea names these constants with their values."""
    return all(name in idea and str(values[name]) in idea for name in moved)


def _moved(values: Mapping[str, Value], start: Mapping[str, Value]) -> list[str]:
    return [
        name
        for name, value in start.items()
        if name in values and not same_value(values[name], value)
    ]


def _apart(knobs: Sequence[Knob], values: Mapping[str, Value], start: Mapping[str, Value]) -> float:
    """The largest share of a range between two settings; 1 where one differs in what has no range."""
    turned = {knob.name for knob in knobs}
    fixed = {name: value for name, value in start.items() if name not in turned}
    return 1.0 if differences(values, fixed) else distance(knobs, values, start)


def _line(
    one: KnobSetting, here: KnobSetting | None, start: Mapping[str, Value], sign: float
) -> str:
    told = "failed"
    if one.state is RunState.SCORED:
        told = "no comparison"
        if here is not None and here.state is RunState.SCORED:
            se = math.hypot(one.sd, here.sd)
            se_known = se if math.isfinite(se) else None
            effect = sign * (one.value - here.value)
            told = change_in_words(sign * one.value, effect, se_known, min(one.n, here.n))
    return f"- {told}: {in_sentences(differences(one.constants, start), MAX_IDEA_CHARS)}"
