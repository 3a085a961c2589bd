"""A language model for one cell: the campaign's own client, with a budget a cell and every call on record."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evo.benchmark.contestants.contract import Model
from evo.runtime.budget import Budget, BudgetSettings
from operators.llm.accounting import CallLog, NoCallLog
from operators.llm.settings import LlmSettings, missing_keys
from operators.registry import LlmContext, open_client
from population.store import Store
from population.types import LlmCall

CALLS = "calls.db"  # of all cells, beside them: a store that `llm.replay` can answer from


class Asking(BaseModel):
    """The models of a benchmark and what one cell may spend on them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    llm: LlmSettings
    budget: BudgetSettings

    def wanting(self) -> tuple[str, ...]:
        """The environment variables that should hold a key and do not; records need none."""
        return () if self.llm.replay else missing_keys(self.llm, os.environ)

    @property
    def priced(self) -> bool:
        """Whether the dollars are known."""
        return all(one.dollars(1, 1) is not None for one in self.llm.endpoints)


class KeptCalls:
    """The log of all cells: opened for each call, since cells run in many processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def asked(self, call: LlmCall) -> int:
        """Written before the request is sent."""
        with Store.open(self._path) as store:
            return store.add_llm_call(call)

    def answered(self, number: int, call: LlmCall) -> None:
        """Written when it ended."""
        with Store.open(self._path) as store:
            store.finish_llm_call(number, call)


def open_model(asking: Asking, search: str, folder: Path | None) -> tuple[Model, Budget]:
    """What answers in a cell, and what counts its cost. `folder` None: nothing is recorded.

    Raises StoreError when records to replay cannot be read.
    """
    budget = Budget(asking.budget)
    call_log: CallLog = NoCallLog() if folder is None else KeptCalls(folder / CALLS)
    client = open_client(LlmContext(asking.llm, budget, call_log))
    names = tuple(one.name for one in asking.llm.endpoints)
    return Model(client, search, names), budget


def make_record(folder: Path) -> None:
    """The store of all calls, where there is none yet. StoreError when it cannot be made."""
    if not (folder / CALLS).exists():
        Store.create(folder / CALLS).close()
