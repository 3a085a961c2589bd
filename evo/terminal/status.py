"""Where a campaign stands, on one screen; and everything about one variant."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evo.analysis.health import HostDrift
from evo.analysis.overview import Overview, Used
from evo.analysis.ranking import Earning, Ranked
from evo.terminal import sentences
from evo.terminal.imported import imported_lines
from evo.terminal.tables import (
    FAINT,
    answers_line,
    earnings_table,
    pairs,
    prompts_line,
    standing_in_words,
)
from evo.terminal.text import (
    bar,
    count,
    duration,
    placed,
    plain,
    plus_minus,
    share,
    short,
    words,
)
from population.metrics import Trust, label, trust_of

METER = 20
MOSTLY = 0.75  # of the fresh blocks: from there on the short screen says how many are left
MAX_TOLD, MAX_OPERATORS = 2, 8  # sentences and operators on the short screen


def status_screen(
    one: Overview, command: str, where: str = "", all_of_it: bool = False
) -> RenderableType:
    """The status on one screen, and the next useful command; `where`: " --dir FOLDER" for commands to type.

    `all_of_it`: with what the slots did, what prompts were made of, how sure all that is, and the operators.
    """
    running = f"run by process {one.running}" if one.running is not None else "not running"
    head = Text.assemble(
        (plain(one.name), "bold"),
        ("  " + placed(plain(one.phase), where), "cyan"),
        (f"  {running}", FAINT),
    )
    parts: list[RenderableType] = [head, Text(), pairs(_budget(one) + _rows(one, all_of_it))]
    told = told_lines(one)
    if not (all_of_it or one.imported or one.calibrates):
        told = told[:MAX_TOLD]
    parts += [Text(), *(words(line) for line in told)]
    # those of an import earned nothing here
    if all_of_it and one.operators and one.imported is None:
        parts += [Text(), earnings_table(one.operators)]
    parts += [Text(), Text.assemble(("next  ", FAINT), (command, "cyan"))]
    return Group(*parts)


def told_lines(one: Overview) -> list[str]:
    """What was found and how sure that is; of an import, who reported it."""
    if one.imported is not None:
        return imported_lines(one.imported)
    if one.calibrates:
        from evo.terminal.screens import calibration_lines

        said = sentences.trust(one.findings)
        return said + calibration_lines(one.calibration, one.findings.objective, one.certifies)
    return sentences.found(one.findings) + sentences.certainty(one.findings)


def _budget(one: Overview) -> list[tuple[str, Text | str]]:
    budgets: list[tuple[str, Text | str]] = [
        (name.replace("llm_", "LLM ").replace("_", " "), _meter(name, used))
        for name, used in one.budget.items()
        if used.limit is not None and not one.calibrates
    ]
    return budgets + [("ends by", plain(rule.line)) for rule in one.stop]


def _meter(name: str, used: Used) -> Text:
    limit = used.limit or 0.0
    text = Text(bar(used.used / limit if limit else 1.0, METER), style="cyan on grey15")
    text = Text.assemble(text, "  ")
    if name == "seconds":
        return text.append(f"{duration(used.used)} of {duration(limit)}")
    digits = ".2f" if name == "llm_dollars" else ",.0f"
    return text.append(f"{used.used:{digits}} of {limit:{digits}}")


def _rows(one: Overview, all_of_it: bool) -> list[tuple[str, Text | str]]:
    metric = one.findings.objective
    if one.imported is not None:
        return _imported_rows(one)
    spent = f"{duration(one.spent.slot_seconds)} of slot time"
    if one.spent.tokens_in or one.spent.tokens_out:
        spent += f", {one.spent.tokens_in + one.spent.tokens_out:,} tokens, {one.spent.dollars:.2f} dollars"
        if one.spent.price_unknown:
            spent += f" and {count(one.spent.price_unknown, 'call')} of unknown price"
    outside = [host for host in one.drift if host.outside or all_of_it]
    return [
        *(
            [("sandbox", Text(one.unprotected.removeprefix("sandbox: "), "red"))]
            if one.unprotected
            else []
        ),
        ("runs", _counts(one.measurements)),
        *([("trust", _trust(one))] if one.findings.trust is not Trust.MEASURED else []),
        *(
            _search(one, all_of_it)
            if not one.calibrates
            else [("seed", _believed(one.seed, metric))]
        ),
        *(("drift", _drift(metric, host)) for host in outside),
        *([("audit", told)] if (told := sentences.tolerated(one.tolerances)) else []),
        *([("fresh rows", fresh)] if (fresh := _fresh_rows(one, all_of_it)) else []),
        *(
            [("slots busy", f"{share(one.slot_busy_share)} of {count(one.slots, 'slot')}")]
            if one.slots
            else []
        ),
        ("spent", spent),
        *([("expected end", _end(one.seconds_left))] if one.seconds_left is not None else []),
        *(_details(one) if all_of_it else []),
        ("folder", plain(one.folder)),
    ]


def _trust(one: Overview) -> str:
    kind = one.findings.noise_kind
    judged = one.findings.trust is Trust.JUDGED
    who = "your judge's, where no line of a variant runs" if judged else "the script's own word"
    told = f"{label(one.findings.objective)} {one.findings.trust}: {who}"
    return f"{told}; {kind}" if kind else told


def _end(seconds: float) -> str:
    from evo.terminal.screens import when_in_words  # a status that is over needs no forecast

    return when_in_words(seconds, time.time())


def _fresh_rows(one: Overview, all_of_it: bool) -> str:
    """How far the rows that nobody was asked before are used; "" while most of them are left."""
    if one.fresh_blocks is None or not one.fresh_blocks.limit:
        return ""
    used, held = int(one.fresh_blocks.used), int(one.fresh_blocks.limit)
    if used > held:
        return (
            f"used up after {count(held, 'block')}: the same rows are asked again, as each run says"
        )
    told = used > held * MOSTLY or (all_of_it and used)
    return f"used by {used} of {count(held, 'block')}" if told else ""


def _search(one: Overview, all_of_it: bool) -> list[tuple[str, Text | str]]:
    """What the search found so far."""
    metric = one.findings.objective
    tried = [operator for operator in one.operators if operator.measured]
    return [
        ("proposals", _counts(one.proposals)),
        *([("operators", _operators(tried))] if tried and not all_of_it else []),
        *([("islands", _counts(one.islands))] if one.islands else []),
        *(("answers", answers_line(model)) for model in one.answers),
        *([("asked", _asked(one))] if one.asked else []),
        ("seed", _believed(one.seed, metric)),
        ("best", _best(one)),
        ("front", count(one.front_size, "variant")),
        *_ladder(one),
    ]


def _details(one: Overview) -> list[tuple[str, Text | str]]:
    """What is looked up, not watched."""
    early = sentences.early(one.early_stopping)
    did = ", ".join(f"{duty.purpose} {share(duty.share)}" for duty in one.duties)
    return [
        ("slots did", did or "–"),
        *([("voided", sentences.voided(one.voided))] if one.voided else []),
        *([("early stopping", early)] if early else []),
        ("overhead", f"{duration(one.overhead_seconds_median)} a run beside training (median)"),
        *(
            [("freshness", sentences.freshness(one.stale_measurements_median))]
            if one.stale_measurements_median is not None
            else []
        ),
        *(("prompts", prompts_line(asked)) for asked in one.prompts),
    ]


def _operators(earned: Sequence[Earning]) -> Text:
    """How many children each has had measured, and how many beat a parent."""
    told = [
        f"{plain(one.operator)} {one.better} of {one.measured}" for one in earned[:MAX_OPERATORS]
    ]
    more = f", {len(earned) - MAX_OPERATORS} more" if len(earned) > MAX_OPERATORS else ""
    return Text(", ".join(told) + more).append("  beat a parent; --all shows more", FAINT)


def _asked(one: Overview) -> str:
    """What people asked and no campaign has taken yet."""
    told = ", ".join(count(number, plain(kind)) for kind, number in one.asked.items())
    waits = "the next `evo resume`" if one.running is None else f"process {one.running}"
    return f"{told}: waiting for {waits}"


def _imported_rows(one: Overview) -> list[tuple[str, Text | str]]:
    """Without what only a campaign that ran here has: slots, duties, drift."""
    metric = one.findings.objective
    return [
        ("reported", _counts(one.measurements)),
        ("seed", _believed(one.seed, metric)),
        ("best", _best(one)),
        ("folder", plain(one.folder)),
    ]


def _ladder(one: Overview) -> list[tuple[str, Text | str]]:
    """How far everyone is; nothing before anybody was chosen to go up."""
    told = [f"{plain(rung)}: {_counts(states)}" for rung, states in one.ladder.items()]
    if not told:
        return []
    return [("ladder", Text("; ".join(told)).append("  evo ladder shows more", FAINT))]


def _drift(metric: str, one: HostDrift) -> Text:
    return Text(plain(sentences.drift(metric, one)), "red" if one.outside else "")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items()) or "none yet"


def _best(one: Overview) -> Text | str:
    """The front's best; the seed's own line has its figures."""
    if one.best is None or one.seed is None or one.best.variant_id != one.seed.variant_id:
        return _believed(one.best, one.findings.objective, one.seed)
    return Text("the seed: no child is believed better")


def _believed(one: Ranked | None, metric: str, seed: Ranked | None = None) -> Text | str:
    """What is believed of it by n blocks, on which repeats count once; with its standing beside a `seed`."""
    if one is None:
        return "–"
    standing = "" if seed is None else standing_in_words(one, seed.variant_id, trust_of(metric))
    text = Text(f"{label(metric)} {plus_minus(metric, *one.told(metric))} believed")
    return text.append(f"  {short(one.variant_id)}  {standing}".rstrip(), FAINT)


def variant_screen(
    rows: Sequence[tuple[str, str]], runs: Sequence[Sequence[str]]
) -> RenderableType:
    """One variant: what is known of it, and its runs one a line."""
    table = Table(box=None, header_style=FAINT, pad_edge=False, padding=(0, 2, 0, 0))
    names = ["rung", "block", "purpose", "status", "score", "slot time"]
    names += ["what happened"] if any(run[len(names)] for run in runs) else []
    for name in names:
        free = name == "what happened"
        table.add_column(
            name, no_wrap=not free, overflow="fold", min_width=len(name) if free else None
        )
    for run in runs:
        table.add_row(*(words(cell) for cell in run[: len(names)]))
    return Group(pairs([(name, words(text)) for name, text in rows]), Text(), table)
