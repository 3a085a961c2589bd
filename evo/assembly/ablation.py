"""An ablation in a folder of its own: a champion's edits, runs that are rows like all others, a report.

The campaign that found the champion is only read. What is measured where and how is its config's, on blocks
that it never ran. Which runs are next follows from the rows alone, so that an ablation that was killed goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo.analysis.campaign_view import Record
from evo.assembly.campaign import build_campaign
from evo.campaigns import ABLATION, ABLATIONS, DATABASE
from evo.config import Config
from evo.folder import CampaignError, Folder
from evo.runtime.campaign import Campaign
from evo.runtime.components import LoopSettings
from evo.search.ablation import (
    Ablation,
    AblationTerms,
    Arms,
    least_runs,
    usual_runs,
)
from evo.search.certification import BEGUN, GAIN_SHARE, claim_value
from operators.source.atomic_edits import (
    AncestryStep,
    AtomicEdit,
    EditedPlace,
    atomic_edits,
    with_edits,
)
from operators.source.parse import SourceError
from population.archive import Objective
from population.fingerprint import fingerprint
from population.lineage import ANCESTOR, Lineage
from population.reading import (
    decisions,
    measurements,
    next_proposal_number,
    seed,
    source_of,
)
from population.run_history import MAX_ATTEMPTS
from population.statistics.attribution import AblationReport
from population.statistics.factorial import ArmRun, Present
from population.store import Store, StoreError
from population.types import (
    Measurement,
    Outcome,
    Parent,
    Proposal,
    ProposalRow,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)

SETTING, ARMS = "ablation", "ablation_arms"
PLACE_CHARS = 40  # of the first line of a place
NAME = "ablate"  # of the operator that its variants are recorded under


@dataclass(frozen=True, slots=True)
class AblationPlan:
    """What an ablation is of, and what it may spend. `champion`: its id, `ideas`: of an edit, a step each.

    `form_only`: edits that change nothing that runs. `seconds`: of one run, None where none was made yet.
    """

    champion: str
    campaign: str
    metric: str
    edits: tuple[AtomicEdit, ...]
    ideas: tuple[tuple[str, ...], ...]
    form_only: tuple[str, ...]
    terms: AblationTerms
    seconds: float | None = None

    @property
    def minutes(self) -> float | None:
        """The runs one after the other, in minutes; None where nothing is known of a run."""
        return None if self.seconds is None else self.terms.runs * self.seconds / 60


def plan_ablation(
    folder: Folder,
    champion: str,
    runs: int | None = None,
    by_place: bool = False,
    min_gain: float | None = None,
) -> AblationPlan:
    """The edits between the seed of a campaign and one of its variants, and the runs that they take.

    A line of one step alone is cut by places. CampaignError for fewer than two edits or too few runs.
    """
    with Store.open(folder.database, read_only=True) as store:
        record = Record.of(store)
        births = record.births()
        ancestry = _ancestry(store, births, champion)
        begun = [one.detail["rule"]["min_gain"] for one in decisions(store, (BEGUN,))]
    try:
        found, cut = atomic_edits(ancestry, by_place), by_place
        if len(_that_run(found)) < 2 and not by_place:
            found, cut = atomic_edits(ancestry, True), True
    except SourceError as error:
        raise CampaignError(f"{champion[:8]} cannot be cut into edits: {error}") from error
    edits = _that_run(found)
    if len(edits) < 2:
        raise CampaignError(
            f"{champion[:8]} differs from the seed in {len(edits) or 'no'} "
            f"{'edit' if len(edits) == 1 else 'edits'}: there is nothing to tell apart"
        )
    least, wanted = least_runs(len(edits)), runs or usual_runs(len(edits))
    if wanted < least:
        raise CampaignError(
            f"--runs {wanted}: {len(edits)} edits take {least} runs at least, and "
            f"{usual_runs(len(edits))} give every edit an interval"
        )
    noise = record.beliefs().noise_sd(record.objective.name)
    gain = min_gain if min_gain is not None else (begun[-1] if begun else GAIN_SHARE * (noise or 0))
    asked = [one.request.block for one in record.runs() if one.request.rung == record.proxy]
    terms = AblationTerms(
        len(edits), wanted, max(asked, default=0) + 1, gain, int(champion[:8], 16)
    )

    def ideas(one: AtomicEdit) -> tuple[str, ...]:
        said = tuple(idea_in_words(births[step]) for step in one.steps)
        return (f"{_place_in_words(one)}: {said[0]}", *said[1:]) if cut else said

    return AblationPlan(
        champion,
        folder.path.name,
        record.objective.name,
        tuple(edits),
        tuple(map(ideas, edits)),
        tuple(idea for one in found if one.form_only for idea in ideas(one)),
        terms,
        _seconds(record, champion),
    )


def idea_in_words(made: ProposalRow) -> str:
    """What a step was meant to do, by whom: its idea, operator and idea bank."""
    bank = f", from {made.bank}" if made.bank else ""
    return f"{made.idea or 'no idea stated'} ({made.operator}{bank})"


def _place_in_words(edit: AtomicEdit) -> str:
    """The first line that an edit writes, without its comment."""
    lines = [one.strip() for place in edit.places for one in place.lines if one.strip()]
    lines = [one for one in lines if not one.startswith("#")] or lines
    if not lines:
        return "lines taken out"
    return lines[0].partition("  #")[0][:PLACE_CHARS].rstrip()


def _that_run(edits: Iterable[AtomicEdit]) -> list[AtomicEdit]:
    return [one for one in edits if not one.form_only]


def _ancestry(store: Store, births: Mapping[str, ProposalRow], champion: str) -> list[AncestryStep]:
    """Everyone that it comes from, through all parents, and itself, parents before their children."""
    family, root = Lineage.of_proposals(births.values()), seed(store)
    assert root is not None
    line = [one for one in births if one == champion or family.descends(champion, one)]
    if line[:1] != [root]:
        line = [root, *(one for one in line if one != root)]
    return [
        AncestryStep(
            one,
            births[one].operator,
            source_of(store, one),
            tuple(dict.fromkeys(p.variant_id for p in births[one].parents if p.role != ANCESTOR)),
        )
        for one in line
    ]


def _seconds(record: Record, champion: str) -> float | None:
    """What a run of the champion or, before it has any, of the seed took."""
    for one in (champion, record.seed_id):
        walls = sorted(
            run.wall_seconds
            for run in record.runs()
            if run.request.variant_id == one and run.request.rung == record.proxy
        )
        if walls:
            return walls[len(walls) // 2]
    return None


# -- The store of an ablation.


def config_of_ablation(config: Config) -> Config:
    """The campaign's config with the first rung alone, and nothing searched or kept."""
    proxy = next(iter(config.rungs))
    return config.model_copy(
        update={
            "rungs": {proxy: config.rungs[proxy]},
            "name": f"{config.name}-ablation",
            "keep": config.keep.model_copy(update={"weights": False}),
            "exact": False,
        }
    )


def write_plan(store: Store, plan: AblationPlan) -> None:
    """Record what a new ablation is of."""
    edits = [
        [[one.number, one.low, one.high, list(one.lines), one.step] for one in edit.places]
        for edit in plan.edits
    ]
    values = {
        "champion": plan.champion,
        "campaign": plan.campaign,
        "metric": plan.metric,
        "edits": edits,
        "steps": [list(edit.steps) for edit in plan.edits],
        "ideas": plan.ideas,
        "form_only": plan.form_only,
        "runs": plan.terms.runs,
        "first_block": plan.terms.first_block,
        "min_gain": plan.terms.min_gain,
        "draws": plan.terms.draws,
        "seconds": plan.seconds,
    }
    store.set_setting(SETTING, values)


def read_plan(store: Store) -> AblationPlan:
    """What a recorded ablation is of. StoreError for a store that is none."""
    told: dict[str, Any] | None = store.setting(SETTING)
    if told is None:
        raise StoreError(f"{store.path} holds no ablation")
    edits = [
        AtomicEdit(
            tuple(steps),
            tuple(
                EditedPlace(number, low, high, tuple(lines), step)
                for number, low, high, lines, step in places
            ),
        )
        for steps, places in zip(told["steps"], told["edits"], strict=True)
    ]
    terms = AblationTerms(
        len(edits), told["runs"], told["first_block"], told["min_gain"], told["draws"]
    )
    return AblationPlan(
        told["champion"],
        told["campaign"],
        told["metric"],
        tuple(edits),
        tuple(map(tuple, told["ideas"])),
        tuple(told["form_only"]),
        terms,
        told["seconds"],
    )


def find_ablation(bases: Iterable[Path], champion: str) -> Path | None:
    """The newest ablation of a variant in the `ablations` of these folders."""
    found = [path for base in bases for path in (base / ABLATIONS).glob(f"*/{DATABASE}")]
    for path in sorted(found, key=lambda one: one.stat().st_mtime, reverse=True):
        try:
            with Store.open(path, read_only=True) as store:
                if store.setting("kind") == ABLATION and read_plan(store).champion == champion:
                    return path.parent
        except StoreError:
            continue
    return None


def source_with(store: Store, plan: AblationPlan, present: Present) -> str:
    """The seed with these edits; champion and seed as they are."""
    root = seed(store)
    assert root is not None
    before = source_of(store, root)
    if len(present) == len(plan.edits):
        return source_of(store, plan.champion)
    return with_edits(before, [plan.edits[one] for one in sorted(present)]) if present else before


def report_of(store: Store) -> AblationReport:
    """What the runs of an ablation so far say."""
    return _ablation(store, read_plan(store)).report()


def _ablation(store: Store, plan: AblationPlan) -> Ablation:
    return Ablation(plan.terms, _runs(store))


def _runs(store: Store) -> list[ArmRun]:
    """Its recorded runs; those given up, and sets of edits that do not parse, as failed."""
    arms = {one: list(map(frozenset, sets)) for one, sets in store.setting(ARMS, {}).items()}
    objective, found, lost = _objective(store), list[ArmRun](), dict[tuple[str, int], int]()
    for row in measurements(store, statuses=list(Status)):
        run, key = (
            row.measurement,
            (row.measurement.request.variant_id, row.measurement.request.block),
        )
        if run.request.purpose is not Purpose.ABLATE:
            continue
        if run.status is Status.LOST:
            lost[key] = lost.get(key, 0) + 1
            if lost[key] < MAX_ATTEMPTS:
                continue
        found += [ArmRun(key[1], one, _cost(objective, run)) for one in arms.get(key[0], ())]
    return found + [
        ArmRun(block, frozenset(one), None) for block, one in store.setting("unparsable", [])
    ]


def _objective(store: Store) -> Objective:
    return Record.of(store).objective


def _cost(objective: Objective, run: Measurement) -> float | None:
    if run.status is not Status.OK or objective.name not in run.metrics:
        return None
    return objective.turned(claim_value(objective, run))


# -- Carrying it out.


def run_ablation(
    folder: Folder,
    config: Config,
    follow: Callable[[Campaign], int],
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Stage after stage until everything is measured; the exit code of `follow`, which runs each.

    Hold `locked(folder)` around it. A stage's sets of edits are recorded before its first run.
    """
    while True:
        with folder.open_store() as store:
            plan = read_plan(store)
            arms = _ablation(store, plan).next()
            requests = _record(store, plan, arms, config)
        if not arms:
            return 0
        if not any(requests):
            continue  # none of them parses: they are known to fail
        given = [one for one in requests if one]
        blocks = [one.block for one in arms]
        runs = sum(map(len, given))
        say(f"{runs} {'run' if runs == 1 else 'runs'}, blocks {min(blocks)} to {max(blocks)}")
        loop = LoopSettings(search=False, finish=False)
        campaign = build_campaign(folder, config, loop, say, lambda *_, runs=given: runs)
        code = follow(campaign)
        with folder.open_store() as store:
            stuck = _ablation(store, plan).next() == arms
        if code or stuck:
            return code


def _record(
    store: Store, plan: AblationPlan, arms: Sequence[Arms], config: Config
) -> list[list[RunRequest]]:
    """The variants of a stage as proposals, and its runs, a slot's share each."""
    known: dict[str, list[list[int]]] = dict(store.setting(ARMS, {}))
    broken: list[list[Any]] = list(store.setting("unparsable", []))
    root, rung = seed(store), next(iter(config.rungs))
    assert root is not None
    found = list[list[RunRequest]]()
    with store.transaction():
        for together in arms:
            found.append([])
            for present in together.present:
                source = source_with(store, plan, present)
                try:
                    variant = Variant(variant_id(source), source, fingerprint(source))
                except SyntaxError:
                    broken.append([together.block, sorted(present)])
                    continue
                if variant.id not in known and variant.id not in (root, plan.champion):
                    parents = (Parent(plan.champion, "parent"),)
                    idea = f"with edits {_listed(present)} of {plan.champion[:8]}"
                    number = next_proposal_number(store)
                    store.add_proposal(
                        Proposal(number, NAME, parents, Outcome.VARIANT, "", variant, idea)
                    )
                sets = known.setdefault(variant.id, [])
                if sorted(present) not in sets:
                    sets.append(sorted(present))
                found[-1].append(RunRequest(variant.id, rung, together.block, 0, Purpose.ABLATE))
        store.set_setting(ARMS, known)
        store.set_setting("unparsable", broken)
    return found


def add_champion(store: Store, plan: AblationPlan, source: str) -> None:
    """The champion as the seed's child, in a new store."""
    root = seed(store)
    assert root is not None
    variant = Variant(plan.champion, source, fingerprint(source))
    parents, idea = (Parent(root, "parent"),), f"the champion of {plan.campaign}"
    number = next_proposal_number(store)
    store.add_proposal(Proposal(number, "inject", parents, Outcome.VARIANT, "", variant, idea))


def _listed(present: Present) -> str:
    return ", ".join(str(one + 1) for one in sorted(present)) or "none"


# -- The same as plain values, edits by their numbers from 1, as they are shown.


def plan_json(plan: AblationPlan) -> dict[str, object]:
    """What an ablation is of, for --json."""
    return {
        "champion": plan.champion,
        "campaign": plan.campaign,
        "metric": plan.metric,
        "edits": [
            {"edit": number, "steps": one.steps, "ideas": ideas, "places": one.places}
            for number, (one, ideas) in enumerate(zip(plan.edits, plan.ideas, strict=True), 1)
        ],
        "form_only": plan.form_only,
        "runs": plan.terms.runs,
        "min_gain": plan.terms.min_gain,
        "first_block": plan.terms.first_block,
    }


def report_json(found: AblationReport) -> dict[str, object]:
    """What its runs say, for --json."""
    fitted = found.fitted
    rows = [
        {
            "edit": one.edit + 1,
            "verdict": one.verdict,
            "gain": one.effect and one.effect.gain,
            "low": one.effect and one.effect.low,
            "high": one.effect and one.effect.high,
            "alone": one.alone,
            "left_out": one.left_out,
            "joined": sorted(edit + 1 for edit in one.joined),
        }
        for one in found.edits
    ]
    pairs = fitted.pairs if fitted else ()
    return {
        "effects": rows,
        "interactions": [
            {
                "edits": [edit + 1 for edit in one.edits],
                "gain": one.gain,
                "low": one.low,
                "high": one.high,
                "beyond_chance": fitted is not None and one.edits in fitted.taken_in,
            }
            for one in pairs
        ],
        "design": found.design,
        "confounded": [
            [[a + 1, b + 1] for a, b in group] for group in (fitted.confounded if fitted else ())
        ],
        "either": [[a + 1, b + 1] for a, b in found.either],
        "not_told": [[a + 1, b + 1] for a, b in (fitted.hidden if fitted else ())],
        "run_sd": fitted.run_sd if fitted else None,
        "minimal": sorted(one + 1 for one in found.minimal),
        "minimal_loss": found.loss,
        "minimal_pairs": found.pairs,
        "minimal_verdict": found.verdict,
        "complete": found.complete,
    }
