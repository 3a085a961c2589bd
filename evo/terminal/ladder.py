"""The ladder on one screen: how far everyone got, what held at the target, how long, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evo.analysis.comparison import Comparison, PairVerdict
from evo.analysis.ladder import LadderStep, RungCost
from evo.analysis.ladder_report import LadderReport, PromotionCost, PromotionEvidence
from evo.analysis.transfer import EditTransfer, HeldAtTarget, Reaching, Transfer
from evo.terminal import sentences
from evo.terminal.sentences import beside
from evo.terminal.tables import FAINT, pairs
from evo.terminal.text import (
    better,
    clip,
    count,
    duration,
    placed,
    plain,
    share,
    short,
    value,
    words,
)
from population.ladder import LadderState
from population.metrics import label
from population.statistics.intervals import Interval
from population.statistics.transfer import MIN_VARIANTS, Promotions, TimeToReach

RUNG, MIN_RUNG = 1, 6  # its place among the cells of a step, and its letters at the least
STYLES = {PairVerdict.BETTER: "green", PairVerdict.WORSE: "red"}


def ladder_screen(one: LadderReport, where: str = "") -> RenderableType:
    """Everything about the ladder; `where`: " --dir FOLDER" for commands to type."""
    rungs = " → ".join(map(plain, one.rungs))
    parts: list[RenderableType] = [Text.assemble(("Ladder  ", "bold"), rungs)]
    if not one.steps:
        return Group(*parts, Text("Nobody has been chosen to go up yet."))
    parts += [Text(), _Steps(one.steps, one.metric)]
    for title, lines in ladder_lines(one):
        parts += [Text(), Text(title, "bold")]
        parts += [Padding(words(placed(line, where)), (0, 0, 0, 2)) for line in lines]
    if any(step.state is LadderState.WAITS for step in one.steps):
        parts += [Text(), Text.assemble(("next  ", FAINT), (f"evo approve{where}", "cyan"))]
    return Group(*parts)


def ladder_lines(one: LadderReport) -> list[tuple[str, list[str]]]:
    """The report's sections with their lines; none without something to say."""
    sections: list[tuple[str, list[str]]] = []
    if one.transfer is not None:
        sections.append(("Does it transfer?", transferred(one.transfer, one.metric)))
        told = edits(one.transfer.edits, one.metric)
        sections.append(("Which edits", told))
    if one.reaching is not None:
        sections.append(("Time to reach the seed", reached(one.reaching)))
    sections.append(("What the ladder cost", costs(one.cost)))
    return [(title, lines) for title, lines in sections if lines]


@dataclass(frozen=True, slots=True)
class _Steps:
    """A row a step; why it stands there and what to know of it go below, over the whole width."""

    steps: Sequence[LadderStep]
    metric: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        name = label(self.metric).replace("_", " ")
        titles = ("variant", "to", "as", "how far", f"{name}\nbelow", f"{name}\nthere", "size")
        rows = [[Text(title, FAINT) for title in titles], *map(_cells, self.steps)]
        widths = [
            max(cell_len(line) for row in rows for line in row[place].plain.split("\n"))
            for place in range(len(titles))
        ]
        over = sum(widths) + 2 * (len(widths) - 1) - options.max_width
        if over > 0:  # a rung may have any name
            widths[RUNG] = max(MIN_RUNG, widths[RUNG] - over)
        for row, step in zip(rows, (None, *self.steps), strict=True):
            grid = Table.grid(padding=(0, 2))
            for width in widths:
                grid.add_column(
                    width=width, overflow="fold", vertical="bottom" if step is None else "top"
                )
            grid.add_row(*row)
            yield grid
            said = "" if step is None else "; ".join(filter(None, (step.reason, step.remark)))
            if said:
                yield Padding(words(said, FAINT), (0, 0, 0, 2))


def _cells(one: LadderStep) -> list[Text]:
    return [
        Text(short(one.variant_id), "bold"),
        Text(plain(one.rung)),
        Text(one.role.value),
        Text(one.state.value),
        _beside(one.below),
        _beside(one.here),
        Text("" if one.scale is None else f"x {one.scale:.2f}"),
    ]


def _beside(one: Comparison | None) -> Text:
    """The difference to the seed with its n; coloured only where its interval leaves 0 out."""
    if one is None:
        return Text("–", FAINT)
    told = better(one.metric, one.gain, one.se)
    return Text.assemble((told, STYLES.get(one.verdict, "")), (f"\nn={one.n}", FAINT))


# -- The ladder's report in plain words: no share without its counts, no figure without its n.


def transferred(one: Transfer, metric: str) -> list[str]:
    """What held at the target, against the controls, and what the ranks say."""
    if one.promotions is None:
        return [_untold(one)]
    lines = [_promotions(one, one.promotions), *_ranks(one)]
    for pair in one.pairs:
        if pair.ratio is not None:
            ends = f"{pair.ratio.low:.2f} to {pair.ratio.high:.2f}"
            lines.append(
                f"{short(pair.variant_id)} gains {pair.ratio.value:.2f} times as much at "
                f"{plain(one.target)} as at {plain(one.proxy)} (Fieller's 95 % interval {ends})."
            )
    if one.regret:
        told = " and ".join(f"{value(metric, cost)} (k={k})" for k, cost in one.regret.items())
        lines.append(
            f"Taking only the proxy's best k would have cost {told} at {plain(one.target)}, of n={one.n}."
        )
    for name, counts in (("operator", one.by_operator), ("kind of edit", one.by_kind)):
        if counts:
            lines.append(f"Held by {name}: " + ", ".join(map(_held, counts)) + ".")
    return lines


def _untold(one: Transfer) -> str:
    """Why nothing is known of transfer, and what would tell."""
    proxy, target = plain(one.proxy), plain(one.target)
    if not one.fresh:
        return (
            f"The ladder makes no runs of its own at {proxy} without controls (graduation.controls: 0), so how "
            f"often a gain there holds at {target} is not counted: "
            "`evo resume --set graduation.controls=2` makes these runs, also now."
        )
    return (
        f"No graduate that beat the seed at {proxy} on the ladder's own blocks there, and no control, has run "
        f"at {target}: what a gain at {proxy} is worth there cannot be told. Controls would help to tell "
        "(graduation.controls: 2)."
    )


def _promotions(one: Transfer, found: Promotions) -> str:
    """Graduates against controls."""
    target = plain(one.target)
    if found.tried:
        line = (
            f"Of {count(found.tried, 'graduate')} that beat the seed on fresh blocks at "
            f"{plain(one.proxy)}, {found.held} beat it at {target}{_rate(found.rate)}"
        )
    else:
        line = f"No graduate beat the seed on fresh blocks at {plain(one.proxy)}"
    if not found.controls_tried:
        return line + "; no control ran there to hold that against."
    line += (
        f"; of {count(found.controls_tried, 'control')}, {found.controls_held}"
        f"{_rate(found.controls_rate)}."
    )
    if found.tried:
        line += f" Graduates do so more often with probability {found.p_above_controls:.2f}."
    return line


def _rate(found: Interval) -> str:
    return f" (95 % interval {share(found.low)} to {share(found.high)})"


def _ranks(one: Transfer) -> list[str]:
    if one.agreement is None:
        return [
            f"The proxy is not informative at this n: ranks say something from {MIN_VARIANTS} variants with "
            f"both scores on, and there {'is' if one.n == 1 else 'are'} {one.n}."
        ]
    tau = one.agreement.tau
    line = f"Kendall's tau-b is {tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f}, n={one.n})"
    line += ". " if one.informative else ": the proxy is not informative at this n. "
    top = one.overlap
    if top is not None:
        line += (
            f"Of the proxy's best {top.k}, {top.overlap} are among the target's, {top.expected:.1f} by chance "
            f"(p={top.p_chance:.2f})."
        )
    return [line.strip()]


def _held(one: HeldAtTarget) -> str:
    rate = "" if one.rate is None else _rate(one.rate)
    return f"{plain(one.name)} {one.held} of {one.tried}{rate}"


def edits(found: Sequence[EditTransfer], metric: str) -> list[str]:
    """Each step to the target's best, as it showed at the proxy and at the target."""
    return [
        f"{short(one.variant_id)} {_what(one)} ({', '.join(one.kinds) or 'form'}): "
        f"{_step(one.proxy, metric)} at the proxy, {_step(one.target, metric)} at the target."
        for one in found
    ]


def _what(one: EditTransfer) -> str:
    last = clip(one.idea or one.operator, 50)
    return last if one.edits == 1 else f"{one.edits} edits together, the last: {last}"


def _step(one: Comparison | None, metric: str) -> str:
    if one is None:
        return "not run on common fresh blocks"
    return f"{label(metric)} {beside(one)}"


def reached(one: Reaching) -> list[str]:
    """The headline, in budget and in tokens."""
    who, rung = short(one.variant_id), plain(one.rung)
    if one.budget is None:
        return [
            f"How long {who} needs to reach the seed's end at {rung}: {one.missing or 'too few runs'}."
        ]
    end = f"the seed's final {label(one.metric)} at {rung}"
    lines = [
        f"{who} reaches {end} {_share(one.budget, 'budget')}, each with a full schedule "
        f"(n={one.budget.blocks} paired blocks)."
    ]
    if one.self_reported_tokens is not None:
        lines.append(
            f"In tokens, as the runs report them themselves: {_share(one.self_reported_tokens, 'tokens')}."
        )
    levels = ", ".join(
        f"{share(level.share)}: {value(one.metric, level.best)} (seed {value(one.metric, level.seed)})"
        for level in one.levels
    )
    return [*lines, f"Mean {one.metric} by share of the budget: {levels}."]


def _share(one: TimeToReach, unit: str) -> str:
    told = f"with {_end(one.value, one)} of the seed's {unit}"
    if one.value is None:
        told = f"not within {share(one.most)} of the seed's {unit}"
    return f"{told} (95 % interval {_end(one.low, one)} to {_end(one.high, one)})"


def _end(at: float | None, one: TimeToReach) -> str:
    if at is None:
        return "not reached"
    return f"{share(at)} or less" if at == one.least else share(at)


def costs(found: Sequence[RungCost]) -> list[str]:
    """What the ladder took, by rung."""
    told = (
        f"{plain(one.rung)} {duration(one.slot_seconds)} ({count(one.runs, 'run')})"
        for one in found
    )
    return [f"Slot time: {', '.join(told)}."] if found else []


# -- What waits for approval, on one screen.


def waiting_screen(waiting: Sequence[PromotionEvidence], where: str = "") -> RenderableType:
    """Each step that waits with its evidence, and what to type; `where`: " --dir FOLDER"."""
    if not waiting:
        return Text("Nothing waits for your approval.")
    verb = "waits" if len(waiting) == 1 else "wait"
    parts: list[RenderableType] = [
        Text(f"{count(len(waiting), 'step')} up the ladder {verb} for your approval.", "bold")
    ]
    for one in waiting:
        head = Text.assemble((short(one.variant_id), "bold"), f"  to {plain(one.rung)}")
        rows = [(name, words(text)) for name, text in evidence(one)]
        parts += [Text(), head, Padding(pairs(rows), (0, 0, 0, 2))]
    first = short(waiting[0].variant_id)
    parts += [
        Text(),
        _command(f"evo approve {first}{where}", "lets it go up"),
        _command(f"evo veto {first}{where}", "never parent, front member or graduate again"),
        _command(f"evo diff seed {first}{where}", "shows every line that differs"),
    ]
    return Group(*parts)


def evidence(one: PromotionEvidence) -> list[tuple[str, str]]:
    """The evidence for one step, as names and sentences."""
    what = f"{one.operator}: {one.idea}" if one.idea else one.operator
    rows = [("what", what or "not known")]
    kinds = f" ({', '.join(one.kinds)})" if one.kinds else ""
    rows.append(("differs in", sentences.knobs(one.knobs, one.lines_changed) + kinds))
    rows.append(("gain", sentences.gain_below(one.gain, one.fresh)))
    rows.append(("standing", one.standing or "not on the front any more"))
    scale = "not built there" if one.scale is None else f"{one.scale:.2f} times the seed's"
    rows.append(("parameters", f"{scale}; it {one.remark}" if one.remark else scale))
    rows.append(("cost", cost(one.cost)))
    rows += [("review", said) for said in one.reviews]
    return rows


def cost(one: PromotionCost) -> str:
    """What a step takes, and what comes along with the first."""
    told = f"{count(one.runs, 'run')}, {_about(one.slot_seconds, one.measured)}"
    if one.beside_runs:
        told += (
            f"; {count(one.beside_runs, 'run')} of the seed and the controls come along once, "
            f"{_about(one.beside_slot_seconds, one.measured)}"
        )
    return told


def _about(seconds: float | None, measured: bool) -> str:
    if seconds is None:
        return "slot time not known before a run there"
    return f"about {duration(seconds)} of slot time" + ("" if measured else " (planned)")


def _command(command: str, meaning: str) -> Text:
    return Text.assemble((f"{command}", "cyan"), (f"   {meaning}", FAINT))
