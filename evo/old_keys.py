"""Keys that campaign files once had: their names of today, and what holds in place of those that are gone.

A file or a store may have been written by any earlier version: every reader passes its values through
`current` first, so that everything behind it knows the keys of today alone.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any


class ByDefault(str):
    """What null, the default of a key, meant, in words: that holds always."""

    __slots__ = ()


# `*` stands for any name of a rung and for every entry of a list.
RENAMED = {  # in the same group
    "seed": "random_seed",
    "objectives.*.box": "epsilon",
    "objectives.*.worst": "limit",
    "tune.first_share": "primary_share",
}
CLOCKS = ("seconds", "cpu_seconds", "tokens")
# What holds instead: a value, or where it stands as `module:CONSTANT`.
REMOVED: dict[str, Any] = {
    "tune.primary_share": "operators.tune:PRIMARY_SHARE",
    "tune.first_share": "operators.tune:PRIMARY_SHARE",
    "tune.told": "operators.tune:MAX_OBSERVATIONS",
    "portfolio.half_life": "operators.portfolio:HALF_LIFE",
    "portfolio.explore": "operators.portfolio:EXPLORED_SHARE",
    "portfolio.run_dollars": "operators.portfolio:RUN_DOLLARS",
    "llm.endpoints.*.max_tokens_field": ByDefault("the name that the server takes"),
    "llm.endpoints.*.stream": True,
    "llm.endpoints.*.silence_seconds": "operators.llm.breaker:STREAM_IDLE_SECONDS",
    "llm.endpoints.*.weight": 1,
    "llm.attempts": "operators.llm.breaker:PATIENCE.attempts",
    "llm.first_wait_seconds": "operators.llm.breaker:PATIENCE.first_wait_seconds",
    "llm.longest_wait_seconds": "operators.llm.breaker:PATIENCE.max_wait_seconds",
    "llm.rest_after": "operators.llm.breaker:PATIENCE.breaker_failures",
    "llm.first_rest_seconds": "operators.llm.breaker:PATIENCE.first_rest_seconds",
    "llm.longest_rest_seconds": "operators.llm.breaker:PATIENCE.max_rest_seconds",
    "llm.prompt.tokens": "operators.llm.settings:MAX_CONTEXT_TOKENS",
    "llm.prompt.shares": "operators.llm.settings:SHARES",
    "llm.prompt.knowledge_passages": "operators.knowledge:MAX_PASSAGES",
    "selection.primary_share": "population.selection:PRIMARY_SHARE",
    "selection.population": "population.selection:NEWEST",
    "selection.tournament": "population.selection:TOURNAMENT",
    "selection.third_parent": "population.selection:THIRD_PARENT_SHARE",
    "policy.most_blocks": "evo.search.scheduler:MAX_BLOCKS",
    "policy.reference_every": "evo.search.scheduler:REFERENCE_EVERY",
    "policy.leaders": "evo.search.scheduler:MAX_LEADERS",
    "certification.alpha": "evo.search.certification:ALPHA",
    "certification.post_pairs": "evo.search.certification:POST_PAIRS",
    "certification.trade": ByDefault("the sd of one run"),
    "certification.min_gain": ByDefault("a quarter of the sd of one run"),
    "voiding.crowded": "evo.search.voiding:MAX_CROWDING",
    "voiding.slow": "evo.search.voiding:MIN_SPEED",
    "graduation.fresh_blocks": ByDefault("`graduation.blocks`, where controls go up,"),
    "graduation.halving": "evo.search.ladder_settings:REDUCTION_FACTOR",
    "graduation.ancestors": ByDefault("up to three beside controls, none without them,"),
    "graduation.share_blocks": "evo.search.ladder_settings:SHARE_BLOCKS",
    "rungs.*.clock": ByDefault("the campaign's `clock`"),
    "rungs.*.grace_seconds": ByDefault("0.1 CPU seconds, 0.5 of the wall"),
    "rungs.*.wall_seconds": ByDefault("what follows from the budget"),
    "sandbox.scratch_mb": "evo.evaluation.sandbox.sandbox:MAX_SCRATCH_MB",
    "sandbox.processes": "evo.evaluation.sandbox.sandbox:MAX_PROCESSES",
    "agent.at_once": "evo.proposals.agents:MAX_AGENTS",
    "agent.memory_mb": "evo.evaluation.sandbox.agent_box:MAX_MEMORY_MB",
    "agent.scratch_mb": "evo.evaluation.sandbox.agent_box:MAX_SCRATCH_MB",
    "agent.processes": "evo.evaluation.sandbox.agent_box:MAX_PROCESSES",
    "constraints.*.relative_to_seed": False,
    "notify.seconds": "evo.runtime.notifier:MAX_MESSAGE_SECONDS",
    "repeats": "reject",
    "queue": "evo.runtime.components:MAX_WAITING",
}

Place = tuple[int | str, ...]


class OldKeyWarning(DeprecationWarning):
    """A file holds a key of an earlier version; the message says what to write. The command line shows it."""


class BothNames(ValueError):
    """A key is given under its old and its new name."""


@dataclass(frozen=True, slots=True)
class OldKey:
    """A key of an earlier version: where it stood, and its new form in words or what holds instead."""

    place: Place
    value: Any
    became: str = ""
    instead: Any = None

    @property
    def differs(self) -> bool:
        """Whether its value is not what holds today."""
        return not self.became and self.value != self._constant()

    def advice(self) -> str:
        """What to do about it, in one line."""
        where = ".".join(map(str, self.place))
        if self.became:
            return f"{where} {self.became}"
        if not self.differs:
            return (
                f"{where} is no key any more, and {_shown(self.value)} holds without it; remove it"
            )
        return f"{where} is no key any more: not {_shown(self.value)} but {self._said()} holds; remove it"

    def _constant(self) -> Any:
        if isinstance(self.instead, ByDefault):
            return None
        named = isinstance(self.instead, str) and ":" in self.instead
        return resolve_name(self.instead) if named else self.instead

    def _said(self) -> str:
        is_worded = isinstance(self.instead, ByDefault)
        return str(self.instead) if is_worded else _shown(self._constant())


def current(
    values: Mapping[str, Any], keep: Collection[str] = ()
) -> tuple[dict[str, Any], list[OldKey]]:
    """A copy of the values under the keys of today, and the old ones found in it.

    `keep`: keys that are gone elsewhere and still known where these values stand.
    BothNames where a key is given under both of its names.
    """
    whole = copy.deepcopy(dict(values))
    found = []
    for pattern, new_name in RENAMED.items():
        today = ".".join([*pattern.split(".")[:-1], new_name])
        if today in REMOVED and today not in keep:
            continue
        for place, group, name in _holding(whole, pattern):
            if new_name in group:
                where = ".".join(map(str, place))
                raise BothNames(
                    f"{where} is the old name of {new_name}, which is given too; remove it"
                )
            found.append(OldKey(place, group[name], f"is now called {new_name}"))
            whole_group = {new_name if key == name else key: group[key] for key in list(group)}
            group.clear()
            group.update(whole_group)  # in the same order
    found += [*_relative_to_seed(whole), *_without_leaders(whole), *_clock_of_rungs(whole)]
    found += _template_of_notify(whole)
    for pattern, instead in REMOVED.items():
        if pattern in keep:
            continue
        for place, group, name in _holding(whole, pattern):
            found.append(OldKey(place, group.pop(name), instead=instead))
            if not group:
                _drop(whole, place[:-1])  # as it may be no group any more
    return whole, found


def _relative_to_seed(whole: dict[str, Any]) -> list[OldKey]:
    """The ends of ranges that were multiples of the seed's value, written so now."""
    found = []
    for place, group, name in _holding(whole, "constraints.*.relative_to_seed"):
        if group[name] is not True:
            continue
        for end in ("at_least", "at_most"):
            if isinstance(group.get(end), int | float):
                group[end] = f"seed x {group[end]:.10f}".rstrip("0").removesuffix(".")
        became = "is no key any more: write `seed x 1.1` for such an end of the range"
        found.append(OldKey(place, group.pop(name), became))
    return found


def _without_leaders(whole: dict[str, Any]) -> list[OldKey]:
    """A race of fewer than two leaders was none; that is said by its share of the runs now."""
    found = []
    for place, group, name in _holding(whole, "policy.leaders"):
        if group[name] in (0, 1):
            group["race_share"] = 0.0
            became = "is no key any more: write `race_share: 0` for no race"
            found.append(OldKey(place, group.pop(name), became))
    return found


def _template_of_notify(whole: dict[str, Any]) -> list[OldKey]:
    """A body of one's own is the format now; the format beside it was the default."""
    found = []
    for place, group, name in _holding(whole, "notify.template"):
        if (value := group.pop(name)) is not None:
            group["format"] = value
            found.append(OldKey(place, value, "is now the value of notify.format"))
    return found


def _clock_of_rungs(whole: dict[str, Any]) -> list[OldKey]:
    """The clock that every rung ran by becomes the campaign's; rungs of several clocks are told of as gone."""
    rungs = whole.get("rungs")
    if not isinstance(rungs, dict) or not all(isinstance(one, dict) for one in rungs.values()):
        return []
    given = [one.get("clock") or whole.get("clock", "auto") for one in rungs.values()]
    if not given or given[0] not in CLOCKS or any(one != given[0] for one in given):
        return []
    found = []
    for place, group, name in _holding(whole, "rungs.*.clock"):
        if (value := group.pop(name)) is not None:
            became = f"is no key any more: write `clock: {value}` for the whole campaign"
            found.append(OldKey(place, value, became))
    if found:
        whole["clock"] = given[0]
    return found


def name_today(key: str) -> str:
    """The dotted name of a key, in which the last part may be an old one, as it is called today."""
    parts = key.split(".")
    for pattern, new_name in RENAMED.items():
        old = pattern.split(".")
        if len(old) == len(parts) and all(
            one in ("*", part) for one, part in zip(old, parts, strict=True)
        ):
            return ".".join([*parts[:-1], new_name])
    return key


def _holding(values: dict[str, Any], pattern: str) -> Iterator[tuple[Place, dict[str, Any], str]]:
    """Every place that fits the pattern, with the group that holds the key and the key."""
    *groups, name = pattern.split(".")
    for place, group in list(_groups(values, groups, ())):
        if name in group:
            yield (*place, name), group, name


def _groups(
    here: Any, parts: Sequence[str], place: Place
) -> Iterator[tuple[Place, dict[str, Any]]]:
    if not parts:
        if isinstance(here, dict):
            yield place, here
        return
    inside: list[tuple[int | str, Any]]
    if parts[0] == "*" and isinstance(here, list | tuple):
        inside = list(enumerate(here))
    elif isinstance(here, dict):
        inside = [(key, one) for key, one in here.items() if parts[0] in ("*", key)]
    else:
        return
    for key, one in inside:
        yield from _groups(one, parts[1:], (*place, key))


def _drop(whole: dict[str, Any], place: Place) -> None:
    """Take away what stands there, in a group of a group at most."""
    above: Any = whole
    for part in place[:-1]:
        above = above[part]
    if place and isinstance(above, dict):
        del above[place[-1]]


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)
