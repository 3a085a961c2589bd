"""What merging, pushing and pulling say while they work, and what a merge holds."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from evo.terminal.tables import FAINT, one_line, table_of
from evo.terminal.text import count, placed, words
from population.sharing.merging import MergedSite


@contextmanager
def steps(quiet: bool) -> Iterator[Callable[[str], None]]:
    """What to tell of each step: shown on a terminal while it lasts, on stderr."""
    console = Console(stderr=True, highlight=False, markup=False)
    if quiet or not console.is_terminal:
        yield lambda text: None
        return
    with console.status("...") as line:
        yield lambda text: line.update(words(text))


def tell_merger(
    sites: Sequence[MergedSite],
    rows: Mapping[str, int],
    new: Mapping[str, int],
    waiting: int,
    variants: int,
    certified: Sequence[str],
    resume: str,
    folder: Path | None,
) -> None:
    """Print what a merged campaign holds, and how to go on with it: by `resume`, in `folder` if any."""
    table = table_of(("site", "right"), ("runs", "right"), ("rows are", "left"))
    for head in ("campaign", "host class"):
        table.add_column(head, style=FAINT)
    for one in sites:
        cells = (str(one.number), str(one.measurements), one.vouched.name.lower())
        named = (f"{one.name} {one.campaign[:8]}", one.host_class)
        table.add_row(*map(words, cells), *(one_line(words(text)) for text in named))
    Console(highlight=False, markup=False).print(table)
    print(
        f"{count(variants, 'variant')}, {count(rows['proposal'], 'proposal')}, "
        f"{count(rows['measurement'], 'run')}, {count(rows['note'], 'note')}, "
        f"{count(rows['decision'], 'decision')}; {count(new['measurement'], 'run')} not in the first"
    )
    if waiting:
        print(f"waiting for what they refer to: {count(waiting, 'row')}")
    proven = ", ".join(one[:8] for one in reversed(certified))
    print(f"certified by these rows: {proven or 'nobody'}")
    if folder is not None:
        where = shlex.quote(str(folder))
        print(f"`evo status --dir {where}` shows it")
        print(f"{placed(f'`{resume}`', f' --dir {where}')} goes on from it")
