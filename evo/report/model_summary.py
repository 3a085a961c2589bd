"""A campaign's summary in a model's words: asked for with the rows' own summary, kept if it adds no number.

What is checked is that each number and each id of the text stands in the summary that is made from rows, in
full or rounded. Whether it is said of the right thing is not: the text is marked as a model's for that.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal, InvalidOperation

import numpy as np

from evo.report.summary import COST, CampaignSummary, ToldByModel
from operators.llm.answer import Message, estimate_tokens
from operators.llm.thoughts import without_thoughts
from operators.llm_operators import Ask
from operators.prompting import fill, quoted

MAX_LINES, MAX_CHARS = 60, 8_000  # of a model's summary
MIN_DIGITS = 2  # significant ones, that a rounded number keeps
MAX_DIGITS = 20  # of a number that is rounded
MAX_EXPONENT = 20  # of a number written as 1e-4; beyond, it is none of ours
MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}|(?<![\d:])\d{1,2}:\d{2}(?::\d{2})?(?![\d:])")
ID = re.compile(
    r"(?<![a-z0-9_.])(?=[a-f]*\d|[a-f]{8})[0-9a-f]{4,64}(?![a-z0-9_]|\.\d)", re.IGNORECASE
)
SHOWN = 8  # digits of an id that are shown
NAMED = re.compile(r"(?<![A-Za-z0-9_.])[A-Za-z_]\w*\d\w*")  # a word that begins with a letter
NUMBER = re.compile(
    r"(?:(?:\d{1,3}(?:[,_]\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII
)
FACTOR = re.compile(r"\s?(?:(%|per ?cent\b)|([kK]|thousand)\b|(M|million)\b|(billion)\b)")
IN_WORDS = re.compile(
    r"\b(?:eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|"
    r"(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundreds?|thousands?|millions?|billions?|dozens?|"
    r"(?:half a|one|two|three|four|five|six|seven|eight|nine|ten) per ?cent)\b",
    re.IGNORECASE,
)


class SummaryRejected(ValueError):
    """What a model wrote is not kept; the message says why, for a person."""


def first_unknown(text: str, known: str) -> str | None:
    """The first number or id of `text` that is none of `known`; None where all are.

    `known`: everything that the rows' summary says. A number may be rounded to two significant digits or
    more, be a share or its percentage, and be written with thousands separators; its sign is not compared.
    An id is a word of 4 hex digits or more, one of them a letter, that begins an id which `known` names.
    Numbers in words are known up to ten; above, they are to be digits.
    """
    text, known = _even(text), _even(known)
    values = _roundings(MOMENT.sub(" ", known))
    ids = [one for one in ID.findall(known) if len(one) >= SHOWN and not one.isdigit()]
    found = list[tuple[int, str]]()

    def take(pattern: re.Pattern[str], left: str, is_known: Callable[[str], bool]) -> str:
        """What is left after all that the pattern finds."""
        found.extend(
            (one.start(), one[0]) for one in pattern.finditer(left) if not is_known(one[0])
        )
        return pattern.sub(lambda one: " " * len(one[0]), left)

    def is_id(word: str) -> bool:
        return any(one.startswith(word.lower()) for one in ids)

    def is_number(word: str) -> bool:
        factor = FACTOR.search(word)
        value = _number(word[: factor.start()] if factor else word)
        return value is not None and not values.isdisjoint(_meant(value, factor))

    moments, names = {*MOMENT.findall(known)}, {*NAMED.findall(known)}
    left = take(MOMENT, text, moments.__contains__)
    for one in ID.finditer(left):
        if one[0].isdigit():
            continue  # a number
        if not is_id(one[0]) and not is_number(one[0]) and one[0] not in names:
            found.append((one.start(), one[0]))
        left = left[: one.start()] + " " * len(one[0]) + left[one.end() :]
    left = take(NAMED, left, names.__contains__)
    left = take(re.compile(f"(?:{NUMBER.pattern})(?:{FACTOR.pattern})?"), left, is_number)
    take(IN_WORDS, left, lambda word: False)
    return min(found)[1] if found else None


def _even(text: str) -> str:
    """The same text in one way of writing digits, without Markdown's backslashes."""
    even = unicodedata.normalize("NFKC", text).replace("\\", "")
    return "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in even)


def _number(text: str) -> Decimal | None:
    try:
        value = Decimal(text.replace(",", "").replace("_", ""))
    except InvalidOperation:
        return None
    return value if abs(value.adjusted()) <= MAX_EXPONENT else None


def _meant(value: Decimal, factor: re.Match[str] | None) -> set[Decimal]:
    """What a number with what follows it can stand for."""
    if factor is None:
        return {value}
    if factor[1]:
        return {value, value / 100}
    power = 3 if factor[2] else 6 if factor[3] else 9
    return {value.scaleb(power)}


def _roundings(known: str) -> set[Decimal]:
    """Every number of a text, as it is and rounded; halves either way."""
    found = set[Decimal]()
    for one in NUMBER.finditer(known):
        value = _number(one[0])
        if value is None:
            continue
        for meant in {value, *_meant(value, FACTOR.match(known, one.end()))}:
            found |= {meant, *_rounded(meant)}
    return found


def _rounded(value: Decimal) -> Iterator[Decimal]:
    """The number with ever more of its digits, rounded."""
    for digits in range(MIN_DIGITS, min(len(value.as_tuple().digits), MAX_DIGITS)):
        last = Decimal(1).scaleb(value.adjusted() - digits + 1)
        yield value.quantize(last, rounding=ROUND_HALF_UP)
        yield value.quantize(last, rounding=ROUND_HALF_DOWN)


def said_by(one: CampaignSummary) -> str:
    """Everything that a summary says, in lines that nothing was wrapped in."""
    lines = [one.title, one.state, one.headline]
    for part in one.parts:
        lines += [f"# {part.title}", *(f"- {line}" for line in part.lines), *part.commands]
    return "\n".join(lines)


def content_of(one: CampaignSummary) -> str:
    """A fingerprint of all that a summary says but the cost, which grows where nothing else is new."""
    parts = tuple(part for part in one.parts if part.title != COST)
    return hashlib.sha256(said_by(replace(one, parts=parts)).encode(errors="replace")).hexdigest()


def checked(text: str, one: CampaignSummary) -> str:
    """A model's text as it is kept. SummaryRejected names what stands in no row."""
    lines = [line for line in without_thoughts(text).strip().splitlines() if line.strip()]
    if not lines:
        raise SummaryRejected("it is empty")
    if len(lines) > MAX_LINES or sum(map(len, lines)) > MAX_CHARS:
        raise SummaryRejected(f"it is longer than {MAX_LINES} lines, or {MAX_CHARS:,} characters")
    kept = "\n".join(lines)
    wrong = first_unknown(kept, said_by(one))
    if wrong is not None:
        raise SummaryRejected(f"{' '.join(wrong.split())!r} is in none of the rows")
    return kept


def ask_for_summary(llm: Ask, one: CampaignSummary) -> ToldByModel:
    """The summary in the words of the model that answers, from one call.

    Raises SummaryRejected for a text that is not kept, ProposalFailed where no answer came.
    """
    system = fill("summary_system.md")
    heads = "\n".join(f"## {part.title}" for part in one.parts)
    told = quoted("summary", said_by(one))
    user = fill("summary.md", heads=heads, told=told, lines=str(MAX_LINES))
    parts = {"brief": estimate_tokens(system), "task": estimate_tokens(user)}
    messages = (Message("system", system), Message("user", user, parts))
    reply = llm.ask(messages, np.random.default_rng(0), as_text=True)
    try:
        kept = checked(reply.text, one)
    except SummaryRejected as rejected:
        raise SummaryRejected(f"the summary by {reply.endpoint} was rejected: {rejected}") from None
    return ToldByModel(kept, reply.model, reply.cost.tokens_in + reply.cost.tokens_out)
