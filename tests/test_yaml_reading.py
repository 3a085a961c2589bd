"""YAML as people mean it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evo.config import ConfigError, read_config
from evo.yaml_reading import read_yaml

RUNGS = "rungs: {proxy: {depth: 2, budget: 1}}\nbudget: {variants: 1}\n"
WORDS = ("on", "off", "yes", "no", "On", "NO", "null", "1", "1e3", "12:30", "2026-01-01", "~")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("No", "No"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("true", True),
        ("FALSE", False),
        ("1e-3", 1e-3),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("-2.", -2.0),
        ("-.inf", float("-inf")),
        ("12", 12),
        ("null", None),
        ("a: &x {b: 1}\nc: {<<: *x, b: 2}", {"a": {"b": 1}, "c": {"b": 2}}),
    ],
)
def test_words_stay_words_and_numbers_numbers(text: str, value: Any, quick: bool) -> None:
    found = read_yaml(text, quick)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("word", WORDS)
def test_a_key_is_what_is_written_there(tmp_path: Path, word: str) -> None:
    text = f"rungs: {{{word}: {{depth: 2, budget: 1}}}}\nbudget: {{variants: 1}}\n"
    assert list(read_config(written(tmp_path, text)).rungs) == [word]


def test_on_is_a_mode_and_yes_is_true_where_true_is_asked_for(tmp_path: Path) -> None:
    text = f"{RUNGS}stopping: {{mode: on}}\nallow_repeats: yes\nname: no\nkeep: {{weights: off}}\n"
    config = read_config(written(tmp_path, text))
    assert (config.stopping.mode, config.allow_repeats) == ("on", True)
    assert (config.name, config.keep.weights) == ("no", False)
    assert read_config(written(tmp_path, RUNGS), ["stopping.mode=off"]).stopping.mode == "off"


def test_a_key_given_twice_is_told_with_both_lines(tmp_path: Path) -> None:
    text = f"{RUNGS}\nkeep:\n  weights: true\n  weights: false\n"
    with pytest.raises(
        ConfigError, match=r"'weights' is given twice, in line 5 and again in line 6"
    ):
        read_config(written(tmp_path, text))
    with pytest.raises(ConfigError, match=r"--set keep=.*'weights' is given twice"):
        read_config(written(tmp_path, RUNGS), ["keep={weights: on, weights: off}"])


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert read_config(written(tmp_path, f"\ufeffrandom_seed: 7\n{RUNGS}")).random_seed == 7


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_what_the_library_writes_is_read_back_as_it_was(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert read_yaml(text) == value
    assert read_yaml(text, quick=True) == value
