"""When a campaign ends by its own rule: no certified gain for so long, a target reached, or a time of day.

A rule looks at what rows say and at a clock that is handed in; it ends the search, and what follows a search
(races, certification, final comparison, ladder) is finished as at a used-up budget. That a rule ended it is
recorded as a decision, which holds for as long as the rule is asked in the same words: what is certified at
the end does not begin the search again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from evo.analysis.forecast import RuleProgress
from evo.search.certification import Certification, CertificationSettings
from population.archive import Objective
from population.metrics import label
from population.run_history import RunHistory
from population.types import Decision, DecisionRow, Estimate, MeasurementRow, Purpose

HALTED = "halt"  # the decision that a rule ended the search
NO_GAIN, TARGET, UNTIL = "no_certified_gain_for", "target", "until"
VARIANTS, HOURS = "variants", "hours"
MIN_BLOCKS = 2  # of what reaches a target, where runs are noisy
WITHIN = 1.96  # sds of a belief on either side: its interval of 95 %
CLOCK_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


class StopSettings(BaseModel):
    """When the search ends beside its budgets; the first rule that is fulfilled ends it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    no_certified_gain_for: dict[str, float] = Field(
        default={}, description="variants, hours or both since the last certified gain"
    )
    target: dict[str, float] = Field(default={}, description="by objective; all of one variant")
    until: str | None = Field(default=None, description="the next such local time, as 07:00")

    @field_validator(NO_GAIN, TARGET, mode="before")
    @classmethod
    def _null_is_none(cls, given: Any) -> Any:
        return {} if given is None else given

    @field_validator(NO_GAIN)
    @classmethod
    def _two_numbers(cls, given: dict[str, float]) -> dict[str, float]:
        if unknown := [one for one in given if one not in (VARIANTS, HOURS)]:
            raise ValueError(f"holds variants, hours or both, not {unknown[0]!r}")
        if wrong := [one for one, value in given.items() if not 0 < value < math.inf]:
            raise ValueError(f"{wrong[0]}: should be a number above 0")
        if given.get(VARIANTS, 1) % 1:
            raise ValueError("variants: should be a whole number")
        return given

    @field_validator(TARGET)
    @classmethod
    def _finite(cls, given: dict[str, float]) -> dict[str, float]:
        if wrong := [one for one, value in given.items() if not math.isfinite(value)]:
            raise ValueError(f"{wrong[0]}: should be a finite number")
        return given

    @field_validator(UNTIL)
    @classmethod
    def _time_of_day(cls, given: str | None) -> str | None:
        if given is None:
            return None
        found = CLOCK_TIME.fullmatch(given.strip())
        if found is None:
            raise ValueError('should be a local time of day from 00:00 to 23:59, such as "07:00"')
        return f"{int(found[1]):02d}:{found[2]}"

    @property
    def needs_a_clock(self) -> str:
        """The first key that a clock decides; "" without one."""
        if self.until is not None:
            return f"stop.{UNTIL}"
        return f"stop.{NO_GAIN}.{HOURS}" if HOURS in self.no_certified_gain_for else ""


def next_time(after: float, until: str) -> float:
    """The next such local time of day, both in seconds since the epoch; never `after` itself."""
    hour, minute = map(int, until.split(":"))
    day = datetime.fromtimestamp(after).replace(hour=hour, minute=minute, second=0, microsecond=0)
    while day.timestamp() <= after:
        day += timedelta(days=1)
    return day.timestamp()


@dataclass(frozen=True, slots=True)
class StopState:
    """What the rules look at.

    variants, seconds: children measured, and seconds that the campaign ran, since the last certified gain or
    the start; None: nobody counts seconds here. believed: of the front's members but the seed, the best
    first. now, deadline: seconds since the epoch; None: no clock, no such rule.
    """

    variants: int = 0
    seconds: float | None = None
    has_gained: bool = False
    believed: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    now: float | None = None
    deadline: float | None = None


def progress_of(
    settings: StopSettings, objectives: Sequence[Objective], state: StopState
) -> list[RuleProgress]:
    """How far each rule is that was asked for, the one that ends a search first before the others."""
    found = []
    if settings.target:
        found.append(_target(settings.target, objectives, state))
    if settings.until is not None and state.deadline is not None:
        found.append(_until(settings.until, state))
    since = "since the last certified gain" if state.has_gained else "and none is certified better"
    for name, limit in sorted(settings.no_certified_gain_for.items(), reverse=True):
        spent = state.variants if name == VARIANTS else state.seconds
        if spent is None:
            continue
        used = spent if name == VARIANTS else spent / 3600
        unit = "children" if name == VARIANTS else "hours"
        words = f"{used:.4g} of {limit:g} {unit} {since}"
        rule = f"{NO_GAIN}.{name}"
        found.append(RuleProgress(rule, limit, used >= limit, words, part=min(used / limit, 1.0)))
    return found


def _until(until: str, state: StopState) -> RuleProgress:
    deadline = state.deadline or 0.0
    day = datetime.fromtimestamp(deadline).strftime("%Y-%m-%d %H:%M")
    reached = state.now is not None and state.now >= deadline
    limit = {UNTIL: until, "at": deadline}
    return RuleProgress(UNTIL, limit, reached, f"{day} is past" if reached else f"at {day}")


def _target(
    target: Mapping[str, float], objectives: Sequence[Objective], state: StopState
) -> RuleProgress:
    """Who is believed to be at or beyond all of it, with the whole interval of 95 %."""
    asked = [one for one in objectives if one.name in target]
    limit = dict(target)
    for variant_id, found in state.believed.items():
        if all(_is_beyond(found.get(one.name), one, target[one.name]) for one in asked):
            words = f"{variant_id[:8]} is believed at {_shown(asked, found)}"
            return RuleProgress(TARGET, limit, True, words, variant_id)
    best = next(iter(state.believed.items()), None)
    if best is None:
        return RuleProgress(TARGET, limit, False, "no child is on the front yet")
    words = f"the front's best, {best[0][:8]}, is believed at {_shown(asked, best[1])}"
    return RuleProgress(TARGET, limit, False, words)


def _is_beyond(found: Estimate | None, objective: Objective, target: float) -> bool:
    if found is None or not math.isfinite(found.sd) or (found.sd > 0 and found.n < MIN_BLOCKS):
        return False
    return objective.turned(found.mean) + WITHIN * found.sd <= objective.turned(target)


def _shown(asked: Sequence[Objective], found: Mapping[str, Estimate]) -> str:
    shown = []
    for one in asked:
        if (value := found.get(one.name)) is None:
            shown.append(f"no {label(one.name)}")
        else:
            error = f" ± {WITHIN * value.sd:.3g}" if math.isfinite(value.sd) else ""
            shown.append(f"{label(one.name)} {value.mean:.5g}{error} (n={value.n})")
    return ", ".join(shown)


def reason_of(halt: Decision) -> str:
    """Why a rule ended the search, in words for a person."""
    return f"stop.{halt.detail['rule']}: {halt.detail['words']}"


def way_on(halt: Decision) -> str:
    """What to give `evo resume` so that the search goes on after this rule ended it."""
    rule, limit = str(halt.detail["rule"]), halt.detail["limit"]
    if rule == UNTIL:
        return f"--set stop.{UNTIL}={limit[UNTIL]}"
    if rule == TARGET:
        return f"--set stop.{TARGET}=null"
    return f"--set stop.{rule}={2 * limit:g}"


def last_gain(
    wins: Sequence[tuple[str, str, int]], rows: Sequence[MeasurementRow], as_of: int | None = None
) -> int:
    """The id of the row that settled the last race which certified a gain; 0 without any up to `as_of`.

    `wins`: challenger, champion and last block of each such race (`Certification.wins`).
    """
    best = 0
    for challenger, champion, block in wins:
        ids = [
            row.id
            for row in rows
            if row.measurement.request.purpose is Purpose.RACE
            and row.measurement.request.block == block
            and row.measurement.request.variant_id in (challenger, champion)
        ]
        settled = max(ids, default=0)
        if as_of is None or settled <= as_of:
            best = max(best, settled)
    return best


class StopRules:
    """The rules of one campaign. Their state is the history's rows, its certification and what was recorded.

    `deadline`: the time that `until` means, in seconds since the epoch. `decided`: by earlier
    processes. `gain`: the row of the last gain and the seconds that the campaign had run by then.
    """

    def __init__(
        self,
        settings: StopSettings,
        history: RunHistory,
        certification: Certification,
        rung: str,
        deadline: float | None = None,
        decided: Sequence[Decision] = (),
        gain: tuple[int, float] = (0, 0.0),
    ) -> None:
        self._settings, self._history, self._rung = settings, history, rung
        self._certification = certification
        self._deadline, self._gain = deadline, gain
        halts = [one for one in decided if one.kind == HALTED]
        self.halted = halts[-1] if halts and self._holds(halts[-1]) else None

    def _holds(self, halt: Decision) -> bool:
        """Whether the rule that ended the search is still asked in the same words."""
        settings, rule, limit = self._settings, halt.detail["rule"], halt.detail["limit"]
        if rule == UNTIL:
            return bool(settings.until == limit[UNTIL] and self._deadline == limit["at"])
        if rule == TARGET:
            return bool(settings.target == limit)
        asked = settings.no_certified_gain_for.get(str(rule).rpartition(".")[2])
        return bool(asked == limit)

    @property
    def is_out_of_time(self) -> bool:
        """Whether the time of day ended the search: then not even what waits is measured."""
        return self.halted is not None and self.halted.detail["rule"] == UNTIL

    def note_gain(self, seconds: float) -> tuple[int, float] | None:
        """The row and the seconds of a gain that was certified since the last call, to record; else None."""
        row = self._last_gain(None)
        if row == self._gain[0]:
            return None
        self._gain = (row, seconds)
        return self._gain

    def next(
        self, now: float | None = None, seconds: float | None = None, as_of: int | None = None
    ) -> Decision | None:
        """The decision that ends the search now, made once; None while no rule is fulfilled.

        now: since the epoch; seconds: that the campaign has run; None where there is no clock. as_of: the last
        row that may count, for campaigns that make the same rows again.
        """
        if self.halted is not None or self._settings == StopSettings():
            return None
        for one in self.progress(now, seconds, as_of):
            if one.is_reached:
                detail = {"rule": one.rule, "limit": one.limit, "words": one.words}
                self.halted = Decision(HALTED, one.variant_id or self._history.seed_id, detail)
                return self.halted
        return None

    def progress(
        self, now: float | None, seconds: float | None, as_of: int | None = None
    ) -> list[RuleProgress]:
        """How far each rule is, as `next` sees it."""
        state = self._state(now, seconds, as_of)
        return progress_of(self._settings, self._history.objectives, state)

    def _state(self, now: float | None, seconds: float | None, as_of: int | None) -> StopState:
        gained = self._last_gain(as_of)
        screens = self._history.rows(self._rung, as_of, {Purpose.SCREEN})
        ran = None if seconds is None else seconds - (self._gain[1] if gained else 0.0)
        believed: dict[str, Mapping[str, Estimate]] = {}
        if self._settings.target:
            believed = {
                one: self._history.believed(one, self._rung, as_of)
                for one in self._history.front(self._rung, as_of)
                if one != self._history.seed_id
            }
        counted = sum(row.id > gained for row in screens)
        return StopState(counted, ran, gained > 0, believed, now, self._deadline)

    def _last_gain(self, as_of: int | None) -> int:
        wins = self._certification.wins
        if not wins:
            return 0
        rows = self._history.rows(self._rung, as_of, {Purpose.RACE})
        return last_gain(wins, rows, as_of)


def progress_so_far(
    settings: StopSettings,
    objectives: Sequence[Objective],
    seed_id: str,
    rows: Sequence[MeasurementRow],
    believed: Mapping[str, Mapping[str, Estimate]],
    decided: Sequence[DecisionRow],
    now: float,
    deadline: float | None,
    seconds: float,
) -> list[RuleProgress]:
    """How far each rule is, for those who only read: `rows` of the proxy, `believed` of its front.

    `seconds`: that the campaign has run since its last certified gain. What ended it is told as it was then.
    """
    seen = [Decision(one.kind, one.variant_id or "", dict(one.detail)) for one in decided]
    history = RunHistory(objectives, seed_id)
    proof = Certification(CertificationSettings(), history, "", seen)
    gained = last_gain(proof.wins, rows)
    screens = [row.id for row in rows if row.measurement.request.purpose is Purpose.SCREEN]
    others = {one: found for one, found in believed.items() if one != seed_id}
    counted = sum(one > gained for one in screens)
    state = StopState(counted, seconds, gained > 0, others, now, deadline)
    found = progress_of(settings, objectives, state)
    halted = StopRules(settings, history, proof, "", deadline, seen).halted
    if halted is None:
        return found
    told = RuleProgress(
        str(halted.detail["rule"]), halted.detail["limit"], True, str(halted.detail["words"])
    )
    return [told, *(one for one in found if one.rule != told.rule)]
