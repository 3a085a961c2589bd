"""What changes a fingerprint and what does not."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from population.fingerprint import count_nodes, fingerprint, knob_free_fingerprint

SOURCE = '''"""A model."""
import math

LR = 0.02  # knob: log 1e-3 1e-1
STEPS: int = 10
KIND = "relu"
SHIFT = -1


def forward(x, scale=1.0):
    """Doc."""
    total = [math.exp(v) * scale for v in x]
    return dict(a=total, b=LR)


class Net:
    """Only a docstring."""
'''


def test_layout_comments_and_docstrings_do_not_change_it() -> None:
    other = (
        ast.unparse(ast.parse(SOURCE)).replace("Doc.", "Another doc.").replace('"""A model."""', "")
    )
    other = other.replace("LR = 0.02", "LR   =   2e-2  # tuned\n")
    assert other != SOURCE
    assert fingerprint(other) == fingerprint(SOURCE)
    assert count_nodes(other) == count_nodes(SOURCE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("0.02", "0.03"),
        ("scale=1.0", "scale=1"),
        ("math.exp(v) * scale", "scale * math.exp(v)"),
        ("a=total, b=LR", "b=LR, a=total"),
        ("total", "sum_"),
        ("SHIFT = -1", "SHIFT = 1"),
        ('"relu"', 'b"relu"'),
        ("STEPS: int = 10", "STEPS: int = True"),
        ("STEPS: int = 10", "STEPS: int = None"),
        ("STEPS: int = 10", "STEPS: int"),
    ],
)
def test_whatever_can_change_a_run_changes_it(before: str, after: str) -> None:
    assert before in SOURCE
    assert fingerprint(SOURCE.replace(before, after)) != fingerprint(SOURCE)


def test_the_knob_free_one_sees_structure_only() -> None:
    knobs_moved = SOURCE.replace("0.02", "5").replace('"relu"', '"gelu"').replace("-1", "7")
    assert knob_free_fingerprint(knobs_moved) == knob_free_fingerprint(SOURCE)
    for before, after in [("scale=1.0", "scale=2.0"), ("KIND", "SORT"), ("LR = 0.02", "LR = f()")]:
        changed = SOURCE.replace(before, after, 1)
        assert knob_free_fingerprint(changed) != knob_free_fingerprint(SOURCE)


def test_nodes_are_counted_without_docstrings() -> None:
    assert count_nodes("") == 1
    assert count_nodes('"""doc"""') == 1
    assert count_nodes("x = 1") == 4  # module, assignment, name, constant
    assert count_nodes("def f():\n    'doc'\n    return 1") == count_nodes("def f():\n    return 1")


@pytest.mark.parametrize(
    "source",
    [
        "def f(:",
        "x = '\x00'",
        "x = '\ud800'",
        "(" * 5000 + ")" * 5000,
        "x = " + "-" * 200_000 + "1",
    ],
    ids=["grammar", "null", "surrogate", "brackets", "signs"],
)
def test_what_does_not_parse_is_a_syntax_error(source: str) -> None:
    for function in (fingerprint, knob_free_fingerprint, count_nodes):
        with pytest.raises(SyntaxError):
            function(source)


def test_odd_but_valid_sources_have_a_fingerprint() -> None:
    huge = "X = 0x" + "f" * 6000  # its decimal text is refused by Python
    assert fingerprint(huge) != fingerprint(huge + "f")
    assert fingerprint('x = "\\d"') == fingerprint('x = "\\\\d"')
    assert fingerprint('x = "\\ud800"') != fingerprint('x = "\\ud801"')
    assert fingerprint("x = 0.0") != fingerprint("x = -0.0")


NAMES = st.sampled_from(["a", "LR", "net", "x1"])
LITERALS = st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none(), st.binary())
EXPRESSIONS = st.recursive(
    st.one_of(NAMES, LITERALS.map(repr)),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "*", "<", "and"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        st.tuples(NAMES, inner).map(lambda t: f"{t[0]}(k={t[1]})"),
    ),
    max_leaves=6,
)
STATEMENTS = st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"{t[0]} = {t[1]}")


@given(st.lists(STATEMENTS, min_size=1, max_size=5))
def test_rewriting_from_the_tree_keeps_the_fingerprint(statements: list[str]) -> None:
    source = "\n".join(statements)
    spaced = "# first\n\n" + "\n\n".join(f"{s}  # why" for s in statements) + "\n"
    assert fingerprint(spaced) == fingerprint(ast.unparse(ast.parse(source))) == fingerprint(source)


@given(st.lists(STATEMENTS, min_size=2, max_size=4, unique=True))
def test_the_order_of_statements_counts(statements: list[str]) -> None:
    there, back = "\n".join(statements), "\n".join(reversed(statements))
    same = ast.dump(ast.parse(there)) == ast.dump(ast.parse(back))
    assert (fingerprint(there) == fingerprint(back)) == same
