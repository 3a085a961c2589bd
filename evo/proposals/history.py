"""What operators may ask a campaign about the past: settings of one structure, a line of descent."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from types import MappingProxyType

from evo.analysis.effects_of_edits import EditEffect
from operators.operator import Ancestor, KnobSetting, Left, RunState, Transplanted
from operators.source.constants import Structure, structure_of
from operators.source.parse import SourceError
from population.fingerprint import fingerprint
from population.lineage import Lineage
from population.reading import first_proposal, source_of, variant_by_fingerprint
from population.reading.memory import ideas_by_variant, transplanted_ideas
from population.run_history import RunHistory
from population.store import Store
from population.types import Estimate, Status

MAX_LINE = 60  # edits that are looked back at


class Structures:
    """The structure of every variant, read from its source once. Thread-safe."""

    def __init__(self, lineage: Lineage) -> None:
        self._lineage = lineage
        self._lock = threading.Lock()
        self._known: dict[str, Structure] = {}
        self._members: dict[str, list[str]] = {}  # in the order of the lineage
        self._edits: dict[str, frozenset[str]] = {}  # by structure: those since the seed's

    def members(self, store: Store, variant_id: str) -> tuple[Structure, dict[str, list[str]]]:
        """A variant's structure, and the variants of it and of each structure next to it.

        The variant's own structure comes first.
        """
        with self._lock:
            self._catch_up(store)
            own = self._known[variant_id]
            found = {own.fingerprint: list(self._members[own.fingerprint])}
            for one in found[own.fingerprint].copy():
                near = (*self._lineage.parents_of(one), *self._lineage.children_of(one))
                for name in (
                    self._known[other].fingerprint for other in near if other in self._known
                ):
                    if name not in found:
                        found[name] = list(self._members[name])
            return own, found

    def edits_of(self, structure: str) -> frozenset[str]:
        """The edits that lead to a structure from the seed's; of several ways the first."""
        with self._lock:
            return self._edits[structure]

    def constants_of(self, variant_id: str) -> Structure:
        """What `members` read of a variant."""
        with self._lock:
            return self._known[variant_id]

    def _catch_up(self, store: Store) -> None:
        for variant_id in self._lineage.after(len(self._known)):
            try:
                structure = structure_of(source_of(store, variant_id))
            except (SyntaxError, SourceError):  # nothing can be set in it
                structure = Structure(variant_id, {})
            self._known[variant_id] = structure
            if structure.fingerprint not in self._edits:
                self._edits[structure.fingerprint] = self._made_of(variant_id, structure)
            self._members.setdefault(structure.fingerprint, []).append(variant_id)

    def _made_of(self, variant_id: str, structure: Structure) -> frozenset[str]:
        """The edits of all its parents; of a single one's child also its own, by its structure's name."""
        parents = self._lineage.parents_of(variant_id)
        edits = [self._edits[self._known[one].fingerprint] for one in parents if one in self._known]
        own = {structure.fingerprint} if len(parents) == 1 else set()
        return frozenset[str]().union(*edits, own)


class CampaignHistory:
    """Answers one proposal from the measurements it may see. Belongs to that proposal's thread."""

    def __init__(
        self,
        store: Store,
        run_history: RunHistory,
        lineage: Lineage,
        structures: Structures,
        rung: str,
        as_of: int | None,
        budget: Left | None = None,
        ranges: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._store, self._run_history, self._lineage = store, run_history, lineage
        self._structures, self._rung, self._as_of = structures, rung, as_of
        self._budget, self._ranges = budget, ranges
        self._told: dict[str, Sequence[KnobSetting]] = {}

    def settings(self, variant_id: str, as_of: int | None = None) -> Sequence[KnobSetting]:
        """All variants of its structure and of its relatives, oldest first."""
        if as_of is None:
            if variant_id not in self._told:
                self._told[variant_id] = self._settings(variant_id)
            return self._told[variant_id]
        then = (self._store, self._run_history, self._lineage, self._structures, self._rung)
        return CampaignHistory(*then, as_of, self._budget, self._ranges).settings(variant_id)

    def _settings(self, variant_id: str) -> Sequence[KnobSetting]:
        own, found = self._structures.members(self._store, variant_id)
        settings = []
        for name, members in found.items():
            edits = self._structures.edits_of(name)
            for member in members:
                believed = self._believed(member)
                value, sd, n = self._first(believed)
                measured, squares = self._run_history.measured_means(
                    member, self._rung, self._as_of
                )
                rows = self._run_history.rows(self._rung, self._as_of, variant_id=member)
                ok = [row for row in rows if row.measurement.status is Status.OK]
                settings.append(
                    KnobSetting(
                        variant_id=member,
                        structure=name,
                        constants=self._structures.constants_of(member).constants,
                        state=self._state(member, value),
                        value=value,
                        sd=sd,
                        n=n,
                        own=name == own.fingerprint,
                        values=self._all(believed),
                        measured=self._all(measured),
                        squares=squares,
                        seconds=ok[0].measurement.wall_seconds if ok else 0.0,
                        row=ok[0].id if ok else 0,
                        edits=edits,
                    )
                )
        return settings

    def is_tuned(self, variant_id: str) -> bool:
        """Whether its structure has scores with two settings or more, as an optimiser needs to learn from."""
        own, found = self._structures.members(self._store, variant_id)
        scored = (one for one in found[own.fingerprint] if self._believed(one))
        return len(list(islice(scored, 2))) == 2

    def left(self) -> Left | None:
        """What is left of the budget after all runs; None where there is none."""
        if self._budget is None:
            return None
        rows = self._run_history.rows(self._rung, self._as_of)
        seconds = sum(row.measurement.wall_seconds for row in rows)
        return Left(self._budget.seconds - seconds, self._budget.runs - len(rows))

    def line(self, variant_id: str) -> Sequence[Ancestor]:
        """The variant, its first parent, and so on up to the seed."""
        line, here = list[Ancestor](), variant_id
        while len(line) <= MAX_LINE:
            made = first_proposal(self._store, here)
            value, sd, _ = self._first(self._believed(here))
            idea = made.idea if made else ""
            line.append(Ancestor(here, source_of(self._store, here), idea, value, sd))
            parents = self._lineage.parents_of(here)
            if not parents:
                break
            here = parents[0]
        return line

    def seed_source(self) -> str:
        """The source that everything descends from."""
        return source_of(self._store, self._run_history.seed_id)

    def ranges(self) -> Mapping[str, str]:
        """The ranges that the campaign's file gives constants, by name."""
        return self._ranges

    def known(self, source: str) -> bool:
        """Whether code that differs from it in form at most was made before."""
        try:
            return variant_by_fingerprint(self._store, fingerprint(source)) is not None
        except SyntaxError:
            return False

    def transplants(self, variant_id: str) -> Sequence[Transplanted]:
        """Every child so far that tries an idea of a bank, oldest first."""
        banks = transplanted_ideas(self._store)
        children = {one: banks[idea] for one, idea in self._tried().items() if idea in banks}
        return [
            self._transplanted(child, idea, variant_id)
            for child, idea in children.items()
            if child in self._lineage
        ]

    def _tried(self) -> Mapping[str, int]:
        return dict(reversed(ideas_by_variant(self._store).items()))

    def _transplanted(self, child: str, idea: str, variant_id: str) -> Transplanted:
        name = self._run_history.objectives[0].name
        parents = self._lineage.parents_of(child)
        before = self._believed(parents[0]).get(name) if parents else None
        found = EditEffect.between(self._believed(child).get(name), before)
        turned = self._run_history.objectives[0].turned
        return Transplanted(
            idea,
            self._state(child, self._first(self._believed(child))[0]),
            math.nan if found.difference is None else turned(found.difference),
            math.nan if found.se is None else found.se,
            inherited=child == variant_id or self._lineage.descends(variant_id, child),
        )

    def forbidden(self, found: Mapping[str, Estimate]) -> str:
        """The first constraint that a variant of these values would break, in words."""
        seed = self._believed(self._run_history.seed_id)
        for one in self._run_history.constraints:
            if one.name in found and one.name in seed and one.excess(found, seed) > 0:
                ends = (("at least", one.at_least), ("at most", one.at_most))
                limits = [f"{words} {limit}" for words, limit in ends if limit is not None]
                return f"{one.name} {' and '.join(limits)}"
        return ""

    def _believed(self, variant_id: str) -> Mapping[str, Estimate]:
        return self._run_history.believed(variant_id, self._rung, self._as_of)

    def _first(self, believed: Mapping[str, Estimate]) -> tuple[float, float, int]:
        """Mean (lower is better), sd and n of the first objective; NaN without a score."""
        objective = self._run_history.objectives[0]
        if objective.name not in believed:
            return math.nan, math.nan, 0
        estimate = believed[objective.name]
        return objective.to_minimise(believed), estimate.sd, estimate.n

    def _all(self, believed: Mapping[str, Estimate]) -> tuple[float, ...]:
        """The mean of every objective (lower is better); empty without a score."""
        if any(one.name not in believed for one in self._run_history.objectives):
            return ()
        return tuple(one.to_minimise(believed) for one in self._run_history.objectives)

    def _state(self, variant_id: str, value: float) -> RunState:
        if math.isfinite(value):
            return RunState.SCORED
        rows = self._run_history.rows(self._rung, self._as_of, variant_id=variant_id)
        ended = any(row.measurement.status is not Status.OK for row in rows)
        return RunState.FAILED if ended else RunState.WAITING


def histories(
    run_history: RunHistory,
    lineage: Lineage,
    rung: str,
    budget: Left | None = None,
    ranges: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[Store, int | None], CampaignHistory]:
    """Makes the history that one proposal may see; what was read of sources is kept between them."""
    structures = Structures(lineage)

    def history(store: Store, as_of: int | None) -> CampaignHistory:
        return CampaignHistory(store, run_history, lineage, structures, rung, as_of, budget, ranges)

    return history
