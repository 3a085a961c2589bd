"""Tables: the front, the operators' earnings, and pairs of name and value."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evo.analysis.comparison import Compared
from evo.analysis.ranking import Answers, Earning, Prompts, Ranked
from evo.terminal.text import (
    better,
    clip,
    count,
    duration,
    plain,
    plus_minus,
    share,
    shares_line,
    short,
    value,
    words,
)
from population.archive import Objective, Standing
from population.metrics import METRICS, SELF_REPORTED, Trust, label, trust_of
from population.reading.idea_bank import BankIdea, IdeaEffect
from population.types import Claim, JudgedIdea, LlmCallRow, Note, RequestRow

FAINT = "bright_black"
NOTHING = "–"
MAX_REASONS = 3  # of second questions, in one line
MIN_ELASTIC = 6  # letters of an idea
WIDE = 100  # columns from which on a table shows all it has
BEYOND = "beyond limit: outside a range that the config asks for, which `evo show ID` names"
BELIEF = (
    "believed: the mean of its runs less what blocks do, shrunk to its parent's; the search ranks by it; "
    "± its error: the truth is within twice that 19 times in 20, also where few runs tell the noise"
)


def pairs(rows: Sequence[tuple[str, Text | str]]) -> Table:
    """Names and values, aligned."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=FAINT, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name), text if isinstance(text, Text) else Text(text))
    return grid


def table_of(*columns: tuple[str, str]) -> Table:
    """A table without lines; a column is its name and the side its cells stand on."""
    table = Table(box=None, header_style=FAINT, pad_edge=False, padding=(0, 2, 0, 0))
    for name, side in columns:
        title = Text(name.replace("_", "\n"), FAINT)
        table.add_column(
            title,
            justify="right" if side == "right" else "left",
            no_wrap=name != "idea",
            min_width=8 if name == "variant" else None,  # an id that is cut names nothing
            vertical="bottom",
        )
    return table


Heading = tuple[str, str]  # a column's name and the side its cells stand on


@dataclass(frozen=True, slots=True)
class FittingTable:
    """Columns side by side; on a narrow terminal those of `gives_way` are left out, its first one first.

    A cut number or name is worse than a missing one: what is left out is said below. `elastic`: the column that
    takes what room there is, of MIN_ELASTIC letters at the least.
    """

    columns: Sequence[tuple[Heading, Sequence[str | Text]]]
    gives_way: Sequence[str]
    elastic: str = ""
    between: int = 2  # letters

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        left, out = list(self.columns), list[str]()
        for name in self.gives_way:
            if sum(map(self._width, left)) <= options.max_width + self.between:
                break
            out += [name for head, _ in left if head[0] == name]
            left = [one for one in left if one[0][0] != name]
        table = table_of(*(head for head, _ in left))
        table.padding = (0, self.between, 0, 0)
        for cells in zip(*(cells for _, cells in left), strict=True):
            table.add_row(*cells)
        yield table
        if out:
            names = ", ".join(name.replace("_", " ") for name in reversed(out))
            yield Text(f"no room for: {names} (--json, or a wider terminal, has all)", FAINT)

    def _width(self, column: tuple[Heading, Sequence[str | Text]]) -> int:
        (name, _), cells = column
        if name == self.elastic:
            return MIN_ELASTIC + self.between
        lines = [*name.split("_"), *(line for one in cells for line in str(one).splitlines())]
        return max(cell_len(line) for line in lines) + self.between


def one_line(text: Text) -> Text:
    """The same text, cut off where its column ends."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def ranking_table(
    rows: Sequence[Ranked], objectives: Sequence[Objective], seed_id: str
) -> RenderableType:
    """Variants with what is believed of them, which orders them.

    A narrow terminal gets no column that says the same everywhere: the idea needs the room.
    """
    return _Ranking(tuple(rows), tuple(objectives), seed_id)


@dataclass(frozen=True, slots=True)
class _Ranking:
    rows: tuple[Ranked, ...]
    objectives: tuple[Objective, ...]
    seed_id: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        narrow = options.max_width < WIDE
        first, *others = (one.name for one in self.objectives)
        cells = {name: [_cell(one, name) for one in self.rows] for name in others}
        if narrow:
            cells = {name: values for name, values in cells.items() if len(set(values)) > 1}
        ideas = ("the seed" if one.variant_id == self.seed_id else one.idea for one in self.rows)
        standing = [_standing(one, self.seed_id, trust_of(first)) for one in self.rows]
        columns: list[tuple[Heading, Sequence[str | Text]]] = [
            (("variant", "left"), [Text(short(one.variant_id), "bold") for one in self.rows]),
            (
                (f"{label(first).replace('_', ' ')}_(believed)", "left"),
                [plus_minus(first, *one.told(first)) for one in self.rows],
            ),
            *(((label(name).replace(" ", "_"), "right"), values) for name, values in cells.items()),
            (("standing", "left"), standing),
            *self._island(),
            (("idea", "left"), [one_line(words(idea)) for idea in ideas]),
        ]
        more = [head[0] for head, _ in columns[2:-1] if head[0] != "standing"]
        yield FittingTable(columns, more[::-1], elastic="idea")
        told = [caption(self.objectives[0]), *([BEYOND] if any(map(_beyond, self.rows)) else [])]
        yield Text("; ".join(told), FAINT)
        if any(trust_of(one.name) is Trust.SELF_REPORTED for one in self.objectives):
            yield Text(SELF_REPORTED, FAINT)

    def _island(self) -> list[tuple[Heading, Sequence[str | Text]]]:
        """Whose it is, where there are several."""
        islands = [plain(one.island) or NOTHING for one in self.rows]
        return [(("island", "left"), islands)] if any(one.island for one in self.rows) else []


def _cell(one: Ranked, name: str) -> str:
    return value(name, one.estimates[name].mean if name in one.estimates else None)


def caption(objective: Objective) -> str:
    """What the numbers of a table of scores are."""
    way = "lower" if objective.lower_is_better else "higher"
    return (
        f"{way} is better; {BELIEF}, n its blocks (repeats of a block count once). "
        "What a variant gains is its difference to the seed on the same blocks: `evo show ID`"
    )


def standing_in_words(one: Ranked, seed_id: str, trust: Trust = Trust.MEASURED) -> str:
    """The same on every screen; the seed on the front has none: it is what everyone is held against.

    trust: in the first objective, told with a certificate.
    """
    if one.vetoed:
        return "vetoed"
    if one.variant_id == seed_id and one.standing:
        return NOTHING
    if one.beyond:
        return f"{one.standing}, beyond limit" if one.standing else "beyond limit"
    if trust is Trust.SELF_REPORTED and one.standing == Standing.CERTIFIED:
        return "certified on self-reported scores"
    return one.standing or "off front"


def _standing(one: Ranked, seed_id: str, trust: Trust) -> Text:
    told = standing_in_words(one, seed_id, trust)
    if one.vetoed or one.beyond:
        return Text(told, "red")
    told = told.replace("certified on self-reported scores", "certified on\nself-reported\nscores")
    return Text(told, "green" if one.standing and told != NOTHING else FAINT)


def _beyond(one: Ranked) -> bool:
    return bool(one.beyond)


def earnings_table(rows: Sequence[Earning]) -> RenderableType:
    """What each operator proposed, its outcome and its cost; columns that say nothing are left out."""
    columns: list[tuple[Heading, Sequence[str | Text]]] = [
        (("operator", "left"), [Text(plain(one.operator)) for one in rows]),
        (("proposals", "right"), [f"{one.proposals:,}" for one in rows]),
        (("share_in time", "left"), [Text(shares_line(one.shares)) for one in rows]),
        (("valid", "right"), [share(one.valid / max(one.proposals, 1)) for one in rows]),
        (
            ("beat_parent", "right"),
            [f"{one.better} of {one.measured}" if one.measured else NOTHING for one in rows],
        ),
        (("on_front", "right"), [f"{one.on_front}" for one in rows]),
        (("certified_gain", "right"), [_gain(one) for one in rows]),
        (("slot_time", "right"), [duration(one.slot_seconds) for one in rows]),
        (("tokens", "right"), [f"{one.tokens:,}" if one.tokens else NOTHING for one in rows]),
        (("dollars", "right"), [_dollars(one) for one in rows]),
    ]
    told = [one for one in columns if any(cell != NOTHING for cell in one[1])]
    gives_way = ("share_in time", "slot_time", "tokens", "dollars", "valid", "on_front")
    return FittingTable(told, gives_way, between=1)


def _gain(one: Earning) -> str:
    return f"{one.certified_gain:.4f}" if one.certified else NOTHING


def _dollars(one: Earning) -> str:
    if one.price_unknown and not one.dollars:
        return "unknown"
    if not one.tokens and not one.dollars:
        return NOTHING
    return f"{one.dollars:.2f}" + (" + unknown" if one.price_unknown else "")


# -- What was asked of models, in words.


def prompts_line(one: Prompts) -> str:
    """One operator's calls: tokens as billed, then what the prompts were made of."""
    billed = f"{count(one.calls, 'call')}, {one.tokens_in:,} tokens in, {one.tokens_out:,} out"
    return f"{plain(one.operator)}: {billed}; {parts_in_words(one.parts)}"


def answers_line(one: Answers) -> str:
    """How many of a model's answers had to be asked for twice, and mostly why."""
    told = f"{by_whom(one.endpoint, one.model)}: {count(one.questions, 'answer')}"
    if one.questions or one.asked_again:
        told += f", {one.asked_again:,} asked again"
    if one.again_share is not None and one.asked_again:
        told += f" ({share(one.again_share)})"
    why = [f"{plain(reason)} {n:,}" for reason, n in list(one.reasons.items())[:MAX_REASONS]]
    if len(one.reasons) > MAX_REASONS:
        why.append(f"{len(one.reasons) - MAX_REASONS} more kinds")
    told += f": {', '.join(why)}" if why else ""
    told += f"; {count(one.failed, 'request')} without an answer" if one.failed else ""
    estimated = f"{one.estimated_tokens:,} tokens estimated: the server told none"
    return told + (f"; {estimated}" if one.estimated_tokens else "")


def call_line(one: LlmCallRow) -> str:
    """One call: what its prompt was made of, what came back, and what it cost."""
    price = "price unknown" if one.dollars is None else f"{one.dollars:.3g} dollars"
    told = f"{one.tokens_in:,} tokens in, {one.tokens_out:,} out, {price}, {duration(one.seconds)}"
    ended = "" if one.outcome == "ok" else f"; {one.outcome}"
    return f"{by_whom(one.endpoint, one.model)}: {told}; {parts_in_words(one.parts)}{ended}"


def parts_in_words(parts: Mapping[str, int]) -> str:
    """The share that each part of a prompt had, by estimate, the largest first: what is billed is counted."""
    whole = sum(parts.values())
    if not whole:
        return "parts not told"
    largest_first = sorted(parts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share(tokens / whole)}" for name, tokens in largest_first)


def by_whom(*names: str) -> str:
    """Author and model, or endpoint and model, once where they are called alike."""
    return " ".join(dict.fromkeys(plain(name) for name in names if name))


# -- What people and models wrote: ideas with their outcomes, and notes.


IDEA_CHARACTERS = (
    750  # of an idea in the list, more than models write; `evo show` and the report have all
)
EVIDENCE_SHOWN = 12
INDENT = 5


def ideas_list(
    ideas: Sequence[JudgedIdea], waiting: Sequence[RequestRow], objective: Objective
) -> RenderableType:
    """Each idea with its children and their mean effect on the first objective; what waits last."""
    told = [
        _told(
            str(one.id), one.author, idea_outcome(one, objective), clip(one.text, IDEA_CHARACTERS)
        )
        for one in ideas
    ]
    return Group(*told, *map(_waits, waiting))


def claims_list(found: Sequence[Claim]) -> RenderableType:
    """Which ideas agents work on now, each with how long it holds."""
    return Group(
        *(
            _told(
                str(one.id),
                one.author,
                f"works on it, for {duration(max(one.until - time.time(), 0.0))} more",
                clip(one.text, IDEA_CHARACTERS),
            )
            for one in found
        )
    )


def notes_list(notes: Sequence[Note], waiting: Sequence[RequestRow]) -> RenderableType:
    """The notes that stand, whole, with what they rest on; what waits last."""
    told = [
        _told(
            str(one.id),
            one.author + (", edited" if one.edited_at is not None else ""),
            "",
            one.text,
            f"rests on {evidence_in_words(one.evidence, EVIDENCE_SHOWN)}" if one.evidence else "",
        )
        for one in notes
    ]
    return Group(*told, *map(_waits, waiting))


def evidence_in_words(ids: Sequence[str], most: int) -> str:
    """The first `most` ids in short, and how many more there are."""
    more = f", … {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(short(id) for id in ids[:most]) + more


def idea_outcome(one: JudgedIdea, objective: Objective) -> str:
    """The outcome of an idea: how its children ended, and their mean effect."""
    if not one.children:
        return "not tried yet"
    parts = [(one.ok, "ok"), (one.failed, "failed"), (one.waiting, "waiting")]
    told = ", ".join(f"{count} {name}" for count, name in parts if count)
    if one.effect is None:
        return told
    name = objective.name
    said = f"{told}; effect on {name} {better(name, -objective.turned(one.effect), one.effect_se)}"
    if one.effect_se is not None:
        said += f" ± {value(name, one.effect_se, one.effect_se)}"
    return f"{said} (n={one.n})"


def bank_list(ideas: Sequence[BankIdea], metric: str) -> RenderableType:
    """Each idea of a bank with its author and what it did in one metric, and below it the idea."""
    told = [
        _told(
            one.id[:4], by_whom(one.author, one.model) or "nobody named", bank_effect(one, metric),
            clip(one.idea, IDEA_CHARACTERS),
        )
        for one in ideas
    ]  # fmt: skip
    return Group(*told)


def bank_effect(one: BankIdea, metric: str) -> str:
    """What a bank says that an idea did, by rung: the mean of its measurements there, and their blocks."""
    rungs = dict.fromkeys(effect.rung for effect in one.effect(metric))
    told = []
    for rung in rungs:
        n, mean = joined_effect(one.effect(metric, rung))
        told.append(f"{better(metric, _as_gain(metric, mean))} at {rung} (n={n})")
    return f"{metric} {', '.join(told)}" if told else f"{metric} not measured"


def joined_effect(effects: Sequence[IdeaEffect]) -> tuple[int, float]:
    """How many blocks several measurements of an idea have together, and their mean."""
    n = sum(one.n for one in effects)
    return n, sum(one.mean * one.n for one in effects) / n


def _as_gain(metric: str, difference: float) -> float:
    lower = metric not in METRICS or METRICS[metric].lower_is_better
    return -difference if lower else difference


def origin_in_words(origin: Mapping[str, Any], metric: str) -> str:
    """Where a transplanted idea is from: bank, id, author, licence, and what it did there."""
    try:
        effects = tuple(IdeaEffect(**one) for one in origin.get("effects", ()))
    except TypeError:  # of another version
        effects = ()
    by = by_whom(*(str(origin.get(name, "")) for name in ("author", "model")))
    one = BankIdea(str(origin.get("idea", "")), "", "", effects=effects)
    parts = [
        f"from bank {origin.get('bank', '')}, idea {origin.get('id', '')}",
        f"by {by}" if by else "",
        f"there {bank_effect(one, metric)}",
        f"licence {origin.get('licence')}" if origin.get("licence") else "",
    ]
    return plain("; ".join(filter(None, parts)))


def _waits(asked: RequestRow) -> RenderableType:
    detail = asked.detail if isinstance(asked.detail, dict) else {}
    number = detail.get("id")
    kind = asked.kind if number is None else f"{asked.kind} {number}"
    outcome = f"{kind}: waits for the campaign to go on"
    text = str(detail.get("text", ""))
    shown = clip(text, IDEA_CHARACTERS) if asked.kind == "idea" else text
    return _told(asked.name, asked.author, outcome, shown)


def _told(number: str, author: str, outcome: str, text: str, below: str = "") -> RenderableType:
    """A head line, and the text below it with the whole width: it is legible on any terminal."""
    head = Text.assemble((f"{number:<{INDENT}}", FAINT), (plain(author), "bold"))
    head.append(f"  {plain(outcome)}" if outcome else "", FAINT)
    lines: Iterable[Text] = (words(text), words(below, FAINT))
    return Group(head, *(Padding(one, (0, 0, 0, INDENT)) for one in lines if one.plain))


# -- Several campaigns side by side.


def comparison_table(found: Sequence[Compared]) -> Table:
    """A row a campaign: what it had found at equal slot time, at its end and on fresh blocks, and its cost."""
    paid = any(one.dollars for one in found)  # a narrow terminal needs the room
    table = table_of(
        ("metric", "left"),
        ("equal_time", "right"),
        ("end", "right"),
        ("fresh blocks", "right"),
        ("slot_time", "right"),
        ("children", "right"),
        *([("dollars", "right")] if paid else []),
    )
    table.add_column(Text("campaign", FAINT), vertical="bottom", overflow="fold")
    for one in found:
        fresh = NOTHING
        if one.fresh is not None:
            gain, low, high = one.fresh
            ends = "" if low is None or high is None else f" [{low:+.1f}, {high:+.1f}]"
            fresh = f"{gain:+.1f}{ends}"
        cells = (
            label(one.metric),
            NOTHING if one.equal is None else f"{one.equal:+.1f}",
            NOTHING if one.last is None else f"{one.last:+.1f}",
            fresh,
            duration(3600 * one.hours),
            str(one.children),
            *([f"{one.dollars:.2f}"] if paid else []),
            str(one.campaign),
        )
        table.add_row(*(words(cell) for cell in cells))
    return table


def incomparable(found: Sequence[Compared]) -> list[str]:
    """What speaks against comparing these gains: other metrics, other rungs, a script's own word."""
    metrics = list(dict.fromkeys(label(one.metric) for one in found))
    rungs = list(dict.fromkeys(one.rung for one in found))
    lines = []
    if len(metrics) > 1:
        lines.append(
            f"They were measured in different metrics ({', '.join(metrics)}): a percent of one is no "
            "percent of another."
        )
    if len(rungs) > 1:
        lines.append(f"Their first rungs differ: {'; '.join(rungs)}.")
    if any(trust_of(one.metric) is Trust.SELF_REPORTED for one in found):
        lines.append(SELF_REPORTED)
    return lines
