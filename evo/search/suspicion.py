"""A jump too good to be believed of a script that scores itself: a person has to look at it first."""

from __future__ import annotations

from population.ladder import VETOED
from population.lineage import Lineage
from population.metrics import Trust, trust_of
from population.run_history import RunHistory
from population.types import OURSELVES, Decision, Measurement, Purpose, Status

MAX_STEP = 20.0  # sd of one run: no edit gains as much in one step as a line that prints a number
INJECTED = "inject"  # by a person, who knows what it is


def doubt(history: RunHistory, lineage: Lineage, run: Measurement) -> Decision | None:
    """The veto of a child whose first run jumps ahead of its parent; None where nothing speaks against it.

    Only where the first objective is the script's own word and its noise is known. `evo approve` lifts it.
    """
    request, objective = run.request, history.objectives[0]
    name = objective.name
    birth = lineage.birth_of(request.variant_id)
    if request.purpose is not Purpose.SCREEN or run.status is not Status.OK or birth is None:
        return None
    if trust_of(name) is not Trust.SELF_REPORTED or birth.operator == INJECTED:
        return None
    parents = lineage.parents_of(request.variant_id)
    before = history.measured_means(parents[0], request.rung)[0] if parents else {}
    sd = history.noise_sd(request.rung, name)
    if name not in before or name not in run.metrics or not sd:
        return None
    step = (objective.turned(before[name].mean) - objective.turned(run.metrics[name])) / sd
    if not step > MAX_STEP:
        return None
    child, parent = request.variant_id[:8], parents[0][:8]
    reason = (
        f"suspicious: {step:.0f} sd better than its parent in one step, as it says itself; look at "
        f"`evo diff {parent} {child}`, and `evo approve {child}` lets it be a parent and go up"
    )
    return Decision(VETOED, request.variant_id, {"reason": reason, "author": OURSELVES})
