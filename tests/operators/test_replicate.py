"""The control operator: the same code under another id."""

from __future__ import annotations

from operators.replicate import Replicate
from population.fingerprint import fingerprint
from population.types import variant_id
from tests.operators.samples import SEED, request


def test_its_child_is_the_same_code_under_another_id():
    child = Replicate().propose(request(SEED)).source
    assert fingerprint(child) == fingerprint(SEED) and variant_id(child) != variant_id(SEED)


def test_a_replicate_of_a_replicate_does_not_grow():
    once = Replicate().propose(request(SEED)).source
    again = Replicate().propose(request(once)).source
    assert len(again.splitlines()) == len(once.splitlines())
