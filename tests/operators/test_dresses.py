"""Any dress over any correct edit: what comes out is the edit, whatever a model put around and into it.

A dress is a function of text or of lines; they are drawn and laid over one another as models do.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from operators.source.blocks import EditError
from operators.source.compare import unified_diff
from tests.operators.samples import SMALL
from tests.operators.test_dressed_replies import child_of

Edit = tuple[list[str], list[str]]  # lines of the file, and what stands there afterwards
Lines = list[str]
EDITS: list[Edit] = [
    (["    return x + 1"], ["    return x + 2"]),
    (['    """One."""', "    return x + 1"], ['    """Two."""', "    x = x - 1", "    return x"]),
    (["LAYERS = 4  # knob: int 1 8"], ["LAYERS = 6  # knob: int 1 8"]),
    (['ACTIVATION = "relu2"  # knob: choice relu2 gelu silu'],
     ['ACTIVATION = "gelu"  # knob: choice relu2 gelu silu']),
    (["        x = first(x)", "        return x"], ["        return first(first(x))"]),
    (["while run.progress() < 1:"], ["while run.progress() < 0.5:"]),
    (["    def size(self):"], ["    def half(self):", "        return LAYERS >> 1", "",
                               "    def size(self):"]),
    (["# Training", "run = harness.start()"], ["import math", "run = harness.start()"]),
    (["import harness", ""], ["import harness", "import math", ""]),
]  # fmt: skip
EDIT = st.sampled_from(EDITS)
DRAFT = "<<<<<<< SEARCH\n    return x + 1\n=======\n    return x + 9\n>>>>>>> REPLACE"


def made(edits: Sequence[Edit]) -> str:
    """The file with the edits made by hand."""
    child = SMALL
    for search, replace in edits:
        old = "\n" + "\n".join(search) + "\n"
        assert child.count(old) == 1
        child = child.replace(old, "\n" + "\n".join(replace) + "\n")
    return child


def shown(source: str) -> list[str]:
    """The lines as one sees them: blanks at the end of a line or of the file are none of the edit."""
    return [line.rstrip() for line in source.rstrip().split("\n")]


# -- dresses of lines: what is put into the texts that are looked for and that replace them


def typographic(lines: Lines) -> Lines:
    return [line.replace(' "', " “").replace('"', "”").replace(" - ", " – ") for line in lines]


def hard_blanks(lines: Lines) -> Lines:
    return [line.replace("    ", "\u00a0\u00a0\u00a0\u00a0") for line in lines]


def entities(lines: Lines) -> Lines:
    return [html.escape(line) for line in lines]


def numbered(lines: Lines) -> Lines:
    return [f"{number:>3} | {line}" for number, line in enumerate(lines, 7)]


def listed(lines: Lines) -> Lines:
    return [f"{number}: {line}" for number, line in enumerate(lines, 98)]


def fenced(lines: Lines) -> Lines:
    return ["```python", *lines, "```"]


def trailing_blanks(lines: Lines) -> Lines:
    return [f"{line}  " for line in lines]


def as_they_are(lines: Lines) -> Lines:
    return lines


TYPE = st.sampled_from([as_they_are, typographic, hard_blanks, entities])
LAYOUT = st.sampled_from([as_they_are, numbered, listed, fenced, trailing_blanks])


@st.composite
def line_dresses(draw: st.DrawFn) -> Callable[[Lines], Lines]:
    inner, outer = draw(TYPE), draw(LAYOUT)
    return lambda lines: outer(inner(lines))


# -- forms: how a list of edits is written down


def blocks(edits: Sequence[Edit], words: tuple[str, str, int]) -> str:
    old, new, width = words
    return "\n".join(
        "\n".join([f"{'<' * width} {old}", *search, "=" * width, *replace, f"{'>' * width} {new}"])
        for search, replace in edits
    )


MARKERS = st.tuples(
    st.sampled_from(["SEARCH", "ORIGINAL", "search", "OLD"]),
    st.sampled_from(["REPLACE", "UPDATED", "replace", "NEW"]),
    st.sampled_from([7, 5, 9]),
)
KEYS = st.sampled_from(
    [("edits", "search", "replace"), ("changes", "old", "new"), ("edits", "find", "replacement"),
     ("replacements", "oldString", "newString"), ("Edits", "Search", "Replace")]
)  # fmt: skip


@st.composite
def in_json(draw: st.DrawFn, edits: Sequence[Edit]) -> str:
    every, old, new = draw(KEYS)
    pairs = [{old: "\n".join(search), new: "\n".join(replace)} for search, replace in edits]
    said: object = {"idea": "an idea", every: pairs}
    said = draw(
        st.sampled_from([said, [said], {"answer": said}, {"name": "edit", "arguments": said}])
    )
    text = json.dumps(said, indent=draw(st.sampled_from([None, 2])))
    if draw(st.booleans()):  # line breaks that are not escaped
        text = text.replace("\\n", "\n")
    if draw(st.booleans()):
        text = f"```json\n{text}\n```"
    return text


@st.composite
def as_blocks(draw: st.DrawFn, edits: Sequence[Edit]) -> str:
    dress = draw(line_dresses())
    text = blocks([(dress(search), dress(replace)) for search, replace in edits], draw(MARKERS))
    around = draw(st.sampled_from(["", "fence", "indented", "quoted"]))
    if around == "fence":
        info = draw(st.sampled_from(["", "python", "diff", "text train.py", "search-replace"]))
        text = f"````{info}\n{text}\n````"
    if around in ("indented", "quoted"):
        assume(dress([" x"]) == [" x"])
        lead = "    " if around == "indented" else "> "
        text = "\n".join((lead + line).rstrip() for line in text.split("\n"))
    return text


@st.composite
def as_file(draw: st.DrawFn, edits: Sequence[Edit]) -> str:
    lines = made(edits).rstrip("\n").split("\n")
    lines = draw(st.sampled_from([as_they_are, trailing_blanks, numbered, entities]))(lines)
    mark = draw(st.sampled_from(["```", "~~~", "`````"]))
    info = draw(st.sampled_from(["", "python", "py", "python title=train.py", "Python 3"]))
    end = [mark] if draw(st.booleans()) else []
    return "\n".join([mark + info, *lines, *end])


@st.composite
def as_diff(draw: st.DrawFn, edits: Sequence[Edit]) -> str:
    child = made(edits)
    width = draw(st.integers(2, 4))
    lines = unified_diff(
        SMALL.splitlines(), child.splitlines(), "a/train.py", "b/train.py", context=width, end=""
    )
    text = "\n".join(lines)
    return f"```diff\n{text}\n```" if draw(st.booleans()) else text


# -- what stands around an answer


TAGS = st.sampled_from(["think", "thinking", "thought", "reasoning", "seed:think", "reflection"])


@st.composite
def dressed_replies(draw: st.DrawFn) -> tuple[str, str]:
    """A reply, and the file that has to come out of it."""
    edits = [draw(EDIT)]
    other = draw(EDIT)
    if not {line for line in other[0] if line} & set(edits[0][0]):
        edits.append(other)
    form = draw(st.sampled_from([in_json, as_blocks, as_file, as_diff]))
    text: str = draw(form(edits))
    if draw(st.booleans()) and form is not in_json:
        text = f"{draw(st.sampled_from(['IDEA: an idea', '**IDEA 3:** an idea', '- IDEA: it']))}\n\n{text}"
    if draw(st.booleans()):
        text = (
            f"{draw(st.sampled_from(['Sure, here it is.', '# Answer', 'Let me see.']))}\n\n{text}"
        )
    thoughts = draw(st.sampled_from(["", "closed", "only closed"]))
    tag = draw(TAGS)
    if thoughts:
        opening = f"<{tag}>\n" if thoughts == "closed" else ""
        text = f"{opening}Perhaps\n{DRAFT}\nor not.\n</{tag}>\n{text}"
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    if draw(st.booleans()):
        text = "\ufeff" + text
    return text, made(edits)


@settings(max_examples=80, deadline=None)
@given(dressed_replies())
def test_an_edit_comes_out_of_any_dress_as_it_was_meant(dressed: tuple[str, str]) -> None:
    reply, child = dressed
    assert shown(child_of(reply)) == shown(child)


@settings(max_examples=30, deadline=None)
@given(st.data(), TAGS, st.booleans())
def test_a_draft_inside_thoughts_is_never_applied(
    data: st.DataObject, tag: str, closed: bool
) -> None:
    text = data.draw(st.sampled_from([as_blocks, in_json, as_file]))
    draft = data.draw(text([data.draw(EDIT)]))
    thoughts = f"<{tag}>\nA draft:\n{draft}\n" + (
        f"</{tag}>\nI would rather not.\n" if closed else ""
    )
    with pytest.raises(EditError):
        child_of(f"IDEA: an idea\n{thoughts}" if closed else thoughts)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_an_edit_with_two_places_is_refused_in_any_dress(data: st.DataObject) -> None:
    search, replace = data.draw(EDIT)
    parent = SMALL + "\n" + "\n".join(search) + "\n"
    text = data.draw(st.sampled_from([as_blocks, in_json]))
    reply = data.draw(text([(search, replace)]))
    with pytest.raises(EditError, match="found 2 times"):
        child_of(reply, parent)
