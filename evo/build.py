"""The one place that knows the concrete classes: from a config and a folder to a campaign that can run."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo.campaign.board import Board
from evo.campaign.budget import Budget, Spent
from evo.campaign.campaign import Campaign
from evo.campaign.certifying import Certification, Decision, decided_before
from evo.campaign.first_noise import FirstNoise
from evo.campaign.keeping import DiskBudget, KeptWeights
from evo.campaign.ladder.graduation import Graduation
from evo.campaign.ladder.scales import every_rung
from evo.campaign.leftovers import end_leftovers, end_strays
from evo.campaign.notifying import Notifier
from evo.campaign.noting import NoteTaker, NotingProposer
from evo.campaign.parts import LoopSettings, Parts, Proposes
from evo.campaign.policy import Policy, run_seconds, seed_runs
from evo.campaign.proposing import Proposer
from evo.campaign.recording import Recorder, StoredCalls
from evo.campaign.scenes import Surroundings
from evo.campaign.stopping import CURVES_KNOWN, EarlyStopping
from evo.campaign.tally import Tally
from evo.campaign.voiding import Evidence, Voiding
from evo.config import SHIPPED, Config, ConfigError, RungSettings, rung_of
from evo.evaluation.agent_box import open_box
from evo.evaluation.agents import AgentDesk
from evo.evaluation.data import Dataset, prepare
from evo.evaluation.evaluator import Evaluator
from evo.evaluation.gpu import require_cuda
from evo.evaluation.probe import open_sandbox
from evo.evaluation.process import Ended
from evo.evaluation.slots import Slot, find_slots
from evo.evaluation.static_check import check_source
from evo.folder import AGENTS, RUNS, WEIGHTS, CampaignError, Folder
from operators.agent import Desk
from operators.knowledge import Knowledge, Passage
from operators.llm.forms import Forms
from operators.llm.prompt_settings import PromptSettings
from operators.llm.settings import LlmSettings, missing_keys
from operators.llm_operators import Ask
from operators.portfolio import Portfolio
from operators.registry import (
    CONTROLS,
    LlmContext,
    OperatorSettings,
    build_operators,
    names_with_llm,
    open_client,
)
from operators.research_notes import NoteWriter
from population.ladder import KINDS, Ladder
from population.lineage import Lineage
from population.reading import decisions, measurement, measurements, seed, source_of, spent, voided
from population.store import Store, StoreError
from population.variant import (
    Clock,
    Order,
    Purpose,
    Rung,
    Status,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What measures: the evaluator with its slots and rungs."""

    evaluator: Evaluator
    slots: Sequence[Slot]
    rungs: list[Rung]
    dataset: Dataset


def open_bench(
    config: Config,
    work: Path,
    startup: dict[str, float],
    say: Callable[[str], None] = lambda text: None,
) -> Bench:
    """The evaluator of a config, working in a folder.

    `startup` holds the start-up seconds by rung where they are known; what is missing is measured on the
    seed now and added.
    """
    work = work.resolve()  # a sandbox has another working directory
    slots = find_slots(config.slots)
    dataset = prepare(config.data, work / "data")
    sandbox = open_sandbox(config.sandbox, hide=dataset.sources, reach=(work,))
    require_cuda(sandbox, slots)
    seed_source = config.train.read_text(encoding="utf-8")
    harness = SHIPPED / "seed" / "harness.py"

    def evaluator(known: list[Rung]) -> Evaluator:
        every = every_rung(known, config.graduation)
        return Evaluator(dataset, every, sandbox, work / RUNS, seed_source, harness)

    drafts = [
        _draft_rung(name, one, slots[0])
        for name, one in zip(config.rungs, config.rung_settings(), strict=True)
    ]
    measuring, rungs = evaluator(drafts), []
    for draft, settings in zip(drafts, config.rung_settings(), strict=True):
        if draft.clock is Clock.TOKENS:
            startup[draft.name] = 0.0
        elif settings.startup_seconds != "auto":
            startup[draft.name] = settings.startup_seconds
        elif draft.name not in startup:
            say(f"measuring what starting costs at rung {draft.name}")
            startup[draft.name] = _startup_of(measuring, draft.name, slots[0], config.train)
        rungs.append(rung_of(draft.name, settings, draft.clock, startup[draft.name]))
    return Bench(evaluator(rungs), slots, rungs, dataset)


def _startup_of(evaluator: Evaluator, rung: str, slot: Slot, seed_file: Path) -> float:
    try:
        return evaluator.measure_startup(rung, slot)
    except Ended as end:
        raise ConfigError(
            f"{seed_file}: the seed fails at rung {rung}: {end.status}, {end.reason}"
        ) from end


def _draft_rung(name: str, settings: RungSettings, slot: Slot) -> Rung:
    clock = settings.clock or (Clock.SECONDS if slot.device != "cpu" else Clock.CPU_SECONDS)
    return rung_of(name, settings, clock, startup_seconds=30.0)


def build_campaign(
    folder: Folder,
    config: Config,
    loop: LoopSettings,
    say: Callable[[str], None] = lambda text: None,
    only: Callable[[str, Sequence[str]], Sequence[Order]] | None = None,
) -> Campaign:
    """A campaign ready to run (or to go on) in its folder. Hold `locked(folder)` while it runs.

    `only`: the runs to make instead of the usual calibration, from the seed's id and the names of the rungs.
    """
    with folder.open_store() as store:
        left = end_leftovers(store)
        if left:
            say(f"an earlier process left {left} runs unfinished; they are measured again")
        end_strays(folder.path / RUNS)
        shutil.rmtree(folder.path / RUNS, ignore_errors=True)  # workspaces that a kill left behind
        startup = dict(store.setting("startup_seconds", {}))
        bench = open_bench(config, folder.path, startup, say)
        store.set_setting("startup_seconds", startup)
        if store.setting("data", bench.dataset.id) != bench.dataset.id:
            raise CampaignError(
                f"{folder.config}: data: the text has changed since this campaign began, so its "
                "measurements would not be comparable; put it back, or start a new campaign"
            )
        store.set_setting("data", bench.dataset.id)
        lineage = Lineage.of(store)
        tally = _known(store, config, lineage)
        used = spent(store)
        known_forms = dict(store.setting("llm_forms", {}))
        decided = decided_before(store)
        ladder = Ladder.of(decisions(store, KINDS))
        tally.veto(ladder.vetoed)
        early = _early(store, folder, config, tally, decided)
        seconds = float(store.setting("seconds_spent", 0.0))
    children = used.variants - 1  # the seed is a variant too, but nobody's child
    so_far = Spent(children, seconds, used.tokens_in + used.tokens_out, used.dollars)
    budget = Budget(config.budget, so_far, config.policy.held_back)
    board = Board([slot.name for slot in bench.slots])

    def wait(text: str) -> None:
        board.tell("waiting", text)

    recorder = Recorder(folder.open_store, wait)
    stopping = threading.Event()

    def keep_forms(known: dict[str, str]) -> None:
        recorder.submit(lambda store: store.set_setting("llm_forms", known))

    forms = Forms(known_forms, keep_forms)

    def tell(text: str, kind: str = "model") -> None:
        event = board.tell(kind, text)
        recorder.submit(lambda store: store.add_event(event.kind, event.text))

    weights = KeptWeights(folder.path / WEIGHTS) if config.keep.weights else None
    bench.evaluator.keep_weights = weights.take if weights else None
    notifier = _notifier(folder, config, lambda text: tell(text, "notify"))
    board.listeners.append(notifier.hear)
    desk = _desk(config, folder, bench, budget, stopping.is_set)
    proxy = bench.rungs[0]
    names = [rung.name for rung in bench.rungs]
    calibrations = None if only is None else only(tally.seed_id, names)
    certification = Certification(config.certification, tally, proxy.name, decided)
    limit = config.budget.seconds if loop.search else None
    most = seed_runs(config.policy, limit, len(bench.slots), run_seconds(proxy))
    policy = Policy(config.policy, tally, proxy.name, calibrations, decided, most)
    few = config.budget.variants or 100
    noise = FirstNoise(policy, tally, proxy.name, config.certification, few)
    surroundings = Surroundings(
        config.seed,
        config.brief.read_text("utf-8"),
        proxy.name,
        in_words(proxy),
        config.llm.prompt if config.llm else PromptSettings(),
        _finder(folder, config, tell),
        not loop.exact,
    )
    client = open_models(config, budget, recorder, stopping, say, tell, forms)
    proposer: Proposes = Proposer(
        build_portfolio(config, client, desk),
        tally,
        lineage,
        config.selection,
        folder.open_store,
        check_source,
        surroundings,
        loop.exact,
    )
    if client is not None and config.llm is not None and config.llm.notes_every:
        writer, every = NoteWriter(client), config.llm.notes_every
        note_taker = NoteTaker(writer, every, tally, lineage, surroundings, recorder, tell)
        proposer = NotingProposer(proposer, note_taker, folder.open_store)
    parts = Parts(
        open_store=folder.open_store,
        evaluator=bench.evaluator,
        proposer=proposer,
        slots=bench.slots,
        tally=tally,
        lineage=lineage,
        policy=policy,
        certification=certification,
        graduation=Graduation(
            config.graduation,
            tally,
            lineage,
            names,
            config.seed,
            certification.proven,
            ladder,
        ),
        early=early,
        voiding=None if config.exact else _voiding(config, bench, tally),
        budget=budget,
        board=board,
        recorder=recorder,
        stopping=stopping,
        proxy=proxy.name,
        weights=weights,
        guards=[DiskBudget(folder.path, config.keep.disk_mb)] if config.keep.disk_mb else [],
        remarks=[] if only else [noise],
        closing=[notifier.close],
    )
    return Campaign(parts, loop)


def _notifier(folder: Folder, config: Config, complain: Callable[[str], None]) -> Notifier:
    secrets = {one.key_env for one in config.llm.endpoints} if config.llm else set()
    secrets |= {"OPENAI_API_KEY"}
    return Notifier(config.notify, str(folder.path.resolve()), secrets, complain)


def _desk(
    config: Config, folder: Folder, bench: Bench, budget: Budget, stopping: Callable[[], bool]
) -> Desk | None:
    """Where the agent of a config works; None when it has none that is used."""
    if config.agent is None or not config.operators.get("agent"):
        return None
    harness = SHIPPED / "seed" / "harness.py"
    box = open_box(config.agent, hide=bench.dataset.sources)
    work = (folder.path / AGENTS).resolve()
    return AgentDesk(config.agent, harness, work, box, stopping, budget)


def _finder(
    folder: Folder, config: Config, tell: Callable[[str], None]
) -> Callable[[str, int], tuple[Passage, ...]] | None:
    """How the user's papers are searched; None without any, or when no model would read them."""
    if config.knowledge is None or not names_with_llm(config.operators):
        return None
    if not config.knowledge.is_dir():
        raise ConfigError(f"{folder.config}: knowledge: no folder {config.knowledge}")
    return Knowledge(config.knowledge, folder.path / "knowledge.db", tell).find


def open_models(
    config: Config,
    budget: Budget,
    recorder: Recorder,
    stopping: threading.Event,
    say: Callable[[str], None],
    tell: Callable[[str], None],
    forms: Forms | None = None,
) -> Ask | None:
    """What answers for the models of a config; None when no operator asks, or no endpoint has its key.

    `say` hears of it now, `tell` of models that rest and come back while the campaign runs.
    """
    if not names_with_llm(config.operators):
        return None
    if config.llm is None or not _can_answer(config.llm):
        wanting = _wanting(config)
        say(f"no language model ({wanting} not set): running on the operators that need none")
        return None
    calls = StoredCalls(recorder)
    context = LlmContext(config.llm, budget, calls, stopping.is_set, say=tell, forms=forms)
    try:
        return open_client(context)
    except StoreError as error:
        raise ConfigError(f"llm: replay: {error}") from error


def _wanting(config: Config) -> str:
    """What is to be set before a model can be asked."""
    names = missing_keys(config.llm, os.environ) if config.llm else ("llm: endpoints",)
    return ", ".join(names)


def build_portfolio(config: Config, client: Ask | None, desk: Desk | None = None) -> Portfolio:
    """The operators of a config; without a model, those that need none."""
    settings = OperatorSettings(config.tune, desk)
    operators = build_operators(config.operators, None, settings, client)
    if not operators:
        asking = ", ".join(names_with_llm(config.operators))
        raise ConfigError(f"operators: {asking} need a model, and {_wanting(config)} is not set")
    models = {one.name: one.weight for one in config.llm.endpoints} if config.llm else {}
    return Portfolio(operators, config.operators, config.portfolio, models, CONTROLS)


def _can_answer(llm: LlmSettings) -> bool:
    """Whether any endpoint has its key, or records answer for them."""
    return llm.replay is not None or any(one.key(os.environ) for one in llm.endpoints)


def in_words(rung: Rung) -> str:
    """A rung as a sentence for people and models."""
    unit = {Clock.SECONDS: "seconds", Clock.CPU_SECONDS: "CPU seconds", Clock.TOKENS: "tokens"}[
        rung.clock
    ]
    return f"depth {rung.depth}, context {rung.context}, {rung.budget:g} {unit} of training"


def _early(
    store: Store, folder: Folder, config: Config, tally: Tally, decided: Sequence[Decision]
) -> EarlyStopping:
    """Early stopping with what earlier processes left it: every score, and the newest curves."""

    def source(variant_id: str) -> str:
        with folder.open_store() as own:
            return source_of(own, variant_id)

    first = tally.objectives[0]
    early = EarlyStopping(config.stopping, tally.seed_id, first.name, first.turned, source, decided)
    rows = measurements(store, next(iter(config.rungs)))
    for place, row in enumerate(rows):
        order = row.measurement.order
        known = order.purpose in (Purpose.SCREEN, Purpose.CALIBRATE)
        near = len(rows) - place <= CURVES_KNOWN or order.variant_id == tally.seed_id
        early.take_in((measurement(store, row.id) if known and near else row).measurement, None)
    return early


def _known(store: Store, config: Config, lineage: Lineage) -> Tally:
    """Everything measured so far, in memory."""
    seed_id = seed(store)
    assert seed_id is not None, "create_campaign() records the seed"
    tally = Tally(config.objectives, seed_id, config.constraints, lineage)
    for row in measurements(store, statuses=list(Status)):
        tally.add(row)
    for order, _ in voided(store):
        tally.void(order)
    return tally


def _voiding(config: Config, bench: Bench, tally: Tally) -> Voiding:
    """What is usual on each host, from the runs so far."""
    timed = [rung.name for rung in bench.rungs if rung.clock is Clock.SECONDS]
    voiding = Voiding(config.voiding, tally.seed_id, timed)
    for rung in tally.rungs():
        for row in tally.rows(rung):
            if row.measurement.status is Status.OK:
                voiding.take_in(Evidence.of(row.measurement))
    return voiding
