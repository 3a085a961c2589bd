"""A summary that a model wrote is kept only where every number and id of it stands in the rows' own."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.report.model_summary import MAX_LINES, SummaryRejected, checked, first_unknown
from evo.report.summary import CampaignSummary, SummaryPart, ToldByModel, render_summary

KNOWN = (
    "Objectives: val_bpb; 1,234 runs on H200, 12 % busy, 0.4949 ± 0.0031 (n=14), share 0.256, "
    "3a5f09bc is certified, ended 2026-03-04 07:00 after 2.5e-4, 1.2 million tokens, -0.0173 to gpt\\_4"
)


@pytest.mark.parametrize(
    "text",
    [
        "of 1234 runs, 1,234 to be exact, about 1,200",
        ".4949, 0.495, 0.49 and 0.49490, ± .0031",
        "12% or a share of 0.12; 25.6 percent, 26 %",
        "3a5f and 3a5f09bc and 3A5F09BC",
        "2026-03-04, at 07:00; 0.00025; 1,200,000 tokens, 1200k, 1.2M",
        "three of them, the first, ten at most, on H200, gpt_4, a decade added",
        "from 0.0173 to 0.017, n = 14",
    ],
)
def test_what_the_rows_say_may_be_said_rounded_and_in_other_ways_of_writing(text: str) -> None:
    assert first_unknown(text, KNOWN) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("1,235 runs", "1,235"),
        ("0.4948", "0.4948"),
        ("0.5 at best", "0.5"),
        ("0.49491", "0.49491"),
        ("13% busy", "13%"),
        ("12 million", "12 million"),
        ("3a5f09bd won", "3a5f09bd"),
        ("3a60", "3a60"),
        ("deadbeef", "deadbeef"),
        ("on 2026-03-05", "2026-03-05"),
        ("at 08:00", "08:00"),
        ("on H100", "H100"),
        ("twelve of them", "twelve"),
        ("five percent", "five percent"),
        ("٣٣٣ runs", "333"),
        ("a half: ½", "1"),
        ("1e999999999999", "1e999999999999"),
        ("first 99, then 98", "99"),
    ],
)
def test_the_first_number_or_id_that_no_row_says_is_named(text: str, wrong: str) -> None:
    assert first_unknown(text, KNOWN) == wrong


numbers = st.decimals(min_value="0.00001", max_value="99999999", places=5, allow_nan=False).filter(
    lambda one: one != 0
)


def digits_of(value: Decimal) -> int:
    return len(value.normalize().as_tuple().digits)


@given(numbers, st.integers(2, 14), st.booleans())
def test_a_number_passes_in_every_rounded_form(value: Decimal, keep: int, commas: bool) -> None:
    last = Decimal(1).scaleb(value.adjusted() - keep + 1)
    told = value.quantize(last, rounding=ROUND_HALF_EVEN) if keep < digits_of(value) else value
    text = f"{told:,f}" if commas else f"{told:f}"
    assert first_unknown(f"it came to {text}.", f"{value:f} of them") is None
    assert first_unknown(f"it came to {told * 100:f} %.", f"{value:f} of them") is None


@given(numbers, st.integers(0, 12), st.integers(1, 9))
def test_a_digit_changed_beyond_rounding_is_found(value: Decimal, place: int, by: int) -> None:
    text = f"{value.normalize():f}"
    at = [n for n, one in enumerate(text) if one.isdigit()]
    spot = at[place % len(at)]
    changed = text[:spot] + str((int(text[spot]) + by) % 10) + text[spot + 1 :]
    told = Decimal(changed)
    unit = Decimal(1).scaleb(told.normalize().as_tuple().exponent)  # type: ignore[arg-type]
    if abs(told - value) * 2 <= unit:  # it is a rounded form
        return
    assert first_unknown(f"it came to {changed}", f"it came to {text}") == changed


@given(st.text(max_size=80))
def test_any_text_is_read_and_what_says_the_same_is_known(text: str) -> None:
    first_unknown(text, KNOWN)
    first_unknown(KNOWN, text)


SMALL = CampaignSummary(
    "c: summary", "complete", "0.4949 is best", True, (SummaryPart("What holds", ("n=14",)),)
)


def test_a_text_that_is_empty_too_long_or_says_more_than_the_rows_is_rejected() -> None:
    assert checked("<think>77</think>## What holds\n\nBy 14 runs.", SMALL) == (
        "## What holds\nBy 14 runs."
    )
    for text, why in (
        ("", "empty"),
        ("a\n" * (MAX_LINES + 1), "longer than 60 lines"),
        ("n was\n15", "'15' is in none of the rows"),
    ):
        with pytest.raises(SummaryRejected, match=why):
            checked(text, SMALL)


def test_what_a_model_wrote_is_marked_above_what_is_made_from_rows_and_holds_no_markup() -> None:
    told = ToldByModel(
        "## What holds\n<b>14</b> [runs](http://x) \x1b[31m " + "long " * 40, "m_1", 120
    )
    text = render_summary(SMALL, told)
    mark = "> Written by m\\_1 from the rows; every number was checked against them."
    assert mark in text and "cost 120 tokens" in " ".join(text.replace("> ", "").split())
    assert "\\<b>14" in text and "\\[runs\\]" in text and "\x1b" not in text
    assert text.index("### What holds") < text.index("\n## What holds\n") < text.index("- n=14")
    assert all(len(line) <= 80 for line in text.splitlines()) and "\n\n\n" not in text
