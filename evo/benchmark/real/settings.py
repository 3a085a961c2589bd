"""A benchmark on real training as its file says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evo.benchmark.contestants import ASKING, BANKED, ContestantError, contestant_of
from evo.config import ConfigError, keys_of, read_config, read_plain
from evo.mistakes import in_words


class RealConfig(BaseModel):
    """A benchmark on real training: every contestant with every seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: Path = Field(description="a campaign's file: its seed, first rung, sandbox and data")
    changes: tuple[str, ...] = Field(default=(), description="keys of it that differ")
    contestants: tuple[str, ...] = Field(default=("random", "greedy", "tpe", "ours"), min_length=1)
    yardstick: Path | None = Field(default=None, description="a train.py judged beside them all")
    seeds: int = Field(default=3, ge=2)
    first_seed: int = Field(default=0, ge=0)
    seconds: float = Field(gt=0, description="of slot time, for each cell, race included")
    judged_blocks: int = Field(default=3, ge=1, description="fresh ones, beyond the seconds")
    race_share: float = Field(default=0.1, gt=0, lt=1)
    leaders: int = Field(default=3, ge=2)


def is_real(raw: object) -> bool:
    """Whether a benchmark's file is one on real training."""
    return isinstance(raw, dict) and "campaign" in raw


def read_real(path: Path, changes: Sequence[str] = ()) -> RealConfig:
    """The benchmark in a YAML file. ConfigError when it is wrong; names the file, the key and the fix."""
    raw = read_plain(path, changes)
    if isinstance(raw.get("contestants"), list):
        names = map(str, raw["contestants"])
        raw["contestants"] = [str(path.parent / n) if n.endswith(".py") else n for n in names]
    by_key = keys_of(changes)
    try:
        config = RealConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(in_words(error.errors(), RealConfig, raw, str(path), by_key)) from error
    _must_take_part(config, path)
    here = {"campaign": (path.parent / config.campaign).resolve()}
    if config.yardstick is not None:
        here["yardstick"] = (path.parent / config.yardstick).resolve()
        if not here["yardstick"].is_file():
            raise ConfigError(f"{path}: yardstick: {config.yardstick}: no file there")
    found = config.model_copy(update=here)
    campaign = read_config(found.campaign, found.changes)
    _must_have_ideas(config, path, campaign.operators)
    return found


def _must_take_part(config: RealConfig, path: Path) -> None:
    for name in config.contestants:
        try:
            contestant_of(name)
        except ContestantError as error:
            raise ConfigError(f"{path}: contestants: {error}") from error
        if name in ASKING:
            raise ConfigError(
                f"{path}: contestants: {name!r} asks a model, and on real training nobody does yet"
            )


def _must_have_ideas(config: RealConfig, path: Path, operators: Mapping[str, float]) -> None:
    banked = [name for name in config.contestants if name in BANKED]
    if banked and not operators.get("transplant"):
        raise ConfigError(
            f"{path}: contestants: {banked[0]!r} takes its edits from idea banks, and {config.campaign} "
            "names none: give its operators a share of transplant, and transplant: {banks: [...]}"
        )
