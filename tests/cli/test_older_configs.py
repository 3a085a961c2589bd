"""A campaign that an older version began goes on with what it was run with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from evo.config import Config, read_config
from evo.folder import CampaignError, Folder, change_config, config_of, create_campaign


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


@pytest.mark.parametrize("group", ["sandbox", "selection", "repeats", "allow_repeats"])
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
        del config["sandbox"]["processes"], config["selection"]["population"]
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
    change_config(folder, ["queue=2"])
    assert "1234" in folder.config.read_text()


def test_a_key_that_is_none_any_more_is_left_out(folder: Folder) -> None:
    def add(config: dict[str, Any]) -> None:
        config["selection"]["gone"] = 3
        config["rungs"]["proxy"]["renamed"] = 7
        config["no_more"] = {"a": 1}

    older(folder, add)
    in_file(folder, lambda values: values.setdefault("selection", {}).update(gone=3))
    in_file(folder, lambda values: values.update(no_more={"a": 1}))
    assert config_of(folder).rungs["proxy"].depth == 2
    in_file(folder, lambda values: values["selection"].update(misspelt=3))
    with pytest.raises(Exception, match="misspelt: unknown key"):
        config_of(folder)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda values: values["rungs"]["proxy"].update(rows=65), "rungs"),
        (lambda values: values["rungs"].pop("larger"), "rungs"),
        (lambda values: values["rungs"].update(third={"depth": 4, "budget": 1}), "rungs"),
        (lambda values: values.update(random_seed=5), "random_seed"),
        (lambda values: values.update(sandbox={"mode": "none", "processes": 65}), "sandbox"),
        (lambda values: values.update(allow_repeats=True), "allow_repeats"),
    ],
)
def test_a_real_difference_is_refused_whatever_the_store_lacks(
    folder: Folder, change: Callable[[dict[str, Any]], None], word: str
) -> None:
    def drop(config: dict[str, Any]) -> None:
        del config["selection"], config["sandbox"]["processes"], config["allow_repeats"]

    older(folder, drop)
    in_file(folder, change)
    with pytest.raises(CampaignError, match=f"{word} changed since this campaign began"):
        config_of(folder)
