"""From a config and a folder to a campaign that can run, or go on where it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from evo.assembly.bench import Bench, open_bench
from evo.assembly.islands import ProposerBuilder, open_islands
from evo.assembly.proposers import (
    contract_in_words,
    open_desk,
    open_papers,
)
from evo.config import Config
from evo.evaluation.audit import Tolerance, tolerance_in
from evo.evaluation.evaluator import Evaluator
from evo.evaluation.tree import remove_folder
from evo.folder import DEADLINE, RUNS, WEIGHTS, CampaignError, Folder
from evo.proposals.context import CampaignInfo
from evo.runtime.budget import Budget, BudgetSpent
from evo.runtime.campaign import Campaign
from evo.runtime.components import Components, LoopSettings
from evo.runtime.decisions import decided_before
from evo.runtime.monitor import LiveFile, Monitor
from evo.runtime.neighbours import Neighbours, end_leftovers, end_strays
from evo.runtime.note_taker import NoteTaker, NotingProposer
from evo.runtime.notifier import Notifier
from evo.runtime.proposal_lane import GAIN
from evo.runtime.recorder import Recorder
from evo.runtime.retention import DiskBudget, KeptWeights
from evo.search.certification import Certification
from evo.search.early_stopping import CURVES_KNOWN, EarlyStopping
from evo.search.first_noise import FirstNoise
from evo.search.halting import StopRules, next_time
from evo.search.ladder import Graduation
from evo.search.scheduler import Scheduler, run_seconds, seed_runs
from evo.search.voiding import RunConditions, Voiding
from evo.tasks.settings import TaskSettings
from operators.llm.research_notes import NoteWriter
from operators.llm.response_formats import Forms
from population.ladder import KINDS, Ladder
from population.lineage import Lineage
from population.reading import (
    decisions,
    facts_by_measurement,
    measurement,
    measurements,
    operations,
    seed,
    source_of,
    spent,
    tolerances,
    voided,
)
from population.run_history import RunHistory
from population.store import Store
from population.types import AGAIN, FIRST_RUNS, Clock, Decision, Rung, RunRequest, Status


def build_campaign(
    folder: Folder,
    config: Config,
    loop: LoopSettings,
    say: Callable[[str], None] = lambda text: None,
    only: Callable[[str, Sequence[str]], Sequence[Sequence[RunRequest]]] | None = None,
) -> Campaign:
    """A campaign ready to run (or to go on) in its folder. Hold `locked(folder)` while it runs.

    `only`: the runs to make instead of the usual calibration, a slot's share each, from the seed's id and the
    names of the rungs.
    """
    config = config.of_one_population()
    with folder.open_store() as store:
        left = end_leftovers(store)
        if left:
            say(f"an earlier process left runs unfinished, which are measured again: {left}")
        end_strays(folder.path / RUNS)
        remove_folder(folder.path / RUNS)  # workspaces that a kill left behind
        startup = dict(store.setting("startup_seconds", {}))
        known_class = str(store.setting("host_class", ""))
        bench = open_bench(config, folder.path, startup, say, known_class)
        store.set_setting("startup_seconds", startup)
        store.set_setting("host_class", bench.host_class)
        if isinstance(bench.evaluator, Evaluator):
            # Older campaigns say true: for 1 block, so that pairs are asked as many rows as the fixed sample.
            bench.evaluator.unseen_blocks = int(store.setting("asks_unseen", 0))
            held = bench.evaluator.fresh_blocks(next(iter(config.rungs)))
            store.set_setting("fresh_blocks", held)
            bench.evaluator.tolerances |= _set_by_the_seed(store)
        if store.setting("data", bench.data_id) != bench.data_id:
            text = "data: the text has" if not config.modules else "the text or a module has"
            what = text if config.command is None else _changed(config.command)
            raise CampaignError(
                f"{folder.config}: {what} changed since this campaign began, so its "
                "measurements would not be comparable; put it back, or start a new campaign"
            )
        store.set_setting("data", bench.data_id)
        lineage = Lineage.of(store)
        history = _unfilled(store, config, lineage)
        islands = open_islands(config, history, lineage)
        _fill(history, store)
        used = spent(store)
        known_forms = dict(store.setting("llm_forms", {}))
        decided = decided_before(store)
        ladder = Ladder.of(decisions(store, KINDS))
        history.veto(ladder.vetoed)
        profiled = set(operations(store))
        early = _early(store, folder, config, history, decided)
        voiding = None if config.exact else _voiding(store, bench, history)
        seconds = float(store.setting("seconds_spent", 0.0))
        deadline = _deadline(store, config.stop.until)
        gain = tuple(store.setting(GAIN, (0, 0.0)))
    children = used.variants - 1  # the seed is a variant too, but nobody's child
    so_far = BudgetSpent(children, seconds, used.tokens_in + used.tokens_out, used.dollars)
    budget = Budget(config.budget, so_far, config.policy.race_share)
    board = Monitor([slot.name for slot in bench.slots])

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

    def is_over(request: RunRequest) -> bool:
        again, key = request.repeat // AGAIN, request.key
        return history.is_settled(key) or history.voided(request) > again

    weights = KeptWeights(folder.path / WEIGHTS) if config.keep.weights else None
    closing: list[Callable[[], None]] = []
    if isinstance(bench.evaluator, Evaluator):
        exams = bench.evaluator.exams
        exams.prune(is_over)
        closing.append(lambda: exams.prune(is_over))
        bench.evaluator.is_recorded = is_over
        bench.evaluator.profiles = config.llm is not None or config.agent is not None
        bench.evaluator.profiled |= profiled
        bench.evaluator.keep_weights = weights.take if weights else None
    notifier = _notifier(folder, config, lambda text: tell(text, "notify"))
    board.listeners.append(notifier.hear)
    desk = open_desk(config, folder, bench, budget, stopping.is_set, tell)
    proxy = bench.rungs[0]
    names = [rung.name for rung in bench.rungs]
    calibrations = None if only is None else only(history.seed_id, names)
    certification = Certification(config.certification, history, proxy.name, decided)
    limit = config.budget.seconds if loop.search else None
    most = seed_runs(config.policy, limit, len(bench.slots), run_seconds(proxy))
    campaign_info = CampaignInfo(
        config.random_seed,
        config.brief.read_text("utf-8"),
        proxy.name,
        in_words(proxy) if config.command is None else f"at most {proxy.budget:g} seconds a run",
        find=open_papers(folder, config, tell),
        contract=contract_in_words(config, bench),
        may_add=config.command.may_add if config.command else (),
        ranges=config.task.ranges if config.task else {},
        timed=not loop.exact,
    )
    stop = StopRules(
        config.stop,
        history,
        certification,
        proxy.name,
        deadline,
        decided,
        (int(gain[0]), float(gain[1])),
    )
    builder = ProposerBuilder(
        folder, bench, lineage, campaign_info, budget, recorder, stopping, forms, desk, say, tell,
        loop.exact,
    )  # fmt: skip
    scheduler = Scheduler(
        config.policy,
        history,
        proxy.name,
        certification,
        Graduation(
            config.graduation,
            history,
            lineage,
            names,
            config.random_seed,
            certification.proven,
            ladder,
        ),
        calibrations=calibrations,
        decided=decided,
        seed_runs=most,
        exact=loop.exact,
        search=loop.search,
        finish=loop.finish,
        repeats=builder.all_repeats(config, history, islands),
        islands=islands,
    )
    few = config.budget.variants or 100
    noise = FirstNoise(scheduler, history, proxy.name, config.certification, few)
    proposer = builder.all_proposers(config, history, islands)
    llm, client = builder.first_client()
    if client is not None and llm is not None and llm.notes_every:
        writer, every = NoteWriter(client), llm.notes_every
        note_taker = NoteTaker(writer, every, history, lineage, campaign_info, recorder, tell)
        proposer = NotingProposer(proposer, note_taker, folder.open_store)
    neighbours = Neighbours(folder.path, [slot.name for slot in bench.slots])
    notices: list[Callable[[], str]] = [neighbours, *bench.notices]
    live = LiveFile(folder.path, board)
    components = Components(
        open_store=folder.open_store,
        proposer=proposer,
        slots=bench.open_slots(),
        history=history,
        lineage=lineage,
        scheduler=scheduler,
        stop=stop if loop.search else None,
        early=early,
        voiding=voiding,
        budget=budget,
        board=board,
        recorder=recorder,
        stopping=stopping,
        proxy=proxy.name,
        weights=weights,
        guards=[DiskBudget(folder.path, config.keep.disk_mb)] if config.keep.disk_mb else [],
        notices=notices if only else [noise, *notices],
        live=live.write,
        review=builder.model_reviews(config),
        closing=[live.remove, notifier.close, neighbours.close, *closing],
    )
    return Campaign(components, loop)


def _set_by_the_seed(store: Store) -> dict[str, Tolerance]:
    """By rung, how far the servers of a model may be apart."""
    read = {rung: tolerance_in(words) for rung, words in tolerances(store).items()}
    return {rung: one for rung, one in read.items() if one}


def _deadline(store: Store, until: str | None) -> float | None:
    """When `stop.until` is, in seconds since the epoch: the next such time after it was first asked for."""
    if until is None:
        return None
    known = store.setting(DEADLINE) or {}
    if known.get("until") != until:
        known = {"until": until, "at": next_time(time.time(), until)}
        store.set_setting(DEADLINE, known)
    return float(known["at"])


def _changed(task: TaskSettings) -> str:
    return f"task.folder: a file of {task.folder} beside {task.file} has"


def _notifier(folder: Folder, config: Config, complain: Callable[[str], None]) -> Notifier:
    secrets = {one.key_env for one in config.llm.endpoints} if config.llm else set()
    secrets |= {"OPENAI_API_KEY"}
    return Notifier(config.notify, str(folder.path.resolve()), secrets, complain)


def in_words(rung: Rung) -> str:
    """A rung as a sentence for people and models."""
    unit = {Clock.SECONDS: "seconds", Clock.CPU_SECONDS: "CPU seconds", Clock.TOKENS: "tokens"}[
        rung.clock
    ]
    return f"depth {rung.depth}, context {rung.context}, {rung.budget:g} {unit} of training"


def _early(
    store: Store, folder: Folder, config: Config, history: RunHistory, decided: Sequence[Decision]
) -> EarlyStopping:
    """Early stopping with what earlier processes left it: every score, and the newest curves."""

    def source(variant_id: str) -> str:
        with folder.open_store() as own:
            return source_of(own, variant_id)

    first = history.objectives[0]
    early = EarlyStopping(
        config.stopping, history.seed_id, first.name, first.turned, source, decided
    )
    rows = measurements(store, next(iter(config.rungs)))
    for place, row in enumerate(rows):
        request = row.measurement.request
        known = request.purpose in FIRST_RUNS
        near = len(rows) - place <= CURVES_KNOWN or request.variant_id == history.seed_id
        early.take_in((measurement(store, row.id) if known and near else row).measurement, None)
    return early


def _unfilled(store: Store, config: Config, lineage: Lineage) -> RunHistory:
    """Where everything measured will be known, in memory."""
    seed_id = seed(store)
    assert seed_id is not None, "create_campaign() records the seed"
    return RunHistory(config.objectives, seed_id, config.constraints, lineage)


def _fill(history: RunHistory, store: Store) -> None:
    """Everything measured so far."""
    for row in measurements(store, statuses=list(Status)):
        history.add(row)
    for request, _ in voided(store):
        history.void(request)


def _voiding(store: Store, bench: Bench, history: RunHistory) -> Voiding:
    """What is usual on each host, from the runs so far."""
    timed = [rung.name for rung in bench.rungs if rung.clock is Clock.SECONDS]
    voiding, facts = Voiding(history.seed_id, timed), facts_by_measurement(store)
    for rung in history.rungs():
        for row in history.rows(rung):
            if row.measurement.status is Status.OK:
                whole = replace(row.measurement, facts=facts.get(row.id, {}))
                voiding.take_in(RunConditions.of(whole))
    return voiding
