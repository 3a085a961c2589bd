"""Small campaigns written into real stores, for tests of figures, screens and commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from evo.analysis.campaign_view import Record
from population.fingerprint import fingerprint
from population.store import Store
from population.types import (
    Estimate,
    FrontMember,
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

SEED = "LR = 0.1  # knob: log 1e-3 1\nWIDTH = 32  # knob: int 8 64\nprint(LR, WIDTH)\n"
CONFIG = {
    "name": "built",
    "rungs": {"proxy": {}, "larger": {}},
    "objectives": [
        {"name": "val_bpb", "direction": "minimise", "epsilon": 0.001, "limit": "seed x 1.02"},
        {"name": "parameters", "direction": "minimise", "epsilon": 0.0, "limit": None},
    ],
    "budget": {"variants": 10, "seconds": None, "llm_tokens": None, "llm_dollars": None},
}
SCREENING = {Purpose.CALIBRATE, Purpose.SCREEN, Purpose.REMEASURE}


class Built:
    """A campaign store that grows by hand."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.store = Store.create(folder / "campaign.db")
        self.store.set_setting("config", CONFIG)
        self.number = 0
        self.clock = 1000.0
        self.seed = self.child(SEED, None, "seed", "the seed")

    def child(
        self, source: str, parent: str | None, operator: str = "nudge", idea: str = ""
    ) -> str:
        self.number += 1
        made = Variant(variant_id(source), source, fingerprint(source))
        parents = () if parent is None else (Parent(parent, "parent"),)
        self.store.add_proposal(
            Proposal(self.number, operator, parents, Outcome.VARIANT, variant=made, idea=idea)
        )
        return made.id

    def run(
        self,
        variant: str,
        bpb: float | None,
        block: int = 0,
        purpose: Purpose = Purpose.SCREEN,
        rung: str = "proxy",
        status: Status = Status.OK,
        reason: str = "",
        more: Mapping[str, float] | None = None,
    ) -> int:
        metrics = {"val_bpb": bpb, "parameters": 100.0, **(more or {})} if bpb is not None else {}
        self.clock += 10
        return self.store.add_measurement(
            Measurement(
                RunRequest(variant, rung, block, 0, purpose),
                status,
                reason,
                metrics,
                slot="cpu0",
                host="here",
                started_at=self.clock,
                wall_seconds=10.0,
                train_wall_seconds=8.0,
            )
        )

    def runs(self, variant: str, values: Sequence[float], purpose: Purpose, first: int = 0) -> None:
        for place, bpb in enumerate(values):
            self.run(variant, bpb, first + place, purpose)

    def front(self, standings: Mapping[str, str]) -> None:
        members = [FrontMember(one, how, Estimate(2.0, 0.01, 1)) for one, how in standings.items()]
        self.store.set_front("proxy", members)

    def believe(self) -> None:
        """Write down what is believed now, as a campaign does after each row."""
        if not self.store.query("SELECT 1 FROM sqlite_master WHERE name = 'beliefs'"):
            return  # a store of an older schema
        record = Record.of(self.store)
        found = record.beliefs()
        names = [one.name for one in record.objectives]
        moved = {
            one: {name: found.found(one)[name] for name in names if name in found.found(one)}
            for one in found
        }
        self.store.set_beliefs("proxy", moved)


def finished(folder: Path) -> tuple[Built, str, str]:
    """A campaign with a leader that is better by 0.1 on three fresh blocks, by way of a first child."""
    built = Built(folder)
    built.runs(built.seed, [2.50, 2.52, 2.51], Purpose.CALIBRATE)
    first = built.child(SEED.replace("0.1", "0.2"), built.seed, "nudge", "LR 0.1 -> 0.2")
    built.run(first, 2.45)
    leader = built.child(SEED.replace("0.1", "0.3"), first, "nudge", "LR 0.2 -> 0.3")
    built.run(leader, 2.38)
    crashed = built.child(SEED + "boom\n", first, "llm_mutate", "a bold idea")
    built.run(crashed, None, status=Status.CRASHED, reason="NameError: boom")
    built.front({leader: "candidate"})
    built.runs(built.seed, [2.50, 2.51, 2.52], Purpose.FINAL, first=5)
    built.runs(leader, [2.40, 2.42, 2.41], Purpose.FINAL, first=5)
    for one, bpb in ((built.seed, 2.2), (leader, 2.1)):
        built.run(one, 3.0, 0, Purpose.GRADUATE, "larger/one-step")
        built.run(one, bpb, 0, Purpose.GRADUATE, "larger")
    built.store.add_event("end", "budget spent, variants (3)")
    built.believe()
    return built, leader, crashed


def choose(
    built: Built,
    variant: str,
    rung: str = "larger",
    role: str = "graduate",
    basis: Mapping[str, object] | None = None,
) -> None:
    """The campaign chose a variant for a rung; its fresh blocks at the proxy begin at 9."""
    detail = {"rung": rung, "role": role, "choice": 1, "first_block": 9, "basis": basis or {}}
    built.store.add_decision("chosen", variant, detail)


def waiting(folder: Path) -> tuple[Built, str, str]:
    """A campaign with two graduates: built at the larger rung, not run there, and run anew at the proxy."""
    built = Built(folder)
    built.runs(built.seed, [2.50, 2.52, 2.51], Purpose.CALIBRATE)
    first = built.child(SEED.replace("0.1", "0.2"), built.seed, "nudge", "LR 0.1 -> 0.2")
    second = built.child(SEED + "class Model: x = 1\n", built.seed, "llm_mutate", "a new layer")
    for one, size, bpb in ((first, 110.0, 2.4), (second, 90.0, 2.45), (built.seed, 100.0, 2.5)):
        if one != built.seed:
            built.run(one, bpb)
            choose(built, one)
        built.run(one, 3.0, 0, Purpose.GRADUATE, "larger/one-step", more={"parameters": size})
        built.runs(one, [bpb, bpb + 0.01], Purpose.GRADUATE, first=9)
    built.front({first: "replicated", second: "candidate"})
    built.store.add_event("end", "waiting for your word: `evo approve`")
    return built, first, second
