"""Which members of the front are proven on fresh blocks: e-values against the seed, e-BH over the members.

A member is proven when it beats the seed in at least one objective by more than its box and loses no more
of the first objective than the stated trade. Only pairs on blocks that chose nobody count: races, the final
comparison, and what was run after a decision.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from population.archive import Objective
from population.run_history import RunHistory
from population.statistics.certification import Rule, log_e_path
from population.statistics.e_bh import e_bh
from population.variant import Estimate, Measurement, Purpose, Status

FRESH = frozenset({Purpose.RACE, Purpose.FINAL, Purpose.POST})
UNSEEN_BPB = "unseen_bpb"  # val_bpb on rows that earlier runs were not asked, the same for a block
FLOOR_SHARE = 0.1  # of the run sd: pairs may not look quieter than that

Found = Mapping[str, Estimate]


def proven_members(
    tally: RunHistory, rung: str, alpha: float, trade: float | None = None
) -> frozenset[str]:
    """The front's members that are proven at a false discovery rate of `alpha`.

    `trade`: how much of the first objective may be lost for another one, in its unit; None: one run sd.
    """
    first = tally.objectives[0]
    run_sd = tally.noise_sd(rung, first.name)
    front = [one for one in tally.front(rung) if one != tally.seed_id]
    if not run_sd or not front:
        return frozenset()
    seed_scores = _fresh_scores(tally, rung, tally.seed_id)
    seed = tally.believed(tally.seed_id, rung)
    allowed = run_sd if trade is None else trade
    log_e = {}
    for one in front:
        mine = _fresh_scores(tally, rung, one)
        gains = [seed_scores[block] - mine[block] for block in sorted(mine) if block in seed_scores]
        exact = beats_exactly(tally.believed(one, rung), seed, tally.objectives[1:])
        log_e[one] = log_e_of(gains, -allowed if exact else first.box, FLOOR_SHARE * run_sd)
    return e_bh(log_e, alpha)


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
        if not noise > 0 and better_by > one.box:
            return True
    return False


def unseen_value(objective: Objective, run: Measurement) -> float:
    """What a run of a pair scored: on rows that nobody was asked before, where there are any."""
    unseen = UNSEEN_BPB if objective.name == "val_bpb" else objective.name
    return run.metrics.get(unseen, run.metrics[objective.name])


def _fresh_scores(tally: RunHistory, rung: str, variant_id: str) -> dict[int, float]:
    """Scores by fresh block, turned so that less is better; the first run of a block counts."""
    first, scores = tally.objectives[0], dict[int, float]()
    for row in tally.rows(rung, purposes=FRESH, variant_id=variant_id):
        run = row.measurement
        if run.status is Status.OK and first.name in run.metrics:
            value = unseen_value(first, run)
            turned = value if first.direction == "minimise" else -value
            scores.setdefault(run.order.block, turned)
    return scores
