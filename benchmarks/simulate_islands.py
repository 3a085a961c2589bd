"""Islands and sceptics in worlds with a known truth, as Markdown tables: what they find, and what survives.

Runs are drawn instead of trained, with the scheduler, beliefs, migration and sceptic of `evo run`. Some
children are planted: truly no better than their parent, but flattered on the first blocks, by which a search
chooses.

    python benchmarks/simulate_islands.py --campaigns 100
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from simulate_campaigns import (
    BUDGET,
    LEVEL,
    RUNG,
    SEED,
    Regime,
    World,
    normal,
    search_runs,
    with_interval,
)
from simulate_campaigns import Settings as Play

from evo.search.certification import FLOOR_SHARE, Certification
from evo.search.islands import CHECK_ALPHA, MAX_PAIRS, in_turn
from evo.search.ladder import Graduation
from evo.search.ladder_settings import GraduationSettings
from evo.search.scheduler import Scheduler
from evo.search.synchronous import SynchronousSearch
from population.islands import (
    CHECKED,
    MIGRATED,
    RESTARTED,
    ClaimVerdict,
    Island,
    IslandRole,
    Islands,
    Members,
)
from population.lineage import Lineage
from population.run_history import RunHistory
from population.selection import NEWEST, choose_parents, population, within_reach
from population.statistics.certification import Rule, simulate
from population.types import Measurement, MeasurementRow, Parent, Purpose, RunRequest, Status

FLATTERED_BLOCKS = 3  # the first ones: a child is chosen by them
FLATTERY = 3.0  # sds of one run, half of it to one and a half times
PLANTED = 0.05  # of all children: as many as truly gain
WORLDS = (
    Regime("few gains of 1 sd", 0.05, 0.25, normal(1.0)),
    Regime("few gains of 4 sd", 0.05, 0.25, normal(4.0)),
    Regime("many gains of 1 sd", 0.2, 0.3, normal(1.0)),
    Regime("no gains at all", 0.0, 0.5, normal(0.0)),
)
SCEPTIC = "sceptic"
Shares = Mapping[str, float]


@dataclass
class PlantedWorld(World):
    """A world in which some children only seem to gain."""

    planted: float = PLANTED
    flattered: dict[int, float] = field(default_factory=dict)

    def child(self, parent: int) -> int:
        made = super().child(parent)
        if self.rng.random() < self.planted:
            self.levels[made] = self.levels[parent] - abs(float(self.rng.normal(0, 0.5)))
            self.flattered[made] = FLATTERY * float(self.rng.random() + 0.5)
        return made

    def run(self, variant: int, block: int) -> float:
        more = self.flattered.get(variant, 0.0) if block < FLATTERED_BLOCKS else 0.0
        return super().run(variant, block) + more


@dataclass(frozen=True)
class Outcome:
    """One campaign: true gains over the seed, and of the claims by verdict how many there were and are true."""

    leader: float
    champion: float
    made: Counter[str]
    true: Counter[str]
    decided: Counter[str]
    runs: Counter[str]


class IslandCampaign:
    """One simulated campaign of several populations, or of one where `shares` is empty."""

    def __init__(self, world: World, shares: Shares, play: Play | None = None) -> None:
        self.world, play = world, play or Play()
        self.lineage = Lineage()
        self.lineage.add(SEED, ())
        self.history = RunHistory([LEVEL], SEED, family=self.lineage)
        self.islands = self._islands(shares) if shares else None
        self.made: Counter[str] = Counter()
        limit = search_runs(play, world.budget)
        scheduler = Scheduler(
            play.policy,
            self.history,
            RUNG,
            Certification(play.certification, self.history, RUNG),
            Graduation(GraduationSettings(), self.history, self.lineage, [RUNG]),
            islands=self.islands,
        )
        self.search = SynchronousSearch(
            scheduler,
            self._propose,
            lambda: world.spent >= limit,
            lambda request: world.left > 0,
        )

    def _islands(self, shares: Shares) -> Islands:
        found = []
        for name, share in shares.items():
            members = Members(SEED, self.lineage, set(shares) - {name, SCEPTIC})
            sceptic = name == SCEPTIC
            known = self.history if sceptic else self.history.part([LEVEL], members)
            role = IslandRole.SCEPTIC if sceptic else IslandRole.EXPLORER
            found.append(Island(name, share, known, members, role))
        return Islands(found, self.lineage)

    def play(self) -> Outcome:
        """The whole campaign."""
        while (request := self.search.next()) is not None:
            self._record(request)
            self.search.tell(request)
        scheduler, levels = self.search.scheduler, self.world.levels
        front = self.history.front(RUNG)
        leader = scheduler.leaders.winner() or (front[0] if front else SEED)
        made, true = Counter[str](), Counter[str]()
        for one in self.search.decisions:
            if one.kind == CHECKED:
                made[one.detail["verdict"]] += 1
                gain = levels[int(one.variant_id)] - levels[int(one.detail["against"])]
                true[one.detail["verdict"]] += gain > 0
        return Outcome(
            levels[int(leader)],
            levels[int(scheduler.certification.champion)],
            made,
            true,
            Counter(one.kind for one in self.search.decisions),
            Counter({one.value: self.history.count(RUNG, one) for one in Purpose}),
        )

    def _record(self, request: RunRequest) -> None:
        metrics = {LEVEL.name: self.world.run(int(request.variant_id), request.block)}
        measurement = Measurement(request, Status.OK, metrics=metrics)
        self.history.add(MeasurementRow(self.history.last_id() + 1, measurement))

    def _propose(self) -> str:
        """A child on the island whose turn it is, of a parent as the proposer of `evo run` chooses it."""
        name, known = "", self.history
        if self.islands is not None:
            island = in_turn(self.islands.explorers, self.made)[0]
            name, known = island.name, island.history
            self.made[name] += 1
        able = population(known.candidates(RUNG, newest=NEWEST))
        gain = known.usual_gain(RUNG, "drawn")
        if gain is not None:
            able = within_reach(able, gain)
        parent = choose_parents(able, 1, self.world.rng)[0].variant_id if able else SEED
        child = str(self.world.child(int(parent)))
        seen = self.history.last_id()
        self.lineage.add(child, (Parent(parent, "parent"),), "drawn", name, seen)
        return child


def played(regime: Regime, shares: Shares, count: int, planted: float) -> list[Outcome]:
    """`count` campaigns; the same number has the same draws whatever the shares."""
    return [
        IslandCampaign(
            PlantedWorld(regime, np.random.default_rng([seed, 2026]), planted=planted), shares
        ).play()
        for seed in range(count)
    ]


ARMS: dict[str, Shares] = {
    "one population": {},
    "and a sceptic, 5 %": {"a": 19, SCEPTIC: 1},
    "and a sceptic, 10 %": {"a": 9, SCEPTIC: 1},
    "two islands": {"a": 1, "b": 1},
    "three islands": {"a": 1, "b": 1, "c": 1},
    "three and a sceptic, 10 %": {"a": 3, "b": 3, "c": 3, SCEPTIC: 1},
}


def table(arms: Sequence[str], regimes: Sequence[Regime], count: int, planted: float) -> None:
    print(
        f"{count} campaigns of {BUDGET} runs each; {planted:.0%} of the children are planted. True gains in "
        "sds of one run, less those of one population in the same worlds.\n"
    )
    print(
        "| regime | populations | leader | less one population | champion | less one population "
        "| upheld | of them true | refuted | of them false | migrations, restarts |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for regime in regimes:
        usual = played(regime, {}, count, planted)
        for arm in arms:
            found = usual if not ARMS[arm] else played(regime, ARMS[arm], count, planted)
            print(row(regime, arm, found, usual), flush=True)


def row(regime: Regime, arm: str, found: Sequence[Outcome], usual: Sequence[Outcome]) -> str:
    cells = [regime.name, arm]
    for values, others in (
        ([one.leader for one in found], [one.leader for one in usual]),
        ([one.champion for one in found], [one.champion for one in usual]),
    ):
        less = with_interval(np.subtract(values, others).tolist()) if found is not usual else "-"
        cells += [with_interval(values), less]
    made, true = Counter[str](), Counter[str]()
    for one in found:
        made, true = made + one.made, true + one.true
    upheld, refuted = ClaimVerdict.UPHELD.value, ClaimVerdict.REFUTED.value
    cells += [f"{made[upheld]}", share(true[upheld], made[upheld])]
    cells += [f"{made[refuted]}", share(made[refuted] - true[refuted], made[refuted])]
    moved = sum(one.decided[MIGRATED] for one in found) / len(found)
    again = sum(one.decided[RESTARTED] for one in found) / len(found)
    return "| " + " | ".join([*cells, f"{moved:.1f}, {again:.2f}"]) + " |"


def rule_table(attempts: int) -> None:
    """How often a claim is upheld, by its true gain in sds of one run."""
    rule = Rule(1, 0.0, FLOOR_SHARE, CHECK_ALPHA, MAX_PAIRS)
    print(
        f"One claim in up to {MAX_PAIRS} pairs, upheld at e >= {1 / CHECK_ALPHA:.0f}; gains in run sds.\n"
    )
    print("| true gain | upheld | pairs |")
    print("|---|---|---|")
    for gain in (0.0, 0.5, 1.0, 2.0, 3.0, 4.0):
        found = simulate(rule, gain, sqrt(2), np.random.default_rng(1), attempts)
        print(f"| {gain:g} | {found.certified:.4f} | {found.pairs:.1f} |")


def share(some: int, every: int) -> str:
    """A share with its lower limit at 95 % (Wilson 1927)."""
    if not every:
        return "-"
    p, z = some / every, 1.645
    middle, half = p + z * z / (2 * every), z * sqrt(p * (1 - p) / every + z * z / (4 * every**2))
    return f"{p:.3f} (≥ {(middle - half) / (1 + z * z / every):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=100, help="of an arm in a regime")
    parser.add_argument("--arm", choices=ARMS, action="append", help="only these")
    worlds = {one.name: one for one in WORLDS}
    parser.add_argument("--world", choices=worlds, action="append", help="only these")
    parser.add_argument("--rule", action="store_true", help="only what a sceptic's test can do")
    parser.add_argument("--planted", type=float, default=PLANTED, help="share of the children")
    given = parser.parse_args()
    began = time.perf_counter()
    if given.rule:
        rule_table(40_000)
        return
    chosen = [worlds[name] for name in given.world or worlds]
    table(given.arm or list(ARMS), chosen, given.campaigns, given.planted)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
