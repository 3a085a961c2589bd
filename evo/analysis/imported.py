"""An imported history: the noise that its repeats give away, and which of its keeps stand out from it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from population.archive import Objective
from population.statistics import pooled_sd
from population.statistics.distributions import t_quantile
from population.types import MeasurementRow, Status

IMPORT = "import"  # the kind of a store that measured nothing, and the setting that says of what
SELF_REPORTED = "self-reported"
MANY = 1_000_000  # degrees of freedom of a noise that is given
CHANCE = 0.05  # that luck alone lets any attempt of the history pass for a proven keep
_AGAIN = re.compile(r"\b(re-?run|repeat(ed)?|again|retry|seed[ =:]*\d*|run[ #]*\d+)\b|[^\w.+-]+")


@dataclass(frozen=True, slots=True)
class Keep:
    """A keep beside the kept run before it. `gain` in its metric, positive: better."""

    variant_id: str
    line: int
    commit: str
    description: str
    before: float
    value: float
    gain: float
    same_code: bool  # as the kept run before: whatever it gained is luck
    proven: bool  # beyond `Imported.smallest`


@dataclass(frozen=True, slots=True)
class Imported:
    """What can be said of self-reported numbers.

    sd: of one run in `metric`, pooled over `groups` of repeats, or as given (None: neither, or all equal);
    smallest: the gain that of `attempts` single comparisons none reaches by luck, with 95 % confidence.
    """

    repository: str
    measurements: int
    problems: tuple[str, ...]
    groups: int
    freedom: int
    sd: float | None
    attempts: int
    smallest: float | None
    keeps: tuple[Keep, ...]
    metric: str = "val_bpb"
    inferred: tuple[str, ...] = ()  # how the table was read, a sentence each

    @property
    def name(self) -> str:
        """The repository's own name: where it lies on this machine is nobody else's business."""
        return PurePath(self.repository).name


def imported(
    about: Mapping[str, Any],
    rows: Sequence[MeasurementRow],
    facts: Mapping[int, Mapping[str, str]],
    objective: Objective,
) -> Imported:
    """The figures of an import from its rows in order; `about` is what the store keeps under IMPORT."""
    metric = objective.name
    scored = [
        MeasurementRow(row.id, replace(row.measurement, facts=facts.get(row.id, {})))
        for row in rows
        if row.measurement.status is Status.OK
    ]
    names = _repeats(scored)
    values: dict[str, list[float]] = {}
    for row, name in zip(scored, names, strict=True):
        values.setdefault(name, []).append(row.measurement.metrics[metric])
    repeated = [group for group in values.values() if len(group) > 1]
    sd, freedom = pooled_sd(repeated), sum(len(group) - 1 for group in repeated)
    known = sd if sd > 0 else None  # NaN without repeats
    given = about.get("noise")
    if isinstance(given, int | float) and given > 0:
        known, freedom = float(given), MANY
    attempts = max(0, len(scored) - 1)
    smallest = None
    if known and attempts:
        smallest = t_quantile(freedom, 1 - 2 * CHANCE / attempts) * math.sqrt(2) * known
    return Imported(
        repository=str(about.get("repository", "")),
        measurements=len(rows),
        problems=tuple(map(str, about.get("problems", ()))),
        groups=len(repeated),
        freedom=freedom,
        sd=known,
        attempts=attempts,
        smallest=smallest,
        keeps=tuple(_keeps(scored, names, objective, smallest)),
        metric=metric,
        inferred=tuple(map(str, about.get("inferred", ()))),
    )


def words_of(description: str) -> str:
    """A description without what only says that it is a repeat."""
    return " ".join(_AGAIN.sub(" ", description.lower()).split())


def _repeats(scored: Sequence[MeasurementRow]) -> list[str]:
    """The name of each run's group of repeats.

    Runs of the same code are repeats, random seeds aside. Where the code is not held, equal words are:
    those of the kept run it started from, or of another run that started there. Codes that are known to
    differ never are, whatever their words.
    """
    by_words: dict[tuple[str, str], str] = {}
    names: list[str] = []
    for number, row in enumerate(scored):
        run = row.measurement
        words = words_of(run.facts.get("description", ""))
        base, own = run.facts.get("base", ""), run.request.variant_id
        name = run.facts.get("code") or (by_words.get((base, words), "") if words else "")
        names.append(name or f"run {number}")
        for start in (base, own):  # a later run that starts from it may be it again
            by_words.setdefault((start, words), names[-1])
    return names


def _keeps(
    scored: Sequence[MeasurementRow],
    names: Sequence[str],
    objective: Objective,
    smallest: float | None,
) -> list[Keep]:
    found: list[Keep] = []
    last: tuple[float, str] | None = None
    for row, name in zip(scored, names, strict=True):
        run = row.measurement
        if run.facts.get("reported") != "keep":
            continue
        value = run.metrics[objective.name]
        if last is not None:
            gain, same = objective.turned(last[0] - value), last[1] == name
            found.append(
                Keep(
                    variant_id=run.request.variant_id,
                    line=int(run.facts.get("line", 0)),
                    commit=run.facts.get("commit", ""),
                    description=run.facts.get("description", ""),
                    before=last[0],
                    value=value,
                    gain=gain,
                    same_code=same,
                    proven=smallest is not None and gain > smallest and not same,
                )
            )
        last = value, name
    return found
