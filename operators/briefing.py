"""What a model is told: the prompts in prompts/*.md filled from a request.

Whatever a variant, a run or another model wrote is quoted as data, delimited and capped in length.
"""

from __future__ import annotations

import math

from operators.briefing_context import Context, context, tried_line
from operators.llm.answer import Message, estimate_tokens, one_line
from operators.nearby import nearby
from operators.operator import ParentView, ProposalContext, ProposalFailed, Request
from operators.quoting import MAX_IDEA_CHARS as MAX_IDEA_CHARS
from operators.quoting import fill as fill
from operators.quoting import quoted as quoted
from operators.source.compare import unified_diff
from population.variant import Estimate

MAX_SOURCE_CHARS = 80_000
MAX_DIFF_CHARS = 20_000
MAX_EDITS = 30  # of one parent's line, the newest
MAX_LOG_CHARS = 2_000
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
    failed, worked, scene = request.parent("parent"), request.parent("ancestor"), request.scene
    told, source, diff = (
        context(scene, nearby(request)),
        _source(failed, "train.py"),
        _diff(worked, failed),
    )
    user = fill(
        "repair.md",
        numbers=_numbers(worked),
        source=source,
        idea=quoted("idea", one_line(failed.idea, MAX_IDEA_CHARS)),
        diff=diff,
        failure=quoted("failure", one_line(scene.failure, MAX_IDEA_CHARS)),
        setting=setting_in_words(scene),
        tried=told.text,
        log=_log(scene),
    )
    return _briefed(scene, user, told, source + diff)


def messages_about(
    request: Request, prompt: str, system: str = "system.md", **more: str
) -> tuple[Message, ...]:
    """A prompt about one parent; `more`: what this prompt has beside what all have, such as its `runs`."""
    parent, scene = request.parent("parent"), request.scene
    told = context(scene, () if "runs" in more else nearby(request))
    source = _source(parent, "train.py")
    user = fill(
        prompt,
        numbers=_numbers(parent),
        source=source,
        setting=setting_in_words(scene),
        tried=told.text,
        log=_log(scene),
        **more,
    )
    return _briefed(scene, user, told, source, system)


def crossover_messages(request: Request) -> tuple[Message, ...]:
    """The prompt for joining two or three parents; the reply edits the first."""
    first, ancestor, scene = request.parent("first"), request.parent("ancestor"), request.scene
    others = [view for view in request.parents if view not in (first, ancestor)]
    told, source, diff = (
        context(scene, nearby(request)),
        _source(first, "first"),
        _diff(ancestor, first),
    )
    edits = _edits(first, scene)
    partners = "\n\n".join(_partner(ancestor, one, scene) for one in others)
    user = fill(
        "crossover.md",
        numbers=_numbers(first),
        numbers_ancestor=metrics_in_words(ancestor),
        source=source,
        diff=diff,
        edits=edits,
        others=partners,
        roles=" and in the ".join(one.role for one in others),
        setting=setting_in_words(scene),
        tried=told.text,
    )
    return _briefed(scene, user, told, source + diff + edits + partners)


def _partner(ancestor: ParentView, view: ParentView, scene: ProposalContext) -> str:
    return fill(
        "crossover_other.md",
        role=view.role,
        title=view.role.capitalize(),
        numbers=_numbers(view),
        diff=_diff(ancestor, view),
        edits=_edits(view, scene),
    ).strip()


def again_messages(
    messages: tuple[Message, ...], reply: str, reason: str, prompt: str = "again.md"
) -> tuple[Message, ...]:
    """The same conversation, going on with a reply that could not be used and why."""
    answer = Message("assistant", reply[:MAX_REPLY_CHARS])
    asked = fill(prompt, reason=one_line(reason, MAX_IDEA_CHARS))
    tokens = estimate_tokens(answer.content + asked)
    return (*messages, answer, Message("user", asked, {"again": tokens}))


def _briefed(
    scene: ProposalContext, user: str, told: Context, shown: str, prompt: str = "system.md"
) -> tuple[Message, ...]:
    """The conversation, with about how many tokens each part of it has; `shown`: the sources in it."""
    system, sources = _system(scene, prompt), estimate_tokens(shown)
    task = estimate_tokens(user) - sources - sum(told.tokens.values())
    parts = {"brief": estimate_tokens(system.content), "task": task, "sources": sources}
    return (system, Message("user", user, {**parts, **told.tokens}))


def _system(scene: ProposalContext, prompt: str) -> Message:
    brief = scene.brief.strip() or "Lower the first objective."
    return Message("system", fill(prompt, brief=brief))


# -- parts -------------------------------------------------------------------------------------------


def _source(view: ParentView, name: str) -> str:
    if len(view.source) > MAX_SOURCE_CHARS:
        raise ProposalFailed(
            f"the parent has {len(view.source)} characters, more than fit a prompt ({MAX_SOURCE_CHARS})"
        )
    return quoted(name, view.source)


def _diff(old: ParentView, new: ParentView) -> str:
    lines = unified_diff(
        old.source.splitlines(), new.source.splitlines(), "ancestor", new.role, context=2, end=""
    )
    text = "\n".join(lines)
    if len(text) > MAX_DIFF_CHARS:
        text = text[:MAX_DIFF_CHARS] + "\n(the rest is left out)"
    return quoted(f"diff-{new.role}", text) if text else "Nothing."


def _edits(view: ParentView, scene: ProposalContext) -> str:
    """The edits that made a parent of the ancestor, the oldest first, each with its own effect."""
    if not view.edits:
        return "Not known."
    objective = scene.objectives[0] if scene.objectives else "the first objective"
    lines = [tried_line(one) for one in view.edits[-MAX_EDITS:]]
    left_out = len(view.edits) - len(lines)
    if left_out:
        lines.insert(0, f"- ({left_out} older edits are left out)")
    told = quoted(f"edits-{view.role}", "\n".join(lines))
    return f"Each minus what it edits, in {objective}, ± standard error, over n blocks of both:\n\n{told}"


def _numbers(view: ParentView) -> str:
    """Each metric with its uncertainty, and the idea the parent came from."""
    text = metrics_in_words(view)
    if view.idea:
        text += "\n\nThe idea it came from:\n" + quoted("idea", one_line(view.idea, MAX_IDEA_CHARS))
    return text


def metrics_in_words(view: ParentView) -> str:
    """Each metric of a parent with its uncertainty."""
    parts = [f"{name} {_estimate(value)}" for name, value in view.estimates.items()]
    return "; ".join(parts) or "not measured yet"


def _estimate(value: Estimate) -> str:
    if math.isnan(value.sd):
        return f"{value.mean:.6g} (n = {value.n}, spread unknown)"
    return f"{value.mean:.6g} ± {value.sd:.2g} (n = {value.n})"


def setting_in_words(scene: ProposalContext) -> str:
    """How it was measured: objectives, rung, noise floor."""
    lines = []
    if scene.objectives:
        lines.append("Objectives, the most important first: " + "; ".join(scene.objectives) + ".")
    if scene.rung:
        lines.append(f"Rung: {scene.rung}.")
    lines.append(noise_sentence(scene.noise_sd))
    if scene.run:
        lines.append(f"Its last run: {scene.run}.")
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


def _log(scene: ProposalContext) -> str:
    if not scene.log_tail.strip():
        return ""
    lines = [one_line(line, 200) for line in scene.log_tail[-MAX_LOG_CHARS:].splitlines()]
    return f"# The last lines of its log\n\n{quoted('log', chr(10).join(lines))}\n\n"
