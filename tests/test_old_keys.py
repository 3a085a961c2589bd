"""Keys of earlier versions are read under today's names, each with one line of advice."""

from __future__ import annotations

import copy
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.benchmark.settings import BenchConfig
from evo.config import Config, ConfigError, read_config, read_plain
from evo.old_keys import REMOVED, RENAMED, ByDefault, OldKeyWarning, current, name_today
from tests.test_config import SMALL, keys_of

TODAY = {one.key.replace("rungs.NAME", "rungs.*") for one in keys_of(Config)}
LISTS = ("objectives", "constraints", "llm.endpoints")


def places(key: str) -> str:
    """A dotted key of the table as the documentation writes it."""
    for group in LISTS:
        key = key.replace(f"{group}.*.", f"{group}.")
    return key


def nested(key: str, value: Any) -> dict[str, Any]:
    """Plain values in which only this key of the table is given."""
    for part in reversed(key.split(".")):
        value = [value] if part == "*" and not key.startswith("rungs") else {part: value}
    return value  # type: ignore[no-any-return]


def config(tmp_path: Path, more: str, *changes: str) -> Config:
    path = tmp_path / "c.yaml"
    path.write_text(SMALL + more)
    return read_config(path, changes)


def advised(tmp_path: Path, more: str, *changes: str) -> tuple[Config, list[str]]:
    with pytest.warns(OldKeyWarning) as told:
        read = config(tmp_path, more, *changes)
    return read, [str(one.message).replace(str(tmp_path / "c.yaml"), "c.yaml") for one in told]


def test_an_old_name_is_none_of_today_and_its_new_one_is() -> None:
    for key, new_name in RENAMED.items():
        assert places(key) not in TODAY
        today = f"{key.rpartition('.')[0]}.{new_name}".lstrip(".")
        assert places(today) in TODAY or today in REMOVED


@pytest.mark.parametrize("key", REMOVED)
def test_a_key_that_is_gone_is_none_of_today_and_what_holds_instead_is_there(key: str) -> None:
    assert places(key) not in TODAY
    instead = REMOVED[key]
    if isinstance(instead, str) and ":" in instead:
        assert resolve_name(instead) is not None


@pytest.mark.parametrize("key", REMOVED)
def test_a_key_that_is_gone_is_taken_out_and_told_of_in_one_line(key: str) -> None:
    kept, (old,) = current(nested(key, 1234.5))
    assert current(kept) == (kept, []) and "1234.5" not in str(kept)
    assert old.differs and "not 1234.5 but " in old.advice() and "remove it" in old.advice()
    assert "\n" not in old.advice()
    instead = REMOVED[key]
    same = resolve_name(instead) if isinstance(instead, str) and ":" in instead else instead
    if isinstance(instead, ByDefault):
        same = None
    _, (old,) = current(nested(key, same))
    assert not old.differs and "holds without it; remove it" in old.advice()


keys = st.sampled_from(sorted({*RENAMED, *REMOVED}))
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5))


@given(st.dictionaries(keys, plain, max_size=6))
def test_reading_twice_is_reading_once_and_changes_nothing_that_was_given(
    given: dict[str, Any],
) -> None:
    values: dict[str, Any] = {}
    for key, value in given.items():
        for part, inside in nested(key, value).items():
            both = isinstance(values.get(part), dict) and isinstance(inside, dict)
            values[part] = {**values[part], **inside} if both else inside
    before = copy.deepcopy(values)
    read, _ = current(values)
    assert values == before
    assert current(read) == (read, [])


@given(
    keys.map(lambda key: key.partition(".")[0]),
    st.recursive(
        plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
    ),
)
def test_whatever_lies_at_an_old_keys_place_is_read_without_a_crash(group: str, found: Any) -> None:
    current({group: found})


def test_old_names_in_a_file_mean_the_new_keys_and_each_is_told_of(tmp_path: Path) -> None:
    read, told = advised(
        tmp_path,
        "seed: 7\n"
        "objectives: [{name: val_bpb, box: 0.01, worst: seed x 1.5}, {name: parameters, box: 5}]\n"
        "tune: {first_share: 0.5}\n",
    )
    assert read == config(
        tmp_path,
        "random_seed: 7\n"
        "objectives: [{name: val_bpb, epsilon: 0.01, limit: seed x 1.5},"
        " {name: parameters, epsilon: 5}]\n",
    )
    assert told == [
        "c.yaml: seed is now called random_seed",
        "c.yaml: objectives.0.box is now called epsilon",
        "c.yaml: objectives.1.box is now called epsilon",
        "c.yaml: objectives.0.worst is now called limit",
        "c.yaml: tune.first_share is no key any more: not 0.5 but 1.0 holds; remove it",
    ]


def test_a_constraint_relative_to_the_seed_is_read_as_one_in_words(tmp_path: Path) -> None:
    read, (told,) = advised(
        tmp_path,
        "constraints: [{name: peak_memory_mb, at_least: 1e-7, at_most: 4, relative_to_seed: true}]",
    )
    (one,) = read.constraints
    assert (one.at_least, one.at_most) == ("seed x 0.0000001", "seed x 4")
    assert "constraints.0.relative_to_seed is no key any more: write `seed x 1.1`" in told


def test_a_race_without_leaders_is_read_as_one_without_a_share(tmp_path: Path) -> None:
    read, (told,) = advised(tmp_path, "policy: {leaders: 0}\n")
    assert read.policy.race_share == 0
    assert told == "c.yaml: policy.leaders is no key any more: write `race_share: 0` for no race"


def test_a_clock_that_all_rungs_had_is_read_as_the_campaigns(tmp_path: Path) -> None:
    plain = {
        "rungs": {
            "proxy": {"depth": 2, "budget": 5000, "clock": "tokens"},
            "larger": {"depth": 3, "budget": 9000, "clock": "tokens"},
        }
    }
    read, found = current(plain)
    assert read["clock"] == "tokens"
    assert all("clock" not in one for one in read["rungs"].values())
    assert [one.advice() for one in found] == [
        "rungs.proxy.clock is no key any more: write `clock: tokens` for the whole campaign",
        "rungs.larger.clock is no key any more: write `clock: tokens` for the whole campaign",
    ]


def test_clocks_that_differ_from_rung_to_rung_are_told_of_and_the_campaigns_holds() -> None:
    rungs = {
        "proxy": {"depth": 2, "budget": 5, "clock": "cpu_seconds"},
        "larger": {"depth": 3, "budget": 9},
    }
    read, (told,) = current({"clock": "seconds", "rungs": rungs})
    assert read["clock"] == "seconds" and "clock" not in read["rungs"]["proxy"]
    assert 'not "cpu_seconds" but the campaign\'s `clock` holds' in told.advice()


def test_an_old_key_on_the_command_line_wins_over_the_file_and_is_told_with_it(
    tmp_path: Path,
) -> None:
    read, told = advised(tmp_path, "random_seed: 5\n", "seed=3")
    assert read.random_seed == 3
    assert told == ["--set seed=3: seed is now called random_seed"]
    read, told = advised(tmp_path, "", "agent.at_once=3")
    assert read.agent is None and "not 3 but 1 holds" in told[0]
    with (
        pytest.warns(OldKeyWarning),
        pytest.raises(ConfigError, match=r"^--set seed=x"),
    ):
        config(tmp_path, "", "seed=x")


def test_both_names_of_one_key_are_an_error_that_names_both(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"objectives.0.box is the old name of epsilon"):
        config(tmp_path, "objectives: [{name: val_bpb, box: 1, epsilon: 2}]\n")


def test_a_misspelt_key_in_a_group_of_old_ones_is_still_an_error(tmp_path: Path) -> None:
    with (
        pytest.warns(OldKeyWarning),
        pytest.raises(ConfigError, match=r"portfolio.mod: unknown key; did you mean 'mode'"),
    ):
        config(tmp_path, "portfolio: {half_life: 3, mod: learn}\n")


def test_a_benchmarks_file_is_read_by_the_same_table(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(
        "landscapes: [nb201/cifar10]\ncontestants: [random]\n"
        "ours: {tune: {first_share: 0}, selection: {tournament: 3}}\n"
        "llm: {attempts: 4, endpoints: [{name: a, model: b, weight: 2}]}\n"
    )
    with pytest.warns(OldKeyWarning) as told:
        read = BenchConfig.model_validate(read_plain(path, ["ours.policy.most_blocks=3"]))
    assert read.ours.tune.primary_share == 0
    said = [str(one.message) for one in told]
    assert len(said) == 5 and f"{path}: ours.tune.first_share is now called primary_share" in said


def test_the_name_of_today_is_found_for_any_dotted_key() -> None:
    assert name_today("objectives.3.box") == "objectives.3.epsilon"
    assert name_today("seed") == "random_seed"
    assert name_today("budget.variants") == "budget.variants"


def test_an_old_template_of_messages_is_read_as_their_format(tmp_path: Path) -> None:
    body = '{"said": "$text"}'
    old = f"notify: {{url: 'http://h/x', format: json, template: '{body}'}}\n"
    read, lines = advised(tmp_path, old)
    assert read.notify.format == body
    assert len(lines) == 1 and "notify.template is now the value of notify.format" in lines[0]
    assert config(tmp_path, old.replace("template", "format").replace("format: json, ", "")) == read
