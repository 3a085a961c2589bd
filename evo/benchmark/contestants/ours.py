"""Ours: the campaign's own search, run by run on a landscape.

The classes are those that `evo run` uses - portfolio, operators, proposer, tally with its posteriors, policy,
leaders' race - and variants are real sources. Only the sandbox is missing.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from pydantic import BaseModel, ConfigDict

from evo.benchmark.contestants.contract import Problem, Wish
from evo.benchmark.contestants.sources import Sources
from evo.benchmark.landscapes.table import Setting, Shown
from evo.benchmark.racing import RUNG, affordable
from evo.campaign.certifying import Certification, CertificationSettings, Decision
from evo.campaign.policy import Policy, PolicySettings
from evo.campaign.tally import Key
from evo.config import Config
from operators.tune import TuneSettings
from population.selection import SelectionSettings
from population.variant import Order, Purpose

# Of the seconds, for the seed beyond its first run: on a table it may cost as much as ten others.
SEED_SHARE = 0.05


class OursSettings(BaseModel):
    """What may differ from the defaults of `evo run`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: PolicySettings = PolicySettings()
    certification: CertificationSettings = CertificationSettings(attempts=0)
    selection: SelectionSettings = SelectionSettings()
    tune: TuneSettings = TuneSettings()
    operators: dict[str, float] = Config.model_fields["operators"].default


NO_PROOF = OursSettings()
WITH_MODEL = {"llm_mutate": 3.0, "llm_crossover": 1.0, "hybrid": 1.0}  # beside those without


class Ours:
    """One campaign as a contestant. Certification costs runs that choose nobody: off unless asked for.

    `asks`: operators with a model take part, too.
    """

    def __init__(
        self,
        problem: Problem,
        rng: np.random.Generator,
        settings: OursSettings = NO_PROOF,
        asks: bool = False,
    ) -> None:
        self._problem, self._policy_settings = problem, settings.policy
        seed = int(rng.integers(2**31))
        weights = {**settings.operators, **(WITH_MODEL if asks else {})}
        model = problem.model if asks else None
        self._sources = Sources(
            problem, seed, weights, settings.selection, model, tune=settings.tune
        )
        self.tally = self._sources.tally
        self.policy = Policy(settings.policy, self.tally, RUNG)
        self.certification = Certification(settings.certification, self.tally, RUNG)
        self.decisions: list[Decision] = []
        self._ready: deque[str] = deque()
        self._order: Order | None = None
        self._spent = 0.0
        self._seconds: dict[str, float] = {}
        self._racing, self._over = False, False

    def ask(self) -> Wish | None:
        """The policy's next duty, in the order of the evaluation lane."""
        self._order = self._search() if not self._search_is_over() else None
        if self._order is None:
            self._order = self._finish()
        if self._order is None:
            return None
        order = self._order
        return Wish(self._sources.settings[order.variant_id], order.block, order.repeat)

    def tell(self, wish: Wish, shown: Shown) -> None:
        """Record the run."""
        assert self._order is not None, "told of a run that was not asked for"
        self._spent += shown.seconds
        self._seconds[self._order.variant_id] = shown.seconds
        self._sources.record(self._order, shown)
        if self._order.purpose is Purpose.SCREEN:
            self._ready.remove(self._order.variant_id)
        if self._order.purpose is Purpose.RACE and self.certification.race is not None:
            self._decide(self.certification.settle(idle=False))

    def recommend(self) -> Setting:
        """The winner of the leaders' race, else the best by belief."""
        front = self.tally.front(RUNG)
        chosen = self.policy.leaders.winner() or (front[0] if front else self.tally.seed_id)
        return self._sources.settings[chosen]

    def recommend_set(self) -> dict[Setting, tuple[float, ...]]:
        """The front and what is believed of it; the seed before there is one."""
        front, names = self.tally.front(RUNG), self._problem.objectives
        found = {one: self.tally.believed(one, RUNG) for one in front or [self.tally.seed_id]}
        return {
            self._sources.settings[one]: tuple(values[name].mean for name in names)
            for one, values in found.items()
        }

    def believed(self) -> float:
        """What it believes of the recommended setting's first objective."""
        (chosen,) = [
            one for one, setting in self._sources.settings.items() if setting == self.recommend()
        ][:1]
        return self.tally.believed(chosen, RUNG)[self._problem.objectives[0]].mean

    def _search_is_over(self) -> bool:
        share, made = 1 - self._policy_settings.held_back, self.tally.last_id()
        spent = self._spent >= self._problem.seconds * share
        return self._over or spent or made >= self._problem.runs * share

    def _search(self) -> Order | None:
        policy = self.policy
        seed = policy.calibrate(self._taken) or policy.reference(self._taken)
        if seed is not None and self._affords_seed():
            return seed
        self._decide(self.certification.begin(at_end=False))
        if pair := self.certification.next_pair(self._taken):
            return pair[0]
        if not self._ready:
            self._propose()
        return policy.search(tuple(self._ready), self._taken)

    def _affords_seed(self) -> bool:
        """Whether one more run of the seed stays within its share; the first always does."""
        seed_id = self.tally.seed_id
        runs = len(self.tally.rows(RUNG, variant_id=seed_id))
        one = self._seconds.get(seed_id, 0.0)  # a setting costs the same each time
        return (runs + 1) * one <= SEED_SHARE * self._problem.seconds

    def _propose(self) -> None:
        """One new child, if the operators find one."""
        child = self._sources.propose()
        if child is None:
            self._over = True
        else:
            self._ready.append(child)

    def _finish(self) -> Order | None:
        """The leaders' race in what is left of the seconds."""
        if self._spent >= self._problem.seconds:
            return None
        if not self._racing:
            self._racing = True
            rule, rest = self._policy_settings, self._problem.seconds - self._spent
            self.policy.leaders = affordable(
                rule.leaders, rule.race_share, rest, self.tally, self._seconds
            )
        begun, order = self.policy.race_leaders(self._taken)
        self._decide(begun)
        return order

    def _decide(self, decision: Decision | None) -> None:
        if decision is not None:
            self.decisions.append(decision)

    def _taken(self, key: Key) -> bool:
        return self.tally.measured(key)
