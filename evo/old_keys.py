"""Keys that campaign files once had: their names of today, and what holds in place of those that are gone.

A file or a store may have been written by any earlier version: every reader passes its values through
`current` first, so that everything behind it knows the keys of today alone.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

# `*` stands for any name of a rung and for every entry of a list.
RENAMED = {  # in the same group
    "seed": "random_seed",
    "objectives.*.box": "epsilon",
    "objectives.*.worst": "limit",
    "tune.first_share": "primary_share",
}
# By `module:CONSTANT`, or in words where null, the default, meant what is always done today.
REMOVED: dict[str, str] = {}

Place = tuple[int | str, ...]


class OldKeyWarning(DeprecationWarning):
    """A file holds a key of an earlier version; the message says what to write. The command line shows it."""


class BothNames(ValueError):
    """A key is given under its old and its new name."""


@dataclass(frozen=True, slots=True)
class OldKey:
    """A key of an earlier version: where it stood, and its new name or what holds in its place."""

    place: Place
    value: Any
    new_name: str = ""
    instead: str = ""

    @property
    def differs(self) -> bool:
        """Whether its value is not what holds today."""
        return not self.new_name and self.value != self._constant()

    def advice(self) -> str:
        """What to do about it, in one line."""
        where = ".".join(map(str, self.place))
        if self.new_name:
            return f"{where} is now called {self.new_name}"
        if not self.differs:
            return (
                f"{where} is no key any more, and {_shown(self.value)} holds without it; remove it"
            )
        return f"{where} is no key any more: not {_shown(self.value)} but {self._said()} holds; remove it"

    def _constant(self) -> Any:
        return resolve_name(self.instead) if ":" in self.instead else None

    def _said(self) -> str:
        return _shown(self._constant()) if ":" in self.instead else self.instead


def current(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[OldKey]]:
    """A copy of the values under the keys of today, and the old ones found in it.

    BothNames where a key is given under both of its names.
    """
    whole = copy.deepcopy(dict(values))
    found = []
    for pattern, new_name in RENAMED.items():
        for place, group, name in _holding(whole, pattern):
            if new_name in group:
                where = ".".join(map(str, place))
                raise BothNames(
                    f"{where} is the old name of {new_name}, which is given too; remove it"
                )
            found.append(OldKey(place, group[name], new_name))
            whole_group = {new_name if key == name else key: group[key] for key in list(group)}
            group.clear()
            group.update(whole_group)  # in the same order
    for pattern, instead in REMOVED.items():
        for place, group, name in _holding(whole, pattern):
            found.append(OldKey(place, group.pop(name), instead=instead))
    return whole, found


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


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)
