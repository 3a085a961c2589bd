"""Replies in every dress that models give them: the edit comes out, or one clear reason why not.

The replies stand in replies/*.txt, one after a line `%%% WHAT | WHERE THE KIND COMES FROM`. WHAT is the edit
that must come out, `crlf` with it where its lines end so, or `refused: ` and words of the reason.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from operators.llm.json_answer import plain_answer
from operators.llm.thoughts import without_thoughts
from operators.source.blocks import EditError
from operators.source.edits import apply_reply
from tests.operators.samples import SMALL

TWO = SMALL.replace("x + 1", "x + 2")
CHILDREN = {
    "two": TWO,
    "whole": TWO,
    "two+layers": TWO.replace("LAYERS = 4", "LAYERS = 6"),
    "loop": SMALL.replace("< 1", "< 0.5"),
    "gelu": SMALL.replace('"relu2"', '"gelu"'),
    "import": SMALL.replace("import harness", "import harness\nimport math"),
    "second": SMALL.replace(
        "import harness", "import harness\ndef second(x):\n    return x + 2"
    ).replace("x = first(x)", "x = second(x)"),
    "anchored": SMALL.replace("# knob: int 1 8", "# knob: int 1 8\nHEADS = 2"),
    "titled": SMALL.replace('"""A small sample."""', '"""A sample\n=======\n"""'),
}
INSERTS = {
    "FILE": TWO.rstrip("\n"),
    "PARENT": SMALL.rstrip("\n"),
    "OTHER": SMALL.replace("x + 1", "x + 3").rstrip("\n"),
    "JSON": json.dumps(TWO)[1:-1],
    "ENTITIES": html.escape(TWO.rstrip("\n")),
    "INDENTED": "\n".join(f"    {line}".rstrip() for line in TWO.rstrip("\n").split("\n")),
    "QUOTED": "\n".join(f"> {line}".rstrip() for line in TWO.rstrip("\n").split("\n")),
    "NUMBERED": "\n".join(
        f"{number:3} | {line}" for number, line in enumerate(TWO.rstrip("\n").split("\n"), 1)
    ),
}


def corpus() -> list[tuple[str, str, str]]:
    """What must come out, where the kind comes from, and the reply."""
    found = []
    for path in sorted((Path(__file__).parent / "replies").glob("*.txt")):
        for part in path.read_text(encoding="utf-8").split("%%% ")[1:]:
            head, _, body = part.partition("\n")
            what, _, kind = head.partition(" | ")
            body = re.sub(r"@@(\w+)@@", lambda match: INSERTS[match[1]], body.removesuffix("\n"))
            body = re.sub(
                r"\\u(feff|200b|00a0|0009|001b|000d|0000)",
                lambda match: chr(int(match[1], 16)),
                body,
            )
            found.append((what, kind, body))
    return found


def child_of(reply: str, parent: str = SMALL) -> str:
    """What an operator makes of an answer."""
    text = without_thoughts(reply)
    if not text.strip():
        raise EditError("the reply holds thoughts only")
    return apply_reply(parent, plain_answer(text))


def same_code(child: str, wanted: str) -> bool:
    """Alike but for a sign that means the same (`- -2`) and the line breaks at the end."""
    return child.rstrip("\n").replace("x - -2", "x + 2") == wanted.rstrip("\n")


CORPUS = corpus()


@pytest.mark.parametrize(("what", "kind", "reply"), CORPUS, ids=[kind for _, kind, _ in CORPUS])
def test_a_dressed_reply_gives_its_edit_or_the_reason(what: str, kind: str, reply: str) -> None:
    if what.startswith("refused: "):
        with pytest.raises(EditError, match=re.escape(what.removeprefix("refused: "))):
            child_of(reply)
        return
    name, _, line_ends = what.partition(" ")
    child = child_of(reply.replace("\n", "\r\n") if line_ends else reply)
    assert same_code(child, CHILDREN[name])


def test_the_corpus_is_large_and_no_reply_stands_in_it_twice() -> None:
    assert len(CORPUS) >= 200
    assert len({kind for _, kind, _ in CORPUS}) == len(CORPUS)
    assert (
        len({reply for _, _, reply in CORPUS}) >= len(CORPUS) - 2
    )  # those that differ in line ends
