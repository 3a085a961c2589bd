"""Whatever a source holds, reading, comparing and merging it ends in a result or a reason."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.analysis.edits import kinds_of_edit, patch_text
from evo.analysis.findings import changed_knobs, changed_lines
from evo.evaluation.static_check import check_source
from evo.importing.campaign import seedless_fingerprint
from evo.search.early_stopping import schedule_of
from operators.agent import changes
from operators.merge import Merge
from operators.operator import ParentView, ProposalFailed, Request
from operators.source.blocks import EditError
from operators.source.compare import MAX_STEPS, Matcher, Steps, unified_diff
from operators.source.constants import structure_of, tunable
from operators.source.edits import apply_reply
from operators.source.knobs import KnobError, read_knobs, sound_knobs
from operators.source.merge import merge_sources
from operators.source.parse import SourceError
from population.fingerprint import count_nodes, fingerprint, knob_free_fingerprint
from population.parsing import MAX_BYTES, MAX_DEPTH, MAX_LINES, MAX_NODES, parse
from tests.operators.samples import SMALL

REASONS = (SyntaxError, SourceError, KnobError, EditError)
DEEP: dict[str, Callable[[int], str]] = {
    "attributes": lambda n: "x" + ".a" * n,
    "sums": lambda n: "x" + " + x" * n,
    "powers": lambda n: "x" + "**x" * n,
    "signs": lambda n: "-" * n + "x",
    "nots": lambda n: "not " * n + "x",
    "brackets": lambda n: "(" * n + "x" + ")" * n,
    "lists": lambda n: "[" * n + "]" * n,
    "open": lambda n: "{x: (" * n,
    "calls": lambda n: "f" + "()" * n,
    "indices": lambda n: "x" + "[0]" * n,
    "lambdas": lambda n: "lambda x=0:" * n + "x",
    "choices": lambda n: "x if x else " * n + "x",
    "walruses": lambda n: "(a := " * n + "x" + ")" * n,
    "branches": lambda n: "if x: pass\n" + "elif x: pass\n" * n,
    "functions": lambda n: "".join(" " * at + "def f():\n" for at in range(n)) + " " * n + "pass",
    "comprehensions": lambda n: "[" * n + "x" + " for x in x]" * n,
    "patterns": lambda n: "match x:\n case " + "[" * n + "]" * n + ": pass",
    "assigned": lambda n: "x" + "[x" * n + "]" * n + " = 1",
}
WIDE: dict[str, Callable[[int], str]] = {
    "empty lines": lambda n: "def f():\n" + "\n" * n + "    pass\n",
    "nameless": lambda n: "".join(f"if x: y{at % 7}()\n" for at in range(n)),
    "statements of a line": lambda n: "A = 1;" * n,
    "knobs": lambda n: "".join(f"A{at} = 1  # knob: int 0 9\n" for at in range(n)),
    "constants of a line": lambda n: "".join(f"A{at}=1;" for at in range(n)),
    "decorators": lambda n: "@x\n" * n + "def f(): pass\n",
    "fields": lambda n: "f'" + "{x}" * n + "'\n",
    "strings": lambda n: "x = " + "'a' " * n + "\n",
    "rules": lambda n: ("# " + "=" * 30 + "\n# a\n") * n,
    "hex digits": lambda n: "SEED = 0x" + "f" * n + "\n",
    "targets": lambda n: "x[0x" + "f" * n + "] = 1\n",
    "digits": lambda n: "X = 0." + "9" * n + "\n",
    "targets in a row": lambda n: "x = " * n + "1\n",
    "one long string": lambda n: "'''" + "\n" * n + "'''\n",
    "continued": lambda n: "x = 1" + " \\\n" * n + "\n",
}
ODD = st.sampled_from(
    [
        *("# coding: utf-7\n", "\ufeff", "\0", "\ud800", "\r", "\x0c", "\x85", "\u2028", "\x1c"),
        *(
            "ｅｘｅｃ = 1\n",
            "rb'\\d'\n",
            "Rb''\n",
            "x = 1_0__0\n",
            "f'{x!r:{x}}'\n",
            "0777\n",
            "'\\N{DASH}'",
        ),
        *(
            "\tx\n        y\n",
            "'''",
            "\\",
            "if x:\n",
            "import harness\n",
            "1e999\n",
            "A = -1e400\n",
        ),
    ]
)
SIZES = st.sampled_from([1, 20, 90, 150, 450, 1_500])


@st.composite
def hostile(draw: st.DrawFn) -> str:
    """One to three hostile pieces, behind one another or in the middle of an honest source."""
    kinds = st.sampled_from([*DEEP.values(), *WIDE.values()])
    pieces = st.one_of(
        st.tuples(kinds, SIZES).map(lambda one: one[0](one[1]) + "\n"), ODD, st.text(max_size=20)
    )
    text = "".join(draw(st.lists(pieces, min_size=1, max_size=3)))
    return draw(st.sampled_from([text, SMALL + text, text + SMALL]))


def calls_of(work: Callable[[], object]) -> int:
    """How many calls of Python functions it makes; the parser's own work is not seen."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        tried(work)
    finally:
        sys.setprofile(before)
    return calls


def tried(work: Callable[[], object]) -> object:
    """What it gives, or the reason why it gives nothing; any other error is a failure."""
    try:
        return work()
    except REASONS as reason:
        assert str(reason)
        return None


def read_all(source: str) -> None:
    """Everything that is read of one source."""
    tree = tried(lambda: parse(source))
    for read in (
        *(fingerprint, knob_free_fingerprint, count_nodes, seedless_fingerprint),
        *(read_knobs, structure_of, lambda text: tunable(text, (), {})),
    ):
        got = tried(lambda read=read: read(source))
        assert tree is not None or got is None
    for always in (check_source, schedule_of, sound_knobs):
        always(source)
    if isinstance(tree, ast.Module):
        assert len(list(ast.walk(tree))) <= MAX_NODES


def compare_all(first: str, second: str, rng: np.random.Generator) -> None:
    """Everything that is made of two sources."""
    for triple in ((first, second, SMALL), (first, SMALL, second), (first, second, first)):
        tried(lambda triple=triple: merge_sources(*triple, rng))
    tried(lambda: apply_reply(SMALL, f"```python\n{first}\n```"))
    tried(lambda: apply_reply(first, f"<<<<<<< SEARCH\n{second}\n=======\n>>>>>>> REPLACE"))
    kinds_of_edit(first, second)
    changed_knobs(first, second)
    changed_lines(first, second)
    changes(first, second)
    patch_text(first, second, "", (), 0.0)


@settings(max_examples=40, deadline=None)
@given(hostile())
def test_reading_a_hostile_source_gives_a_result_or_a_reason(source: str) -> None:
    read_all(source)


@settings(max_examples=25, deadline=None)
@given(hostile(), hostile(), st.integers(0, 99))
def test_comparing_and_merging_hostile_sources_gives_a_result_or_a_reason(
    first: str, second: str, seed: int
) -> None:
    compare_all(first, second, np.random.default_rng(seed))


@pytest.mark.soak
@pytest.mark.parametrize("kind", [*DEEP, *WIDE])
def test_large_hostile_sources_of_each_kind_give_a_result_or_a_reason(kind: str) -> None:
    for size in (3_000, 9_000, 19_000):
        source = {**DEEP, **WIDE}[kind](size) + "\n"
        read_all(source)
        other = f"x = 2\n{source[: len(source) // 2]}\n# between\n{source[len(source) // 2 :]}"
        compare_all(source, other, np.random.default_rng(0))


@pytest.mark.parametrize("kind", WIDE)
def test_work_on_sources_with_many_pieces_does_not_grow_with_their_square(kind: str) -> None:
    def calls(size: int) -> int:
        source = WIDE[kind](size)
        other = source[: len(source) // 2] + "\nx = 2\n" + source[len(source) // 2 :]
        return calls_of(lambda: compare_all(source, other, np.random.default_rng(0)))

    assert calls(200) < 3 * calls(100) + 20_000


LETTERS = st.lists(st.sampled_from("abc \n"), max_size=30)


@given(LETTERS, LETTERS, st.integers(0, 400))
def test_a_comparison_takes_no_more_steps_than_it_was_given_and_is_right(
    old: list[str], new: list[str], most: int
) -> None:
    steps = Steps(most)
    made, at = [], 0
    for kind, a, b, c, d in Matcher(old, new, steps).get_opcodes():
        assert a == at and (kind != "equal" or old[a:b] == new[c:d])
        made += new[c:d]
        at = b
    assert made == new and at == len(old)
    assert 0 <= steps.left <= most


@given(LETTERS, LETTERS, st.integers(0, 3))
def test_with_steps_enough_a_comparison_is_difflibs(
    old: list[str], new: list[str], context: int
) -> None:
    import difflib

    ours = unified_diff(old, new, "a", "b", context, "")
    assert [*ours] == [*difflib.unified_diff(old, new, "a", "b", n=context, lineterm="")]
    same = difflib.SequenceMatcher(None, old, new, autojunk=False)
    assert Matcher(old, new).get_opcodes() == same.get_opcodes()


def test_what_is_too_much_to_compare_is_told_apart_by_its_beginning_and_end() -> None:
    old = ["a", *[str(at % 50) for at in range(20_000)], "z"]
    new = ["a", *[str(at % 49) for at in range(20_000)], "y", "z"]
    steps = Steps()
    codes = Matcher(old, new, steps).get_opcodes()
    assert codes[0][0] == codes[-1][0] == "equal" and len(codes) < 10
    assert steps.left <= MAX_STEPS


@pytest.mark.parametrize("kind", DEEP)
def test_a_tree_of_any_kind_that_is_let_in_can_be_walked_by_recursion(kind: str) -> None:
    let_in = 0
    for depth in range(1, MAX_DEPTH + 20, 7):
        source = DEEP[kind](depth)
        try:
            tree = parse(source)
        except SyntaxError:
            continue
        let_in += 1
        ast.unparse(tree), ast.dump(tree), fingerprint(source), seedless_fingerprint(source)
    assert let_in > 5 or kind == "open"
    with pytest.raises(SyntaxError):
        parse(DEEP[kind](20_000))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("\n" * (MAX_LINES + 1), "more than 20,000 lines"),
        ("\r" * (MAX_LINES + 1), "more than 20,000 lines"),
        ("#" * (MAX_BYTES + 1), "bytes are more than"),
        ("x" + ".a" * 450, "nested more than 100 levels deep"),
        ("f'" + "{x}" * 30_000 + "'", "an f-string of more than"),
        ("x;" * 40_000, "syntax nodes"),
    ],
    ids=["lines", "returns", "bytes", "depth", "f-string", "nodes"],
)
def test_what_is_too_large_to_read_is_named(source: str, said: str) -> None:
    for read in (parse, fingerprint, count_nodes):
        with pytest.raises(SyntaxError, match=said):
            read(source)


def test_a_merge_of_thousands_of_nameless_blocks_takes_a_bounded_number_of_steps() -> None:
    sides = ["".join(f"if x: y{side}{at}()\n" for at in range(1_000)) for side in "abc"]
    assert calls_of(lambda: merge_sources(*sides, np.random.default_rng(0))) < 1_000_000


PIECES = {
    "nameless": "".join(f"if LR > {at}: x = {at}\n" for at in range(200)),
    "statements of a line": "0;" * 800 + "\n",
    "fields": "f'" + "{x}" * 800 + "'\n",
    "knobs": "".join(f"A{at} = 0.5  # knob: float 0 1\n" for at in range(100)),
}


@pytest.mark.parametrize("kind", PIECES)
def test_a_merge_parses_each_source_once_however_often_it_draws(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    real = ast.parse

    def count(source: str, *more: str) -> ast.Module:
        parsed.append(source)
        return real(source, *more)

    roles = ("first", "second", "ancestor")
    sources = [f"LR = 0.{at}  # knob: log 1e-3 1\n{PIECES[kind]}" for at in (1, 2, 3)]
    views = tuple(ParentView("", *one) for one in zip(roles, sources, strict=True))
    request = Request(1, views, np.random.default_rng(0))
    monkeypatch.setattr(ast, "parse", count)
    with pytest.raises(ProposalFailed, match="is the same code as"):
        Merge().propose(request)  # either side of the one conflict is a parent: it draws to the end
    assert sorted(parsed) == sorted(sources)
