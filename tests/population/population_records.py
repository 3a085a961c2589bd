"""Builders and Hypothesis strategies for the records that the tests of this folder share."""

from __future__ import annotations

import hashlib

from hypothesis import strategies as st

from population.store import Store
from population.types import (
    Cost,
    CurvePoint,
    DocumentScore,
    Estimate,
    FrontMember,
    LlmCall,
    Measurement,
    MeasurementRow,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
)

# every text but lone surrogates: NULs, controls, emoji, right-to-left marks ...
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
INTEGERS = st.integers(0, 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COSTS = st.builds(Cost, FLOATS, INTEGERS, INTEGERS, st.none() | FLOATS)


def make_variant(name: str) -> Variant:
    """A variant whose id looks like a real one and depends on its name alone."""
    source = f"NAME = {name!r}\n"
    id = hashlib.sha256(source.encode()).hexdigest()
    return Variant(id, source, f"fingerprint of {name}")


def add_variant(
    store: Store, number: int, name: str, *parents: Parent, operator: str = "nudge"
) -> str:
    """Record a proposal that made a variant; the id of the variant."""
    variant = make_variant(name)
    idea = f"idea {number}"
    store.add_proposal(
        Proposal(number, operator, parents, Outcome.VARIANT, variant=variant, idea=idea)
    )
    return variant.id


def scored(
    variant_id: str,
    block: int = 0,
    repeat: int = 0,
    rung: str = "proxy",
    status: Status = Status.OK,
    **metrics: float,
) -> Measurement:
    """A measurement with these metrics."""
    request = RunRequest(variant_id, rung, block, repeat, Purpose.SCREEN)
    return Measurement(request, status, metrics=metrics)


def rows(*measurements: Measurement) -> list[MeasurementRow]:
    """Measurements as the store would give them back."""
    return [MeasurementRow(id, one) for id, one in enumerate(measurements, start=1)]


REQUESTS = st.builds(
    RunRequest,
    st.just(make_variant("seed").id),
    TEXT,
    st.integers(0, 99),
    st.integers(0, 9),
    st.sampled_from(Purpose),
)
MEASUREMENTS = st.builds(
    Measurement,
    request=REQUESTS,
    status=st.sampled_from(Status),
    reason=TEXT,
    metrics=st.dictionaries(TEXT, FLOATS, max_size=4),
    documents=st.lists(
        st.builds(DocumentScore, TEXT, FLOATS, INTEGERS),
        max_size=3,
        unique_by=lambda score: score.document,
    ).map(tuple),
    curve=st.lists(st.builds(CurvePoint, FLOATS, FLOATS, INTEGERS), max_size=3).map(tuple),
    slot=TEXT,
    host=TEXT,
    device=TEXT,
    started_at=FLOATS,
    wall_seconds=FLOATS,
    cpu_seconds=FLOATS,
    train_wall_seconds=FLOATS,
    self_reported_steps=INTEGERS,
    self_reported_tokens=INTEGERS,
    facts=st.dictionaries(TEXT, TEXT, max_size=3),
    log_tail=TEXT,
)
VARIANTS = st.builds(make_variant, TEXT)
PROPOSALS = st.builds(
    Proposal,
    number=st.integers(2, 2**62),
    operator=TEXT,
    parents=st.lists(st.builds(Parent, st.just(make_variant("seed").id), TEXT), max_size=3).map(
        tuple
    ),
    outcome=st.sampled_from(Outcome),
    reason=TEXT,
    variant=VARIANTS,
    idea=TEXT,
    author=TEXT,
    model=TEXT,
    cost=COSTS,
    seen=INTEGERS,
)
LLM_CALLS = st.builds(
    LlmCall,
    endpoint=TEXT,
    model=TEXT,
    prompt=TEXT,
    reply=TEXT,
    tokens_in=INTEGERS,
    tokens_out=INTEGERS,
    dollars=st.none() | FLOATS,
    seconds=FLOATS,
    outcome=TEXT,
    proposal_number=INTEGERS,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def members(*ids: str, standing: str = "candidate") -> list[FrontMember]:
    """A front of these variants, the best first."""
    return [FrontMember(one, standing, Estimate(2.0 + k, 0.1, 1)) for k, one in enumerate(ids)]
