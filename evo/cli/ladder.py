"""The commands about the ladder: approve and veto record a decision, ladder shows how far everyone got."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.campaigns import DATABASE, ask, overview_of, running_process, terms_of
from evo.cli.app import FAILED, ID_HELP, DirOption, JsonOption, app, complain, show, show_json
from evo.cli.folder import at, opened, searched_folder
from evo.files import objection

if TYPE_CHECKING:
    from evo.analysis.campaign_view import Record
    from evo.analysis.ladder import Terms
    from evo.analysis.ladder_report import LadderReport, PromotionEvidence
    from evo.config import Config
    from evo.folder import Folder
    from evo.report.summary import CampaignSummary, ToldByModel
    from evo.runtime.components import Ending
    from operators.llm.settings import LlmSettings
    from population.store import Store

MAX_ASKING_SECONDS = 120.0  # for a summary by a model; then that of the rows stays
ASKED = "summary_asked"  # the setting that holds what the last one was about that a model answered

VariantArgument = Annotated[
    str,
    typer.Argument(metavar="ID", help=ID_HELP),
]


ReviewerOption = Annotated[
    str, typer.Option("--as", metavar="NAME", help="As this one of graduation.reviewers.")
]
BecauseOption = Annotated[
    str, typer.Option("--because", "--reason", metavar="TEXT", help="Why, for the record.")
]


@app.command(epilog="Example: evo approve 3fa9c1d2")
def approve(
    variant: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help=f"{ID_HELP} Without one: what waits.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="RUNG", help="Every step up to this rung, not only the next."),
    ] = None,
    reviewer: ReviewerOption = "",
    because: BecauseOption = "",
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a variant go up to the next rung, or lift a veto; without an ID, show what waits and why.

    With `graduation.promotion: manual` each step above the proxy waits for this. With `review` it goes up once
    each of `graduation.reviewers` approved it (--as NAME); without --as you decide for all of them.
    """
    if variant is None:
        _show_waiting(directory, as_json)
        return
    from evo.analysis.campaign_view import Record
    from evo.analysis.ladder import objection_to_approving, rungs_to_approve
    from population.reading import resolve
    from population.store import Store

    folder = searched_folder(directory)
    with Store.open(folder / DATABASE, read_only=True) as store:
        variant_id = resolve(store, variant)
        record = Record.of(store)
        terms = terms_of(folder, record)
        lifts = variant_id in record.ladder.vetoed
        objection = None if lifts else objection_to_approving(record, terms, variant_id, to)
        rungs = [] if lifts or objection else rungs_to_approve(record, terms, variant_id, to)
    if objection:
        complain(objection)
        raise typer.Exit(FAILED)
    if reviewer:
        _review(folder, "approve", variant_id, terms, (reviewer, because), as_json)
        return
    for rung in rungs:
        ask(folder, "approve", {"variant_id": variant_id, "rung": rung})
    if lifts:
        ask(folder, "unveto", {"variant_id": variant_id})
    if as_json:
        show_json({"variant": variant_id, "rungs": rungs, "veto_lifted": lifts, "path": folder})
        return
    what = "lifted the veto on" if lifts else "approved"
    goes = "" if lifts else f": it goes up to {', '.join(rungs)} if it is among the picks"
    print(f"{what} {variant_id[:8]}{goes}; takes effect {_when(folder)}")


@app.command(epilog='Example: evo veto 3fa9c1d2 --because "trains on the clock"')
def veto(
    variant: VariantArgument,
    because: BecauseOption = "",
    reviewer: ReviewerOption = "",
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Never let a variant be parent, front member or graduate again; `evo approve ID` lifts it.

    What was measured stays recorded, a run under way finishes, and children it already has live on. With
    --as NAME it is a reviewer's objection: that variant goes up only where `evo approve` without --as lets it.
    """
    from evo.analysis.campaign_view import Record
    from population.reading import resolve, seed
    from population.store import Store

    folder = searched_folder(directory)
    with Store.open(folder / DATABASE, read_only=True) as store:
        variant_id = resolve(store, variant)
        is_seed = variant_id == seed(store)
        terms = terms_of(folder, Record.of(store)) if reviewer else None
    if is_seed:
        complain("the seed cannot be vetoed: everything is measured against it")
        raise typer.Exit(FAILED)
    if terms is not None:
        _review(folder, "veto", variant_id, terms, (reviewer, because), as_json)
        return
    ask(folder, "veto", {"variant_id": variant_id, "reason": because})
    if as_json:
        show_json({"variant": variant_id, "reason": because, "path": folder})
        return
    print(f"vetoed {variant_id[:8]}; takes effect {_when(folder)}")


@app.command(epilog="Example: evo ladder --json | jq .transfer.promotions")
def ladder(directory: DirOption = None, as_json: JsonOption = False) -> None:
    """The ladder: who went how far, whether the proxy's result held at the target, and what it cost.

    With `graduation.budget_shares` also how long the best needs to reach what the seed ends with.
    """
    from evo.analysis.campaign_view import Record

    with opened(directory) as (folder, store):
        record = Record.of(store)
        found = ladder_report_of(folder, store, record)
    if as_json:
        show_json(found)
        return
    if record.imported is not None:
        print(
            "No ladder: an imported history holds one rung, self-reported, and nothing was run here."
        )
        return
    from evo.terminal.ladder import ladder_screen

    show(ladder_screen(found, at(folder)))


def ladder_report_of(folder: Path, store: Store, record: Record) -> LadderReport:
    """Everything about the ladder."""
    from evo.analysis.ladder_report import ladder_report
    from population.reading import source_of

    return ladder_report(record, terms_of(folder, record), lambda one: source_of(store, one))


def _when(folder: Path) -> str:
    running = running_process(folder) is not None
    return "now" if running else "with the next `evo graduate` or `evo resume`"


def _review(
    folder: Path,
    kind: str,
    variant_id: str,
    terms: Terms,
    word: tuple[str, str],
    as_json: bool,
) -> None:
    """The word of a reviewer, a name and a reason, which counts beside the others'."""
    reviewer, reason = word
    if reviewer not in terms.reviewers:
        told = f"graduation.reviewers are {', '.join(terms.reviewers)}"
        nobody = "nobody reviews here: graduation: {promotion: review, reviewers: [NAME, ...]} asks for it"
        complain(f"--as {reviewer}: {told if terms.reviewers else nobody}")
        raise typer.Exit(FAILED)
    ask(folder, kind, {"variant_id": variant_id, "as": reviewer, "reason": reason})
    if as_json:
        show_json({"variant": variant_id, "reviewer": reviewer, "said": kind, "path": folder})
        return
    what = "approves" if kind == "approve" else "objects to"
    print(f"{reviewer} {what} {variant_id[:8]}; takes effect {_when(folder)}")


def _show_waiting(directory: Path | None, as_json: bool) -> None:
    from evo.analysis.campaign_view import Record

    with opened(directory) as (folder, store):
        record = Record.of(store)
        found = evidence_of(folder, store, record)
    if as_json:
        show_json(found)
        return
    if record.imported is not None:
        print("Nothing can go up: an imported history is read, never run.")
        return
    from evo.terminal.ladder import waiting_screen

    show(waiting_screen(found, at(folder)))


def evidence_of(folder: Path, store: Store, record: Record) -> list[PromotionEvidence]:
    """What waits for approval."""
    from evo.analysis.forecast import RungPlan
    from evo.analysis.ladder_report import waiting
    from population.reading import source_of

    plans = []
    clock = record.config.get("clock")
    for name, rung in record.config.get("rungs", {}).items():
        timed = "tokens" not in (rung.get("clock"), None if rung.get("clock") else clock)
        plans.append(RungPlan(name, rung.get("budget") if timed else None))
    terms = terms_of(folder, record)
    return waiting(record, terms, lambda one: source_of(store, one), plans)


def summary_in(folder: Path, store: Store, ending: Ending | None = None) -> CampaignSummary:
    """What SUMMARY.md says of a campaign now.

    `ending`: how it ended just now, while this process still holds it.
    """
    from dataclasses import replace

    from evo.analysis.campaign_view import Record
    from evo.report.summary import VERDICT, summary_of
    from population.islands import CHECKED
    from population.reading import decisions

    record = Record.of(store)
    one = overview_of(folder, store, record=record)
    if ending is not None:
        one = replace(one, running=None, state=ending.state, phase=ending.reason)
    ladder = ladder_report_of(folder, store, record) if record.ladder.choices else None
    return summary_of(record, one, ladder, decisions(store, (VERDICT, CHECKED)), at(folder))


def summarise(folder: Folder, config: Config, ending: Ending, say: Callable[[str], None]) -> str:
    """Write SUMMARY.md into the campaign's folder; where it is, or why there is none, in words.

    Where models write notes in a campaign that came to its end, one of them tells it above the rows' own words.
    """
    from evo.report.model_summary import content_of
    from evo.report.summary import MARK, SUMMARY, render_summary, write_summary

    path = folder.path / SUMMARY
    try:
        with folder.open_store() as store:
            one, asked = summary_in(folder.path, store, ending), store.setting(ASKED)
        if asked == content_of(one) and path.is_file() and not objection(path, ours=MARK):
            return f"summary: {path}"  # nothing is new since a model was asked
        if problem := write_summary(path, render_summary(one)):
            return problem
        if ending.complete and (told := _told_by_model(folder, config, one, say)) is not None:
            write_summary(path, render_summary(one, told))
        return f"summary: {path}"
    except OSError as error:  # a full disk must not hide how the campaign ended
        return f"no summary was written: {error.strerror or error}"


def _told_by_model(
    folder: Folder, config: Config, one: CampaignSummary, say: Callable[[str], None]
) -> ToldByModel | None:
    """The summary by a model, from one call on record and within the budgets; None where none is kept."""
    import threading

    from evo.report.model_summary import SummaryRejected, ask_for_summary, content_of
    from evo.runtime.budget import Budget, BudgetSpent
    from evo.runtime.recorder import Recorder, StoredCalls
    from operators.llm.breaker import Patience
    from operators.operator import ProposalFailed
    from operators.registry import LlmContext, open_client
    from population.reading import spent
    from population.store import StoreError

    llm, stopping = _notes_by(config), threading.Event()
    with folder.open_store() as store:
        used = spent(store)
    if llm is None or used.variants < 2:  # nothing but the seed
        return None
    so_far = BudgetSpent(llm_tokens=used.tokens_in + used.tokens_out, llm_dollars=used.dollars)
    recorder = Recorder(folder.open_store, say)
    calls, once = StoredCalls(recorder), Patience(attempts=1)
    budget = Budget(config.budget, so_far)
    client = open_client(LlmContext(llm, budget, calls, stopping.is_set, patience=once))
    if client.is_unavailable():
        return None

    def give_up() -> None:
        stopping.set()
        recorder.give_up()

    alarm = threading.Timer(MAX_ASKING_SECONDS, give_up)
    alarm.daemon = True
    recorder.start()
    alarm.start()
    told, answered = None, True
    say(f"asking a model for the summary, for at most {MAX_ASKING_SECONDS:.0f} s")
    try:
        told = ask_for_summary(client, one)
        outcome = f"the summary by {told.model} is kept: every number stands in the rows"
    except SummaryRejected as rejected:
        outcome = str(rejected)
    except ProposalFailed as failed:
        late = f"no answer within {MAX_ASKING_SECONDS:.0f} s"
        answered, outcome = (
            False,
            f"no summary by a model: {late if stopping.is_set() else failed.reason}",
        )
    except (KeyboardInterrupt, StoreError) as error:
        answered, outcome = False, f"no summary by a model: {error or 'interrupted'}"
    alarm.cancel()
    say(outcome)
    recorder.submit(lambda store: store.add_event("model", outcome))
    if answered:
        recorder.submit(lambda store: store.set_setting(ASKED, content_of(one)))
    recorder.close(give_up=True)
    return told


def _notes_by(config: Config) -> LlmSettings | None:
    """The models that write notes in a campaign; None where none does, or records answer for them."""
    from operators.registry import names_with_llm

    for own in config.populations().values():
        if own.llm is not None and names_with_llm(own.operators):
            return own.llm if own.llm.notes_every and own.llm.replay is None else None
    return None
