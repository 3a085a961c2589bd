"""Certifying a champion: few attempts, late, on paired blocks that neither side has seen.

The champion is the seed until a challenger is proven to gain more than `min_gain` over it. Both runs of a
pair go to one slot back to back, in turn A B and B A, so that a drifting machine favours nobody. What an
attempt may spend is fixed when it starts and recorded as a decision; so is how it ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from population.archive import Objective
from population.metrics import claim_metric
from population.run_history import RunHistory
from population.statistics import NoiseKind, noise_kind
from population.statistics.certification import Attempt as Progress
from population.statistics.certification import Rule, Verdict, decide, e_bh, log_e_path
from population.types import (
    FRESH,
    SITE,
    Decision,
    Estimate,
    Measurement,
    Purpose,
    RunKey,
    RunRequest,
    Status,
)

Taken = Callable[[RunKey], bool]
Pair = tuple[RunRequest, ...]  # both runs, or what is missing of them

BEGUN, ENDED, LEADERS, FINAL = "certification", "verdict", "leaders", "final"  # of decisions
ALPHA = 0.1  # the chance of certifying anything that gains nothing, over all attempts
GAIN_SHARE = 0.25  # of the run sd: the least gain worth proving
LIKELY = 0.9  # chance of passing that makes an attempt before the end worth its runs
DRAWS = 1000
DRAWS_SEED = 7
POST_PAIRS = 4  # run after a champion is certified; only these are published
MIN_BLOCKS = 2  # of the challenger, before it is raced


class CertificationSettings(BaseModel):
    """What proof may cost. Alpha is spent evenly over the attempts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: int = Field(default=2, ge=0, description="0: nothing is certified")
    most_pairs: int = Field(default=16, ge=2)

    def or_default(self) -> CertificationSettings:
        """These settings; where they certify nothing, with as many attempts as by default."""
        if self.attempts:
            return self
        return CertificationSettings(most_pairs=self.most_pairs)


def rule_of(settings: CertificationSettings, run_sd: float) -> Rule:
    """The procedure that these settings put in force where one run varies by `run_sd`."""
    gain, floor = GAIN_SHARE * run_sd, FLOOR_SHARE * run_sd
    return Rule(settings.attempts, gain, floor, ALPHA, settings.most_pairs)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One attempt: who challenges whom, on blocks from which on, under which rule."""

    number: int
    challenger: str
    champion: str
    first_block: int
    rule: Rule


class Certification:
    """The races of one campaign at its proxy. Its state is its decisions and the history's rows."""

    def __init__(
        self,
        settings: CertificationSettings,
        history: RunHistory,
        rung: str,
        decisions: Sequence[Decision] = (),
    ) -> None:
        self._settings = settings
        self._history = history
        self._rung = rung
        self._metric = history.objectives[0]
        self.champion = history.seed_id
        self.certified: list[str] = []
        self.wins: list[tuple[str, str, int]] = []  # challenger, champion, last block of its pairs
        self.race: Challenge | None = None
        self._won: Challenge | None = None  # the last one that ended in proof
        self._begun = 0
        self._raced: set[str] = set()
        self._judged = -1
        self._last_chance: tuple[Any, float] = (None, 0.0)  # what it was found from, and itself
        for decision in decisions:
            self.take(decision)

    def begin(self, at_end: bool, leader: str | None = None) -> Decision | None:
        """A race to start when the leader is worth it: before the end only when it is likely to pass.

        `leader`: who won the race of the leaders; else the best of the front.
        """
        if self.race is not None or self._begun >= self._settings.attempts:
            return None
        if not at_end and self._judged == self._history.last_id():
            return None  # nothing new since the last time
        self._judged = self._history.last_id()
        last = self._begun == self._settings.attempts - 1
        leader = self._challenger(leader)
        if leader is None or (last and not at_end):
            return None
        race = self._race_for(leader)
        if race is None or not (at_end or self._chance(race) >= LIKELY):
            return None
        return Decision(BEGUN, leader, asdict(race) | {"metric": self._metric.name})

    def proven(self) -> frozenset[str]:
        """Who is certified: by a race, or by fresh blocks with e-BH over the front's members."""
        if not self._settings.attempts:  # what an earlier config certified stays so
            return frozenset(self.certified)
        found = proven_members(self._history, self._rung, ALPHA)
        return found | frozenset(self.certified)

    def next_pair(self, taken: Taken) -> Pair:
        """The next pair of the race, for one slot, or what an interruption left of it; empty: none."""
        if self.race is None:
            return ()
        for place in range(self.race.rule.most_pairs):
            pair = self._pair(self.race, place)
            if missing := tuple(request for request in pair if not taken(request.key)):
                return missing
        return ()

    def next_post(self, taken: Taken) -> Pair:
        """The next pair after a success, on the blocks behind the race's: what decided was lucky."""
        if self._won is None:
            return ()
        most = self._won.rule.most_pairs
        for place in range(most, most + POST_PAIRS):
            pair = self._pair(self._won, place, Purpose.POST)
            if missing := tuple(request for request in pair if not taken(request.key)):
                return missing
        return ()

    def settle(self, idle: bool) -> Decision | None:
        """The verdict, once the recorded pairs give one; `idle`: no run of the race will come any more."""
        if self.race is None:
            return None
        race, progress = self.race, self._progress(self.race)
        if progress.verdict is Verdict.OPEN:
            if not idle:
                return None
            progress = replace(progress, verdict=Verdict.EXHAUSTED)
        detail = {"number": race.number, "champion": race.champion, **asdict(progress)}
        return Decision(ENDED, race.challenger, detail)

    def gains(self, race: Challenge) -> list[float]:
        """Champion minus challenger by pair in order, above 0 when the challenger is better."""
        gains = []
        for place in range(race.rule.most_pairs):
            scores = [
                self._score(one, race.first_block + place)
                for one in (race.champion, race.challenger)
            ]
            if None in scores:
                break
            gains.append(scores[0] - scores[1])  # type: ignore[operator]
        return gains

    def take(self, decision: Decision) -> None:
        """A decision counts from now on; other kinds change nothing."""
        if decision.kind == BEGUN:
            detail = dict(decision.detail)
            rule = Rule(**detail.pop("rule"))
            detail.pop("metric", None)
            self.race = Challenge(**detail, rule=rule)
            self._begun = self.race.number
            self._raced.add(self.race.challenger)
        elif decision.kind == ENDED:
            self._crown(decision)

    def _crown(self, decision: Decision) -> None:
        race, self.race = self.race, None
        if decision.detail["verdict"] == Verdict.CERTIFIED:
            self._won = race
            if race is not None:
                last = race.first_block + int(decision.detail.get("pairs", 1)) - 1
                self.wins.append((race.challenger, race.champion, last))
            self.champion = decision.variant_id
            self.certified.append(decision.variant_id)

    def _challenger(self, leader: str | None) -> str | None:
        """The leader, unless it is champion already or had its race: nobody is raced twice."""
        if leader is None:
            front = self._history.front(self._rung)
            leader = next((one for one in front if one != self._history.seed_id), None)
        return leader if leader not in (self.champion, *self._raced) else None

    def _race_for(self, leader: str) -> Challenge | None:
        run_sd = self._run_sd()
        if run_sd is None:
            return None
        rule = rule_of(self._settings, run_sd)
        first = self._history.first_fresh_block(self._rung, (leader, self.champion))
        return Challenge(self._begun + 1, leader, self.champion, first, rule)

    def _run_sd(self) -> float | None:
        if is_deterministic(self._history, self._rung):
            return None
        sd = self._history.noise_sd(self._rung, self._metric.name)
        return sd if sd is not None and math.isfinite(sd) and sd > 0 else None

    def _chance(self, race: Challenge) -> float:
        """The chance that the challenger passes, averaged over what is believed of its gain."""
        mine, champion = (
            self._history.believed(one, self._rung)[self._metric.name]
            for one in (race.challenger, race.champion)
        )
        run_sd = self._run_sd()
        if mine.n < MIN_BLOCKS or run_sd is None:
            return 0.0
        pair_sd = math.sqrt(2) * run_sd
        gain = self._turn * (champion.mean - mine.mean)
        spread = math.hypot(mine.sd, champion.sd) / pair_sd
        known = (race.rule, gain, pair_sd, spread)
        if known != self._last_chance[0]:  # most rows tell nothing of these two
            self._last_chance = known, chance_of(*known)
        return self._last_chance[1]

    @property
    def _turn(self) -> float:
        """1 when lower is better, -1 when higher is."""
        return self._metric.sign

    def _pair(self, race: Challenge, place: int, purpose: Purpose = Purpose.RACE) -> Pair:
        block = race.first_block + place
        first, second = (
            RunRequest(one, self._rung, block, 0, purpose)
            for one in (race.champion, race.challenger)
        )
        return (first, second) if place % 2 == 0 else (second, first)

    def _progress(self, race: Challenge) -> Progress:
        """What the pairs say; a challenger that fails on a block has lost."""
        blocks = range(race.first_block, race.first_block + race.rule.most_pairs)
        rows = self._history.rows(self._rung, purposes={Purpose.RACE})
        for row in rows:
            request, status = row.measurement.request, row.measurement.status
            mine = (
                request.variant_id in (race.challenger, race.champion) and request.block in blocks
            )
            if mine and status is not Status.OK:
                return Progress(len(self.gains(race)), 0.0, Verdict.FUTILE)
        return decide(self.gains(race), race.rule)

    def _score(self, variant_id: str, block: int) -> float | None:
        for row in self._history.rows(self._rung, purposes={Purpose.RACE}, variant_id=variant_id):
            if row.measurement.request.block == block and row.measurement.status is Status.OK:
                return self._turn * claim_value(self._metric, row.measurement)
        return None


def chance_of(rule: Rule, gain: float, pair_sd: float, spread: float) -> float:
    """The chance of passing, simulated; `spread`: the sd of what is believed of the gain, in pair sds."""
    from population.statistics.certification import simulate

    def noise(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
        return rng.normal(size=shape) + spread * rng.normal(size=(shape[0], 1))

    rng = np.random.default_rng(DRAWS_SEED)
    return simulate(rule, gain, pair_sd, rng, DRAWS, noise).certified


def in_a_line(decision: Decision, seed_id: str) -> str:
    """A decision for a person; "" for kinds that others put into words."""
    detail, challenger = decision.detail, decision.variant_id[:8]
    if decision.kind == FINAL:
        return (
            f"final comparison: {challenger} and the seed on blocks from {detail['first_block']} on"
        )
    if decision.kind == LEADERS:
        many, first = len(detail["leaders"]), detail["first_block"]
        return f"race of {many} leaders in up to {detail['runs']} runs, on blocks from {first} on"
    if decision.kind not in (BEGUN, ENDED):
        return ""
    champion = "the seed" if detail["champion"] == seed_id else str(detail["champion"])[:8]
    if decision.kind == BEGUN:
        return f"{challenger} challenges {champion}: up to {detail['rule']['most_pairs']} pairs on fresh blocks"
    pairs = f"{detail['pairs']} pairs, log e {detail['log_e']:.2f}"
    if detail["verdict"] == Verdict.CERTIFIED:
        return f"certified: {challenger} beats {champion} ({pairs})"
    return f"not certified: {challenger} against {champion}, {detail['verdict']} ({pairs})"


# -- Which members of the front are proven on fresh blocks: e-values against the seed, e-BH over the members.
# A member is proven when it beats the seed in at least one objective by more than its box and loses no more
# of the first objective than the stated trade. Only pairs on blocks that chose nobody count: races, the final
# comparison, and what was run after a decision.


FLOOR_SHARE = 0.1  # of the run sd: pairs may not look quieter than that

Found = Mapping[str, Estimate]


def proven_members(
    history: RunHistory, rung: str, alpha: float, trade: float | None = None
) -> frozenset[str]:
    """The front's members that are proven at a false discovery rate of `alpha`.

    `trade`: how much of the first objective may be lost for another one, in its unit; None: one run sd.
    """
    first = history.objectives[0]
    run_sd = history.noise_sd(rung, first.name)
    if is_deterministic(history, rung):
        return frozenset()
    front = [one for one in history.front(rung) if one != history.seed_id]
    if not run_sd or not front:
        return frozenset()
    seed_scores = fresh_scores(history, rung, history.seed_id)
    seed = history.believed(history.seed_id, rung)
    allowed = run_sd if trade is None else trade
    log_e = {}
    for one in front:
        mine = fresh_scores(history, rung, one)
        if mine.keys().isdisjoint(seed_scores):
            log_e[one] = 0.0  # nothing is known of most
            continue
        exact = beats_exactly(history.believed(one, rung), seed, history.objectives[1:])
        boundary = -allowed if exact else first.epsilon
        log_e[one] = log_e_by_site(
            {block: seed_scores[block] - mine[block] for block in mine if block in seed_scores},
            boundary,
            FLOOR_SHARE * run_sd,
        )
    return e_bh(log_e, alpha)


def is_deterministic(history: RunHistory, rung: str) -> bool:
    """Whether two runs of the seed always give the same number: then more runs prove nothing of any gain."""
    seed = history.rows(rung, variant_id=history.seed_id)
    return noise_kind(seed, history.objectives[0].name) is NoiseKind.DETERMINISTIC


def log_e_by_site(gains: Mapping[int, float], boundary: float, sd_floor: float) -> float:
    """As `log_e_of` from gains by block, each campaign's that was merged into this one for itself.

    What a gain is differs from machine to machine, so that pairs of several do not add up to one proof. The
    mean of their e-values is an e-value, too.
    """
    sites: dict[int, list[float]] = {}
    for block in sorted(gains):
        sites.setdefault(block // SITE, []).append(gains[block])
    found = [log_e_of(one, boundary, sd_floor) for one in sites.values()]
    if len(found) < 2:
        return found[0] if found else 0.0
    return float(np.logaddexp.reduce(found)) - math.log(len(found))


def log_e_of(gains: Sequence[float], boundary: float, sd_floor: float) -> float:
    """The log e-value that the true gain is above a boundary, which may be negative; 0 without pairs."""
    if not gains:
        return 0.0
    shifted = [gain - boundary for gain in gains]
    return float(log_e_path(shifted, Rule(attempts=1, sd_floor=sd_floor))[-1])


def beats_exactly(mine: Found, seed: Found, others: Collection[Objective]) -> bool:
    """Whether a variant is better than the seed, by more than the box, in an objective without noise."""
    for one in others:
        if one.name not in mine or one.name not in seed:
            continue
        noise = max(mine[one.name].sd, seed[one.name].sd)
        better_by = one.to_minimise(seed) - one.to_minimise(mine)
        if not noise > 0 and better_by > one.epsilon:
            return True
    return False


def claim_value(objective: Objective, run: Measurement) -> float:
    """What a run scored in the metric that a claim from it rests on."""
    return run.metrics[claim_metric(objective.name, [run])]


def fresh_scores(history: RunHistory, rung: str, variant_id: str) -> dict[int, float]:
    """Scores by fresh block, with the sign that makes lower better; the first run of a block counts."""
    first, scores = history.objectives[0], dict[int, float]()
    for row in history.rows(rung, purposes=FRESH, variant_id=variant_id):
        run = row.measurement
        if run.status is Status.OK and first.name in run.metrics:
            value = claim_value(first, run)
            turned = first.turned(value)
            scores.setdefault(run.request.block, turned)
    return scores
