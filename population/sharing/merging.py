"""Rows of several campaigns laid out as one: a function of the set alone, whatever order it came in.

Each campaign is a site: its blocks are numbered apart from the others' (`SITE`), so that a pair is always of
two runs of one campaign. What nobody vouches for comes after everything else and as `Purpose.SHARED`: it is
evidence of what a variant may be worth, and nothing is certified by it. A row that refers to something that is
not there, such as a source, waits among `shared_rows` until another merge brings it.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from population.sharing.shared_rows import Body, Kind, SharedRow, SharedRows, Vouched
from population.types import (
    AGAIN,
    SITE,
    Cost,
    Measurement,
    MeasurementRow,
    Outcome,
    Parent,
    ProposalRow,
    Purpose,
    RunRequest,
    Status,
)

MAX_SITES = 10_000


class NotMergeable(ValueError):
    """These campaigns do not measure the same thing; the message names the key that differs."""


@dataclass(frozen=True, slots=True)
class MergedSite:
    """One campaign of a merged one. `number` counts from 1; blocks of its rows begin at SITE times that."""

    number: int
    campaign: str
    name: str
    host_class: str
    vouched: Vouched
    measurements: int


@dataclass(slots=True)
class Layout:
    """Where everything goes. Numbers and ids as the new store will have them."""

    campaigns: list[SharedRow]
    rungs: dict[str, Any]
    renamed: Mapping[str, Mapping[str, str]]  # by campaign: its names of rungs to those in `rungs`
    seed_id: str
    sites: Mapping[str, int]
    proposals: list[tuple[ProposalRow, SharedRow]] = field(default_factory=list)
    measurements: list[tuple[MeasurementRow, SharedRow]] = field(default_factory=list)
    ideas: dict[str, int] = field(default_factory=dict)  # rows by the key of what they are of
    voids: list[tuple[int, SharedRow]] = field(default_factory=list)
    waiting: int = 0  # rows that refer to what is not there

    def site_of(self, row: SharedRow) -> int:
        """The site of a measurement: what nobody vouches for stands apart from a campaign of ours."""
        place = self.sites[row.body["campaign"]]
        others = self.campaigns[place - 1].vouched is Vouched.OTHERS
        same = others == (row.vouched is Vouched.OTHERS)
        return place if same else len(self.campaigns) + place

    def counted(self) -> list[MeasurementRow]:
        """The measurements that are not voided."""
        gone = {id for id, _ in self.voids}
        return [row for row, _ in self.measurements if row.id not in gone]

    def told_sites(self) -> list[MergedSite]:
        """The campaigns in their order."""
        runs: dict[str, int] = defaultdict(int)
        vouched: dict[str, Vouched] = defaultdict(lambda: Vouched.OTHERS)
        for _, row in self.measurements:
            of = row.body["campaign"]
            runs[of] += 1
            vouched[of] = max(vouched[of], row.vouched)
        return [
            MergedSite(
                self.sites[one.body["campaign"]],
                one.body["campaign"],
                one.body["name"],
                one.body["host_class"],
                max(vouched[one.body["campaign"]], one.vouched),
                runs[one.body["campaign"]],
            )
            for one in self.campaigns
        ]


def first_difference(one: Any, other: Any, at: str = "") -> str:
    """The first key in which two plain values differ, with both values; "" where they are equal."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}):
            place = f"{at}.{key}" if at else str(key)
            if found := first_difference(one.get(key), other.get(key), place):
                return found
        return ""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for k, pair in enumerate(zip(one, other, strict=True)):
            if found := first_difference(*pair, f"{at}[{k}]"):
                return found
        return ""
    if one == other:
        return ""
    told = (json.dumps(value, ensure_ascii=False)[:60] for value in (one, other))
    return f"{at} ({' against '.join(told)})"


def objection(one: Body, other: Body) -> str:
    """Why the rows of two campaigns are not comparable: what differs; "" when they are."""
    mine, theirs = dict(one["config"]), dict(other["config"])
    rungs, others = dict(mine.pop("rungs")), dict(theirs.pop("rungs"))
    for ours in (mine, theirs):
        ours.pop("constraints", None)  # they say what counts as good, not how it was measured
    if one["seed"] != other["seed"]:
        return f"train: the seed is {one['seed'][:10]} in one and {other['seed'][:10]} in the other"
    if None not in (one["data"], other["data"]) and one["data"] != other["data"]:
        return f"data: {str(one['data'])[:10]} in one and {str(other['data'])[:10]} in the other"
    if one["asks_unseen"] != other["asks_unseen"]:
        return "the version of the harness: pairs are asked other rows in one than in the other"
    if found := first_difference(mine, theirs):
        return found
    for name in sorted(rungs.keys() & others.keys()):
        if found := first_difference(rungs[name], others[name], f"rungs.{name}"):
            return found
    if rungs and others and (first := next(iter(rungs.values()))) != next(iter(others.values())):
        names = next(iter(rungs)), next(iter(others))
        return f"the first rung: {first_difference(first, next(iter(others.values())), 'rungs.' + names[0])}"
    return ""


def lay_out(
    rows: SharedRows,
    completed: Callable[[Body], Body] = lambda config: config,
    tell: Callable[[str], None] = lambda text: None,
) -> Layout:
    """The layout of a set of rows. NotMergeable where two of its campaigns are not comparable.

    `completed`: a config with every key that an older version did not know, as it then was.
    """
    campaigns = [
        replace(one, body={**one.body, "config": completed(one.body["config"])})
        for one in sorted(rows.of(Kind.CAMPAIGN), key=by_age)
    ]
    if not campaigns:
        raise NotMergeable("no campaign among these rows")
    if len(campaigns) > MAX_SITES:
        raise NotMergeable(f"more than {MAX_SITES:,} campaigns")
    first = campaigns[0].body
    of_data = next((one.body for one in campaigns if one.body["data"] is not None), first)
    for one in campaigns[1:]:
        if found := objection(first, one.body) or objection(of_data, one.body):
            raise NotMergeable(f"{first['name']} and {one.body['name']} differ in {found}")
    sites = {one.body["campaign"]: place for place, one in enumerate(campaigns, start=1)}
    rungs, renamed = _rungs_of(campaigns)
    layout = Layout(campaigns, rungs, renamed, first["seed"], sites)
    variants = {row.key for row in rows.of(Kind.VARIANT)}
    tell("ideas")
    _place_ideas(layout, rows)
    tell("proposals")
    proposals = _place_proposals(layout, rows, variants)
    tell("measurements")
    _place_measurements(layout, rows, proposals)
    return layout


def by_age(row: SharedRow) -> tuple[bool, float, str]:
    """Campaigns that somebody vouches for before others, of each kind the oldest first."""
    others = row.vouched is Vouched.OTHERS
    return others, float(row.body["created"]), str(row.body["campaign"])


def _rungs_of(
    campaigns: Sequence[SharedRow],
) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """One ladder of all, the first campaign's first; a rung is its settings, not its name.

    Nobody adds a rung to it whom nobody vouches for, beside the first.
    """
    rungs: dict[str, Any] = {}
    renamed: dict[str, dict[str, str]] = {}
    for one in campaigns:
        adds = one is campaigns[0] or one.vouched is not Vouched.OTHERS
        names: dict[str, str] = {}
        for name, settings in one.body["config"]["rungs"]:
            same = [known for known, other in rungs.items() if other == settings]
            if name not in rungs and not same and adds:
                rungs[name] = settings
            if name in rungs or same:
                names[name] = name if rungs.get(name) == settings else same[0]
        renamed[one.body["campaign"]] = names
    return rungs, renamed


def _place_ideas(layout: Layout, rows: SharedRows) -> None:
    """The same words, or the same line of a bank, are one idea."""
    known: dict[str, int] = {}
    for row in sorted(_of_known(layout, rows, Kind.IDEA), key=in_time):
        origin = row.body["origin"]
        of_bank = json.loads(origin).get("id") if origin else None
        words = f"bank {of_bank}" if of_bank else str(row.body["text"]).lower()
        layout.ideas[row.key] = known.setdefault(words, len(known) + 1)


def _of_known(layout: Layout, rows: SharedRows, kind: Kind) -> list[SharedRow]:
    """Those of campaigns that are known; the others wait."""
    found = [row for row in rows.of(kind) if row.body["campaign"] in layout.sites]
    layout.waiting += len(rows.of(kind)) - len(found)
    return found


def in_time(row: SharedRow) -> tuple[bool, float, str]:
    """Ours and what we trust before others': nobody comes before us by setting a clock back."""
    when = row.body["recorded" if row.kind is Kind.MEASUREMENT else "created"]
    return row.vouched is Vouched.OTHERS, float(when), row.key


def _place_proposals(
    layout: Layout, rows: SharedRows, variants: set[str]
) -> dict[tuple[str, int], int]:
    """By campaign and its number: the new number. The seed comes first; one attempt stands for all its own."""
    placed: dict[tuple[str, int], int] = {}
    chosen: list[SharedRow] = []
    seeds: list[SharedRow] = []
    for row in sorted(_of_known(layout, rows, Kind.PROPOSAL), key=in_time):
        body = row.body
        named = {body["variant"], *(parent for parent, _ in body["parents"])} - {None}
        if not named <= variants:
            layout.waiting += 1
        elif body["variant"] == layout.seed_id and not body["parents"]:
            seeds.append(row)
        else:
            chosen.append(row)
    if not seeds:
        raise NotMergeable(f"the seed {layout.seed_id[:10]} is not among these rows")
    for row in seeds:
        placed[row.body["campaign"], row.body["number"]] = 1
    allowed = _without_circles(layout.seed_id, chosen)
    for number, row in enumerate([seeds[0], *chosen], start=1):
        body = row.body
        placed.setdefault((body["campaign"], body["number"]), number)
        parents = allowed.get(row.key, tuple(Parent(*one) for one in body["parents"]))
        layout.proposals.append((_proposal_row(layout, number, row, parents), row))
    return placed


def _without_circles(seed_id: str, chosen: Sequence[SharedRow]) -> dict[str, tuple[Parent, ...]]:
    """Other parents for the few proposals that need them: a child of nobody, or of itself.

    Such a row is no campaign's of ours; it is taken for an edit of the seed.
    """
    first: dict[str, SharedRow] = {}
    for row in chosen:
        if row.body["outcome"] == Outcome.VARIANT and row.body["variant"] != seed_id:
            first.setdefault(row.body["variant"], row)
    of_seed = (Parent(seed_id, "parent"),)
    allowed: dict[str, tuple[Parent, ...]] = {
        row.key: of_seed
        for row in chosen
        if row.body["outcome"] == Outcome.VARIANT
        and (
            not row.body["parents"]
            or any(up not in first and up != seed_id for up, _ in row.body["parents"])
        )
    }
    state: dict[str, int] = {}  # 1: on the way, 2: its ancestors end at the seed
    for start in first:
        way = [start]
        while way:
            here = way[-1]
            row = first[here]
            state[here] = state.get(here, 0) or 1
            ups = [] if row.key in allowed else [up for up, _ in row.body["parents"] if up in first]
            if any(state.get(up) == 1 for up in ups):
                allowed[row.key] = of_seed
                ups = []
            if new := [up for up in ups if up not in state]:
                way.append(new[0])
            else:
                state[here] = 2
                way.pop()
    return allowed


def _proposal_row(
    layout: Layout, number: int, row: SharedRow, parents: tuple[Parent, ...]
) -> ProposalRow:
    body = row.body
    return ProposalRow(
        number,
        body["operator"],
        parents,
        Outcome(body["outcome"]),
        body["reason"],
        body["variant"],
        body["idea"],
        body["author"],
        body["model"],
        Cost(body["seconds"], body["tokens_in"], body["tokens_out"], body["dollars"]),
        body["seen"],
        body["created"],
        layout.ideas.get(body["of_idea"]),
    )


def _place_measurements(
    layout: Layout, rows: SharedRows, proposals: Mapping[tuple[str, int], int]
) -> None:
    born = {one.variant_id for one, _ in layout.proposals if one.outcome is Outcome.VARIANT}
    taken: set[tuple[str, str, int, int]] = set()
    seen: dict[str, list[tuple[int, int]]] = defaultdict(list)  # by campaign: its ids, and ours
    ids: dict[str, int] = {}
    for row in sorted(_of_known(layout, rows, Kind.MEASUREMENT), key=in_time):
        body = row.body
        rung = _rung(layout, body)
        if body["variant"] not in born or rung is None:
            layout.waiting += 1
            continue
        block = layout.site_of(row) * SITE + body["block"]
        repeat, lost = body["repeat"], body["status"] == Status.LOST
        while not lost and (body["variant"], rung, block, repeat) in taken:
            repeat += AGAIN  # two copies of one campaign that went on apart from each other
        taken.add((body["variant"], rung, block, repeat))
        ours = row.vouched is not Vouched.OTHERS
        purpose = Purpose(body["purpose"]) if ours else Purpose.SHARED
        request = RunRequest(body["variant"], rung, block, repeat, purpose)
        ids[row.key] = len(ids) + 1
        seen[body["campaign"]].append((body["id"], ids[row.key]))
        found = MeasurementRow(ids[row.key], _measurement(request, body))
        layout.measurements.append((found, row))
    for row in _of_known(layout, rows, Kind.VOID):
        if row.body["measurement"] in ids:
            layout.voids.append((ids[row.body["measurement"]], row))
        else:
            layout.waiting += 1
    layout.voids.sort(key=lambda one: (one[0], one[1].key))
    for known in seen.values():
        known.sort()
        known[:] = zip(
            (of for of, _ in known), accumulate((ours for _, ours in known), max), strict=True
        )
    layout.proposals = [
        (replace(one, seen=_seen(seen[row.body["campaign"]], one.seen)), row)
        for one, row in layout.proposals
    ]


def _rung(layout: Layout, body: Body) -> str | None:
    name, slash, derived = str(body["rung"]).partition("/")
    names = layout.renamed[body["campaign"]]
    if not layout.rungs:
        return str(body["rung"])
    return f"{names[name]}{slash}{derived}" if name in names else None


def _seen(known: Sequence[tuple[int, int]], last: int) -> int:
    """The newest of our ids that its author knew, from the newest of its own campaign's."""
    upto = bisect_right(known, (last, 2**62))
    return known[upto - 1][1] if upto else 0


def _measurement(request: RunRequest, body: Body) -> Measurement:
    """As a campaign holds it in memory, without curve and log."""
    return Measurement(
        request,
        Status(body["status"]),
        body["reason"],
        metrics=body["scores"],
        slot=body["slot"],
        host=body["host"],
        device=body["device"],
        started_at=body["started_at"],
        wall_seconds=body["wall_seconds"],
        cpu_seconds=body["cpu_seconds"],
        train_wall_seconds=body["train_wall_seconds"],
        self_reported_steps=body["self_reported_steps"],
        self_reported_tokens=body["self_reported_tokens"],
    )
