"""An imported history in plain words: whose numbers they are, and what can be told from luck."""

from __future__ import annotations

from evo.analysis.imported import MANY, Imported, Keep
from evo.terminal.text import better, clip, count, plain, short, value

MOST = 8
LONGEST = 60
REMARK = "self-reported by the imported history; nothing of it was measured here"


def imported_lines(one: Imported) -> list[str]:
    """The whole finding, a sentence a line."""
    told = f"{count(one.measurements, 'measurement')} from the git history of {plain(one.name)}"
    lines = [f"Self-reported: {told}. Nothing of it was measured here."]
    lines += [f"Read as: {plain(line)}." for line in one.inferred]
    lines += [_noise(one), *_keeps(one)]
    if one.problems:
        lines.append(f"{count(len(one.problems), 'line')} of its results could not be read.")
    return lines


def headline(one: Imported) -> str:
    """The one thing to know."""
    if one.keeps and one.smallest is None:
        return f"Self-reported: {count(len(one.keeps), 'keep')}, and no noise known to hold them against"
    proven = sum(keep.proven for keep in one.keeps)
    return f"Self-reported: {proven} of {count(len(one.keeps), 'keep')} exceed the noise; the rest are unproven"


def keep_cells(one: Keep, metric: str) -> tuple[str, ...]:
    """A row of the table of keeps: line, commit, before, after, gain, verdict, description."""
    shown = (value(metric, one.before), value(metric, one.value), better(metric, one.gain))
    return (str(one.line), one.commit[:8], *shown, verdict(one), clip(one.description, LONGEST))


def verdict(one: Keep) -> str:
    """What a keep is."""
    if one.same_code:
        return "same code as before: luck"
    return "exceeds the noise" if one.proven else "unproven"


def _noise(one: Imported) -> str:
    if one.freedom == MANY and one.smallest is not None:
        return (
            f"Noise: one run varies by {value(one.metric, one.sd)} (sd, as given); in "
            f"{count(one.attempts, 'attempt')} a gain of more than {value(one.metric, one.smallest)} "
            "comes by luck in at most one history of twenty."
        )
    if not one.groups:
        return (
            "Noise: cannot be inferred, the history repeats nothing; no keep can be told from luck."
        )
    groups = count(one.groups, "repeated code or description", "repeated codes or descriptions")
    if one.sd is None or one.smallest is None:
        return (
            f"Noise: cannot be inferred from {groups}, whose numbers are all equal; "
            "no keep can be told from luck."
        )
    return (
        f"Noise: one run varies by {value(one.metric, one.sd)} (sd, {count(one.freedom, 'degree')} of freedom, "
        f"from {groups}); in {count(one.attempts, 'attempt')} a gain of more than "
        f"{value(one.metric, one.smallest)} comes by luck in at most one history of twenty."
    )


def _keeps(one: Imported) -> list[str]:
    if not one.keeps:
        return ["Keeps: none after the first run."]
    if one.smallest is None:
        return [f"Keeps: {len(one.keeps)} after the first; how many of them are luck is not known."]
    proven = [keep for keep in one.keeps if keep.proven]
    rest = len(one.keeps) - len(proven)
    same = sum(keep.same_code for keep in one.keeps)
    lines = [
        f"Keeps: {len(proven)} of {len(one.keeps)} after the first exceed that noise; "
        f"the other {rest} {'is' if rest == 1 else 'are'} unproven"
        + (f", {same} of them the same code again." if same else ".")
    ]
    for keep in proven[:MOST]:
        what = f"{short(keep.variant_id)}, line {keep.line}: {clip(keep.description, LONGEST)}"
        lines.append(f"Exceeds it: {what} ({better(one.metric, keep.gain)})")
    if len(proven) > MOST:
        lines.append(f"and {len(proven) - MOST} more (evo report lists every keep)")
    return lines
