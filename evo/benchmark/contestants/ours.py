"""Ours: the campaign's own search, run by run on a landscape.

The classes are those that `evo run` uses - portfolio, operators, proposer, run history with its posteriors, the
scheduler with all its duties - and variants are real sources. Only the sandbox and the threads are missing.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from evo.benchmark.contestants.contract import Problem, Wish
from evo.benchmark.contestants.sources import Sources
from evo.benchmark.landscapes.table import Setting, Shown
from evo.benchmark.racing import RUNG, affordable
from evo.config import Config
from evo.search.certification import Certification, CertificationSettings
from evo.search.ladder import Graduation
from evo.search.ladder_settings import GraduationSettings
from evo.search.scheduler import MAX_LEADERS, PolicySettings, Scheduler
from evo.search.synchronous import SynchronousSearch
from operators.operator import Left
from operators.optimisers.optimiser import Method
from operators.tune import PRIMARY_SHARE, TuneSettings
from population.selection import SelectionSettings
from population.types import SEED_ALONE, RunRequest

# Of the seconds, for the seed beyond its first run: on a table it may cost as much as ten others.
SEED_SHARE = 0.05


class OursTuneSettings(TuneSettings):
    """How constants are optimised; where the whole front is judged, for all objectives."""

    primary_share: float = Field(default=PRIMARY_SHARE, ge=0, le=1)


class OursSettings(BaseModel):
    """What may differ from the defaults of `evo run`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: PolicySettings = PolicySettings()
    certification: CertificationSettings = CertificationSettings(attempts=0)
    selection: SelectionSettings = SelectionSettings()
    tune: OursTuneSettings = OursTuneSettings()
    operators: dict[str, float] = Config.model_fields["operators"].default


NO_PROOF = OursSettings()
WITH_MODEL = {"llm_mutate": 3.0, "llm_crossover": 1.0, "hybrid": 1.0}  # beside those without


class Ours:
    """One campaign as a contestant. Certification costs runs that choose nobody: off unless asked for.

    `asks`: operators with a model take part, too. `method`: the optimiser of `tune`, whatever the settings say.
    """

    def __init__(
        self,
        problem: Problem,
        rng: np.random.Generator,
        settings: OursSettings = NO_PROOF,
        asks: bool = False,
        method: Method | None = None,
    ) -> None:
        self._problem, self._policy_settings = problem, settings.policy
        tune = settings.tune.model_copy(update={"method": method or settings.tune.method})
        seed = int(rng.integers(2**31))
        own = problem.edits.operators if problem.edits else settings.operators
        weights = {**own, **(WITH_MODEL if asks else {})}
        model = problem.model if asks else None
        share = 1 - settings.policy.race_share
        budget = Left(problem.seconds * share, problem.runs * share)
        self._sources = Sources(
            problem,
            seed,
            weights,
            settings.selection,
            model,
            tune=tune,
            tune_share=tune.primary_share,
            budget=budget,
        )
        self.history = history = self._sources.history
        scheduler = Scheduler(
            settings.policy.model_copy(update={"final_blocks": 0}),  # the bench compares for itself
            history,
            RUNG,
            Certification(settings.certification, history, RUNG),
            Graduation(GraduationSettings(), history, self._sources.lineage, [RUNG]),
            repeats=self._sources.repeats if tune.method is Method.GP else None,
        )
        self.search = SynchronousSearch(
            scheduler, self._sources.propose, self._is_spent, self._allows, self._begin_racing
        )
        self._request: RunRequest | None = None
        self._spent = 0.0
        self._seconds: dict[str, float] = {}

    def ask(self) -> Wish | None:
        """The scheduler's next run."""
        request = self._request = self.search.next()
        if request is None:
            return None
        return Wish(self._sources.settings[request.variant_id], request.block, request.repeat)

    def tell(self, wish: Wish, shown: Shown) -> None:
        """Record the run."""
        request = self._request
        assert request is not None, "told of a run that was not asked for"
        self._spent += shown.seconds
        self._seconds[request.variant_id] = shown.seconds
        self._sources.record(request, shown)
        self.search.tell(request)

    def recommend(self) -> Setting:
        """The winner of the leaders' race, else the best by belief."""
        return self._sources.settings[self._chosen()]

    def way(self, setting: Setting) -> list[str]:
        """The edits that led from the seed to a setting."""
        return self._sources.way(setting)

    def _chosen(self) -> str:
        front = self.history.front(RUNG)
        return self.search.scheduler.leaders.winner() or (
            front[0] if front else self.history.seed_id
        )

    def recommend_set(self) -> dict[Setting, tuple[float, ...]]:
        """The front and what is believed of it; the seed before there is one."""
        front, names = self.history.front(RUNG), self._problem.objectives
        found = {one: self.history.believed(one, RUNG) for one in front or [self.history.seed_id]}
        return {
            self._sources.settings[one]: tuple(values[name].mean for name in names)
            for one, values in found.items()
        }

    def believed(self) -> float:
        """What it believes of the recommended setting's first objective."""
        return self.history.believed(self._chosen(), RUNG)[self._problem.objectives[0]].mean

    def _is_spent(self) -> bool:
        """Whether the search has had its share of the seconds or of the runs."""
        share, made = 1 - self._policy_settings.race_share, self.history.last_id()
        return self._spent >= self._problem.seconds * share or made >= self._problem.runs * share

    def _allows(self, request: RunRequest) -> bool:
        """Whether the seconds pay for a run: of the seed, before the search is over, only a share of them."""
        if self.search.is_over():
            return request.purpose not in SEED_ALONE and self._spent < self._problem.seconds
        return request.purpose not in SEED_ALONE or self._affords_seed()

    def _affords_seed(self) -> bool:
        """Whether one more run of the seed stays within its share; the first always does."""
        seed_id = self.history.seed_id
        runs = len(self.history.rows(RUNG, variant_id=seed_id))
        one = self._seconds.get(seed_id, 0.0)  # a setting costs the same each time
        return (runs + 1) * one <= SEED_SHARE * self._problem.seconds

    def _begin_racing(self) -> None:
        """The leaders' race gets what is left of the seconds."""
        rule, rest = self._policy_settings, self._problem.seconds - self._spent
        self.search.scheduler.leaders = affordable(
            MAX_LEADERS, rule.race_share, rest, self.history, self._seconds
        )
