"""A reply becomes a source, or one clear sentence says why not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.source.blocks import EditError
from operators.source.edits import apply_reply
from tests.counting import lines_run
from tests.operators.samples import SMALL


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def test_a_block_replaces_the_lines_it_names() -> None:
    reply = "IDEA: two\n\n```python\n" + block("    return x + 1", "    return x + 2") + "```\n"
    assert apply_reply(SMALL, reply) == SMALL.replace("x + 1", "x + 2")


def test_several_blocks_are_made_in_order_and_see_each_other() -> None:
    reply = block("LAYERS = 4  # knob: int 1 8", "LAYERS = 5  # knob: int 1 8")
    reply += block("LAYERS = 5  # knob: int 1 8", "LAYERS = 6  # knob: int 1 8")
    assert apply_reply(SMALL, reply) == SMALL.replace("LAYERS = 4", "LAYERS = 6")


def test_an_empty_replacement_deletes_lines() -> None:
    reply = "<<<<<<< SEARCH\n    def size(self):\n        return LAYERS\n=======\n>>>>>>> REPLACE"
    assert "def size" not in apply_reply(SMALL, reply)


def test_wrong_indentation_is_put_right_where_the_place_is_unique() -> None:
    reply = block("def size(self):\n    return  LAYERS", "def size(self):\n    return 2 * LAYERS")
    assert "    def size(self):\n        return 2 * LAYERS\n" in apply_reply(SMALL, reply)


def test_a_line_named_without_its_remark_keeps_the_remark() -> None:
    reply = block("MATRIX_LR = 0.02", "MATRIX_LR = 0.05")
    assert apply_reply(SMALL, reply) == SMALL.replace("0.02", "0.05")


@pytest.mark.parametrize("line", ["LR = 0.025", "MY_LR = 0.02", "my.LR = 0.02"])
def test_part_of_a_number_or_name_is_not_a_match(line: str) -> None:
    with pytest.raises(EditError, match="is not in the file"):
        apply_reply(f"import harness\n{line}\n", block("LR = 0.02", "LR = 0.03"))


def test_blank_lines_around_a_search_text_do_not_matter() -> None:
    reply = block("\n\n    return x + 1\n", "\n    return x + 2\n\n")
    assert apply_reply(SMALL, reply) == SMALL.replace("x + 1", "x + 2")


def test_line_ends_of_the_parent_are_kept() -> None:
    parent = SMALL.replace("\n", "\r\n")
    reply = block("    return x + 1", "    # why\n    return x + 2")
    child = apply_reply(parent, reply)
    assert child == SMALL.replace("return x + 1", "# why\n    return x + 2").replace("\n", "\r\n")
    assert apply_reply(SMALL, reply.replace("\n", "\r\n")) == child.replace("\r\n", "\n")


def test_a_whole_file_replaces_all() -> None:
    child = SMALL.replace("x + 1", "x + 2")
    assert apply_reply(SMALL, f"IDEA: two\n```python\n{child}```\nDone.") == child


def test_fences_inside_the_file_do_no_harm() -> None:
    child = SMALL.replace("One.", "One.\n\n    ```python\n    first(1)\n    ```\n    ")
    reply = f"For example:\n```python\nx = 1\n```\nso\n```python\n{child}```\nand\n```\nbye\n```\n"
    assert apply_reply(SMALL, reply) == child


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("I would rather not.", "no SEARCH/REPLACE block and no whole file"),
        (block("nothing like it", "x"), "edit 1 of 1: its SEARCH text is not in the file"),
        (block("        return LAYERS", "        return LAYERS"), "changes nothing"),
        (block("    return x + 1", "    return x +"), r"does not parse: line \d+"),
        (block("", "x = 1"), "SEARCH text is empty"),
        ("<<<<<<< SEARCH\nx = first(x)\n", "not finished: no `=======`"),
        ("<<<<<<< SEARCH\nx = 1\n=======\nx", "not finished: no `>>>>>>> REPLACE`"),
        ("```python\nx = 1\n```", "never names `harness`"),
        ("```python\nx = (\n```", "fenced block does not parse: line 1"),
        ("```python\nimport harness\n", "not a whole train.py: it never names `finish`"),
        (f"```python\n{SMALL}```", "changes nothing"),
        (f"```python\n{SMALL}\ndef more(:\n\n```", "fenced block does not parse"),
        (f"Here:\n\n```python\n{SMALL}\nX = 1\n\ndef more(\n```\nDone.", "does not parse"),
    ],
)
def test_a_reply_that_is_no_edit_says_why(reply: str, words: str) -> None:
    with pytest.raises(EditError, match=words):
        apply_reply(SMALL, reply)


def test_a_search_text_found_twice_is_refused_however_it_is_found() -> None:
    twice = (
        "import harness\nif 1:\n    x = 1\nif 2:\n    x = 1\nif 3:\n    x  = 2\nif 4:\n    x = 2 \n"
    )
    for search in ("    x = 1", "x = 1", "x = 2"):
        with pytest.raises(EditError, match="found 2 times"):
            apply_reply(twice, block(search, "    x = 9"))


def cost_of(reply: str) -> tuple[int, str]:
    """The lines of Python that a reply which is no edit takes to be refused, and why it is."""
    reasons = []

    def work() -> None:
        try:
            apply_reply(SMALL, reply)
        except EditError as error:
            reasons.append(str(error))

    return lines_run(work), *reasons


def test_ten_megabytes_are_refused_before_a_line_of_them_is_read() -> None:
    cost, reason = cost_of("x\n" * 5_000_000)
    assert "more than" in reason and cost < 20


def test_many_fences_cost_in_proportion_to_the_reply() -> None:
    def fences(count: int) -> str:
        return "```\nimport harness\nx = (\n" * count

    few, reason = cost_of(fences(100))  # more than are looked at
    more, again = cost_of(fences(600))
    assert reason == again and "does not parse" in reason
    assert few < 30_000 and more - few < 10 * 3 * 500  # some lines of ours for a line of theirs


_marks = st.sampled_from(
    [
        "<<<<<<< SEARCH",
        "=======",
        ">>>>>>> REPLACE",
        "```python",
        "```",
        "~~~",
        "import harness",
        "",
    ]
)


@given(st.lists(st.one_of(_marks, st.sampled_from(SMALL.splitlines()), st.text(max_size=20))))
def test_any_reply_gives_a_source_that_parses_or_an_edit_error(lines: list[str]) -> None:
    try:
        child = apply_reply(SMALL, "\n".join(lines))
    except EditError as error:
        assert "\n" not in str(error).strip()
        return
    compile(child, "child", "exec")
    assert child != SMALL


@given(st.data())
def test_an_exact_edit_of_any_lines_gives_exactly_that_file(data: st.DataObject) -> None:
    lines = SMALL.split("\n")
    low = data.draw(st.integers(0, len(lines) - 3))
    high = data.draw(st.integers(low + 2, len(lines)))
    new = [*lines[low:high], "# added"]
    search = "\n".join(lines[low:high])
    if not search.strip():
        return
    expected = "\n".join([*lines[:low], *new, *lines[high:]])
    try:
        assert apply_reply(SMALL, block(search, "\n".join(new))) == expected
    except EditError as error:
        assert "found" in str(error)  # a few lines may stand there more than once
