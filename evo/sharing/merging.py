"""Several campaigns as one: a new folder, with every claim found anew from the rows."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from evo.campaigns import DATABASE
from evo.config import SHIPPED, Config, ConfigError, RungSettings, read_plain
from evo.evaluation.static_check import MODULES
from evo.files import DRAFT as UNFINISHED
from evo.files import write_file
from evo.folder import CONFIG, refuse_folder, write_values
from evo.folder import DRAFT as NEW_STORE
from evo.old_keys import current
from evo.search.certification import (
    ALPHA,
    ENDED,
    FLOOR_SHARE,
    fresh_scores,
    log_e_by_site,
    proven_members,
)
from population.archive import DEFAULT_OBJECTIVES, Constraint, Objective
from population.ladder import Ladder
from population.lineage import Lineage
from population.run_history import RunHistory
from population.sharing.merged_store import (
    count_variants,
    lasting_decisions,
    resume_command,
    write_rows,
)
from population.sharing.merging import Layout, MergedSite, NotMergeable, lay_out
from population.sharing.shared_rows import (
    CONTRACT,
    MERGED,
    Kind,
    SharedRows,
    campaign_id,
    shared_rows,
)
from population.statistics.certification import Verdict
from population.store import Store
from population.types import SITE, Decision, Purpose

KINDS = ("", "campaign")  # of a store that holds a search
MERGING = f"{UNFINISHED}merge-"  # how the names of folders begin that a merge is still writing

Tell = Callable[[str], None]


class SharingError(Exception):
    """Campaigns cannot be merged, pushed or pulled as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class CampaignRows:
    """The rows of one campaign's folder, and of which campaign the config there is."""

    path: Path
    rows: SharedRows
    config_of: str


@dataclass(frozen=True, slots=True)
class Merger:
    """What a merge brought together. `new`: rows that the first source did not hold, by kind."""

    folder: Path
    sites: tuple[MergedSite, ...]
    rows: Mapping[str, int]
    new: Mapping[str, int]
    waiting: int
    variants: int
    certified: tuple[str, ...]
    resume: str  # the command that goes on with it


def read_campaign(path: Path) -> CampaignRows:
    """The rows of a campaign's folder, which is only read. SharingError for one without a search."""
    with Store.open(path / DATABASE, read_only=True) as store:
        kind = str(store.setting("kind") or "")
        if kind not in KINDS:
            why = " of self-reported measurements" if kind == "import" else ""
            raise SharingError(f"{path} is an {kind}{why} and holds no search that could be merged")
        merged = store.setting(MERGED) or {}
        return CampaignRows(path, shared_rows(store), merged.get("config_of") or campaign_id(store))


def together(sources: Iterable[SharedRows]) -> SharedRows:
    """The union of several sets of rows."""
    rows = SharedRows()
    for one in sources:
        rows.update(one)
    return rows


def merge(
    sources: Sequence[CampaignRows],
    bundled: SharedRows,
    new: Path | None,
    tell: Tell = lambda text: None,
) -> Merger:
    """Write one campaign of several folders and of rows from bundles.

    Without `new` it is only told what that would hold. The folder is written beside its place and renamed: a
    kill leaves none. SharingError for campaigns that measure different things, CampaignError for a folder that
    holds anything.
    """
    if new is not None:
        refuse_folder(new)
    rows = together([*(one.rows for one in sources), bundled])
    first = sources[0].rows if sources else SharedRows()
    try:
        layout = lay_out(rows, completed, tell)
    except NotMergeable as error:
        raise SharingError(f"these cannot be merged: {error}") from error
    tell("claims")
    config, of = _config(sources, layout)
    history = _history(rows, layout, config)
    vouched = _history(rows, layout, config, vouched=True)
    claims = claims_of(vouched, next(iter(layout.rungs), "proxy"))
    told = Merger(
        new or Path(),
        tuple(layout.told_sites()),
        count_kinds(rows),
        count_kinds(SharedRows(row for row in rows if row.key not in first)),
        layout.waiting,
        count_variants(layout),
        tuple(one.variant_id for one in claims),
        resume_command(config, count_variants(layout)),
    )
    if new is None:
        return told
    new.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(new.parent)
    draft = new.parent / f"{MERGING}{os.getpid()}-{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        with Store.create(draft / NEW_STORE) as store, store.transaction():
            store.set_setting("config", {key: config[key] for key in sorted(config)})
            write_rows(store, rows, layout, _compared(layout, claims), claims, tell)
            store.set_setting(MERGED, {**store.setting(MERGED), "config_of": of.config_of})
            _write_claims(store, layout, history, claims)
        _write_beside(draft, of, config, rows[layout.seed_id].body["source"])
        os.replace(draft / NEW_STORE, draft / DATABASE)
        os.rename(draft, new)  # over an empty folder, too
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return told


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """How a campaign measured, with the keys that it is too old to know, as they were for it."""
    found = {
        name: Config.model_fields[name].get_default(call_default_factory=True)
        for name in CONTRACT
        if not Config.model_fields[name].is_required()
    }
    found = {**as_plain(found), **current({**config, "rungs": dict(config["rungs"])})[0]}
    found["rungs"] = [[name, one] for name, one in found["rungs"].items()]
    with suppress(ValidationError, TypeError, AttributeError):  # another version's: as it stands
        found["rungs"] = [
            [name, RungSettings.model_validate(one).model_dump(mode="json")]
            for name, one in found["rungs"]
        ]
    with suppress(ValidationError, TypeError):
        found["objectives"] = [
            Objective.model_validate(one).model_dump(mode="json") for one in found["objectives"]
        ]
    return found


def as_plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Default values of a config as JSON has them."""
    plain: dict[str, Any] = TypeAdapter(dict[str, Any]).dump_python(dict(values), mode="json")
    return plain


def count_kinds(rows: SharedRows) -> dict[str, int]:
    """How many rows of each kind."""
    return {kind.value: len(rows.of(kind)) for kind in Kind}


def _remove_left(parent: Path) -> None:
    """What merges that were killed have left; those of a process that lives stay."""
    for path in parent.glob(f"{MERGING}*"):
        pid = re.match(r"(\d+)-", path.name.removeprefix(MERGING))
        if pid is not None and not Path(f"/proc/{pid[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)


# -- The config: that of the oldest campaign whose folder is there, with the ladder of all.


def _config(sources: Sequence[CampaignRows], layout: Layout) -> tuple[dict[str, Any], CampaignRows]:
    order = {one.body["campaign"]: place for place, one in enumerate(layout.campaigns)}
    oldest = layout.campaigns[0].body
    found = min(
        sources, key=lambda one: (order.get(one.config_of, len(order)), one.config_of), default=None
    )
    if found is None:  # bundles alone: they hold how it was measured, and nothing of a machine
        bare = {"name": oldest["name"], **oldest["config"], "rungs": layout.rungs}
        return bare, CampaignRows(Path(), SharedRows(), oldest["campaign"])
    with Store.open(found.path / DATABASE, read_only=True) as store:
        config, _ = current(store.setting("config") or {})
    return {**config, **({"rungs": layout.rungs} if layout.rungs else {})}, found


def _write_beside(draft: Path, of: CampaignRows, config: Mapping[str, Any], seed: str) -> None:
    """config.yaml, train.py and brief.md, as the folder that the config is of has them."""
    train, brief = of.path / "train.py", of.path / "brief.md"
    has_folder = of.path != Path()
    write_file(
        draft / "train.py", train.read_bytes() if has_folder and train.is_file() else seed.encode()
    )
    shipped = SHIPPED / "configs" / "brief.md"
    words = brief if has_folder and brief.is_file() else shipped
    write_file(draft / "brief.md", words.read_bytes())
    values = dict(config)
    if has_folder:
        _copy_companions(of.path, draft)
        try:
            values = read_plain(of.path / CONFIG)
        except ConfigError:  # gone or damaged: as first run
            values = dict(config)
    rungs = config.get("rungs") or {}
    if rungs and list(values.get("rungs") or {}) != list(rungs):
        values["rungs"] = rungs
    write_values(draft / CONFIG, values)


def _copy_companions(folder: Path, draft: Path) -> None:
    """Modules that the seed imports, and briefs of islands: plain files, no links."""
    for path in (*(folder / MODULES).glob("*.py"), *folder.glob("brief*.md")):
        place = draft / path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and not place.exists():
            write_file(place, path.read_bytes())


# -- Claims: front, standings, who is proven, whom the final comparison is about.


def _history(
    rows: SharedRows, layout: Layout, config: Mapping[str, Any], vouched: bool = False
) -> RunHistory:
    """What is known; `vouched`: from rows alone that somebody vouches for, as claims rest on no others."""
    objectives = [Objective.model_validate(one) for one in config.get("objectives") or ()]
    constraints = [Constraint.model_validate(one) for one in config.get("constraints") or ()]
    family = Lineage.of_proposals(one for one, _ in layout.proposals)
    history = RunHistory(objectives or DEFAULT_OBJECTIVES, layout.seed_id, constraints, family)
    for row in layout.counted():
        if not vouched or row.measurement.request.purpose is not Purpose.SHARED:
            history.add(row)
    ladder = Ladder()
    for one in lasting_decisions(rows):
        ladder.take(one.body["what"], one.body["variant"] or "", one.body["detail"])
    history.veto(ladder.vetoed)
    return history


def claims_of(history: RunHistory, rung: str) -> list[Decision]:
    """A verdict for each variant that the rows prove better than the seed, the best last.

    Pairs of one campaign each, which somebody vouches for, at the false discovery rate of a campaign.
    """
    proven = proven_members(history, rung, ALPHA)
    first = history.objectives[0]
    noise = history.noise_sd(rung, first.name) or 0.0
    found = []
    for one in reversed([member for member in history.front(rung) if member in proven]):
        mine, seed = (fresh_scores(history, rung, id) for id in (one, history.seed_id))
        gains = {block: seed[block] - mine[block] for block in mine if block in seed}
        log_e = log_e_by_site(gains, first.epsilon, FLOOR_SHARE * noise)
        detail = {"number": 0, "champion": history.seed_id, "pairs": len(gains), "log_e": log_e}
        found.append(Decision(ENDED, one, {**detail, "verdict": Verdict.CERTIFIED.value}))
    return found


def _compared(layout: Layout, claims: Sequence[Decision]) -> set[int]:
    """The sites that made a final comparison for the best that is proven."""
    best = claims[-1].variant_id if claims else None
    requests = [row.measurement.request for row, _ in layout.measurements]
    return {
        one.block // SITE
        for one in requests
        if one.purpose is Purpose.FINAL and one.variant_id == best
    }


def _write_claims(
    store: Store, layout: Layout, history: RunHistory, claims: Sequence[Decision]
) -> None:
    certified = [one.variant_id for one in claims]
    for place, rung in enumerate(layout.rungs or history.rungs()):
        store.set_front(rung, history.members(rung, certified if place == 0 else ()))
        store.set_beliefs(rung, history.moved_beliefs(rung, whole=True))
