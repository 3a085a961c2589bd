"""Small campaigns of several groups, written row by row, and what a merged one is compared by."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from evo.config import SHIPPED
from evo.sharing.merging import Merger, merge, read_campaign
from population.fingerprint import fingerprint
from population.sharing.shared_rows import SharedRows
from population.store import Store
from population.types import (
    Cost,
    LlmCall,
    Measurement,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)

SEED = "LR = 0.5\n"
RUNG = {"depth": 2, "budget": 8.0, "context": 128, "rows": 256}
CONFIG: dict[str, Any] = {
    "name": "a",
    "clock": "cpu_seconds",
    "rungs": {"proxy": RUNG, "larger": {**RUNG, "depth": 4}},
    "objectives": [{"name": "val_bpb", "direction": "minimise"}],
    "data": {"path": []},
    "notify": {"url": "https://example.org/secret"},
}


@dataclass(frozen=True)
class Child:
    """A child of the seed, the blocks it was screened on, and fresh pairs with the seed."""

    rate: int  # thousandths
    blocks: tuple[int, ...] = (0,)
    gain: float = 0.0
    pairs: int = 0
    parent: int | None = None  # rate of another child


@dataclass(frozen=True)
class Group:
    """What one campaign did."""

    name: str = "a"
    children: tuple[Child, ...] = ()
    notes: tuple[str, ...] = ()
    ideas: tuple[str, ...] = ()
    vetoes: tuple[int, ...] = ()
    calls: int = 0
    offset: float = 0.0  # of its machine: added to every score


def source(rate: int) -> str:
    return f"LR = {rate / 1000}\n"


def make(text: str) -> Variant:
    return Variant(variant_id(text), text, fingerprint(text))


def noise(rate: int, block: int) -> float:
    return ((rate * 7919 + block * 104729) % 997) / 997 * 0.004


def write_group(folder: Path, group: Group, **changes: Any) -> Path:
    """The folder of a campaign that did this, as `evo run` leaves one."""
    folder.mkdir(parents=True)
    config = {**CONFIG, "name": group.name, **changes}
    (folder / "train.py").write_text(SEED)
    (folder / "brief.md").write_bytes((SHIPPED / "configs" / "brief.md").read_bytes())
    kept = {key: value for key, value in config.items() if key not in ("data", "notify")}
    (folder / "config.yaml").write_text(
        yaml.safe_dump({**kept, "train": "train.py", "brief": "brief.md"})
    )
    with Store.create(folder / "campaign.db") as store, store.transaction():
        store.set_setting("config", config)
        store.set_setting("kind", "campaign")
        store.set_setting("data", "d" * 64)
        store.set_setting("asks_unseen", 64)
        store.set_setting("seconds_spent", 60.0)
        _Writer(store, group).write()
    return folder


class _Writer:
    def __init__(self, store: Store, group: Group) -> None:
        self.store, self.group, self.number = store, group, 1

    def write(self) -> None:
        store, seed = self.store, make(SEED)
        store.add_proposal(Proposal(1, "seed", (), Outcome.VARIANT, variant=seed, idea="the seed"))
        for block in range(4):
            self.run(500, block, Purpose.CALIBRATE)
        first = self.run(500, 0, Purpose.REFERENCE, repeat=1000)
        store.void(first, "a busy machine")
        for child in self.group.children:
            self.child(child)
        for text in self.group.notes:
            store.add_note(text, "ann", [seed.id])
        for text in self.group.ideas:
            store.add_idea(text, "ann")
        for rate in self.group.vetoes:
            store.add_decision("vetoed", variant_id(source(rate)), {"author": "ann", "reason": ""})
        for number in range(self.group.calls):
            call = LlmCall("e", "m", "a prompt", "a reply", 10, 5, 0.25, 1.0, "ok")
            store.add_llm_call(
                call if number else LlmCall("e", "m", "p", "", 9, 9, 1.0, 0.0, "asked")
            )
        store.add_event("end", "budget spent")

    def child(self, child: Child) -> None:
        self.number += 1
        up = source(child.parent) if child.parent is not None else SEED
        parents = (Parent(variant_id(up), "parent"),)
        made = make(source(child.rate))
        known = self.store.query("SELECT 1 FROM variants WHERE id = ?", [variant_id(up)])
        parents = parents if known else (Parent(variant_id(SEED), "parent"),)
        self.store.add_proposal(
            Proposal(
                self.number,
                "nudge",
                parents,
                Outcome.VARIANT,
                variant=made,
                idea=f"LR {child.rate}",
                cost=Cost(1.0, 0, 0, 0.0),
            )
        )
        for block in child.blocks:
            self.run(child.rate, block, Purpose.SCREEN, child.gain)
        for pair in range(child.pairs):
            self.run(500, 10 + pair, Purpose.RACE)
            self.run(child.rate, 10 + pair, Purpose.RACE, child.gain)
        if child.pairs:
            detail = {"verdict": "certified", "number": 1, "champion": variant_id(SEED)}
            self.store.add_decision("verdict", made.id, {**detail, "pairs": 99, "log_e": 99.0})

    def run(
        self, rate: int, block: int, purpose: Purpose, gain: float = 0.0, repeat: int = 0
    ) -> int:
        taken = """SELECT id FROM measurements
            WHERE variant_id = ? AND rung = 'proxy' AND block = ? AND repeat = ?"""
        id = variant_id(source(rate) if rate != 500 else SEED)
        if found := self.store.query(taken, [id, block, repeat]):
            return int(found[0][0])
        score = 2.0 - gain + noise(rate, block) + self.group.offset
        return self.store.add_measurement(
            Measurement(
                RunRequest(id, "proxy", block, repeat, purpose),
                Status.OK,
                metrics={"val_bpb": score, "parameters": 10.0},
                host=f"host of {self.group.name}",
                wall_seconds=10.0,
                facts={"host_class": f"class of {self.group.name}"},
                log_tail="its words\0",
            )
        )


RATES = st.integers(1, 8).map(lambda k: k * 10)
CHILDREN = st.builds(
    Child,
    rate=RATES,
    blocks=st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True).map(tuple),
    gain=st.sampled_from([0.0, 0.05]),
    pairs=st.sampled_from([0, 0, 6]),
    parent=st.none() | RATES,
)
GROUPS = st.builds(
    Group,
    name=st.sampled_from(["a", "b", "c"]),
    children=st.lists(CHILDREN, max_size=4, unique_by=lambda one: one.rate).map(tuple),
    notes=st.lists(st.sampled_from(["a note", "another"]), max_size=2, unique=True).map(tuple),
    ideas=st.lists(st.sampled_from(["an idea", "An Idea", "more"]), max_size=2, unique=True).map(
        tuple
    ),
    calls=st.integers(0, 2),
    offset=st.sampled_from([0.0, 0.3]),
)


def merge_folders(new: Path, *folders: Path) -> Merger:
    return merge([read_campaign(one) for one in folders], SharedRows(), new)


def content(folder: Path) -> list[str]:
    """Everything that a campaign's folder holds."""
    with closing(sqlite3.connect(folder / "campaign.db")) as db:
        told = list(db.iterdump())
    beside = [(folder / name).read_text() for name in ("config.yaml", "train.py", "brief.md")]
    return [*told, *beside]


def column(folder: Path, sql: str, values: Sequence[object] = ()) -> list[Any]:
    with Store.open(folder / "campaign.db", read_only=True) as store:
        rows = store.query(sql, values)
    return [row[0] if len(row) == 1 else row for row in rows]
