"""Fakes for the loop: an evaluator that sleeps instead of training, and operators without a source tree."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from evo.evaluation.local_slots import LocalSlots, Slots
from evo.evaluation.slots import Slot, Watch
from evo.proposals.context import CampaignInfo
from evo.proposals.proposer import Proposer
from evo.runtime.budget import Budget, BudgetSettings, BudgetSpent
from evo.runtime.campaign import Campaign
from evo.runtime.components import Components, LoopSettings
from evo.runtime.decisions import decided_before
from evo.runtime.monitor import Monitor
from evo.runtime.proposal_lane import GAIN
from evo.runtime.recorder import Recorder
from evo.search.certification import Certification, CertificationSettings
from evo.search.halting import StopRules, StopSettings
from evo.search.ladder import Graduation
from evo.search.ladder_settings import GraduationSettings, Promotion
from evo.search.scheduler import PolicySettings, Scheduler
from operators.operator import Draft, Operator, ParentRule, Request
from operators.portfolio import Portfolio, PortfolioSettings
from population.archive import DEFAULT_OBJECTIVES
from population.fingerprint import fingerprint
from population.ladder import KINDS, Ladder
from population.lineage import Lineage
from population.reading import decisions, measurements, spent
from population.run_history import RunHistory
from population.selection import THIRD_PARENT_SHARE, SelectionSettings
from population.store import Store
from population.types import (
    Clock,
    CurvePoint,
    Measurement,
    Outcome,
    Proposal,
    Rung,
    RunRequest,
    Status,
    Variant,
    variant_id,
)

SEED = "LR = 0.5\nDEPTH = 2\n"
PROXY = Rung("proxy", 2, 8, Clock.CPU_SECONDS, 128, 16, 1.0, 0.5, 512, 60)
LARGER = replace(PROXY, name="larger", depth=4, budget=24)


@dataclass
class FakeEvaluator:
    """Scores by the source's own LR, plus noise by block; `seconds` of sleep stand for the training."""

    seconds: float = 0.0
    fails: Callable[[RunRequest, str], Status | None] = lambda request, source: None
    at: dict[int, Callable[[], object]] = field(default_factory=dict)  # done as so many were begun
    evaluated: list[RunRequest] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def evaluate(self, request: RunRequest, source: str, slot: Slot, watch: Watch) -> Measurement:
        started, started_at = time.monotonic(), time.time()
        with self.lock:
            self.evaluated.append(request)
            begun = len(self.evaluated)
        self.at.get(begun, lambda: None)()
        watch.progress(CurvePoint(0.5, 2.0, 100))
        while time.monotonic() - started < self.seconds:
            if watch.stopping():
                return Measurement(request, Status.LOST, "stopped", slot=slot.name)
            time.sleep(min(0.02, self.seconds))
        wall = time.monotonic() - started
        status = self.fails(request, source)
        common = {"slot": slot.name, "started_at": started_at, "wall_seconds": wall}
        if status is not None:
            return Measurement(request, status, "made to fail", **common)
        values: dict[str, object] = {}
        exec(source, values)
        digest = hashlib.sha256(f"{source}{request.rung}{request.block}".encode()).digest()
        noise = digest[0] / 255 * 0.01
        score = 2.0 + (float(values["LR"]) - 0.1) ** 2 + noise
        metrics = {
            "val_bpb": score,
            "parameters": 1000.0 * float(values["DEPTH"]),
            "added_nodes": 0.0,
        }
        return Measurement(request, Status.OK, metrics=metrics, **common)


@dataclass
class FakeOperator:
    """Writes a new LR below the seed; `seconds` stand for a slow model."""

    name: str = "fake"
    parent_rule: ParentRule = ParentRule.ONE
    seconds: float = 0.0
    lines: Sequence[str] = ()
    counter: itertools.count = field(default_factory=itertools.count)

    def propose(self, request: Request) -> Draft:
        time.sleep(self.seconds)
        rate = float(request.rng.uniform(0.01, 0.9))
        return Draft(f"LR = {rate:.9f}\nDEPTH = 2\n", f"LR {rate:.9f}")


ONE_GRADUATE = GraduationSettings(graduates=1, controls=0, blocks=1)


def make_store(path: Path, seed_source: str = SEED) -> Callable[[], Store]:
    """A new store that knows the seed, and how to open it."""
    root = Variant(variant_id(seed_source), seed_source, fingerprint(seed_source))
    with Store.create(path) as store:
        store.add_proposal(Proposal(1, "seed", (), Outcome.VARIANT, variant=root))
    return lambda: Store.open(path)


def make_campaign(
    open_store: Callable[[], Store],
    *,
    evaluator: FakeEvaluator | None = None,
    operators: Sequence[Operator] | None = None,
    slots: int = 2,
    elsewhere: Slots | None = None,
    budget: BudgetSettings = BudgetSettings(variants=10),
    policy: PolicySettings = PolicySettings(seed_blocks=2, seed_repeats=0, final_blocks=0),
    loop: LoopSettings = LoopSettings(),
    promotion: Promotion = Promotion.AUTO,
    graduation: GraduationSettings = ONE_GRADUATE,
    rungs: Sequence[Rung] = (PROXY,),
    certification: CertificationSettings = CertificationSettings(attempts=0),
    stop: StopSettings = StopSettings(),
    deadline: float | None = None,
    campaign_seed: int = 0,
    portfolio: PortfolioSettings | None = None,
    endpoints: Sequence[str] = (),
    guards: Sequence[Callable[[], str]] = (),
    third_parent_share: float = THIRD_PARENT_SHARE,
    calibrations: Sequence[Sequence[RunRequest]] | None = None,
    check_source: Callable[[str], str | None] = lambda source: None,
) -> Campaign:
    """A campaign over a real store with everything real but the training."""
    chosen = [FakeOperator()] if operators is None else list(operators)
    with open_store() as store:
        seed_id = store.query("SELECT variant_id FROM proposals WHERE number = 1")[0][0]
        lineage = Lineage.of(store)
        history = RunHistory(DEFAULT_OBJECTIVES, seed_id, family=lineage)
        for row in measurements(store, statuses=list(Status)):
            history.add(row)
        used = spent(store)
        decided = decided_before(store)
        ladder = Ladder.of(decisions(store, KINDS))
        history.veto(ladder.vetoed)
        gain = tuple(store.setting(GAIN, (0, 0.0)))
    proof = Certification(certification, history, rungs[0].name, decided)
    board = Monitor([f"slot{k}" for k in range(slots)])
    recorder = Recorder(open_store, lambda text: None)
    proposer = Proposer(
        Portfolio(chosen, {one.name: 1.0 for one in chosen}, portfolio, endpoints),
        history,
        lineage,
        SelectionSettings(),
        open_store,
        check_source,
        CampaignInfo(campaign_seed, "", rungs[0].name, "a fake rung"),
        loop.exact,
        third_parent_share=third_parent_share,
    )
    components = Components(
        open_store=open_store,
        proposer=proposer,
        slots=elsewhere
        or LocalSlots(
            evaluator or FakeEvaluator(), [Slot(f"slot{k}", "cpu", (0,)) for k in range(slots)]
        ),
        history=history,
        lineage=lineage,
        scheduler=Scheduler(
            policy,
            history,
            rungs[0].name,
            proof,
            Graduation(
                graduation.model_copy(update={"promotion": promotion}),
                history,
                lineage,
                [rung.name for rung in rungs],
                campaign_seed,
                ladder=ladder,
            ),
            calibrations=calibrations,
            decided=decided,
            exact=loop.exact,
            search=loop.search,
            finish=loop.finish,
        ),
        budget=Budget(budget, BudgetSpent(variants=used.variants - 1)),
        stop=StopRules(stop, history, proof, rungs[0].name, deadline, decided, gain),
        board=board,
        recorder=recorder,
        stopping=threading.Event(),
        proxy=rungs[0].name,
        guards=guards,
    )
    return Campaign(components, loop)
