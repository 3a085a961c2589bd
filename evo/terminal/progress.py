"""A bar for work whose size is known: on a terminal alone, so that a log holds no control characters."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class HowFar(Protocol):
    """How far some work is: bytes on disk, and of text."""

    @property
    def done(self) -> int:
        """Bytes that are read."""
        ...

    @property
    def total(self) -> int:
        """Bytes there are."""
        ...

    @property
    def text_bytes(self) -> int:
        """Bytes of text that are tokens now."""
        ...


@contextmanager
def preparing_bar(
    quiet: bool = False,
) -> Iterator[tuple[Callable[[HowFar], None], Callable[[str], None]]]:
    """What to tell of progress, and what to say in words, both on stderr; nothing of progress when `quiet`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False, markup=False)
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    if quiet or not console.is_terminal:
        yield (lambda far: None), say
        return
    columns = (
        BarColumn(bar_width=28),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("tokens", text="reading", total=None)

        def tell(far: HowFar) -> None:
            bar.update(
                task,
                completed=far.done,
                total=far.total,
                text=f"{far.text_bytes / 1e6:,.0f} MB of text",
            )

        yield tell, lambda text: bar.console.print(text)
