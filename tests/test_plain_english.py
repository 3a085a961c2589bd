"""What people and models read is plain modern English: prompts, help, docs, docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from evo.config import Config
from tests.test_config import keys_of

ROOT = Path(__file__).parent.parent
PRIVATE = {  # what we do not write, and what to write instead
    r"turned away": "rejected",
    r"(take[ns]?|took|taking) (it |them |(a|the) \w+ )?up(?! to)": "started, resumed, carried out",
    r"(hangs?|hung) on": "depends on, follows",
    r"who(m|so)?ever": "say who: the process, the variant, any operator",
    r"(became|becomes|come[s]?|came) of (it|them|an?|every|each|one|those|the)": "outcome",
    r"for want of": "without",
    r"so many(?! \w+ that)": "N",
    r"less is better": "lower is better",
    r"(more|greater) is better": "higher is better",
    r"forebears?": "ancestor",
    r"(your|a person's|nobody's|whose) word": "approval",
    r"(its|the variant's) own word": "as it reports it",
    r"knob remarks?|remarks? of knobs?": "comment",
    r"one spread|spread (is not |un)known": "standard deviation",
    r"beside (the seed|its parent|their parents)": "compared with",
}
FOUND = re.compile("|".join(rf"\b(?:{one})\b" for one in PRIVATE), re.IGNORECASE)
LONGEST_LINE = 400
DATED = {"results.md"}  # figures of their day, in the words of their day
PACKAGES = ("evo", "operators", "population")


def read_by_people() -> Iterator[tuple[str, str]]:
    """Every page, prompt and configuration as (where, text), and every text inside the code."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "configs").iterdir()]
    pages += (ROOT / "operators/prompts").glob("*.md")
    for path in pages:
        if path.name not in DATED:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            where = str(path.relative_to(ROOT))
            for line, text in texts_of(path.read_text(encoding="utf-8")):
                yield f"{where}:{line}", text


def texts_of(source: str) -> Iterator[tuple[int, str]]:
    """The strings of a source that have words in them: docstrings, help, and what is said."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def private_words(text: str) -> list[str]:
    return [one.group() for one in FOUND.finditer(" ".join(text.split()))]


EXAMPLES = {"operators/swap.py"}  # files that a page tells how to write
STORED = {  # in old databases, too
    "What each operator proposed, what came of it and what it cost.",
    "waiting for your word",
}


def test_no_text_that_is_read_holds_a_private_word() -> None:
    found = {
        where: words
        for where, text in read_by_people()
        if text not in STORED and (words := private_words(text))
    }
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "A repeat is turned away.",
        "It is taken up by the next process.",
        "taken up with 2 slots",
        "process 12 takes it up now",
        "Lineage hangs\non it.",
        "Whoever reads this",
        "What became of it",
        "for want of a key",
        "one in so many goes on",
        "so that less is better",
        "its nearest forebear",
        "It waits for your word.",
        "Keep the remarks of knobs well-formed.",
        "mean, and one spread around it",
        "how it stands beside the seed",
    ],
)
def test_a_private_word_is_seen(text: str) -> None:
    assert private_words(text)


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_no_line_of_a_page_is_a_wall(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not {n: len(line) for n, line in enumerate(lines, 1) if len(line) > LONGEST_LINE}


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text)
    assert not [one for one in links if not (path.parent / one).exists()]
    named = re.findall(
        r"`((?:evo|operators|population|tests|benchmarks|configs|seed|docs)/[\w./-]+\w)`", text
    )
    if path.name not in DATED:  # it may rest on studies of its day
        assert not [one for one in {*named} - EXAMPLES if not (ROOT / one).exists()]


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_every_key_that_a_page_names_can_be_set(path: Path) -> None:
    if path.name in DATED:
        return
    keys = {one.key for one in keys_of(Config)}
    groups = {one.split(".")[0] for one in keys} - set(PACKAGES)
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)[`:]", path.read_text(encoding="utf-8"))
    files = (".py", ".md", ".yaml", ".db")
    wrong = [
        one
        for one in named
        if one.split(".")[0] in groups
        and not one.endswith(files)
        and not any(key == one or key.startswith(f"{one}.") for key in keys)
    ]
    assert not wrong
