"""Ours without a language model: the campaign's own search, run by run on a landscape.

The classes are those that `evo run` uses - portfolio, operators, proposer, tally with its posteriors, policy,
leaders' race - and variants are real sources whose knobs are the landscape's dials. Only the sandbox is
missing, and the store lies in memory.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from pydantic import BaseModel, ConfigDict

from evo.benchmark.contestants.contract import Problem, Wish
from evo.benchmark.landscapes.table import Dial, Setting, Shown
from evo.benchmark.racing import RUNG, affordable
from evo.campaign.certifying import Certification, CertificationSettings, Decision
from evo.campaign.policy import Policy, PolicySettings
from evo.campaign.proposing import Proposer
from evo.campaign.scenes import Surroundings
from evo.campaign.tally import Key, Tally
from evo.config import Config
from operators.portfolio import Portfolio
from operators.registry import build_operators
from operators.source.knobs import read_knobs
from population.archive import Objective
from population.fingerprint import fingerprint
from population.lineage import Lineage
from population.reading import variant_by_fingerprint
from population.records import Measured
from population.selection import SelectionSettings
from population.store import Store
from population.variant import (
    Measurement,
    Order,
    Outcome,
    Proposal,
    Purpose,
    Status,
    Variant,
    variant_id,
)

MOST_FAILED = 50  # proposals in a row without a new child, before the search is over
# Of the seconds, for the seed beyond its first run: on a table it may cost as much as ten others.
SEED_SHARE = 0.05


class OursSettings(BaseModel):
    """What may differ from the defaults of `evo run`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: PolicySettings = PolicySettings()
    certification: CertificationSettings = CertificationSettings(attempts=0)
    selection: SelectionSettings = SelectionSettings()
    operators: dict[str, float] = Config.model_fields["operators"].default


NO_PROOF = OursSettings()


class Ours:
    """One campaign as a contestant. Certification costs runs that choose nobody: off unless asked for."""

    def __init__(
        self, problem: Problem, rng: np.random.Generator, settings: OursSettings = NO_PROOF
    ) -> None:
        self._problem, self._policy_settings = problem, settings.policy
        source = source_of(problem.dials, problem.start)
        root = Variant(variant_id(source), source, fingerprint(source))
        self._store, self._lineage = _Kept.in_memory(), Lineage()
        self._settings = {root.id: problem.start}
        self._enter(Proposal(1, "seed", (), Outcome.VARIANT, variant=root, idea="the seed"))
        objectives = [Objective(name=one) for one in problem.objectives]
        self.tally = Tally(objectives, root.id, family=self._lineage)
        weights = settings.operators
        self._proposer = Proposer(
            Portfolio(build_operators(weights), weights),
            self.tally,
            self._lineage,
            settings.selection,
            lambda: self._store,
            lambda source: None,
            Surroundings(int(rng.integers(2**31)), "", RUNG, "a recorded table"),
        )
        self.policy = Policy(settings.policy, self.tally, RUNG)
        self.certification = Certification(settings.certification, self.tally, RUNG)
        self.decisions: list[Decision] = []
        self._ready: deque[str] = deque()
        self._order: Order | None = None
        self._spent = 0.0
        self._seconds: dict[str, float] = {}
        self._proposals, self._racing, self._over = 1, False, False

    def ask(self) -> Wish | None:
        """The policy's next duty, in the order of the evaluation lane."""
        self._order = self._search() if not self._search_is_over() else None
        if self._order is None:
            self._order = self._finish()
        if self._order is None:
            return None
        order = self._order
        return Wish(self._settings[order.variant_id], order.block, order.repeat)

    def tell(self, wish: Wish, shown: Shown) -> None:
        """Record the run."""
        assert self._order is not None, "told of a run that was not asked for"
        metrics = dict(zip(self._problem.objectives, shown.values, strict=True))
        measurement = Measurement(
            self._order, Status.OK, metrics=metrics, wall_seconds=shown.seconds
        )
        self._spent += shown.seconds
        self._seconds[self._order.variant_id] = shown.seconds
        self.tally.add(Measured(self._store.add_measurement(measurement), measurement))
        if self._order.purpose is Purpose.SCREEN:
            self._ready.remove(self._order.variant_id)
        if self._order.purpose is Purpose.RACE and self.certification.race is not None:
            self._decide(self.certification.settle(idle=False))

    def recommend(self) -> Setting:
        """The winner of the leaders' race, else the best by belief."""
        front = self.tally.front(RUNG)
        chosen = self.policy.leaders.winner() or (front[0] if front else self.tally.seed_id)
        return self._settings[chosen]

    def recommend_set(self) -> dict[Setting, tuple[float, ...]]:
        """The front and what is believed of it; the seed before there is one."""
        front, names = self.tally.front(RUNG), self._problem.objectives
        found = {one: self.tally.believed(one, RUNG) for one in front or [self.tally.seed_id]}
        return {
            self._settings[one]: tuple(values[name].mean for name in names)
            for one, values in found.items()
        }

    def believed(self) -> float:
        """What it believes of the recommended setting's first objective."""
        (chosen,) = [one for one, setting in self._settings.items() if setting == self.recommend()][
            :1
        ]
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
        for _ in range(MOST_FAILED):
            self._proposals += 1
            proposal = self._proposer.propose(self._proposals, None)
            variant = proposal.variant
            if variant is not None and proposal.outcome is Outcome.VARIANT:
                setting = setting_of(self._problem.dials, variant.source)
                if variant_by_fingerprint(self._store, variant.fingerprint) is None:
                    self._settings[variant.id] = setting
                    self._enter(proposal)
                    self._ready.append(variant.id)
                    return
        self._over = True

    def _enter(self, proposal: Proposal) -> None:
        assert proposal.variant is not None
        self._store.add_proposal(proposal)
        self._lineage.add(proposal.variant.id, proposal.parents, proposal.operator)

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


class _Kept(Store):
    """A store that stays open when a proposal is done with it."""

    def close(self) -> None:
        """Nothing: it lives as long as its contestant."""


def source_of(dials: tuple[Dial, ...], setting: Setting) -> str:
    """A source whose knobs are these dials: numbers by their place, names as choices."""
    lines = []
    for dial, at in zip(dials, setting, strict=True):
        if dial.ordered:
            lines.append(f"{_name(dial)} = {at}  # knob: int 0 {len(dial.choices) - 1}")
        else:
            lines.append(f'{_name(dial)} = "{dial.choices[at]}"  # knob: choice {_words(dial)}')
    return "\n".join([*lines, ""])


def setting_of(dials: tuple[Dial, ...], source: str) -> Setting:
    """The setting that a source's knobs stand for."""
    values = {knob.name: knob.value for knob in read_knobs(source)}
    return tuple(
        int(values[_name(dial)]) if dial.ordered else dial.choices.index(values[_name(dial)])
        for dial in dials
    )


def _name(dial: Dial) -> str:
    return dial.name.upper()


def _words(dial: Dial) -> str:
    return " ".join(map(str, dial.choices))
