"""Campaigns for the report: one of any size, and one whose every text tries to run a script."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from population.fingerprint import fingerprint
from population.store import Store
from population.types import (
    CurvePoint,
    Estimate,
    FrontMember,
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
from tests.analysis.built import CONFIG, SEED

PADDING = "\n".join(f"def layer_{n}(x):\n    return x * {n}\n" for n in range(60))
HOSTILE = (
    "<script>document.title='owned'</script></script><img src=x onerror=\"document.title='owned'\">"
)


def campaign_of(folder: Path, size: int) -> Path:
    """A store of `size` variants: a random tree of nudges and merges, one run each, a front of five."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    (folder / "config.yaml").write_text("name: built\n")
    with Store.create(folder / "campaign.db") as store, store.transaction():
        store.set_setting("config", CONFIG)
        ids = [_born(store, 1, SEED + PADDING, (), "seed", "the seed")]
        for number in range(2, size + 1):
            parent = ids[int(rng.integers(max(0, len(ids) - 60), len(ids)))]
            source = SEED.replace("0.1", f"{0.1 + number / 1e5:.5f}") + PADDING
            operator = "merge" if number % 4 == 0 else "nudge"
            ids.append(_born(store, number, source, (parent,), operator, f"LR moved, {number}"))
        for place, one in enumerate(ids):
            _ran(store, one, 2.5 - 0.3 * place / size + 0.02 * float(rng.normal()), place)
        members = [FrontMember(one, "candidate", Estimate(2.2, 0.01, 1)) for one in ids[-5:]]
        store.set_front("proxy", members)
    return folder


def grow(store: Store, number: int, parent: str, bpb: float) -> str:
    """One more child with its run; its id."""
    source = SEED.replace("0.1", f"{0.1 + number / 1e5:.5f}") + PADDING
    child = _born(store, number, source, (parent,), "nudge", f"LR moved, {number}")
    _ran(store, child, bpb, number)
    return child


def hostile_campaign(folder: Path) -> str:
    """Source, idea, reason, log, prompt and reply of the only child are attacks; the child's id."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(f"name: built # {HOSTILE}\n")
    with Store.create(folder / "campaign.db") as store:
        store.set_setting("config", {**CONFIG, "name": HOSTILE})
        seed = _born(store, 1, SEED, (), "seed", "the seed")
        source = SEED + f"# {HOSTILE}\nNAME = {HOSTILE!r}\n"
        child = _born(store, 2, source, (seed,), "llm_mutate", HOSTILE)
        crashed = _born(store, 3, source + "boom\n", (seed,), "llm_mutate", HOSTILE)
        for place, one in enumerate((seed, child)):
            _ran(store, one, 2.5 - place / 10, place, log=HOSTILE)
        _ran(store, crashed, None, 3, reason=HOSTILE, log=HOSTILE)
        call = LlmCall("local", HOSTILE, HOSTILE, HOSTILE, 1, 1, None, 1.0, HOSTILE, 2)
        store.add_llm_call(call)
        store.set_front("proxy", [FrontMember(child, "candidate", Estimate(2.4, 0.01, 1))])
    return child


def _born(
    store: Store, number: int, source: str, parents: tuple[str, ...], operator: str, idea: str
) -> str:
    variant = Variant(
        variant_id(source), source, fingerprint(source) if number < 4 else str(number)
    )
    family = tuple(Parent(one, "parent") for one in parents)
    made = Proposal(number, operator, family, Outcome.VARIANT, variant=variant, idea=idea)
    store.add_proposal(made)
    return variant.id


def _ran(
    store: Store, variant: str, bpb: float | None, place: int, reason: str = "", log: str = ""
) -> None:
    metrics = {} if bpb is None else {"val_bpb": bpb, "parameters": 100.0 + place % 7}
    curve = tuple(CurvePoint(p / 20, 5.0 - p / 10, p * 1000) for p in range(20))
    store.add_measurement(
        Measurement(
            RunRequest(variant, "proxy", 0, 0, Purpose.SCREEN),
            Status.OK if metrics else Status.CRASHED,
            reason,
            metrics,
            curve=curve,
            slot="cpu0",
            host="here",
            started_at=1000.0 + 10 * place,
            wall_seconds=10.0,
            train_wall_seconds=8.0,
            log_tail=log,
        )
    )
