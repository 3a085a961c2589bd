"""Back-mutation: the weakest edit goes, everything later stays, the text is otherwise untouched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operators.operator import Draft, ProposalFailed
from operators.revert import Revert
from operators.source.knobs import read_knobs, with_knobs
from population.fingerprint import fingerprint
from tests.operators.histories import FakeHistory, line_of
from tests.operators.samples import SMALL, request

STRUCTURAL = "return x + 1", "return x + 2"


def reverted(history: FakeHistory, seed: int = 0) -> Draft:
    source = history.line("")[0].source
    return Revert().propose(replace(request(source, seed=seed), history=history))


def test_the_edit_with_the_weakest_evidence_goes_and_the_rest_stays() -> None:
    first = with_knobs(SMALL, {"WARMUP": 0.3})
    second = first.replace(*STRUCTURAL)
    third = with_knobs(second, {"MATRIX_LR": 0.05})
    history = FakeHistory(lines={"": line_of(third, second, first, SMALL, values=[1, 2, 2.99, 3])})
    draft = reverted(history)
    assert draft.source == with_knobs(third, {"WARMUP": 0.1})
    assert draft.idea == (
        "without the edit 'edit 1', which gained 0.01 (1.4 sd), and with all that came after it"
    )


def test_an_edit_that_did_harm_goes_before_one_that_did_nothing() -> None:
    first = with_knobs(SMALL, {"WARMUP": 0.3})
    second = first.replace(*STRUCTURAL)
    third = with_knobs(second, {"MATRIX_LR": 0.05})
    history = FakeHistory(lines={"": line_of(third, second, first, SMALL, values=[1, 3.1, 3, 3])})
    assert reverted(history).source == third.replace(*reversed(STRUCTURAL))


def test_what_was_reverted_before_is_not_reverted_again() -> None:
    first = with_knobs(SMALL, {"WARMUP": 0.3})
    second = with_knobs(first, {"LAYERS": 6})
    third = with_knobs(second, {"MATRIX_LR": 0.05})
    history = FakeHistory(
        lines={"": line_of(third, second, first, SMALL)}, made={fingerprint(second)}
    )
    made = []
    for _ in range(2):
        made.append(reverted(history).source)
        history.made.add(fingerprint(made[-1]))
    assert len(set(made)) == 2 and second not in made
    with pytest.raises(ProposalFailed, match="that was not before"):
        reverted(history)


def test_an_edit_that_later_edits_build_on_stays() -> None:
    first = with_knobs(SMALL, {"WARMUP": 0.3})
    second = with_knobs(first, {"WARMUP": 0.4})  # builds on it: taking `first` out is a conflict
    third = with_knobs(second, {"LAYERS": 6})
    history = FakeHistory(lines={"": line_of(third, second, first, SMALL, values=[1, 2.5, 3, 2.9])})
    assert read_knobs(reverted(history).source)[2].value == 0.3, "the second weakest went"


def test_neighbouring_knobs_do_not_hinder_each_other() -> None:
    names = [knob.name for knob in read_knobs(SMALL)]
    first = with_knobs(SMALL, {names[0]: 0.05})
    second = with_knobs(first, {names[1]: 0.5})
    third = with_knobs(second, {names[2]: 0.4})
    history = FakeHistory(lines={"": line_of(third, second, first, SMALL, values=[1, 2, 2, 3])})
    assert reverted(history).source == with_knobs(third, {names[1]: 0.3})


@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_line_without_two_edits_gives_a_reason(length: int) -> None:
    history = FakeHistory(lines={"": line_of(*[SMALL] * length)})
    with pytest.raises(ProposalFailed, match="two edits away"):
        Revert().propose(replace(request(SMALL), history=history))
