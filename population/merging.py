"""Rows of several campaigns laid out as one: a function of the set alone, whatever order it came in.

Each campaign is a site: its blocks are numbered apart from the others' (`SITE`), so that a pair is always of
two runs of one campaign. What nobody vouches for comes after everything else and as `Purpose.SHARED`: it is
evidence of what a variant may be worth, and nothing is certified by it. A row that refers to something that is
not there, such as a source, waits among `shared_rows` until another merge brings it.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from population.fingerprint import fingerprint
from population.ladder import UNVETOED, VETOED
from population.shared_rows import MERGED, Body, Kind, SharedRow, SharedRows, Vouched, packed
from population.store import Store
from population.types import (
    AGAIN,
    SITE,
    Cost,
    Decision,
    Measurement,
    MeasurementRow,
    Outcome,
    Parent,
    ProposalRow,
    Purpose,
    RunRequest,
    Status,
)

ELSEWHERE = " elsewhere"  # ends the kind of a decision that was made in another campaign
MAX_NAMED = 4  # campaigns, in the sentence that says what was merged
PEOPLES = (VETOED, UNVETOED)  # decisions of people that hold wherever their campaign goes


class NotMergeable(ValueError):
    """These campaigns do not measure the same thing; the message names the key that differs."""


@dataclass(frozen=True, slots=True)
class Site:
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

    def counted(self) -> list[MeasurementRow]:
        """The measurements that are not voided."""
        gone = {id for id, _ in self.voids}
        return [row for row, _ in self.measurements if row.id not in gone]

    def told_sites(self) -> list[Site]:
        """The campaigns in their order."""
        runs: dict[str, int] = defaultdict(int)
        vouched: dict[str, Vouched] = defaultdict(lambda: Vouched.OTHERS)
        for _, row in self.measurements:
            of = row.body["campaign"]
            runs[of] += 1
            vouched[of] = max(vouched[of], row.vouched)
        return [
            Site(
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
        for one in sorted(rows.of(Kind.CAMPAIGN), key=_by_age)
    ]
    if not campaigns:
        raise NotMergeable("no campaign among these rows")
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


def _by_age(row: SharedRow) -> tuple[float, str]:
    return float(row.body["created"]), str(row.body["campaign"])


def _rungs_of(
    campaigns: Sequence[SharedRow],
) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """One ladder of all, the oldest campaign's first; a rung is its settings, not its name."""
    rungs: dict[str, Any] = {}
    renamed: dict[str, dict[str, str]] = {}
    for one in campaigns:
        names: dict[str, str] = {}
        for name, settings in one.body["config"]["rungs"]:
            same = [known for known, other in rungs.items() if other == settings]
            if name not in rungs and not same:
                rungs[name] = settings
            names[name] = name if name in rungs and rungs[name] == settings else same[0]
        renamed[one.body["campaign"]] = names
    return rungs, renamed


def _place_ideas(layout: Layout, rows: SharedRows) -> None:
    """The same words, or the same line of a bank, are one idea."""
    known: dict[str, int] = {}
    for row in sorted(_of_known(layout, rows, Kind.IDEA), key=_in_time):
        origin = row.body["origin"]
        of_bank = json.loads(origin).get("id") if origin else None
        words = f"bank {of_bank}" if of_bank else str(row.body["text"]).lower()
        layout.ideas[row.key] = known.setdefault(words, len(known) + 1)


def _of_known(layout: Layout, rows: SharedRows, kind: Kind) -> list[SharedRow]:
    """Those of campaigns that are known; the others wait."""
    found = [row for row in rows.of(kind) if row.body["campaign"] in layout.sites]
    layout.waiting += len(rows.of(kind)) - len(found)
    return found


def _in_time(row: SharedRow) -> tuple[bool, float, str]:
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
    for row in sorted(_of_known(layout, rows, Kind.PROPOSAL), key=_in_time):
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
    """Other parents for the few first proposals that need them: a child of nobody, or of itself.

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
        if row.body["outcome"] == Outcome.VARIANT and not row.body["parents"]
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
    for row in sorted(_of_known(layout, rows, Kind.MEASUREMENT), key=_in_time):
        body = row.body
        rung = _rung(layout, body)
        if body["variant"] not in born or rung is None:
            layout.waiting += 1
            continue
        block = layout.sites[body["campaign"]] * SITE + body["block"]
        repeat, lost = body["repeat"], body["status"] == Status.LOST
        while not lost and (body["variant"], rung, block, repeat) in taken:
            repeat += AGAIN  # two copies of one campaign went on apart from each other
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
    if not names:
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


# -- Into a store.


def write_rows(
    store: Store,
    rows: SharedRows,
    layout: Layout,
    compared: Collection[int],
    claims: Sequence[Decision],
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Write a layout into an empty store, and the rows as they were beside it. Hold a transaction.

    `claims`: what these rows prove, the strongest last. `compared`: sites whose final comparison stands, since
    it was made for whom the rows prove best; of others it is a race on fresh blocks: who leads is found anew.
    """
    tell("writing")
    held = _write_variants(store, rows, layout)
    ideas = _write_ideas(store, layout, rows)
    for one, _ in layout.proposals:
        _write_proposal(store, one)
    for found, row in layout.measurements:
        _write_measurement(store, found, row.body, compared)
    voided = set[int]()
    for id, row in layout.voids:
        if id not in voided:
            values = {"measurement_id": id, "reason": row.body["reason"]}
            store.add_row("voids", {**values, "created": row.body["created"]})
        voided.add(id)
    notes = _write_notes(store, layout, rows, held)
    _write_decisions(store, layout, rows, held)
    now = last_time(rows)
    for claim in claims:
        values = {"kind": claim.kind, "variant_id": claim.variant_id, "created": now}
        store.add_row("decisions", {**values, "detail": json.dumps(dict(claim.detail))})
    names = ", ".join(one.body["name"] for one in layout.campaigns[:MAX_NAMED])
    names += " ..." * (len(layout.campaigns) > MAX_NAMED)
    text = f"stopped: merged from {names}; `evo resume` goes on from all of it"
    store.add_row("events", {"kind": "end", "text": text, "created": now})
    _write_calls(store, layout, rows)
    for row in sorted(rows, key=lambda one: one.key):
        if row.kind is not Kind.VARIANT or row.key not in held:
            values = {"key": row.key, "vouched": int(row.vouched)}
            store.add_row("shared_rows", {**values, "body": packed(row.body)})
    _write_settings(store, rows, layout, ideas, notes)


def _write_variants(store: Store, rows: SharedRows, layout: Layout) -> set[str]:
    sources = {row.key: row.body["source"] for row in rows.of(Kind.VARIANT)}
    held: dict[str, float] = {}
    for one, _ in layout.proposals:
        for id in (one.variant_id, *(parent.variant_id for parent in one.parents)):
            if id is not None:
                held[id] = min(held.get(id, one.created_at), one.created_at)
    for id, created in held.items():
        values = {"id": id, "fingerprint": _print_of(id, sources[id]), "created": created}
        store.add_row("variants", {**values, "source": sources[id]})
    return set(held)


def _print_of(id: str, source: str) -> str:
    try:
        return fingerprint(source)
    except SyntaxError:
        return id  # it repeats nothing


def _write_ideas(store: Store, layout: Layout, rows: SharedRows) -> dict[int, str]:
    """Each idea once, in the words of who had it first; the key of the row that told them."""
    written: dict[int, str] = {}
    for key, id in layout.ideas.items():
        if id not in written:
            body = rows[key].body
            written[id] = key
            values = {name: body[name] for name in ("text", "author", "created", "origin")}
            store.add_row("ideas", {"id": id, **values})
    return written


def _write_proposal(store: Store, one: ProposalRow) -> None:
    plain = "number operator author model idea reason variant_id seen idea_id"
    values = {name: getattr(one, name) for name in plain.split()}
    cost = {"seconds": one.cost.seconds, "tokens_in": one.cost.tokens_in}
    cost |= {"tokens_out": one.cost.tokens_out}
    more = {"outcome": one.outcome.value, "created": one.created_at, "dollars": one.cost.dollars}
    store.add_row("proposals", {**values, **cost, **more})
    for position, parent in enumerate(one.parents):
        row = {"proposal_number": one.number, "variant_id": parent.variant_id}
        store.add_row("parents", {**row, "role": parent.role, "position": position})


def _write_measurement(
    store: Store, found: MeasurementRow, body: Body, compared: Collection[int]
) -> None:
    request, site = found.measurement.request, found.measurement.request.block // SITE
    purpose = request.purpose
    if purpose is Purpose.FINAL and site not in compared:
        purpose = Purpose.RACE
    same = (
        "status reason slot host device started_at wall_seconds cpu_seconds train_wall_seconds "
        "self_reported_steps self_reported_tokens recorded log_tail"
    )
    values = {name: body[name] for name in same.split()}
    values |= {"id": found.id, "variant_id": request.variant_id, "rung": request.rung}
    values |= {"block": request.block, "repeat": request.repeat, "purpose": purpose.value}
    facts = {**body["facts"], "campaign": body["campaign"], "block": str(body["block"])}
    values |= {"facts": json.dumps(facts, sort_keys=True)}
    values |= {"curve": json.dumps(body["curve"])}
    store.add_row("measurements", values)
    for name, value in sorted(body["scores"].items()):
        store.add_row("scores", {"measurement_id": found.id, "name": name, "value": value})
    for document, bits, size in body["documents"]:
        row = {"measurement_id": found.id, "document": document, "bits": bits, "bytes": size}
        store.add_row("document_scores", row)


def _write_notes(
    store: Store, layout: Layout, rows: SharedRows, held: Collection[str]
) -> dict[int, str]:
    """Each note once; by its id the key of the row that it is of."""
    told: dict[tuple[Any, ...], int] = {}
    written: dict[int, str] = {}
    for row in sorted(rows.of(Kind.NOTE), key=_in_time):
        body = row.body
        words = (body["text"], tuple(body["evidence"]), body["deleted"] is None)
        if body["campaign"] not in layout.sites or words in told:
            continue
        told[words] = id = len(told) + 1
        written[id] = row.key
        names = ("text", "author", "created", "edited", "deleted")
        values = {name: body[name] for name in names}
        evidence = json.dumps([one for one in body["evidence"] if one in held])
        store.add_row("notes", {"id": id, **values, "evidence": evidence, "seen": 0})
    return written


def _write_decisions(store: Store, layout: Layout, rows: SharedRows, held: Collection[str]) -> None:
    """What a person refused stays refused; every other decision is history: none is a claim here."""
    for row in sorted(rows.of(Kind.DECISION), key=_in_time):
        body = row.body
        if body["campaign"] not in layout.sites:
            continue
        holds = _lasts(row)
        known = body["variant"] if body["variant"] in held else None
        if holds and known is None:
            continue
        what = str(body["what"]).removesuffix(ELSEWHERE)
        values = {"kind": what if holds else f"{what}{ELSEWHERE}", "variant_id": known}
        detail = {**body["detail"], "campaign": body["campaign"]}
        store.add_row(
            "decisions",
            {
                **values,
                "detail": json.dumps(detail, ensure_ascii=False, sort_keys=True),
                "created": body["created"],
            },
        )


def _lasts(row: SharedRow) -> bool:
    return row.body["what"] in PEOPLES and row.vouched is Vouched.OURS


def lasting_decisions(rows: SharedRows) -> list[SharedRow]:
    """The decisions that count in a merged campaign, the oldest first: what our own people refused."""
    return sorted(filter(_lasts, rows.of(Kind.DECISION)), key=_in_time)


def _write_calls(store: Store, layout: Layout, rows: SharedRows) -> None:
    numbers = {
        (row.body["campaign"], row.body["number"]): one.number for one, row in layout.proposals
    }
    for row in sorted(rows.of(Kind.CALL), key=_in_time):
        body = row.body
        if body["campaign"] not in layout.sites:
            continue
        names = "endpoint model outcome tokens_in tokens_out dollars seconds created again_because"
        values = {name: body[name] for name in names.split()}
        number = numbers.get((body["campaign"], body["proposal_number"]), 0)
        values |= {"proposal_number": number, "prompt": "", "reply": ""}
        values |= {
            "parts": json.dumps(body["parts"], sort_keys=True),
            "estimated": int(body["estimated"]),
        }
        store.add_row("llm_calls", values)


def _write_settings(
    store: Store,
    rows: SharedRows,
    layout: Layout,
    ideas: Mapping[int, str],
    notes: Mapping[int, str],
) -> None:
    first, seconds = layout.campaigns[0].body, 0.0
    for one in layout.campaigns:
        seconds += float(one.body["seconds"])
    tables = {"proposals": "number", "measurements": "id", "ideas": "id"}
    tables |= {"decisions": "id", "llm_calls": "id"}
    last = {
        table: store.number(f"SELECT coalesce(max({key}), 0) FROM {table}")
        for table, key in tables.items()
    }
    data = next(
        (one.body["data"] for one in layout.campaigns if one.body["data"] is not None), None
    )
    if data is not None:
        store.set_setting("data", data)
    store.set_setting("kind", "campaign")
    store.set_setting("asks_unseen", first["asks_unseen"])
    store.set_setting("seconds_spent", seconds)
    merged = {"campaign": id_of_merged(rows), "created": last_time(rows), "last": last}
    merged |= {"seconds": seconds, "ideas": dict(ideas), "notes": dict(notes)}
    merged["sites"] = [
        {
            "number": one.number,
            "campaign": one.campaign,
            "name": one.name,
            "host_class": one.host_class,
            "vouched": one.vouched.name.lower(),
            "measurements": one.measurements,
        }
        for one in layout.told_sites()
    ]
    store.set_setting(MERGED, merged)


def id_of_merged(rows: SharedRows) -> str:
    """By what a merged campaign is known: 16 hex digits, the same for the same rows."""
    told = hashlib.sha256()
    for key in sorted(row.key for row in rows):
        told.update(key.encode())
    return told.hexdigest()[:16]


def last_time(rows: SharedRows) -> float:
    """When the newest of the rows was made, seconds since the epoch."""
    times = (row.body.get("recorded", row.body.get("created", 0.0)) for row in rows)
    return max(float(one) for one in times)
