"""Names that a source uses without having them, and merges that would have taken a run for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.merge import Merge
from operators.operator import ParentView, ProposalFailed, Request
from operators.source.names import lost_attributes, undefined_names
from operators.source.parse import SourceError

SEED = Path("seed/train.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("x = 1\nprint(x)\n", set()),
        ("print(y)\n", {"y"}),
        ("def f(a, *b, c=1, **d):\n    return a, b, c, d, e\n", {"e"}),
        ("def f():\n    def g():\n        return h\n    h = 1\n    return g\n", set()),
        ("def f():\n    global count\n    count = 1\nprint(count)\n", set()),
        ("import a.b as c, d.e\nc, d\n", set()),
        ("from m import *\nanything()\n", set()),
        ("class A:\n    n = 1\n    m = n\nA().k(z)\n", {"z"}),
        ("xs = [i for i in range(3) if i in known]\n", {"known"}),
        ("try:\n    pass\nexcept ValueError as error:\n    print(error)\n", set()),
        ("for i in (1, 2):\n    pass\nprint(i, __name__)\n", set()),
        ("match 1:\n    case [a, *b]:\n        print(a, b)\n", set()),
        ("f = lambda q: q + r\n", {"r"}),
        ("with open('x') as file:\n    file.read(size)\n", {"size"}),
        ("if (n := 3) > 2:\n    print(n)\n", set()),
    ],
)
def test_a_name_is_undefined_when_nothing_binds_it(source: str, missing: set[str]) -> None:
    assert undefined_names(source) == missing


def test_the_seed_has_all_that_it_uses() -> None:
    assert undefined_names(SEED) == set()
    assert lost_attributes(SEED, SEED) == set()


@given(st.text(max_size=200))
def test_whatever_the_text_it_is_read_or_refused_with_a_reason(text: str) -> None:
    try:
        assert undefined_names(text) >= set()
    except SourceError as error:
        assert str(error)


WITH_SCALE = """class Block(Base):
    def __init__(self):
        self.scale = 2
        self.register_buffer("mask", 1)
    def forward(self, x):
        return self.scale * x + self.mask + self.training
"""


def test_an_attribute_is_lost_when_a_parent_sets_what_the_merge_only_reads() -> None:
    merged = WITH_SCALE.replace("        self.scale = 2\n", "")
    assert lost_attributes(merged, WITH_SCALE) == {"Block.scale"}
    assert lost_attributes(WITH_SCALE, WITH_SCALE) == set()
    based = "class Base:\n    scale = 1\n" + merged
    assert lost_attributes(based, WITH_SCALE) == set()


def merge(first: str, second: str, ancestor: str, number: int = 0) -> str:
    views = [
        ParentView(name, name, source)
        for name, source in (("first", first), ("second", second), ("ancestor", ancestor))
    ]
    request = Request(number, tuple(views), np.random.default_rng(number))
    return Merge().propose(request).source


ANCESTOR = """WIDTH = 4


def build():
    return WIDTH


def train(model):
    return model
"""


def test_a_merge_that_takes_a_use_without_its_definition_is_no_child() -> None:
    removes = ANCESTOR.replace("def build():\n    return WIDTH\n\n\n", "").replace(
        "WIDTH = 4\n\n\n", ""
    )
    uses = ANCESTOR.replace("    return model\n", "    return model, build()\n")
    with pytest.raises(ProposalFailed, match="uses without defining: build"):
        merge(removes, uses, ANCESTOR)


def test_the_other_side_of_a_conflict_is_tried_where_one_side_lacks_a_name() -> None:
    ancestor = "A = 1\n\n\ndef f(x):\n    return x\n\n\ndef g(x):\n    return x\n"
    first = ancestor.replace("def f(x):\n    return x", "def f(x):\n    return h(x)").replace(
        "def g(x):", "def h(x):"
    )
    second = ancestor.replace("def f(x):\n    return x", "def f(x):\n    return g(x) + 1")
    for number in range(10):
        try:
            made = merge(first, second, ancestor, number)
        except ProposalFailed as failure:
            assert "defining" in failure.reason or "same code" in failure.reason
        else:
            assert not undefined_names(made), made
