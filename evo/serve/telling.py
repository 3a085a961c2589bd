"""What agents are told of a campaign: short texts, with what variants and authors wrote quoted as data."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from evo.analysis.campaign_view import Record
from evo.analysis.effects_of_edits import ideas_with_effects
from evo.analysis.ranking import Ranked, front_of, ranking
from evo.analysis.variant_history import effects, story
from evo.campaigns import DATABASE, findings_of, overview_of
from evo.report.contents import page_of
from evo.report.variant_details import diff_from_parent
from evo.serve.verbs import Refused, Stage, claims, state_of, words_in
from evo.terminal import sentences
from evo.terminal.imported import REMARK
from evo.terminal.status import status_screen
from evo.terminal.tables import ideas_list, notes_list, ranking_table, standing_in_words
from evo.terminal.text import as_text, clip, count, duration, plus_minus, printable, short, value
from evo.terminal.tree import story_screen
from operators.prompting import quoted
from population.metrics import JUDGED, SELF_REPORTED, Trust, label, trust_of
from population.reading import (
    all_decisions,
    children_of,
    first_proposal,
    measurements,
    pending,
    resolve,
    source_of,
)
from population.reading.memory import notes
from population.reading.variants import UnknownVariant
from population.store import Store
from population.types import PUBLISHED, Claim, ProposalRow, Status

MAX_CHARS = 12_000  # of one answer, about 4,000 tokens
MAX_LINES = 250  # of a source or a diff in one answer
MAX_WORDS = 300  # characters of an idea in a list
MAX_ROWS = 40  # of any list
COLUMNS = 110
_MARK = re.compile(r"<(/?\s*data)", re.IGNORECASE)  # what could be read as a mark of ours
MEASURED = "Every score was measured by the campaign on hidden text, never reported by a variant."
PARTS = ("summary", "source", "diff")


def data(name: str, text: str, more: str = "") -> str:
    """A text marked as data, which cannot end its own mark; `more`: how to see what is left out of it."""
    shown = printable(text).strip("\n")
    if len(shown) > MAX_CHARS:
        left = len(shown) - MAX_CHARS
        shown = f"{shown[:MAX_CHARS]}\n({left:,} more characters are left out{more})"
    return quoted(name, _MARK.sub(r"< \1", shown))


def data_line(text: str) -> str:
    """Foreign words inside a sentence of ours, as one short line."""
    return clip(text, 500)


def overview(folder: Path) -> str:
    """Where the campaign stands: state, budget, best compared with the seed, noise."""
    with Store.open(folder / DATABASE, read_only=True) as store:
        record = Record.of(store)
        one = overview_of(folder, store, changes=False, record=record)
        waiting = [asked for asked in pending(store) if asked.kind == "inject"]
    lines = [
        "process " + (f"{one.running} runs it" if one.running else "none: no run is under way")
    ]
    lines += [_left(name, used.used, used.limit) for name, used in one.budget.items()]
    objective, level = record.objective, one.findings.noise
    if level is None:
        lines.append("noise: not known yet; trust no small difference")
    else:
        floor = 2 * math.sqrt(2) * level.sd
        lines.append(
            f"noise: one run of the same code varies by {value(objective.name, level.sd, level.sd)} (sd) in "
            f"{label(objective.name)}; a difference between two single runs below "
            f"{value(objective.name, floor, floor)} says nothing"
        )
    lines.append(f"{count(len(waiting), 'proposal')} from outside waiting to be checked")
    screen = as_text(status_screen(one, "wait", "", False), width=COLUMNS)
    screen = "\n".join(line for line in screen.splitlines() if not line.startswith("next "))
    return "\n".join(filter(None, lines)) + "\n" + data("status", screen)


def _left(name: str, used: float, limit: float | None) -> str:
    if limit is None:
        return ""
    told = (duration(used), duration(limit)) if name == "seconds" else (f"{used:,g}", f"{limit:,g}")
    spent = "" if used < limit else ": spent"
    return f"budget: {name.replace('_', ' ')} {told[0]} of {told[1]} used{spent}"


def about(folder: Path) -> str:
    """The campaign's name, and who says its scores."""
    with Store.open(folder / DATABASE, read_only=True) as store:
        record = Record.of(store)
    name = data_line(str(record.config.get("name", "campaign")))
    return f"{name}. {_trust(record).strip() or MEASURED}"


def _trust(record: Record) -> str:
    """A line on who says the scores, where it is not the campaign itself; "" where it is."""
    if record.imported is not None:
        return f"{REMARK}\n"
    trust = trust_of(record.objective.name)
    said = {Trust.SELF_REPORTED: SELF_REPORTED.removeprefix("* "), Trust.JUDGED: JUDGED}.get(trust)
    return f"{label(record.objective.name)} is {said}\n" if said else ""


def front(folder: Path, most: int) -> str:
    """The Pareto front, then the best of the others, with what each one tries."""
    with Store.open(folder / DATABASE, read_only=True) as store:
        record = Record.of(store)
    ranked = ranking(record)
    members = front_of(record, ranked)
    found = members + [one for one in ranked if one not in members]
    rows = found[: min(most, MAX_ROWS)]
    if not rows:
        return "Nothing has a score yet."
    births = record.births()
    told = [_tried(births[one.variant_id]) for one in rows if one.variant_id in births]
    table = as_text(ranking_table(rows, record.objectives, record.seed_id), width=COLUMNS)
    head = (
        f"{len(rows)} of {count(len(found), 'variant')} with a score, {len(members)} on the front"
    )
    left = " (most: shows more)" if len(found) > len(rows) and len(rows) < MAX_ROWS else ""
    return f"{_trust(record)}{head}{left}\n" + data("front", table + "\n\n" + "\n".join(told))


def _tried(made: ProposalRow) -> str:
    by = "" if made.author == made.operator else f" by {clip(made.author, 40)}"
    idea = clip(made.idea, MAX_WORDS) or "no idea stated"
    return f"{short(made.variant_id or '')}  {clip(made.operator, 30)}{by}: {idea}"


def variant(folder: Path, wanted: str, part: str, first_line: int) -> str:
    """One variant: what is known of it, its source, or what it changes in its parent."""
    if part not in PARTS:
        raise Refused(f"part is one of {', '.join(PARTS)}")
    with Store.open(folder / DATABASE, read_only=True) as store:
        variant_id = resolve(store, wanted)
        made = first_proposal(store, variant_id)
        if part == "source":
            return _lines(variant_id, part, source_of(store, variant_id), first_line)
        if part == "diff":
            if made is None or not made.parents:
                raise Refused(f"{short(variant_id)} has no parent to be compared with")
            change = diff_from_parent(made, lambda one: source_of(store, one))
            return _lines(variant_id, part, change, first_line)
        record = Record.of(store)
        return f"variant {variant_id}\n" + data(
            "variant", _summary(store, record, variant_id, made)
        )


def _lines(variant_id: str, part: str, text: str, first: int) -> str:
    lines = text.splitlines()
    shown = lines[max(first - 1, 0) :][:MAX_LINES]
    last = max(first - 1, 0) + len(shown)
    head = f"{part} of {short(variant_id)}, lines {max(first, 1)} to {last} of {len(lines)}"
    if last < len(lines):
        head += f" (first_line: {last + 1} shows what follows)"
    return f"{head}\n" + data(part, "\n".join(shown))


def _summary(store: Store, record: Record, variant_id: str, made: ProposalRow | None) -> str:
    ranked = {one.variant_id: one for one in ranking(record)}
    lines = []
    if made is not None:
        parents = ", ".join(f"{short(one.variant_id)} ({one.role})" for one in made.parents)
        who = clip(f"{made.operator}, {made.author} {made.model}", 120).strip()
        lines += [f"made by {who}, proposal {made.number}, from {parents or 'nothing: the seed'}"]
        lines += [f"idea: {clip(made.idea, 2_000) or 'none stated'}"]
    lines += _believed(record, ranked.get(variant_id))
    if effect := effects(record).get(variant_id):
        lines.append(f"against its parent: {label(effect.metric)} {sentences.beside(effect)}")
    told = story(record, variant_id, ())
    for name, found in (("blocks that chose it", told.search), ("fresh blocks", told.fresh)):
        if found is not None:
            lines.append(f"against the seed on {name}: {sentences.beside(found)}")
    name = record.objective.name
    for row in measurements(store, variant_id=variant_id, statuses=list(Status))[-12:]:
        run = row.measurement
        said = f": {clip(run.reason, MAX_WORDS)}" if run.reason else ""
        score = run.metrics.get(name)
        got = "" if score is None else f", {name} {value(name, score)}"
        request = run.request
        where = f"{request.rung} block {request.block} {request.purpose.value}"
        lines.append(f"run {row.id}: {where}, {run.status.value}{got}{said}")
    below = [short(one.variant_id or "") for one in children_of(store, variant_id)]
    more = f" and {len(below) - MAX_ROWS} more" if len(below) > MAX_ROWS else ""
    lines.append(f"{count(len(below), 'child', 'children')}: {', '.join(below[:MAX_ROWS])}{more}")
    return "\n".join(lines)


def _believed(record: Record, own: Ranked | None) -> list[str]:
    if own is None:
        return ["score: none at the first rung"]
    name = record.objective.name
    way = "lower" if record.objective.lower_is_better else "higher"
    said = f"{label(name)} {plus_minus(name, *own.told(name))}"
    standing = standing_in_words(own, record.seed_id, trust_of(name)) or "not on the front"
    return [f"believed: {said} ({way} is better); {standing}"]


def lineage(folder: Path, wanted: str) -> str:
    """How a variant came to be, step by step from the seed."""
    with Store.open(folder / DATABASE, read_only=True) as store:
        variant_id, record = resolve(store, wanted), Record.of(store)
        told = story(record, variant_id, all_decisions(store))
    steps = count(len(told.chapters) - 1, "edit")
    text = as_text(*story_screen(told), width=COLUMNS)
    return f"{short(variant_id)}, {steps} from the seed\n" + data("lineage", text)


def words_of(folder: Path) -> str:
    """Research notes, ideas with what their children showed, and what is claimed now."""
    with Store.open(folder / DATABASE, read_only=True) as store:
        record = Record.of(store)
        standing, ideas = notes(store), ideas_with_effects(store, record)
        asked, claimed = pending(store), claims(store)
    waiting = [one for one in asked if one.kind in ("note", "idea")]
    shown = (ideas[-MAX_ROWS:], standing[-MAX_ROWS:])
    head = [
        f"{count(len(standing), 'note')}, {count(len(ideas), 'idea')} (the newest {MAX_ROWS} of each), "
        f"{count(len(claimed), 'claim')} in force"
    ]
    text = as_text(
        notes_list(shown[1], [one for one in waiting if one.kind == "note"]),
        ideas_list(shown[0], [one for one in waiting if one.kind == "idea"], record.objective),
        width=COLUMNS,
    )
    return "\n".join(head) + "\n" + data("notes", "\n".join([*map(claim_line, claimed), text]))


def claim_line(one: Claim) -> str:
    """A claim in a line."""
    left = duration(max(one.until - time.time(), 0.0))
    return f"claim {one.id} of {clip(one.author, 40)}, for {left} more: {clip(one.text, MAX_WORDS)}"


def tried_near(folder: Path, wanted: str, about: str) -> str:
    """What was tried from a variant, from its parents, and anywhere else in words like these."""
    with Store.open(folder / DATABASE, read_only=True) as store:
        record = Record.of(store)
        variant_id = _best_or_seed(store) if wanted == "best" else resolve(store, wanted)
        under_way, claimed = [one for one in pending(store) if one.kind == "inject"], claims(store)
    births, beside = record.births(), effects(record)
    made = births.get(variant_id)
    around = (
        {variant_id, *(one.variant_id for one in made.parents if made)} if made else {variant_id}
    )
    near = [
        one
        for child, one in births.items()
        if child != variant_id and any(parent.variant_id in around for parent in one.parents)
    ]
    wanted_words = words_in(about, 2)

    def in_common(one: ProposalRow) -> int:
        return len(wanted_words & words_in(one.idea, 2))

    alike = [one for one in births.values() if one not in near and in_common(one)]
    alike.sort(key=in_common)
    last = {row.measurement.request.variant_id: row.measurement for row in record.attempts}

    def line(one: ProposalRow) -> str:
        child = str(one.variant_id)
        effect, run = beside.get(child), last.get(child)
        if effect is not None:
            said = f"{label(effect.metric)} {sentences.beside(effect)} compared with its parent"
        elif run is None:
            said = "not measured yet"
        else:
            said = f"{run.status.value} {clip(run.reason, 120)}".strip()
        return f"{_tried(one)}\n    -> {said}"

    half = MAX_ROWS // 2
    parts = [f"from {short(variant_id)} or its parents, the newest last:", *map(line, near[-half:])]
    if about:
        parts += ["", "elsewhere in words like these, the nearest last:", *map(line, alike[-half:])]
    waits = [f"{one.name} of {clip(one.author, 40)}: {_idea_of(one.detail)}" for one in under_way]
    parts += ["", "waiting to be checked:", *waits[-half:]] if waits else []
    parts += ["", *map(claim_line, claimed)] if claimed else []
    left = sum(max(len(found) - half, 0) for found in (near, alike if about else []))
    head = f"{len(near)} tried near {short(variant_id)}" + (f", {left} left out" if left else "")
    return head + "\n" + data("tried", "\n".join(parts))


def _best_or_seed(store: Store) -> str:
    try:
        return resolve(store, "best")
    except UnknownVariant:  # nothing has a score yet
        return resolve(store, "seed")


def _idea_of(detail: object) -> str:
    said = detail.get("idea", "") if isinstance(detail, dict) else ""
    return clip(str(said), MAX_WORDS) or "no idea stated"


def why_best(folder: Path) -> str:
    """A paragraph on the leader: what it gains, how sure that is, what it is made of, with the ids."""
    with Store.open(folder / DATABASE, read_only=True) as store:
        record = Record.of(store)
        findings = findings_of(store, record, changes=False)
        leader = findings.leader_id
        told = None if leader is None else story(record, leader, ())
    said = [*sentences.found(findings), *sentences.certainty(findings)]
    if findings.proof is not None:
        said.append(sentences.proven(findings.proof))
    evidence = [f"seed {short(findings.seed_id)}"]
    if told is not None and leader is not None:
        steps = [
            f"{short(one.variant_id)} ({clip(one.idea or one.operator, 160)}"
            + (f"; {sentences.beside(one.effect)} compared with its parent" if one.effect else "")
            + ")"
            for one in told.chapters[1:]
        ]
        said.append(f"It is the seed with {count(len(steps), 'edit')}: {', then '.join(steps)}.")
        evidence.append(f"leader {short(leader)}")
        evidence += _run_ids(record, (leader, findings.seed_id))
    return _trust(record) + data("why", " ".join(said)) + "\nevidence: " + "; ".join(evidence)


def _run_ids(record: Record, ids: Sequence[str]) -> Iterable[str]:
    """The rows that the comparison on fresh blocks rests on; before one, all of the first rung."""
    rows = [row for row in record.rows if row.measurement.request.variant_id in ids]
    fresh = [row for row in rows if row.measurement.request.purpose in PUBLISHED]
    chosen = fresh or [row for row in rows if row.measurement.request.rung == record.proxy]
    for one in ids:
        found = [str(row.id) for row in chosen if row.measurement.request.variant_id == one]
        more = f" and {len(found) - MAX_ROWS} more" if len(found) > MAX_ROWS else ""
        yield f"runs of {short(one)}: {', '.join(found[:MAX_ROWS])}{more}"


PLOTS = {"progress": "progress", "front": "front-0", "lineage": "family"}  # figures of the page


def plot(folder: Path, kind: str) -> tuple[bytes, str]:
    """A figure of the page as a PNG, and what it shows. Refused where there is nothing to draw yet."""
    try:
        from evo.report.picture import png_of
    except ImportError:
        raise Refused("plots need Pillow: pip install -e '.[mcp]'") from None
    with Store.open(folder / DATABASE, read_only=True) as store:
        record = Record.of(store)
        one = overview_of(folder, store, changes=False, record=record)
        page = page_of(store, record, one, lambda it: source_of(store, it), "", live=True)
        figures = {figure.name: figure for part in page.sections for figure in part.figures}
        if PLOTS[kind] not in figures:
            raise Refused(f"there is nothing to draw of {kind} yet; overview says where it stands")
        found = figures[PLOTS[kind]]
        drawn = png_of(found.make())
    said = [line for line in re.split(r"(?<=\.) ", found.about) if "lick" not in line]
    return drawn, " ".join(said)


def measured(folder: Path, wanted: str) -> tuple[bool, str]:
    """Whether a proposal's first run is over or will never be, and what is known of it."""
    with Store.open(folder / DATABASE, read_only=True) as store:
        found = state_of(store, wanted)
        if found.stage is not Stage.MEASURED:
            return found.stage is Stage.REJECTED, data("state", found.words)
    return True, variant(folder, found.variant_id, "summary", 1)
