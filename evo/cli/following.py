"""A campaign in the foreground: the view beside it, signals, and the way out."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from evo.cli.app import FAILED, STOPPED
from evo.terminal.plainlines import write_line
from evo.terminal.text import placed

if TYPE_CHECKING:
    from evo.analysis.forecast import Plan
    from evo.cli.frames import Frames
    from evo.runtime.campaign import Campaign
    from evo.runtime.components import Ending
    from evo.runtime.monitor import Notice

FIRST = "stopping: the runs under way finish first; once more (Ctrl-C) ends them now"
SECOND = "ending now; what was measured is kept"
FRAMES_A_SECOND = 2  # the slots need the cores


class Follower:
    """Runs one campaign in the main thread, where signals arrive; a view thread looks on."""

    def __init__(
        self,
        campaign: Campaign,
        name: str,
        live: bool,
        to_stderr: bool = False,
        plan: Plan | None = None,
        where: str = "",
    ) -> None:
        self._campaign = campaign
        self._name = name
        self._live = live
        self._plan = plan
        self._where = where  # " --dir FOLDER" for commands to type
        self._out = sys.stderr if to_stderr else sys.stdout
        self._frames: Frames | None = None
        self.asked = 0  # how often a signal asked to stop
        self.signal = 0  # the first that did

    def run(self) -> Ending:
        """Run the campaign to its end, seen."""
        with self._signals(), self._live_view() if self._live else self._plain_lines():
            return self._campaign.run()

    def exit_code(self, ending: Ending) -> int:
        """0 finished, 128 and its number by a signal, 3 stopped early by a person or a guard, 2 failed."""
        if self._campaign.shared.failure:
            return FAILED
        if ending.complete or not self._campaign.parts.stopping.is_set():
            return 0
        return 128 + self.signal if self.signal else STOPPED

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        heeded = [
            one for one in wanted if signal.getsignal(one) is not signal.SIG_IGN
        ]  # nohup stays in force
        before = {one: signal.signal(one, self._stop) for one in heeded}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """A signal handler: it takes no lock that the main thread may hold, so it tells nobody but the view."""
        self.asked += 1
        self.signal = self.signal or number
        if self.asked > 2:
            os._exit(128 + number)  # it does not end: leave; `evo resume` ends what is left
        self._campaign.stop(now=self.asked > 1)
        notice = FIRST if self.asked == 1 else SECOND
        if self._frames is not None:
            self._frames.notice = notice
        else:
            with contextlib.suppress(OSError):
                os.write(2, f"evo: {notice}\n".encode())

    @contextlib.contextmanager
    def _plain_lines(self) -> Iterator[None]:
        listeners, lock = self._campaign.parts.board.listeners, threading.Lock()

        def tell(event: Notice) -> None:
            with lock:
                write_line(self._out, event.at, placed(event.text, self._where))

        listeners.append(tell)
        try:
            yield
        finally:
            listeners.remove(tell)

    @contextlib.contextmanager
    def _live_view(self) -> Iterator[None]:
        from rich.console import Console
        from rich.live import Live

        from evo.cli.frames import Frames
        from evo.terminal.live import draw

        frames = self._frames = Frames(self._campaign, self._name, self._plan)
        console = Console(highlight=False, markup=False, file=self._out)
        view = Live(
            get_renderable=lambda: draw(frames.frame()),
            console=console,
            refresh_per_second=FRAMES_A_SECOND,
            transient=True,
            vertical_overflow="crop",
        )
        with view:
            yield


def say_line(text: str, to_stderr: bool = False) -> None:
    """One line before the view is up."""
    write_line(sys.stderr if to_stderr else sys.stdout, time.time(), text)


def leave(code: int) -> None:
    """End this process although threads of a campaign that was told to end now may still hang."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
