"""What a free slot does next: one explicit policy, duty after duty, first match wins.

calibrate   the seed on its first blocks, so that everything after has something to stand on
reference   the seed on block 0 once more, whenever enough runs were made since the last time
remeasure   a front member thin in n, while re-measuring is behind its share of the runs ...
screen      ... else a new child on block 0
race        after the search: the leaders on fresh blocks, the worse half leaving round after round
final       then the winner and the seed side by side on blocks that chose nobody
graduate    the picks and the seed at the next rungs
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from evo.campaign.certifying import FINAL, Decision
from evo.campaign.final_race import FinalRace
from evo.campaign.tally import Key, Tally, key_of
from population.variant import Clock, Order, Purpose, Rung

Taken = Callable[[Key], bool]

SEARCHED = (Purpose.SCREEN, Purpose.REMEASURE, Purpose.RACE)
FIRST_REFERENCE = 1000  # repeats of block 0 from here on are references
SEED_SHARE = 0.25  # of the runs that a budget of seconds holds: more may not go to the seed before the search
LEAST_SEED_RUNS = 2  # the seed on two blocks: without them nothing is known of the noise
MOST_ATTEMPTS = 3  # a run that our own machine lost this often is given up


class PolicySettings(BaseModel):
    """Shares of the evaluation slots."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed_blocks: int = Field(default=4, ge=1, description="blocks the seed is measured on first")
    seed_repeats: int = Field(
        default=2,
        ge=0,
        description="further runs of it on block 0; in all at most a quarter of `budget.seconds`, but two",
    )
    remeasure_share: float = Field(default=0.2, ge=0, lt=1, description="of the search's runs")
    most_blocks: int = Field(default=6, ge=1, description="re-measure a front member up to here")
    reference_every: int = Field(default=20, ge=0, description="runs between references; 0: none")
    race_share: float = Field(
        default=0.1, ge=0, lt=1, description="of the search's runs, held back for the leaders' race"
    )
    leaders: int = Field(default=6, ge=0, description="in that race at most; 0 or 1: no race")
    final_blocks: int = Field(
        default=3, ge=0, description="fresh blocks for leader and seed at the end"
    )

    @property
    def held_back(self) -> float:
        """The share of the search's runs that the leaders' race gets."""
        return self.race_share if self.leaders > 1 else 0.0


class Policy:
    """The duties of a free slot at the proxy rung; `taken` says which runs are recorded or under way."""

    def __init__(
        self,
        settings: PolicySettings,
        tally: Tally,
        rung: str,
        calibrations: Sequence[Order] | None = None,
        decided: Sequence[Decision] = (),
        seed_runs: int | None = None,
    ) -> None:
        """`calibrations` in the place of the settings' own, of which only the first `seed_runs` are made."""
        self._settings = settings
        self._tally = tally
        self._rung = rung
        self.leaders = FinalRace(settings.leaders, settings.held_back, tally, rung, decided)
        finals = [one for one in decided if one.kind == FINAL]
        self._final = finals[-1] if finals else None
        own = self._default_calibrations()[:seed_runs]
        self._calibrations = own if calibrations is None else calibrations

    def calibrate(self, taken: Taken) -> Order | None:
        """The seed's next calibration run."""
        return self._first_free(self._calibrations, taken)

    def calibrated(self) -> bool:
        """Whether every calibration run is recorded or given up."""
        keys = [key_of(order) for order in self._calibrations]
        return all(self._tally.measured(key) or given_up(self._tally, key) for key in keys)

    def _default_calibrations(self) -> list[Order]:
        """The seed once on each of its blocks, then again on the first: noise across and within."""
        keys = [(block, 0) for block in range(self._settings.seed_blocks)]
        keys += [(0, 1 + again) for again in range(self._settings.seed_repeats)]
        seed_id = self._tally.seed_id
        return [Order(seed_id, self._rung, *key, Purpose.CALIBRATE) for key in keys]

    def reference(self, taken: Taken) -> Order | None:
        """The seed on block 0 once more when enough runs were made since the last time."""
        every = self._settings.reference_every
        made = sum(self._tally.count(self._rung, one) for one in SEARCHED)
        due = made // every if every else 0
        orders = [
            Order(self._tally.seed_id, self._rung, 0, FIRST_REFERENCE + k, Purpose.REFERENCE)
            for k in range(due)
        ]
        return self._first_free(orders[-1:], taken)

    def search(self, ready: Sequence[str], taken: Taken) -> Order | None:
        """Re-measure the front while that is behind its share, else screen the oldest waiting child."""
        screens = self._tally.count(self._rung, Purpose.SCREEN)
        remeasures = self._tally.count(self._rung, Purpose.REMEASURE)
        share = self._settings.remeasure_share
        if remeasures + 1 <= share * (screens + remeasures + 1):
            order = self.remeasure(taken)
            if order is not None:
                return order
        for variant_id in ready:
            order = Order(variant_id, self._rung, 0, 0, Purpose.SCREEN)
            if not taken(key_of(order)):
                return order
        return None

    def remeasure(self, taken: Taken) -> Order | None:
        """The front member with the fewest blocks, on its next one; ties go to the better score."""
        thin = []
        for place, variant_id in enumerate(self._tally.front(self._rung)):
            blocks = set(self._tally.blocks(variant_id, self._rung))
            block = next(b for b in range(len(blocks) + 1) if b not in blocks)
            order = Order(variant_id, self._rung, block, 0, Purpose.REMEASURE)
            if len(blocks) < self._settings.most_blocks and not taken(key_of(order)):
                thin.append((len(blocks), place, order))
        return min(thin, key=lambda item: item[:2])[2] if thin else None

    def race_leaders(self, taken: Taken) -> tuple[Decision | None, Order | None]:
        """The leaders' race, begun once a search: what to record of it, and its next run."""
        screens = self._tally.rows(self._rung, purposes={Purpose.SCREEN})
        searched = sum(self._tally.count(self._rung, one) for one in SEARCHED)
        begun = self.leaders.begin(searched, screens[-1].id) if screens else None
        return begun, self.leaders.next_order(taken)

    def begin_final(self, champion: str) -> Decision | None:
        """Fix whom the final comparison is about, once the search is over: champion, else leader.

        A search that went on since the last one asks for another.
        """
        front, seed_id = self._tally.front(self._rung), self._tally.seed_id
        leader = self.leaders.winner() or next((one for one in front if one != seed_id), None)
        subject = champion if champion != seed_id else leader
        if subject is None or not self._settings.final_blocks or not self._is_outdated():
            return None
        used = [
            block for one in (subject, seed_id) for block in self._tally.blocks(one, self._rung)
        ]
        detail = {"first_block": max(used) + 1, "seen": self._tally.last_id()}
        self._final = Decision(FINAL, subject, detail)
        return self._final

    def _is_outdated(self) -> bool:
        if self._final is None:
            return True
        screens = self._tally.rows(self._rung, purposes={Purpose.SCREEN})
        return bool(screens) and screens[-1].id > self._final.detail["seen"]

    def final(self, taken: Taken) -> Order | None:
        """The next run of the final comparison, in turn (A B B A ...) on blocks new to both."""
        if self._final is None:
            return None
        orders, seed_id, subject = [], self._tally.seed_id, self._final.variant_id
        for place in range(self._settings.final_blocks):
            pair = (seed_id, subject) if place % 2 == 0 else (subject, seed_id)
            block = self._final.detail["first_block"] + place
            orders += [Order(one, self._rung, block, 0, Purpose.FINAL) for one in pair]
        return self._first_free(orders, taken)

    def _first_free(self, orders: Sequence[Order], taken: Taken) -> Order | None:
        return next((order for order in orders if not taken(key_of(order))), None)


def seed_runs(
    settings: PolicySettings, seconds: float | None, slots: int, run_seconds: float
) -> int:
    """How many runs measure the seed before the search: what the settings want and the seconds can bear.

    `seconds`: the campaign's budget, None for no limit; `run_seconds`: of one run, 0 where it is not known.
    """
    wanted = settings.seed_blocks + settings.seed_repeats
    if seconds is None or not run_seconds:
        return wanted
    able = int(SEED_SHARE * seconds * slots / run_seconds)
    return min(wanted, max(able, LEAST_SEED_RUNS))


def run_seconds(rung: Rung) -> float:
    """What a run takes from start to the end of its training; 0 where the clock counts tokens."""
    return 0.0 if rung.clock is Clock.TOKENS else rung.startup_seconds + rung.budget


def given_up(tally: Tally, key: Key) -> bool:
    """Whether a run was lost so often that it is not tried again."""
    return tally.attempts(key) >= MOST_ATTEMPTS
