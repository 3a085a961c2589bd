"""Whole campaigns in worlds with a known truth, as Markdown tables: what the search finds, and what it claims.

Runs are drawn instead of trained. The scheduler, its beliefs, its certification and its choice of parents are
those of `evo run`, with parts of them switched off in turn; two rules that are in common use stand beside it.
A level is better when higher; its unit is the sd of one run.

    python benchmarks/simulate_campaigns.py --campaigns 20
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from evo.search.certification import BEGUN, ENDED, POST_PAIRS, Certification, CertificationSettings
from evo.search.ladder import Graduation
from evo.search.ladder_settings import GraduationSettings
from evo.search.scheduler import PolicySettings, Scheduler
from evo.search.synchronous import SynchronousSearch
from population.archive import Direction, Objective
from population.lineage import Lineage
from population.run_history import RunHistory
from population.selection import (
    NEWEST,
    PRIMARY_SHARE,
    TOURNAMENT,
    choose_parents,
    population,
    within_reach,
)
from population.statistics.certification import (
    Noise,
    Rule,
    Verdict,
    normal_noise,
    simulate,
    smallest_gain,
)
from population.statistics.intervals import mean_interval, share_at_most
from population.statistics.posteriors import NO_FAMILY
from population.types import (
    Decision,
    Measurement,
    MeasurementRow,
    Parent,
    Purpose,
    RunRequest,
    Status,
)

BUDGET = 300  # runs of one campaign, all purposes together
RUNG = "simulated"
LEVEL = Objective(name="level", direction=Direction.MAXIMISE)
SIZE = Objective(name="size")
SEED = "0"
Draw = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Regime:
    """What mutations do and how noisy runs are. `shared`: the share of run variance its block explains.

    `growth`: the sd by which a child's size, a second objective to be kept small, differs from its parent's, in
    logarithms, and `price`: by how many run sds a child is the better for each unit that it grows; 0: no sizes.
    """

    name: str
    gaining: float  # share of children that gain
    nothing: float  # share that do nothing
    gain: Draw
    harm_sd: float = 5.0
    shared: float = 0.0
    noise: Draw = lambda rng, n: rng.normal(size=n)
    growth: float = 0.0
    price: float = 0.0


def normal(sd: float) -> Draw:
    return lambda rng, n: rng.normal(0, sd, n)


def t3(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_t(3, n) / math.sqrt(3)


REGIMES = (
    Regime("few gains of 1 sd", 0.05, 0.25, normal(1.0)),
    Regime("the same, blocks explain half", 0.05, 0.25, normal(1.0), shared=0.5),
    Regime("few gains of 0.5 sd", 0.05, 0.25, normal(0.5)),
    Regime("many gains of 0.3 sd", 0.3, 0.3, normal(0.3), harm_sd=2.0, shared=0.5),
    Regime("heavy tails (t3 noise)", 0.05, 0.25, lambda r, n: r.exponential(1, n), noise=t3),
    Regime("no gains at all", 0.0, 0.5, normal(0.0)),
)
FRONTS = (  # worlds with a front: sizes drift, and in the second they pay
    Regime("few gains of 1 sd, sizes drift", 0.05, 0.25, normal(1.0), growth=0.3),
    Regime("the same, size pays 1 sd a unit", 0.05, 0.25, normal(1.0), growth=0.3, price=1.0),
    Regime("few large gains, sizes drift", 0.05, 0.25, normal(10.0), harm_sd=20.0, growth=0.3),
    Regime("many gains of 0.3 sd, sizes drift", 0.3, 0.3, normal(0.3), harm_sd=2.0, growth=0.3),
)


@dataclass
class World:
    """Variants by number with their true levels; every run is counted against the budget."""

    regime: Regime
    rng: np.random.Generator
    budget: int = BUDGET
    levels: list[float] = field(default_factory=lambda: [0.0])
    sizes: list[float] = field(default_factory=lambda: [0.0])  # logarithms, the seed's is 0
    spent: int = 0
    blocks: dict[int, float] = field(default_factory=dict)

    def run(self, variant: int, block: int) -> float:
        """One noisy measurement."""
        self.spent += 1
        shared, rng = self.regime.shared, self.rng
        if block not in self.blocks:
            self.blocks[block] = math.sqrt(shared) * float(rng.normal())
        own = math.sqrt(1 - shared) * float(self.regime.noise(rng, 1)[0])
        return self.levels[variant] + self.blocks[block] + own

    def child(self, parent: int) -> int:
        """A new variant."""
        regime, rng, kind = self.regime, self.rng, self.rng.random()
        if kind < regime.gaining:
            effect = abs(float(regime.gain(rng, 1)[0]))
        elif kind < regime.gaining + regime.nothing:
            effect = 0.0
        else:
            effect = -abs(float(rng.normal(0, regime.harm_sd)))
        grown = regime.growth * float(rng.normal()) if regime.growth else 0.0
        self.levels.append(self.levels[parent] + effect + regime.price * grown)
        self.sizes.append(self.sizes[parent] + grown)
        return len(self.levels) - 1

    @property
    def left(self) -> int:
        return self.budget - self.spent


@dataclass(frozen=True)
class Claim:
    """One claim "this beats that": true gain, published gain, whether the published interval covers it."""

    true_gain: float
    claimed: float
    covered: bool | None


@dataclass(frozen=True)
class Result:
    """One campaign: true gains over the seed of what it vouches for and of its leader, and its claims."""

    gain: float
    leader: float
    claims: tuple[Claim, ...] = ()
    purposes: Mapping[Purpose, int] = field(default_factory=dict)  # runs


# -- Ours: the campaign's own scheduler, history and choice of parents; only runs and operators are drawn.


AS_RUN = PolicySettings(final_blocks=0)  # the truth is known: nothing is left to compare


@dataclass(frozen=True)
class Settings:
    """What is in force; the defaults are those of `evo run`."""

    policy: PolicySettings = AS_RUN
    certification: CertificationSettings = field(default_factory=CertificationSettings)
    tournament: int = TOURNAMENT
    shrunk: bool = True  # False: a variant is believed to be what its runs average to
    primary_share: float = PRIMARY_SHARE
    reach: bool = True  # False: parents may be as far behind as they like


class Campaign:
    """One simulated campaign of `settings` in a world."""

    def __init__(self, world: World, settings: Settings) -> None:
        self.world, self._settings = world, settings
        self._lineage = Lineage()
        self._lineage.add(SEED, ())
        family = self._lineage if settings.shrunk else NO_FAMILY
        objectives = [LEVEL, SIZE] if world.regime.growth else [LEVEL]
        self.history = RunHistory(objectives, SEED, family=family)
        self._search_runs = search_runs(settings, world.budget)
        scheduler = Scheduler(
            settings.policy,
            self.history,
            RUNG,
            Certification(settings.certification, self.history, RUNG),
            Graduation(GraduationSettings(), self.history, self._lineage, [RUNG]),
        )
        self.search = SynchronousSearch(
            scheduler,
            self._propose,
            lambda: world.spent >= self._search_runs,
            lambda request: world.left > 0,
        )

    def play(self) -> Result:
        """The whole campaign."""
        while (request := self.search.next()) is not None:
            self._record(request)
            self.search.tell(request)
        scheduler, levels = self.search.scheduler, self.world.levels
        front = self.history.front(RUNG)
        leader = scheduler.leaders.winner() or (front[0] if front else SEED)
        return Result(
            levels[int(scheduler.certification.champion)],
            levels[int(leader)],
            tuple(self._claims(self.search.decisions)),
            {one: self.history.count(RUNG, one) for one in Purpose},
        )

    def _record(self, request: RunRequest) -> None:
        value = self.world.run(int(request.variant_id), request.block)
        metrics = {LEVEL.name: value, SIZE.name: self.world.sizes[int(request.variant_id)]}
        measurement = Measurement(request, Status.OK, metrics=metrics)
        self.history.add(MeasurementRow(self.history.last_id() + 1, measurement))

    def _propose(self) -> str:
        """A child of a parent that is chosen as the proposer of `evo run` chooses it."""
        able = population(self.history.candidates(RUNG, newest=NEWEST))
        gain, settings = self.history.usual_gain(RUNG, "drawn"), self._settings
        if gain is not None and settings.reach:
            able = within_reach(able, gain)
        chosen = (settings.tournament, settings.primary_share)
        parent = choose_parents(able, 1, self.world.rng, *chosen)[0].variant_id if able else SEED
        child = str(self.world.child(int(parent)))
        self._lineage.add(child, (Parent(parent, "parent"),), "drawn")
        return child

    def _claims(self, decisions: Sequence[Decision]) -> Iterator[Claim]:
        """What was certified, and the runs after it, which are what gets published."""
        blocks: list[int] = []
        for decision in decisions:
            if decision.kind == BEGUN:
                first, rule = decision.detail["first_block"], decision.detail["rule"]
                behind = first + rule["most_pairs"]
                blocks = list(range(behind, behind + self.world.budget))
            elif decision.kind == ENDED and decision.detail["verdict"] == Verdict.CERTIFIED:
                new, old = decision.variant_id, decision.detail["champion"]
                mine, theirs = self._published(new), self._published(old)
                pairs = [mine[b] - theirs[b] for b in blocks if b in mine and b in theirs]
                yield claim(self.world, int(new), int(old), pairs)

    def _published(self, variant_id: str) -> dict[int, float]:
        rows = self.history.rows(RUNG, purposes={Purpose.POST}, variant_id=variant_id)
        return {row.measurement.request.block: row.measurement.metrics[LEVEL.name] for row in rows}


def search_runs(settings: Settings, budget: int) -> int:
    """When the search ends, so that the leaders' race and the last challenge fit into the budget, too."""
    rule = settings.certification
    challenge = 2 * (rule.most_pairs + POST_PAIRS) if rule.attempts else 0
    return int((budget - challenge) * (1 - settings.policy.race_share))


def claim(world: World, new: int, old: int, differences: Sequence[float]) -> Claim:
    truth = world.levels[new] - world.levels[old]
    interval = mean_interval(list(differences))
    mean = float(np.mean(differences)) if differences else math.nan
    return Claim(truth, mean, None if interval is None else interval.holds(truth))


# -- The other rules: keep whatever looks better.


def greedy(world: World, repeats: int = 1) -> Result:
    """Keep a child whose mean over the first blocks is above the incumbent's."""
    best, made = 0, []
    scores = [world.run(0, block) for block in range(repeats)]
    while world.left >= repeats:
        child = world.child(best)
        found = [world.run(child, block) for block in range(repeats)]
        if np.mean(found) > np.mean(scores):
            made.append(claim(world, child, best, np.subtract(found, scores).tolist()))
            best, scores = child, found
    return Result(world.levels[best], world.levels[best], tuple(made))


IN_FORCE = Settings()


def ours(world: World, settings: Settings = IN_FORCE) -> Result:
    return Campaign(world, settings).play()


def certifying(attempts: int) -> Settings:
    return Settings(certification=CertificationSettings(attempts=attempts))


def with_policy(**changes: float) -> Settings:
    return Settings(policy=AS_RUN.model_copy(update=changes))


KEENEST = Settings(tournament=1000)  # the best becomes the parent, always

POLICIES: dict[str, Callable[[World], Result]] = {
    "greedy": greedy,
    "always 3 runs": partial(greedy, repeats=3),
    "ours": ours,
    "ours, one attempt": partial(ours, settings=certifying(1)),
    "ours, many attempts": partial(ours, settings=certifying(6)),
    "ours, plain means": partial(ours, settings=Settings(shrunk=False)),
    "ours, no leaders' race": partial(ours, settings=with_policy(race_share=0)),
    "ours, nothing re-measured": partial(ours, settings=with_policy(remeasure_share=0)),
    "ours, best parents": partial(ours, settings=KEENEST),
}


SHARES = (0.0, 0.5, 0.7, 1.0)  # of the tournaments by the first objective
EVERYONE = "every parent in reach"


def front_table(count: int) -> None:
    """The leader's true gain by `primary_share`, and less that of the default in the same worlds."""
    arms = {f"{share:g}": Settings(primary_share=share) for share in SHARES}
    arms[f"{PRIMARY_SHARE:g}, {EVERYONE}"] = Settings(reach=False)
    print(
        f"{count} campaigns of {BUDGET} runs each with a second objective; the leader's true gain in run sds, "
        f"less that with {PRIMARY_SHARE:g} in the same world, and how many are on the front.\n"
    )
    print(
        "| regime | share of the first objective | gain of the leader | less the default | front |"
    )
    print("|---|---|---|---|---|")
    for regime in FRONTS:
        found = {
            name: [played(regime, one, seed) for seed in range(count)] for name, one in arms.items()
        }
        usual = [gain for gain, _ in found[f"{PRIMARY_SHARE:g}"]]
        for name, results in found.items():
            gains = [gain for gain, _ in results]
            gap = with_interval(np.subtract(gains, usual).tolist()) if gains != usual else ""
            front = np.mean([front for _, front in results])
            print(
                f"| {regime.name} | {name} | {with_interval(gains)} | {gap} | {front:.0f} |",
                flush=True,
            )


def played(regime: Regime, settings: Settings, seed: int) -> tuple[float, int]:
    """One campaign: the true gain of its leader, and the size of its front."""
    campaign = Campaign(World(regime, np.random.default_rng([seed, 2026])), settings)
    return campaign.play().leader, len(campaign.history.front(RUNG))


def campaigns(regime: Regime, policy: str, count: int) -> list[Result]:
    """`count` campaigns in a regime; the same number has the same draws under every policy."""
    return [
        POLICIES[policy](World(regime, np.random.default_rng([seed, 2026])))
        for seed in range(count)
    ]


# -- Tables.


NOISES: dict[str, Noise] = {
    "normal": normal_noise,
    "t with 3 degrees": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
    "skewed for the challenger": lambda rng, shape: rng.exponential(1, shape) - 1,
    "skewed against it": lambda rng, shape: 1 - rng.exponential(1, shape),
    "drift of 0.5 sd a run, ABBA": lambda rng, shape: (
        rng.normal(size=shape) + np.where(np.arange(shape[1]) % 2 == 0, 0.5, -0.5)
    ),
    "a third of pairs at 3 sd": lambda rng, shape: (
        rng.normal(size=shape) * np.where(rng.random(shape) < 1 / 3, 3, 1)
    ),
}


def row(regime: Regime, policy: str, results: Sequence[Result]) -> str:
    made = [one for result in results for one in result.claims]
    false = sum(one.true_gain <= 0 for one in made)
    judged = [one.covered for one in made if one.covered is not None]
    excess = [one.claimed - one.true_gain for one in made if math.isfinite(one.claimed)]
    several = sum(any(c.true_gain <= 0 for c in result.claims) for result in results)
    cells = [
        regime.name,
        policy,
        with_interval([result.gain for result in results]),
        with_interval([result.leader for result in results]),
        f"{len(made) / len(results):.2f}",
        f"{false / len(results):.3f}",
        f"{several / len(results):.3f} (≤ {share_at_most(several, len(results)):.3f})",
        f"{np.mean(excess):+.2f}" if excess else "-",
        f"{np.mean(judged):.2f}" if judged else "-",
    ]
    return "| " + " | ".join(cells) + " |"


def with_interval(values: Sequence[float]) -> str:
    half = 1.96 * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{np.mean(values):.2f} ± {half:.2f}"


def campaign_table(policies: Sequence[str], count: int) -> None:
    print(
        f"{count} campaigns of {BUDGET} runs each; unit: the sd of one run. A promotion is false when "
        "the promoted variant is truly no better.\n"
    )
    print(
        "| regime | policy | true gain | of the leader | promotions | false ones "
        "| campaigns with one (upper 95 %) | claimed - true | coverage of 95 % |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for regime in REGIMES:
        for policy in policies:
            print(row(regime, policy, campaigns(regime, policy, count)), flush=True)


def rule_table(attempts: int) -> None:
    print(
        "One attempt; alpha 0.1 over 10 attempts, 16 pairs, null boundary 0; unit: sd of a pair.\n"
    )
    print("| noise of a pair | type I | power at 1 | at 1.5 | at 2 | pairs at 0 | at 1.5 |")
    print("|---|---|---|---|---|---|---|")
    rule = Rule(attempts=10)
    for name, noise in NOISES.items():
        rng = np.random.default_rng(1)
        found = [simulate(rule, g, 1.0, rng, attempts, noise) for g in (0.0, 1.0, 1.5, 2.0)]
        shares = " | ".join(f"{one.certified:.4f}" for one in found)
        print(f"| {name} | {shares} | {found[0].pairs:.1f} | {found[2].pairs:.1f} |")


def smallest_table(attempts: int) -> None:
    print(
        "Smallest gain certified with 80 % power (null boundary 0; sd of a pair), expected pairs.\n"
    )
    print("| attempts | 4 pairs | 6 | 8 | 12 | 16 |")
    print("|---|---|---|---|---|---|")
    for number in (1, 3, 5, 10, 20):
        cells = []
        for pairs in (4, 6, 8, 12, 16):
            rule = Rule(attempts=number, most_pairs=pairs)
            found = smallest_gain(rule, 1.0, np.random.default_rng(2), attempts=attempts)
            cells.append(f"{found.gain:.2f} ({found.pairs:.1f})" if found else "impossible")
        print(f"| {number} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=100, help="of a policy in a regime")
    parser.add_argument("--policy", choices=POLICIES, action="append", help="only these")
    parser.add_argument("--fronts", action="store_true", help="only by `selection.primary_share`")
    parser.add_argument("--rules", action="store_true", help="the certification rule's tables, too")
    given = parser.parse_args()
    began = time.perf_counter()
    if given.rules:
        rule_table(40_000)
        print()
        smallest_table(4000)
        print()
    if given.fronts:
        front_table(given.campaigns)
        print(f"\n{time.perf_counter() - began:.0f} s")
        return
    campaign_table(given.policy or list(POLICIES), given.campaigns)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
