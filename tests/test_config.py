"""The campaign file: its documented keys, and how its mistakes are told."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from evo.config import Config, ConfigError, IslandSettings, RungSettings, read_config, rung_of
from evo.evaluation.cluster.settings import ClusterSettings
from evo.evaluation.slots import SlotSettings
from evo.folder import CHANGEABLE
from evo.mistakes import group_in
from population.metrics import SEARCHABLE
from population.types import Clock

ROOT = Path(__file__).parents[1]
TYPES = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path"}
TYPES[typing.Any] = "anything"
TYPES[ClusterSettings], TYPES[SlotSettings] = "a cluster", "what a slot is"
SMALL = f"""
train: {ROOT}/seed/train.py
brief: {ROOT}/configs/brief.md
rungs:
  proxy: {{depth: 2, budget: 8}}
  larger: {{depth: 3, budget: 24}}
budget: {{variants: 3}}
"""


@dataclass(frozen=True)
class Key:
    """A key as the documentation has to show it."""

    key: str
    type: str
    default: str


NAMED = ("rungs", "metrics", "islands")  # groups by a name of one's own


def keys_of(settings: type[BaseModel], above: str = "") -> Iterator[Key]:
    """Every key once: what an island sets again is the campaign's own key, as a test below holds."""
    again = set(Config.model_fields) if settings is IslandSettings else set()
    for name, one in settings.model_fields.items():
        if name in again:
            continue
        group = group_in(one.annotation)
        default = "" if group else shown_default(one.default)
        yield Key(above + name, "group" if group else shown_type(one.annotation), default)
        if group:
            inside = f"{above}{name}.NAME." if name in NAMED else f"{above}{name}."
            yield from keys_of(group, inside)


def shown_default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Path):
        return f"`{value.relative_to(ROOT) if value.is_absolute() else value}`"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, dict):
        return "`{" + ", ".join(f"{key}: {one:g}" for key, one in value.items()) + "}`"
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value}`"


def shown_type(annotation: Any) -> str:
    inner = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(shown_type(one) for one in inner if one is not type(None))
    if origin is tuple:
        return f"list of {shown_type(inner[0])}"
    if origin is dict:
        return f"{shown_type(inner[1])} by name"
    if issubclass(annotation, Enum):
        return ", ".join(f"`{one.value}`" for one in annotation)
    return TYPES[annotation]


def test_every_key_is_documented_with_its_type_and_default() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    told = {row[0].strip("| `"): Key(row[0].strip("| `"), row[1], row[2]) for row in rows}
    assert told == {one.key: one for one in keys_of(Config)}
    assert all(len(row) == 4 and len(row[3]) > 5 for row in rows)
    assert all(f"`{name}`" in text for name in (*SEARCHABLE, *CHANGEABLE))


def test_what_an_island_sets_again_is_the_campaigns_own_key_of_the_same_kind() -> None:
    own = {"share", "role"}
    for name, field in IslandSettings.model_fields.items():
        if name not in own:
            given = Config.model_fields[name].annotation
            assert field.annotation in (given, given | None) and field.default is None  # type: ignore[operator]


ISLANDS = """
islands:
  wide: {share: 3, operators: {nudge: 1}, objectives: [{name: parameters}, {name: val_bpb}]}
  doubt: {role: sceptic}
"""


def test_a_campaign_of_one_island_is_a_campaign_whose_keys_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(SMALL)
    plain = read_config(path)
    path.write_text(SMALL + "islands: {only: {share: 3}}\n")
    assert read_config(path).of_one_population() == plain == plain.of_one_population()
    path.write_text(SMALL + "islands: {only: {operators: {nudge: 2}}}\n")
    assert read_config(path).of_one_population() == plain.model_copy(
        update={"operators": {"nudge": 2.0}}
    )


def test_an_island_has_the_campaigns_keys_but_for_those_it_sets_again(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(SMALL + ISLANDS)
    (tmp_path / "wide.md").write_text("be bold")
    read = read_config(path, ["islands.wide.brief=wide.md"])
    own = read.populations()
    assert [one.name for one in own["wide"].objectives] == ["parameters", "val_bpb"]
    assert own["wide"].operators == {"nudge": 1.0} and own["doubt"].operators == {"revert": 1.0}
    assert own["wide"].brief == tmp_path / "wide.md" and own["doubt"].brief == read.brief
    assert own["doubt"].objectives == read.objectives


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("islands.doubt.share=2", "islands: sceptics have 40% of the shares; at most 30%"),
        ("islands.doubt.operators={nudge: 1}",
         "islands.doubt.operators: a sceptic proposes nothing new, so nudge is not for it"),
        ("islands.wide.operators={nugde: 1}", "islands.wide: there is no operator 'nugde'"),
        ("islands.wide.objectives=[{name: weights_mb}]",
         "islands.wide.objectives: weights_mb is none of the campaign's; add it to `objectives`"),
        ("islands.wide.role=critic", "islands.wide.role: should be 'explorer' or 'sceptic'"),
        ("islands.wide.shre=1", "islands.wide.shre: unknown key; did you mean 'share'?"),
        ("islands.wide.brief=nowhere.md", "islands.wide.brief: "),
        ("islands={a: {role: sceptic}}", "islands: somebody has to find something"),
        ("islands={a/b: {}}", "islands: 'a/b' is no name"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_island_names_it(tmp_path: Path, change: str, told: str) -> None:
    assert told in mistake(tmp_path, change, more=ISLANDS)


@pytest.mark.parametrize("name", ["quickstart", "ladder", "gpu", "cluster", "islands"])
def test_the_shipped_configs_are_sound(name: str) -> None:
    assert read_config(ROOT / "configs" / f"{name}.yaml").name == name


def test_the_quickstart_tries_the_shipped_ideas_prices_size_and_asks_for_proof() -> None:
    read = read_config(ROOT / "configs" / "quickstart.yaml")
    assert read.operators["transplant"] > 0
    assert [Path(one).resolve() for one in read.transplant.banks] == [
        ROOT / "seed" / "ideas" / "model-written.jsonl"
    ]
    assert "weights_mb" in {one.name for one in read.constraints}
    assert read.certification.attempts == 1


def mistake(tmp_path: Path, *changes: str, more: str = "") -> str:
    path = tmp_path / "c.yaml"
    path.write_text(SMALL + more)
    with pytest.raises(ConfigError) as caught:
        read_config(path, changes)
    return str(caught.value).replace(str(path), "c.yaml")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("budget=[1", "--set budget=[1: not YAML: expected ',' or ']'"),
        ("budget.variants", "write it as key=value"),
        ("=3", "write it as key=value"),
        ("name.x=3", "--set name.x=3: name: should be text"),
        ("bugdet.variants=3", "--set bugdet.variants=3: bugdet: unknown key; did you mean 'budget'?"),
        ("budget.variant=3", "budget.variant: unknown key; did you mean 'variants'?"),
        ("budget.variants=many", "should be a whole number (given: 'many')"),
        ("clock=minutes", "clock: should be 'seconds', 'cpu_seconds' or 'tokens', or 'auto'"),
        ("objectives=val_bpb", "objectives: should be a list (given: 'val_bpb')"),
        ("objectives=[{name: val_bbp}]", "no metric 'val_bbp' to search by; did you mean 'val_bpb'?"),
        ("objectives=[{name: test_bpb}]", "no metric 'test_bpb' to search by"),
        ("objectives=[{name: val_bpb}, {name: epochs}]",
         "objectives: epochs is what a variant says of itself, so nothing can be searched by it; leave it "
         "out, or take one that we measure: val_bpb, parameters"),
        ("constraints=[{name: tokens_per_parameter, at_most: 2}]",
         "constraints: tokens_per_parameter is what a variant says of itself"),
        ("constraints=[{name: params, at_most: 2}]", "did you mean 'parameters'?"),
        ("rungs.prxy.budget=3", "--set rungs.prxy.budget=3: rungs.prxy.depth: is missing: there is no "
         "rung 'prxy'; did you mean 'proxy'?"),
        ("policy.final_blocks=-1", "policy.final_blocks: should be 0 or more (given: -1)"),
        ("rungs={}", "rungs: needs at least one entry"),
        ("llm.endpoints=[{name: x, modl: y}]", "llm.endpoints.0.modl: unknown key; did you mean 'model'?"),
        ("operators.nugde=1", "did you mean 'nudge'?"),
        ("train=nowhere.py", "--set train=nowhere.py: train: "),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_told_in_words(
    tmp_path: Path, change: str, told: str
) -> None:
    text = mistake(tmp_path, change)
    assert told in text
    assert not any(word in text for word in ("str-enum", "literal[", "tuple", "instance of"))


def test_a_mistake_in_the_file_names_the_file(tmp_path: Path) -> None:
    assert (
        mistake(tmp_path, more="slotz: 3\n") == "c.yaml: slotz: unknown key; did you mean 'slots'?"
    )
    assert "c.yaml: not YAML in line" in mistake(tmp_path, more="a: [1\nb: }\n")


def test_what_is_no_text_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    for wrong, told in (
        (path, "not UTF-8 text"),
        (tmp_path, "is a folder; give the campaign file"),
        (tmp_path / "x", "no file"),
    ):
        with pytest.raises(ConfigError, match=f"(?i){told}") as caught:
            read_config(wrong)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["operators={nudge:1}", "rungs.proxy={depth: 2, budget:8}"])
def test_a_colon_without_a_blank_behind_it_is_told(tmp_path: Path, change: str) -> None:
    assert f"--set {change}: YAML needs a blank after each colon" in mistake(tmp_path, change)


def test_a_rung_of_ones_own_can_be_made_with_set(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(SMALL)
    config = read_config(path, ("rungs.huge.depth=9", "rungs.huge.budget=99"))
    assert config.rungs["huge"].depth == 9


def test_the_grace_for_saving_is_no_time_to_train_in_and_the_wall_holds_three_starts() -> None:
    quick, timed = (
        rung_of("proxy", RungSettings(depth=1, budget=8), clock, 2.5)
        for clock in (Clock.CPU_SECONDS, Clock.SECONDS)
    )
    assert quick.grace_seconds == 0.1 and timed.grace_seconds == 0.5
    assert timed.wall_seconds > 8 + 3 * 2.5 + 60
