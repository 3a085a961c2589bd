"""What the seed's first runs say of the campaign ahead: how noisy a run is, and what can be proven in it."""

from __future__ import annotations

import numpy as np

from evo.search.certification import CertificationSettings, rule_of
from evo.search.scheduler import Scheduler
from population.run_history import RunHistory
from population.types import Purpose


class FirstNoise:
    """Says it once, when the seed is calibrated. Call it as often as you like."""

    def __init__(
        self,
        scheduler: Scheduler,
        history: RunHistory,
        rung: str,
        settings: CertificationSettings,
        children: int,
    ) -> None:
        self._scheduler, self._history, self._rung = scheduler, history, rung
        self._settings, self._children = settings, children
        self._said = bool(history.count(rung, Purpose.SCREEN))  # an earlier process did

    def __call__(self) -> str:
        """The sentence; "" before it is known, and after it was said."""
        if self._said or not self._scheduler.is_calibrated():
            return ""
        self._said = True
        return self._sentence()

    def _sentence(self) -> str:
        from population.statistics.noise import DRAWS_SEED, calibrate, seed_samples

        metric = self._history.objectives[0].name
        across, within = seed_samples(self._history.rows(self._rung), metric)
        if len(across) < 2 or len(within) < 2:
            return ""
        settings = self._settings.or_default()  # what proof would take, were it asked for
        rng = np.random.default_rng(DRAWS_SEED)
        found = calibrate(
            across, within, lambda run_sd: rule_of(settings, run_sd), self._children, rng
        )
        text = (
            f"noise: one run of the seed varies by {found.across.sd:.4f} {metric} from block to block "
            f"(n={len(across)}), {found.within.sd:.4f} on one block (n={len(within)}); "
        )
        if found.repeats_are_equal:
            return text + (
                "repeats are equal; what a changed script varies by in pairs is not known from the seed"
            )
        certifies = bool(self._settings.attempts)
        if not certifies:
            text += (
                f"this config certifies nothing; with certification.attempts: {settings.attempts} "
            )
        if found.smallest is None or found.smallest_range is None:
            text += f"no gain {_can(certifies)} be certified with {settings.most_pairs} pairs"
        else:
            low, high = found.smallest_range
            text += (
                f"a gain of {found.smallest.gain:.4f} ({low:.2g} to {high:.2g}) {_can(certifies)} be certified "
                f"four times out of five, in about {found.smallest.pairs:.0f} pairs"
            )
        return f"{text}; keeping every better score would keep {found.greedy.keeps:.1f} children by luck"


def _can(certifies: bool) -> str:
    return "can" if certifies else "could"
