"""What waits for a person's word, on one screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from evo.analysis.waiting import PromotionCost, PromotionEvidence
from evo.terminal import sentences
from evo.terminal.numbers import count, duration
from evo.terminal.tables import FAINT, pairs
from evo.terminal.text import plain, short, words


def waiting_screen(waiting: Sequence[PromotionEvidence], where: str = "") -> RenderableType:
    """Each step that waits with its evidence, and what to type; `where`: " --dir FOLDER"."""
    if not waiting:
        return Text("Nothing waits for your word.")
    verb = "waits" if len(waiting) == 1 else "wait"
    parts: list[RenderableType] = [
        Text(f"{count(len(waiting), 'step')} up the ladder {verb} for your word.", "bold")
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
    rows.append(("parameters", scale))
    rows.append(("cost", cost(one.cost)))
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
