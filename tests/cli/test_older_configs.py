"""A campaign that an older version began goes on with what it was run with."""

from __future__ import annotations

import lzma
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from evo.config import Config, RungSettings, read_config
from evo.evaluation.sandbox.sandbox import SandboxSettings
from evo.folder import FROZEN, CampaignError, Folder, change_config, config_of, create_campaign
from population.reading import measurements, seed, source_of
from population.types import Purpose

from .driving import ROOT, Evo


@pytest.fixture
def folder(quick: Path, tmp_path: Path) -> Folder:
    return create_campaign(read_config(quick), tmp_path / "c")


def older(folder: Folder, change: Callable[[dict[str, Any]], None]) -> None:
    """What the store says it was run with, changed."""
    with folder.open_store() as store:
        config = store.setting("config")
        change(config)
        store.set_setting("config", config)


def in_file(folder: Folder, change: Callable[[dict[str, Any]], None]) -> None:
    values = yaml.safe_load(folder.config.read_text())
    change(values)
    folder.config.write_text(yaml.safe_dump(values))


@pytest.mark.parametrize("group", ["sandbox", "constraints", "knowledge", "allow_repeats"])
def test_a_group_that_is_newer_than_the_campaign_has_todays_default(
    folder: Folder, group: str
) -> None:
    def drop(config: dict[str, Any]) -> None:
        config["sandbox"]["mode"] = "auto"
        del config[group]

    in_file(folder, lambda values: values.pop("sandbox"))
    older(folder, drop)
    assert getattr(config_of(folder), group) == Config.model_fields[group].default
    assert change_config(folder, ["budget.variants=9"]).budget.variants == 9


def test_keys_that_are_newer_inside_groups_rungs_and_lists_have_todays_default(
    folder: Folder,
) -> None:
    expected = config_of(folder)

    def drop(config: dict[str, Any]) -> None:
        del config["sandbox"]["least"]
        del config["rungs"]["larger"]["memory_mb"], config["objectives"][1]["epsilon"]

    older(folder, drop)
    assert config_of(folder) == expected


def test_a_default_that_changed_since_stays_what_it_was(folder: Folder) -> None:
    def of_then(config: dict[str, Any]) -> None:
        config["rungs"]["proxy"]["memory_mb"] = 1234
        config["objectives"] = config["objectives"][:2]
        config["clock"] = "cpu_seconds"

    older(folder, of_then)
    in_file(folder, lambda values: values["rungs"]["proxy"].pop("memory_mb", None))
    config = config_of(folder)
    assert (config.rungs["proxy"].memory_mb, len(config.objectives)) == (1234, 2)
    change_config(folder, ["slots=2"])
    assert "1234" in folder.config.read_text()


def test_a_key_that_is_none_any_more_is_left_out(folder: Folder) -> None:
    def add(config: dict[str, Any]) -> None:
        config["sandbox"]["gone"] = 3
        config["rungs"]["proxy"]["renamed"] = 7
        config["no_more"] = {"a": 1}

    older(folder, add)
    in_file(folder, lambda values: values["sandbox"].update(gone=3))
    in_file(folder, lambda values: values.update(no_more={"a": 1}))
    assert config_of(folder).rungs["proxy"].depth == 2
    in_file(folder, lambda values: values["sandbox"].update(misspelt=3))
    with pytest.raises(Exception, match="misspelt: unknown key"):
        config_of(folder)


@pytest.mark.filterwarnings("ignore::evo.old_keys.OldKeyWarning")
def test_a_campaign_whose_rungs_held_its_clock_keeps_it(folder: Folder) -> None:
    expected = config_of(folder)
    own = str(expected.clock)

    def of_then(config: dict[str, Any]) -> None:
        config["clock"] = "auto"
        for rung in config["rungs"].values():
            rung["clock"] = own

    older(folder, of_then)
    in_file(folder, of_then)
    assert own in ("seconds", "cpu_seconds", "tokens")
    assert config_of(folder) == expected
    assert change_config(folder, ["budget.variants=9"]).clock == expected.clock
    assert "clock" not in yaml.safe_load(folder.config.read_text())["rungs"]["proxy"]
    with pytest.raises(CampaignError, match="clock changed since this campaign began"):
        config_of(folder, ["clock=seconds"])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda values: values["rungs"]["proxy"].update(rows=65), "rungs"),
        (lambda values: values["rungs"].pop("larger"), "rungs"),
        (lambda values: values["rungs"].update(third={"depth": 4, "budget": 1}), "rungs"),
        (lambda values: values.update(random_seed=5), "random_seed"),
        (lambda values: values.update(sandbox={"mode": "auto", "least": "bwrap"}), "sandbox"),
        (lambda values: values.update(allow_repeats=True), "allow_repeats"),
    ],
)
def test_a_real_difference_is_refused_whatever_the_store_lacks(
    folder: Folder, change: Callable[[dict[str, Any]], None], word: str
) -> None:
    def drop(config: dict[str, Any]) -> None:
        del config["constraints"], config["sandbox"]["least"], config["allow_repeats"]

    older(folder, drop)
    in_file(folder, change)
    with pytest.raises(CampaignError, match=f"{word} changed since this campaign began"):
        config_of(folder)


# -- A campaign as an earlier version left it: its own store and file, with keys of then.

BEGUN = Path(__file__).parent / "begun_before"
ADVICE = (  # on its file, in order
    "seed is now called random_seed",
    "objectives.0.box is now called epsilon",
    "objectives.1.box is now called epsilon",
    "objectives.0.worst is now called limit",
    "constraints.0.relative_to_seed is no key any more: write `seed x 1.1` for such an end of the range",
    "tune.first_share is no key any more: not 0.5 but 1.0 holds; remove it",
    "tune.told is no key any more: not 100 but 200 holds; remove it",
    "selection.tournament is no key any more: not 3 but 5 holds; remove it",
    "policy.most_blocks is no key any more: not 4 but 6 holds; remove it",
    "certification.post_pairs is no key any more: not 2 but 4 holds; remove it",
    "voiding.crowded is no key any more: not 3.0 but 2.0 holds; remove it",
    "graduation.fresh_blocks is no key any more: not 0 but `graduation.blocks`, where controls go up, holds; "
    "remove it",
    "graduation.halving is no key any more: not 3.0 but 2 holds; remove it",
    "graduation.ancestors is no key any more: not 0 but up to three beside controls, none without them, "
    "holds; remove it",
    "rungs.proxy.grace_seconds is no key any more: not 0.2 but 0.1 CPU seconds, 0.5 of the wall holds; "
    "remove it",
    "queue is no key any more: not 0 but 1 holds; remove it",
)


@pytest.fixture
def begun(tmp_path: Path) -> Folder:
    path = tmp_path / "c"
    path.mkdir()
    (path / "campaign.db").write_bytes(lzma.decompress((BEGUN / "campaign.db.xz").read_bytes()))
    shutil.copy(BEGUN / "config.yaml", path)
    shutil.copy(ROOT / "configs" / "brief.md", path)
    with Folder(path).open_store() as store:
        (path / "train.py").write_text(source_of(store, str(seed(store))))
    return Folder(path)


def test_a_campaign_that_an_older_version_began_is_resumed_with_a_line_of_advice_for_each_old_key(
    evo: Evo, begun: Folder
) -> None:
    assert "best" in evo("status", "--dir", begun.path).out
    with begun.open_store() as store:
        before = measurements(store)
    said = evo("resume", "--dir", begun.path, "--set", "budget.variants=4", "--plain")
    assert (said.code, said.err.splitlines()) == (
        0,
        [f"evo: {begun.config}: {line}" for line in ADVICE],
    )
    with begun.open_store() as store:
        after = measurements(store)
    assert after[: len(before)] == before
    assert Purpose.SCREEN in {row.measurement.request.purpose for row in after[len(before) :]}
    read = config_of(begun)  # without advice: the file was written anew
    assert read.random_seed == 7
    assert [(one.epsilon, one.limit) for one in read.objectives] == [
        (0.002, "seed x 1.05"),
        (8.0, None),
    ]
    assert read.constraints[0].at_most == "seed x 4"


@pytest.mark.filterwarnings("ignore::evo.old_keys.OldKeyWarning")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("seed=8", "random_seed"),
        ("random_seed=8", "random_seed"),
        ("rungs.proxy.budget=0.2", "rungs"),
        ("sandbox=landlock", "sandbox"),
        ("objectives=[{name: val_bpb, box: 0.003, worst: seed x 1.05}]", "objectives"),
        ("constraints=[{name: peak_memory_mb, at_most: 4}]", "constraints"),
    ],
)
def test_a_real_difference_from_an_older_campaign_is_still_refused(
    begun: Folder, change: str, word: str
) -> None:
    with pytest.raises(CampaignError, match=f"{word} changed since this campaign began"):
        config_of(begun, [change])


@pytest.mark.filterwarnings("ignore::evo.old_keys.OldKeyWarning")
def test_an_older_campaigns_old_keys_may_be_given_again_as_they_were(begun: Folder) -> None:
    assert config_of(begun, ["seed=7", "policy.most_blocks=4"]).random_seed == 7


@pytest.mark.filterwarnings("ignore::evo.old_keys.OldKeyWarning")
def test_a_key_added_and_a_default_changed_since_do_not_end_a_campaign(
    begun: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Grown(SandboxSettings):
        added: int = 3

    class Changed(RungSettings):
        memory_mb: int = 1024  # was 4096
        added_here: float = 0.5

    class Today(Config):
        sandbox: SandboxSettings = Grown()
        rungs: dict[str, Changed] = Field(min_length=1)  # type: ignore[assignment]
        added_above: bool = True

    Today.model_rebuild(_types_namespace={"Changed": Changed, "SandboxSettings": Grown})
    monkeypatch.setattr("evo.config.Config", Today)
    monkeypatch.setattr("evo.folder.Config", Today)
    monkeypatch.setattr("evo.folder.FROZEN", FROZEN | {"added_above"})
    read = config_of(begun)
    assert read.rungs["proxy"].memory_mb == 4096
    assert read.model_dump()["rungs"]["proxy"]["added_here"] == 0.5
    assert change_config(begun, ["budget.variants=9"]).budget.variants == 9
    assert config_of(begun).rungs["proxy"].memory_mb == 4096
    with pytest.raises(CampaignError, match="rungs changed since this campaign began"):
        config_of(begun, ["rungs.proxy.memory_mb=1024"])
