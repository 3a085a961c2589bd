"""Early stopping: decided in the shadow for every child, and only acted on once it is shown to be safe.

A child's loss is compared with finished children of the same schedule. What it reports is not verified: a
low lie only keeps it from being stopped, it earns no score; and a curve is a yardstick for others only where
its end agrees with the sealed score as the seed's does.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict

from operators.source.parse import lines_of
from population.parsing import parse
from population.statistics.stopping import (
    AUDIT_SHARE,
    WOULD_STOP,
    Safety,
    Shadow,
    safety,
    would_stop,
)
from population.types import CurvePoint, Decision, Measurement, Purpose, Status

CURVES_KNOWN = 200  # runs whose curves are read again when a campaign goes on
PEERS = 40  # finished runs of a schedule to compare with, the newest
AGREES = 0.25  # how far a curve's end over its score may be from the seed's, as a share


class StoppingSettings(BaseModel):
    """Early stopping on learning curves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["off", "shadow", "on"] = "shadow"


@dataclass(slots=True)
class Following:
    """One run under way: where it would have been stopped, and why it has to end now ("" while it need not)."""

    peers: Sequence[Sequence[CurvePoint]]
    acts: bool
    curve: list[CurvePoint] = field(default_factory=list)
    at: float | None = None
    reason: str = ""

    def hear(self, point: CurvePoint) -> None:
        """The run told a loss."""
        self.curve.append(point)
        if self.at is None and (at := would_stop(self.curve, self.peers)) is not None:
            self.at = at
            if self.acts:
                self.reason = f"stopped at {at:.0%}: its loss is above its peers' median"


class EarlyStopping:
    """The rule's memory: curves to compare with, and how those ended that it would have stopped.

    `metric` is the first objective; `turned` makes it something to minimise. Not thread-safe.
    """

    def __init__(
        self,
        settings: StoppingSettings,
        seed_id: str,
        metric: str,
        turned: Callable[[float], float],
        source_of: Callable[[str], str],
        decided: Sequence[Decision] = (),
    ) -> None:
        self._mode, self._seed_id, self._metric, self._turned = (
            settings.mode,
            seed_id,
            metric,
            turned,
        )
        self._source_of = source_of
        self._peers: dict[str, deque[tuple[CurvePoint, ...]]] = defaultdict(
            lambda: deque(maxlen=PEERS)
        )
        self._seed_ratios: list[float] = []
        self._would = {one.variant_id for one in decided if one.kind == WOULD_STOP}
        self._ended: list[Shadow] = []

    def follow(self, variant_id: str, purpose: Purpose) -> Following | None:
        """Something to hear the curve of a run; None where nothing is compared."""
        if self._mode == "off" or purpose is not Purpose.SCREEN:
            return None
        schedule = schedule_of(self._source_of(variant_id))
        peers = tuple(self._peers[schedule]) if schedule is not None else ()
        acts = self._mode == "on" and self.safety().may_stop and not _audited(variant_id)
        return Following(peers, acts)

    def take_in(self, run: Measurement, followed: Following | None) -> Decision | None:
        """A run ended: what to record of it. Call it for every run in the order of recording."""
        request = run.request
        if self._mode == "off" or run.status is not Status.OK or self._metric not in run.metrics:
            return None
        score = self._turned(run.metrics[self._metric])
        if request.variant_id == self._seed_id and request.purpose is Purpose.CALIBRATE:
            self._take_ratio(run)
        if request.purpose is not Purpose.SCREEN:
            return None
        stopped = followed is not None and followed.at is not None
        stopped = stopped or request.variant_id in self._would
        self._ended.append(Shadow(stopped, score))
        if run.curve and self._agrees(run):
            schedule = schedule_of(self._source_of(request.variant_id))
            if schedule is not None:
                self._peers[schedule].append(tuple(run.curve))
        if not stopped or request.variant_id in self._would or followed is None:
            return None
        self._would.add(request.variant_id)
        saved = (1 - (followed.at or 0.0)) * run.train_wall_seconds
        detail = {
            "progress": followed.at,
            "score": run.metrics[self._metric],
            "saves_seconds": saved,
        }
        return Decision(WOULD_STOP, request.variant_id, detail)

    def safety(self) -> Safety:
        """What the would-be stops show so far."""
        return safety(self._ended)

    def _take_ratio(self, run: Measurement) -> None:
        if run.curve:
            self._seed_ratios.append(run.curve[-1].loss / run.metrics[self._metric])

    def _agrees(self, run: Measurement) -> bool:
        """Whether the end of its curve fits its sealed score as the seed's does."""
        if not self._seed_ratios:
            return False
        expected = median(self._seed_ratios)
        told = run.curve[-1].loss / run.metrics[self._metric]
        return abs(told - expected) <= AGREES * abs(expected)


def _audited(variant_id: str) -> bool:
    """Whether this one is run to its end although it would be stopped: a tenth, always the same."""
    return int(variant_id[:8], 16) < AUDIT_SHARE * 2**32


# -- Which variants share a schedule: their curves can be compared at equal progress, others' cannot.
# The schedule is what stands in the section of train.py whose banner names it, and the values of the
# constants in capitals that it reads. A file without such a section has no schedule to compare.


_RULE = re.compile(r"^# [=\-#]{20,}\s*$")
_TITLE = re.compile(r"^#.*\bschedule\b", re.IGNORECASE)


def schedule_of(source: str) -> str | None:
    """A digest that is the same where section and constants are; None without a section, or unparsable."""
    lines = _section(lines_of(source))
    if lines is None:
        return None
    try:
        tree = parse(source)
        return _digest(tree, *lines)
    except (
        SyntaxError,
        ValueError,
    ):  # ValueError: a whole number of more digits than Python writes
        return None


def _digest(tree: ast.Module, first: int, last: int) -> str | None:
    inside = [node for node in tree.body if first <= node.lineno <= last]
    if not inside:
        return None
    read = {name for node in inside for name in _constants(node)}
    values = {
        target.id: ast.dump(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in read
    }
    parts = [*(ast.dump(node) for node in inside), *(f"{k}={values[k]}" for k in sorted(values))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _section(lines: list[str]) -> tuple[int, int] | None:
    """First and last line of the section, counted from 1: from its banner to the next one."""
    rules = [at for at, line in enumerate(lines) if _RULE.match(line)]
    ruled = set(rules)
    banners = [
        at for at in rules if at + 2 in ruled or (at + 2 < len(lines) and at + 1 not in ruled)
    ]
    titled = [at for at in banners if at + 1 < len(lines) and _TITLE.match(lines[at + 1])]
    if len(titled) != 1:
        return None
    following = [at for at in rules if at > titled[0] + 2]
    return titled[0] + 1, following[0] if following else len(lines)


def _constants(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and one.id.isupper():
            yield one.id
