"""Mistakes in a campaign file, in words for people: which key, what is wrong, and the fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

WORDINGS = (  # what pydantic says, and what people say
    (r"Input should be ", "should be "),
    (r"a valid (tuple|list)", "a list"),
    (r"a valid dictionary( or instance of \w+)?", "keys and values"),
    (r"a valid integer(, .*)?", "a whole number"),
    (r"a valid number(, .*)?", "a number"),
    (r"a valid boolean(, .*)?", "true or false"),
    (r"a valid string", "text"),
    (r"an instance of \w+", "keys and values"),
    (r"greater than or equal to (\S+)", r"\1 or more"),
    (r"less than or equal to (\S+)", r"\1 or less"),
    (r"greater than (\S+)", r"more than \1"),
    (r"(Tuple|List|Dictionary) should have at least 1 item.*", "needs at least one entry"),
    (r"String should match pattern '\^\[A-Za-z0-9_.-\]\+\$'", "may hold letters, digits, _ . -"),
    (r"String should have at least 1 character", "must not be empty"),
    (r"Field required", "is missing"),
    (r"Value error, ", ""),
)

OF_KNOBS = (
    "a range is a comment, LR = 0.1  # knob: log 1e-3 1, or stands below its file: "
    'task.files: {train.py: {LR: "log 1e-3 1"}}'
)


def in_words(
    errors: Iterable[Any],
    settings: type[BaseModel],
    raw: Mapping[str, Any],
    source: str,
    changes: Mapping[str, str],
) -> str:
    """Validation errors, one line a key. `changes`: what --set gave, by dotted key."""
    by_place: dict[tuple[int | str, ...], list[Any]] = {}
    for error in errors:
        by_place.setdefault(place_of(error, raw), []).append(error)
    return "\n".join(
        _line(place, found, settings, raw, source, changes)
        for place, found in by_place.items()
        if not (found[0]["type"] == "too_short" and _wrong_inside(place, by_place))
    )


def _wrong_inside(place: tuple[int | str, ...], places: Iterable[tuple[int | str, ...]]) -> bool:
    return any(one != place and one[: len(place)] == place for one in places)


def nearest(name: str, known: Iterable[str]) -> str:
    """ "did you mean X?", or the valid names where none is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(sorted(names))}"


def place_of(error: Any, raw: Any) -> tuple[int | str, ...]:
    """Where in the file; without the names of types that pydantic tried on the way."""
    place: list[int | str] = []
    here = raw
    for number, part in enumerate(error["loc"], 1):
        inside = isinstance(here, Mapping) and part in here
        if inside or (isinstance(part, int) and isinstance(here, list)):
            here = here[part]
            place.append(part)
        elif error["type"] == "missing" and number == len(error["loc"]):
            place.append(part)
    return tuple(place)


def _line(
    place: tuple[int | str, ...],
    errors: Sequence[Any],
    settings: type[BaseModel],
    raw: Mapping[str, Any],
    source: str,
    changes: Mapping[str, str],
) -> str:
    where = ".".join(map(str, place))
    head = f"{blame(where, source, changes)}: {where}: " if where else f"{source}: "
    first = errors[0]
    if first["type"] == "extra_forbidden" and place[-1] == "knobs":
        return f"{head}unknown key; {OF_KNOBS}"
    if first["type"] == "extra_forbidden":
        return f"{head}unknown key; {nearest(str(place[-1]), _keys_at(settings, place[:-1]))}"
    if first["type"] == "missing" and len(place) == 3 and place[0] == "rungs":
        others = [name for name in raw["rungs"] if name != place[1]]
        made = [change for key, change in changes.items() if key.startswith(f"rungs.{place[1]}.")]
        if others and made:
            hint = nearest(str(place[1]), others)
            return f"--set {made[0]}: {where}: is missing: there is no rung {place[1]!r}; {hint}"
    told = list(dict.fromkeys(_said(error["msg"]) for error in errors))
    text = ", or ".join([told[0], *(one.removeprefix("should be ") for one in told[1:])])
    given = first.get("input")
    shown = "" if isinstance(given, dict | BaseModel) else f" (given: {given!r})"
    return f"{head}{text}{shown}"


def _said(message: str) -> str:
    for theirs, ours in WORDINGS:
        message = re.sub(theirs, ours, message)
    return message


def blame(where: str, source: str, changes: Mapping[str, str]) -> str:
    """The file, or the --set that gave this key."""
    for key, change in changes.items():
        if f"{where}.".startswith(f"{key}.") or f"{key}.".startswith(f"{where}."):
            return f"--set {change}"
    return source


def _keys_at(settings: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The valid keys of the settings group at this place in the file."""
    group = settings
    for part in place:
        fields = group.model_fields
        if str(part) in fields:
            group = group_in(fields[str(part)].annotation) or group
    return list(group.model_fields)


def group_in(annotation: Any) -> type[BaseModel] | None:
    """The settings class inside an annotation such as dict[str, RungSettings]; None without one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if found := group_in(inner):
            return found
    return None
