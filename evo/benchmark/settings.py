"""What a benchmark file says: who runs where, how often, for how long."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evo.benchmark.asking import Asking
from evo.benchmark.contestants import ASKING, CONTESTANTS, ContestantError, contestant_of
from evo.benchmark.contestants.ours import NO_PROOF, OursSettings
from evo.benchmark.landscapes import ARROW, TABLES, tables_of
from evo.benchmark.landscapes.table import ERROR, TableNoise
from evo.config import ConfigError, keys_of, read_plain, with_replay
from evo.mistakes import in_words, nearest
from evo.runtime.budget import BudgetSettings
from operators.llm.settings import LlmSettings


class BenchConfig(BaseModel):
    """One benchmark: every contestant on every landscape with every seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    landscapes: tuple[str, ...] = Field(
        min_length=1, description="nb201/cifar10, or `a -> b`: judged on b"
    )
    contestants: tuple[str, ...] = Field(
        default=tuple(CONTESTANTS), min_length=1, description="names, or files with one of your own"
    )
    seeds: int = Field(default=20, ge=2, description="cells of a contestant on a landscape")
    first_seed: int = Field(default=0, ge=0)
    runs: int = Field(default=300, ge=10, description="budget: the seconds of N average trainings")
    most_runs: float = Field(
        default=2.0, ge=1, description="a cell ends at N times `runs`, however cheap they are"
    )
    noise: TableNoise = TableNoise.NORMAL
    equal_seconds: bool = Field(
        default=False,
        description="every run takes as long as the average one, as in most campaigns",
    )
    objectives: tuple[str, ...] = Field(
        default=(ERROR,), min_length=1, description="error first; size and latency on nb201"
    )
    ours: OursSettings = NO_PROOF
    race_share: float = Field(
        default=0.1, gt=0, lt=1, description="held back for the final race of all but ours"
    )
    leaders: int = Field(default=6, ge=2, description="in that race")
    llm: LlmSettings | None = None
    llm_tokens: int | None = Field(default=None, ge=0, description="of one cell, in and out")
    llm_dollars: float | None = Field(default=None, ge=0, description="of one cell")

    @model_validator(mode="before")
    @classmethod
    def _everyone_who_can(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("llm") and "contestants" not in raw:
            return {**raw, "contestants": [*CONTESTANTS, *ASKING]}
        return raw

    @property
    def asking(self) -> Asking | None:
        """The models and what one cell may spend on them."""
        if self.llm is None:
            return None
        budget = BudgetSettings(llm_tokens=self.llm_tokens, llm_dollars=self.llm_dollars)
        return Asking(llm=self.llm, budget=budget)


def read_bench(path: Path, changes: Sequence[str] = ()) -> BenchConfig:
    """The benchmark in a YAML file. ConfigError when it is wrong; names the file, the key and the fix."""
    raw = with_replay(read_plain(path, changes), path)
    if "rungs" in raw:
        raise ConfigError(
            f"{path} is a campaign's file (it has rungs): `evo run {shlex.quote(str(path))}` runs it; "
            "a benchmark's file names landscapes and contestants, as configs/bench-quick.yaml"
        )
    by_key = keys_of(changes)
    if isinstance(raw.get("contestants"), list):
        here = path.parent
        raw["contestants"] = [
            str(here / one) if str(one).endswith(".py") else one for one in raw["contestants"]
        ]
    try:
        config = BenchConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(in_words(error.errors(), BenchConfig, raw, str(path), by_key)) from error
    for name in config.landscapes:
        _check_landscape(name, config.objectives, path)
    if config.objectives[0] != ERROR:
        raise ConfigError(f"{path}: objectives: {ERROR} comes first")
    for name in config.contestants:
        try:
            contestant_of(name)
        except ContestantError as error:
            raise ConfigError(f"{path}: contestants: {error}") from error
    _check_models(config, path)
    return config


def _check_models(config: BenchConfig, path: Path) -> None:
    asks = [one for one in config.contestants if one in ASKING]
    if not asks:
        return
    asking = config.asking
    if asking is None:
        raise ConfigError(
            f"{path}: contestants: {asks[0]!r} asks a model; name one under llm: {{endpoints: [...]}}"
        )
    if wanting := asking.wanting():
        raise ConfigError(f"{path}: llm: {', '.join(wanting)} is not set, and {asks[0]!r} needs it")
    if config.llm_dollars is not None and not asking.priced:
        raise ConfigError(
            f"{path}: llm_dollars cannot be kept: give price_in and price_out of every endpoint"
        )


def _check_landscape(name: str, objectives: Sequence[str], path: Path) -> None:
    head = f"{path}: landscapes: {name}:"
    for part in (one.strip() for one in name.split(ARROW, 1)):
        if part not in TABLES:
            raise ConfigError(f"{head} there is no {part!r}; {nearest(part, list(TABLES))}")
    try:
        searched, _ = tables_of(name)
    except ValueError as error:
        raise ConfigError(f"{head} {error}") from error
    if ARROW in name and len(objectives) > 1:
        raise ConfigError(f"{head} a target judges the error alone; take one objective")
    if wrong := next((one for one in objectives if one not in searched.means), None):
        hint = nearest(wrong, list(searched.means))
        raise ConfigError(f"{path}: objectives: {name} has no {wrong!r}; {hint}")
