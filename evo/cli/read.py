"""The commands that say where a campaign stands and what happened: status, top, show, log."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.campaigns import (
    ABLATION,
    DATABASE,
    certifies,
    kind_of,
    newest,
    overview_of,
    running_process,
)
from evo.cli.app import ID_HELP, DirOption, JsonOption, app, show, show_json
from evo.cli.folder import at, campaign_folder, named, next_command, opened, remark_on

if TYPE_CHECKING:
    from evo.analysis.campaign_view import Record
    from evo.analysis.comparison import Comparison
    from evo.analysis.ranking import Ranked
    from population.ladder import Ladder
    from population.store import Store
    from population.types import Event, MeasurementRow


VariantArgument = Annotated[
    str,
    typer.Argument(metavar="ID", help=ID_HELP),
]


@app.callback(invoke_without_command=True)
def evo(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="The version, and nothing else.")
    ] = False,
) -> None:
    """Evolve a population of train.py variants: measured by someone else, certified or called noise."""
    if version:
        from importlib.metadata import version as version_of

        print(f"evotrain {version_of('evotrain')}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return
    if newest(Path.cwd()) is None:
        print("No campaign here yet. To start one:\n")
        print("  evo init mine                   write a seed, a config and a brief to edit")
        print("  evo run mine/campaign.yaml      run it (add --dry-run for the forecast alone)")
        print("  evo doctor                      see whether this machine is fit for it")
        print("\nevo --help lists every command.")
        return
    status(None)


def tell_ablation(folder: Path, as_json: bool, where: str = "") -> None:
    """What an ablation found so far; `where`: " --dir FOLDER" of its campaign."""
    from evo.assembly.ablation import plan_json, read_plan, report_json, report_of
    from evo.terminal.ablation import ablation_screen
    from population.store import Store

    with Store.open(folder / DATABASE, read_only=True) as store:
        plan = read_plan(store)
        found = report_of(store)
    if as_json:
        show_json({**plan_json(plan), **report_json(found), "folder": folder})
        return
    show("", *ablation_screen(found, plan.ideas, plan.metric, plan.terms.min_gain))
    here = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    print(f"runs and rows: {here}")
    short = plan.champion[:8]
    if found.complete:
        print(f"`evo export {short} --minimal --patch{where}` writes it")
    else:
        print(f"Not all is measured: `evo ablate {short}{where}` goes on.")


@app.command(epilog="Example: evo status --json | jq .slot_busy_share")
def status(
    directory: DirOption = None,
    all_of_it: Annotated[
        bool,
        typer.Option("--all", help="Also prompts, duties, certainty, and operators as a table."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Where a campaign stands: budget, best compared with the seed, front, operators, slots."""
    found = campaign_folder(directory)
    if kind_of(found) == ABLATION:
        tell_ablation(found, as_json)
        return
    with opened(directory) as (folder, store):
        one = overview_of(folder, store, changes=as_json)
        if one.running is not None and not one.calibrates:
            one = replace(one, seconds_left=_seconds_left(folder, store))
    if as_json:
        show_json(one)
        return
    from evo.terminal.status import status_screen

    show(status_screen(one, next_command(one), at(folder), all_of_it))


def _seconds_left(folder: Path, store: Store) -> float | None:
    """To the expected end of a campaign that runs; None where its config does not say, or cannot be read.

    Only here is a config read whole: it takes longer than all else that a status does.
    """
    from evo.analysis.forecast import outlook_of
    from evo.cli.run import plan_of
    from evo.config import ConfigError
    from evo.folder import Folder, config_of
    from population.reading import measurements

    try:
        plan = plan_of(config_of(Folder(folder)))
    except (ConfigError, OSError):
        return None
    found = outlook_of(plan, [row.measurement for row in measurements(store)])
    return None if found is None else found.seconds_left


@app.command(epilog="Example: evo top -n 20")
def top(
    directory: DirOption = None,
    most: Annotated[int, typer.Option("-n", min=1, help="How many variants to show.")] = 10,
    certified: Annotated[
        bool, typer.Option("--certified", help="Only what was proven on fresh blocks.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The Pareto front, then the best of the others by the first objective: believed ± its error, n."""
    from evo.analysis.campaign_view import Record
    from evo.analysis.ranking import front_of, ranking

    nothing = "Nothing is certified."
    with opened(directory) as (folder, store):
        record = Record.of(store)
        if certified and not certifies(folder, record):
            nothing = (
                "Nothing is certified: this config certifies nothing (certification.attempts: 0)."
            )
    ranked = ranking(record)
    front = front_of(record, ranked)
    others = [one for one in ranked if one not in front]
    found = [one for one in front if one.standing == "certified"] if certified else front + others
    rows = found[:most]
    if as_json:
        show_json(rows)
        return
    from evo.terminal.tables import ranking_table
    from evo.terminal.text import count

    if not rows:
        print(nothing if certified else "Nothing has a score yet.")
        return
    remark_on(record)
    show(ranking_table(rows, record.objectives, record.seed_id))
    if len(found) > most:
        print(
            f"\n{len(rows):,} of {count(len(found), 'variant')}, {len(front):,} on the front; -n shows more"
        )


@app.command(name="show", epilog="Example: evo show leader --source")
def show_variant(
    variant: VariantArgument,
    directory: DirOption = None,
    source: Annotated[bool, typer.Option("--source", help="Print its train.py as well.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Everything known of one variant: where it comes from, every run, every failure's reason."""
    from evo.analysis.campaign_view import Record
    from evo.analysis.findings import shown_beside_seed
    from evo.analysis.ranking import ranking
    from evo.analysis.variant_history import decision_in_words
    from population.reading import (
        all_decisions,
        calls,
        children_of,
        first_proposal,
        measurements,
        source_of,
    )
    from population.reading.memory import origin_of
    from population.types import Status

    with opened(directory) as (_, store):
        variant_id = named(store, variant)
        made = first_proposal(store, variant_id)
        runs = measurements(store, variant_id=variant_id, statuses=list(Status))
        record = Record.of(store)
        children = [child.variant_id for child in children_of(store, variant_id)]
        text = source_of(store, variant_id) if source else None
        asked = (
            [one for one in calls(store, made.number) if one.operator] if made is not None else []
        )
        log = _last_log(store, runs)
        decided = [one for one in all_decisions(store) if one.variant_id == variant_id]
        origin = origin_of(store, made.idea_id) if made is not None else None
    ranked = ranking(record)
    own = next((one for one in ranked if one.variant_id == variant_id), None)
    rank = ranked.index(own) + 1 if own is not None else None
    pair = (record.rows, variant_id, record.seed_id, record.proxy, record.objective)
    beside = shown_beside_seed(*pair) if variant_id != record.seed_id else None
    if as_json:
        known: dict[str, object] = {
            "variant_id": variant_id,
            "proposal": made,
            "calls": asked,
            "children": children,
        }
        said = dict(_on_the_ladder(record.ladder, variant_id))
        known |= {"at_proxy": own, "rank": rank, "of": len(ranked), "beside_seed": beside}
        known |= {"decisions": decided, "origin": origin}
        show_json({**known, "ladder": said, "measurements": runs, "log_tail": log, "source": text})
        return
    from evo.terminal.status import variant_screen
    from evo.terminal.tables import by_whom, call_line, origin_in_words
    from evo.terminal.text import printable, short

    rows = [
        ("variant", variant_id),
        ("children", str(len(children))),
        *_standing(own, rank, len(ranked), beside, record),
        *_metrics(own, runs, record.proxy),
    ]
    rows += _on_the_ladder(record.ladder, variant_id)
    rows += [("decided", decision_in_words(one)) for one in decided]
    if made is not None:
        parents = ", ".join(f"{short(one.variant_id)} ({one.role})" for one in made.parents)
        rows[1:1] = [("made by", f"{made.made_by}, {by_whom(made.author, made.model)}")]
        rows[2:2] = [("parents", parents or "none"), ("idea", made.idea or "none")]
        rows[4:4] = [("call", call_line(one)) for one in asked]
        if origin is not None:
            rows[4:4] = [("transplanted", origin_in_words(origin, record.objective.name))]
    remark_on(record)
    show(variant_screen(rows, [_run_cells(run, record.objective.name) for run in runs]))
    if log:
        print("\nlast lines of its log:\n" + printable(log))
    if text is not None:
        print("\n" + printable(text))


def _on_the_ladder(ladder: Ladder, variant_id: str) -> list[tuple[str, str]]:
    """What it was chosen for, and what people said of it."""
    chosen = [
        f"{rung} as {climber.role}"
        for (one, rung), climber in ladder.ever.items()
        if one == variant_id
    ]
    approved = [rung or "every rung" for one, rung in sorted(ladder.approved) if one == variant_id]
    rows = [("chosen for", ", ".join(chosen)), ("approved for", ", ".join(approved))]
    if variant_id in ladder.vetoed:
        rows.append(("vetoed", f"by {ladder.vetoed[variant_id] or 'someone'}"))
    return [(name, text) for name, text in rows if text]


def _last_log(store: Store, runs: list[MeasurementRow]) -> str:
    from population.reading import measurement
    from population.types import Status

    failed = [run for run in runs if run.measurement.status is not Status.OK]
    return measurement(store, failed[-1].id).measurement.log_tail if failed else ""


def _run_cells(row: MeasurementRow, objective: str) -> list[str]:
    from evo.terminal.text import duration, value
    from population.metrics import claim_metric, label
    from population.types import ONE_STEP, rung_in_words

    run, request = row.measurement, row.measurement.request
    claimed = claim_metric(objective, [run])
    score = next((name for name in (claimed, *run.metrics) if name in run.metrics), None)
    if request.rung.endswith(ONE_STEP):
        score = None  # one step of training: it shows that it can be built there, nothing else
    return [
        rung_in_words(request.rung),
        str(request.block),
        request.purpose.value,
        run.status.value.replace("_", " "),
        "" if score is None else f"{label(score)} {value(score, run.metrics[score])}",
        duration(run.wall_seconds) if run.wall_seconds else "–",
        run.reason,
    ]


def _standing(
    own: Ranked | None, rank: int | None, among: int, beside: Comparison | None, record: Record
) -> list[tuple[str, str]]:
    """What is believed of it at the proxy, what it gains over the seed, and where it stands."""
    from evo.terminal import sentences
    from evo.terminal.tables import BELIEF, standing_in_words
    from evo.terminal.text import count, plus_minus, value
    from population.metrics import JUDGED, METRICS, SELF_REPORTED, Trust, label, trust_of

    if own is None:
        return [("score", "none at the proxy")]
    first = record.objective
    way = "lower" if first.lower_is_better else "higher"
    unit = METRICS[first.name].unit if first.name in METRICS else ""
    told = f"{label(first.name)} {plus_minus(first.name, *own.told(first.name))}"
    rows = [
        ("believed", f"{told} ({unit + ', ' if unit else ''}{way} is better; {BELIEF})"),
        ("mean less blocks", value(first.name, own.measured.mean, own.errors[first.name])),
        ("standing", standing_in_words(own, record.seed_id, trust_of(first.name))),
        *([("beyond limit", f"the config asks for {own.beyond}")] if own.beyond else []),
        ("rank", f"{rank} of {count(among, 'variant')} by what is believed"),
    ]
    if beside is not None:
        gain = f"{label(beside.metric)} {sentences.beside(beside)}"
        rows.append(("against seed", f"{gain}: {sentences.means(beside)}"))
    if trust_of(first.name) is Trust.SELF_REPORTED:
        rows.append(("trust", SELF_REPORTED))
    elif trust_of(first.name) is Trust.JUDGED:
        rows.append(("trust", JUDGED))
    return rows


def _metrics(own: Ranked | None, runs: list[MeasurementRow], proxy: str) -> list[tuple[str, str]]:
    """The means of its own runs in each metric but scores, and the last run's where it says something else."""
    from statistics import fmean

    from evo.terminal.text import value
    from population.types import Status

    scored = [run.measurement for run in runs if run.measurement.metrics]
    mine = [run for run in scored if run.request.rung == proxy]
    last = mine[-1].metrics if mine else {}
    counted = [run for run in mine if run.status is Status.OK]
    if own is None:
        return [(name.replace("_", " "), f"{value(name, last[name])} (last run)") for name in last]
    rows = []
    for name in own.estimates:
        if name.endswith("_bpb"):
            continue  # scores stand with each run
        measured = [run.metrics[name] for run in counted if name in run.metrics]
        if not measured:
            continue
        text = value(name, fmean(measured))
        if name in last and value(name, last[name]) != text:
            text += f"  n={len(measured)}, last run {value(name, last[name])}"
        rows.append((name.replace("_", " "), text))
    return rows


# -- `evo log`: what happened, as it is kept in the store.


LOOK_SECONDS = 0.5  # between two looks for new events
ALL = -1


@app.command(name="log", epilog="Example: evo log -f")
def log_of(
    directory: DirOption = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with what happens, until it ends.")
    ] = False,
    most: Annotated[
        int | None,
        typer.Option("-n", min=0, help="Only the newest N lines.", show_default=False),
    ] = None,
    as_json_too: JsonOption = False,
) -> None:
    """Everything that happened, a line each with its time: what the live view scrolled away.

    With -f and --json: one JSON document a line.
    """
    with opened(directory) as (folder, store):
        found = _events(store, 0, ALL if most is None else most)
        if as_json_too and not follow:
            show_json(found)
            return
        where = at(folder)
        _write(found, where, as_json_too)
        last = found[-1].id if found else _last_id(store)
        while follow:
            runs = running_process(folder) is not None  # before the last look: nothing is missed
            found = _events(store, last, ALL)
            _write(found, where, as_json_too)
            last = found[-1].id if found else last
            if not runs:
                break
            time.sleep(LOOK_SECONDS)
    if not found and not last and not as_json_too:
        print("Nothing has happened here yet.")


def _events(store: Store, after: int, most: int) -> list[Event]:
    from population.reading import events

    return events(store, after, most)


def _last_id(store: Store) -> int:
    found = _events(store, 0, 1)
    return found[-1].id if found else 0


def _write(events: Sequence[Event], where: str, as_lines_of_json: bool) -> None:
    from evo.cli.app import as_json as plain_values
    from evo.terminal.text import dated_line, placed

    for one in events:
        if as_lines_of_json:
            print(json.dumps(plain_values(one)), flush=True)
        else:
            sys.stdout.write(dated_line(one.created_at, placed(one.text, where)) + "\n")
    sys.stdout.flush()
