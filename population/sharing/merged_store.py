"""A layout of merged rows written into an empty store, and the rows as they were beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from population.fingerprint import fingerprint
from population.ladder import UNVETOED, VETOED
from population.sharing.merging import Layout, in_time
from population.sharing.shared_rows import (
    MERGED,
    Body,
    Kind,
    SharedRow,
    SharedRows,
    Vouched,
    packed,
)
from population.store import Store
from population.types import SITE, Decision, MeasurementRow, ProposalRow, Purpose

ELSEWHERE = " elsewhere"  # ends the kind of a decision that was made in another campaign
PEOPLES = (VETOED, UNVETOED)  # decisions of people that hold wherever their campaign goes
MAX_NAMED = 4  # campaigns, in the sentence that says what was merged


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
    resume = resume_command(store.setting("config") or {}, count_variants(layout))
    text = f"stopped: merged from {names}; `{resume}` goes on from all of it"
    store.add_row("events", {"kind": "end", "text": text, "created": now})
    _write_calls(store, layout, rows)
    for row in sorted(rows, key=lambda one: one.key):
        if row.kind is not Kind.VARIANT or row.key not in held:
            values = {"key": row.key, "vouched": int(row.vouched)}
            store.add_row("shared_rows", {**values, "body": packed(row.body)})
    _write_settings(store, rows, layout, ideas, notes)


def count_variants(layout: Layout) -> int:
    """How many variants a merged campaign has, the seed among them."""
    return len({one.variant_id for one, _ in layout.proposals if one.outcome == "variant"})


def resume_command(config: Mapping[str, Any], variants: int) -> str:
    """How to go on with a campaign of `variants` variants: what came from bundles alone has no budget yet."""
    given = any(one is not None for one in (config.get("budget") or {}).values())
    return "evo resume" if given else f"evo resume --set budget.variants={2 * variants}"


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
    for row in sorted(rows.of(Kind.NOTE), key=in_time):
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
    for row in sorted(rows.of(Kind.DECISION), key=in_time):
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
    return sorted(filter(_lasts, rows.of(Kind.DECISION)), key=in_time)


def _write_calls(store: Store, layout: Layout, rows: SharedRows) -> None:
    numbers = {
        (row.body["campaign"], row.body["number"]): one.number for one, row in layout.proposals
    }
    for row in sorted(rows.of(Kind.CALL), key=in_time):
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
