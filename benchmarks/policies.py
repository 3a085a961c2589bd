"""Simulated worlds and the four ways of deciding in them; a level is better when higher, run sd 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from population.statistics.blocks import BlockEffects, block_effects
from population.statistics.certification import Rule, Verdict, decide
from population.statistics.effects import Effects, Observations, child_value, fit, weak_prior
from population.statistics.intervals import mean_interval

Draw = Callable[[np.random.Generator, int], np.ndarray]
FRESH = 10_000  # the first of the blocks that no search run uses


@dataclass(frozen=True)
class Regime:
    """What mutations do and how noisy runs are. `shared`: the share of run variance its block explains."""

    name: str
    gaining: float  # share of children that gain
    nothing: float  # share that do nothing
    gain: Draw
    harm_sd: float = 5.0
    shared: float = 0.0
    noise: Draw = lambda rng, n: rng.normal(size=n)

    @property
    def pair_sd(self) -> float:
        return math.sqrt(2 * (1 - self.shared))


@dataclass
class World:
    """Variants by number with their true levels; every run is counted against the budget."""

    regime: Regime
    rng: np.random.Generator
    budget: int
    levels: list[float] = field(default_factory=lambda: [0.0])
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
        self.levels.append(self.levels[parent] + effect)
        return len(self.levels) - 1

    @property
    def left(self) -> int:
        return self.budget - self.spent


@dataclass(frozen=True)
class Promotion:
    """One claim "this beats that": true gain, published gain, whether the published interval covers it."""

    true_gain: float
    claimed: float
    covered: bool | None


@dataclass(frozen=True)
class Result:
    """One campaign: the true gain of what it recommends over the seed, and its claims on the way."""

    gain: float
    promotions: tuple[Promotion, ...]
    attempts: int = 0


def greedy(world: World, repeats: int = 1) -> Result:
    """Keep a child whose mean over the first blocks is above the incumbent's."""
    best = 0
    scores = [world.run(0, block) for block in range(repeats)]
    made = []
    while world.left >= repeats:
        child = world.child(best)
        found = [world.run(child, block) for block in range(repeats)]
        if np.mean(found) > np.mean(scores):
            made.append(_promotion(world, child, best, np.subtract(found, scores).tolist()))
            best, scores = child, found
    return Result(world.levels[best], tuple(made))


def race_every_winner(world: World, rule: Rule) -> Result:
    """Screen once; every child above the incumbent's screening run is raced before it is kept."""
    best, score, made, attempts, fresh = 0, world.run(0, 0), [], 0, FRESH
    while world.left > 0:
        child = world.child(best)
        found = world.run(child, 0)
        if found <= score or world.left < 2 * rule.most_pairs:
            continue
        attempts += 1
        won, pairs = attempt(world, child, best, rule, fresh)
        fresh += rule.most_pairs
        if won:
            made.append(_promotion(world, child, best, pairs))
            best, score = child, found
    return Result(world.levels[best], tuple(made), attempts)


def attempt(
    world: World, challenger: int, champion: int, rule: Rule, fresh: int
) -> tuple[bool, list[float]]:
    """Pairs on fresh blocks until there is a verdict."""
    pairs: list[float] = []
    while (verdict := decide(pairs, rule).verdict) is Verdict.OPEN:
        block = fresh + len(pairs)
        pairs.append(world.run(challenger, block) - world.run(champion, block))
    return verdict is Verdict.CERTIFIED, pairs


def _promotion(world: World, new: int, old: int, differences: list[float]) -> Promotion:
    truth = world.levels[new] - world.levels[old]
    interval = mean_interval(differences)
    covered = None if interval is None else interval.holds(truth)
    return Promotion(truth, float(np.mean(differences)), covered)


@dataclass
class Ours:
    """Screen once, shrink to the parent, re-measure the believed best, certify seldom and strictly."""

    world: World
    rule: Rule
    power: Callable[[float], float] | None  # of an attempt at a true gain
    remeasure_share: float = 0.2
    most_blocks: int = 6
    every: int = 100  # search runs between attempts at least
    chance: float = 0.9  # of passing, that an attempt before the end needs
    post_pairs: int = 6
    fitted_every: int = 60
    shrunk: bool = True  # False: a variant is believed to be what its runs average to

    def __post_init__(self) -> None:
        self.prior: Effects = weak_prior(1.0)
        self.runs: list[dict[int, float]] = [{b: self.world.run(0, b) for b in range(4)}]
        self.parents = [0]
        self.mean, self.sd = [float(np.mean(list(self.runs[0].values())))], [0.5]
        self.champion, self.attempts, self.fresh = 0, 0, FRESH
        self.blocks, self.run_sd = BlockEffects(), 1.0
        self.promotions: list[Promotion] = []

    def result(self) -> Result:
        """The whole campaign."""
        reserve = 2 * (self.rule.most_pairs + self.post_pairs)
        searched = last = refit = 0
        while self.world.left > reserve or (self.world.left > 0 and self.done):
            self.step(searched)
            searched += 1
            if searched - refit >= self.fitted_every:
                refit = searched
                self.learn()
            if searched - last >= self.every and not self.done and self.likely(self.leader()):
                last = searched
                self.certify(self.leader())
        if not self.done and self.leader() != self.champion:
            self.certify(self.leader())
        return Result(self.world.levels[self.champion], tuple(self.promotions), self.attempts)

    @property
    def done(self) -> bool:
        """Whether no attempt is left, or too few runs for one."""
        needed = 2 * (self.rule.most_pairs + self.post_pairs)
        return self.attempts >= self.rule.attempts or self.world.left < needed

    def leader(self) -> int:
        """The believed best that was measured twice; the champion while there is none."""
        twice = [v for v, runs in enumerate(self.runs) if len(runs) > 1]
        return max(twice, key=lambda v: self.mean[v])

    def step(self, count: int) -> None:
        """One run: a child, or for a fixed share of them one more block for the believed best."""
        if int((count + 1) * self.remeasure_share) > int(count * self.remeasure_share):
            best = sorted(range(len(self.mean)), key=lambda v: -self.mean[v])[:3]
            thin = [v for v in best if len(self.runs[v]) < self.most_blocks]
            if thin:
                chosen = min(thin, key=lambda v: len(self.runs[v]))
                block = len(self.runs[chosen])
                self.runs[chosen][block] = self.world.run(chosen, block)
                self.believe(chosen)
                return
        parent = self.leader()
        child = self.world.child(parent)
        self.runs.append({0: self.world.run(child, 0)})
        self.parents.append(parent)
        self.mean.append(math.nan)
        self.sd.append(math.nan)
        self.believe(child)

    def believe(self, variant: int) -> None:
        """The posterior of a variant, centred on what is believed of its parent."""
        if variant == 0 or not self.shrunk:
            self.mean[variant] = self.level(variant)
            self.sd[variant] = self.run_sd / math.sqrt(len(self.runs[variant]))
            return
        parent, n = self.parents[variant], len(self.runs[variant])
        gain = self.level(variant) - self.mean[parent]
        found = child_value(gain, self.run_sd**2 / n, self.sd[parent] ** 2, self.prior)
        self.mean[variant] = self.mean[parent] + float(found.mean)
        self.sd[variant] = float(found.sd)

    def level(self, variant: int) -> float:
        """The mean of a variant's runs without what blocks are established to do."""
        return float(np.mean(list(self.blocks.taken_off(self.runs[variant]).values())))

    def learn(self) -> None:
        """Fit blocks and prior to all there is, and believe again from the seed down."""
        self.blocks = block_effects(self.runs).centred_on(self.runs[0])
        self.run_sd = self.blocks.rest_sd if self.blocks.established else 1.0
        children = range(1, len(self.runs))
        gains = [self.level(v) - self.mean[self.parents[v]] for v in children]
        noise = self.run_sd**2
        variances = [noise / len(self.runs[v]) + self.sd[self.parents[v]] ** 2 for v in children]
        self.prior = fit(Observations.of(gains, variances), weak_prior(1.0))
        for variant in range(len(self.runs)):
            self.believe(variant)

    def likely(self, challenger: int) -> bool:
        """Whether an attempt is likely enough to pass, given what is believed of both."""
        if challenger == self.champion:
            return False
        gain = self.mean[challenger] - self.mean[self.champion]
        sd = math.hypot(self.sd[challenger], self.sd[self.champion])
        points = np.sqrt(3) * np.array([-1.0, 0.0, 1.0])  # Gauss-Hermite, three points
        assert self.power
        chances = [self.power(gain + sd * float(x)) for x in points]
        return float(np.dot(chances, [1 / 6, 2 / 3, 1 / 6])) > self.chance

    def certify(self, challenger: int) -> None:
        """One attempt, and after a success the runs that get published."""
        self.attempts += 1
        won, pairs = attempt(self.world, challenger, self.champion, self.rule, self.fresh)
        self.fresh += len(pairs)
        if won:
            after = [
                self.world.run(challenger, self.fresh + k)
                - self.world.run(self.champion, self.fresh + k)
                for k in range(self.post_pairs)
            ]
            self.fresh += self.post_pairs
            self.promotions.append(_promotion(self.world, challenger, self.champion, after))
            self.champion = challenger
