"""Who descends from whom. Lineage follows a variant's first proposal only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from population.reading import ProposalRow, proposals
from population.store import Store
from population.types import Outcome, Parent

MAX_KNOWN = 2000  # variants whose ancestors are kept: parents are asked about, who are few
ANCESTOR = "ancestor"  # the role of a merge's base: not a parent, it is reached through the parents


@dataclass(frozen=True, slots=True)
class Birth:
    """What a variant's first proposal made it of. `ancestor`: the base of a merge, None for others.

    `island`: whose proposal that was, and `seen`: the last measurement it was shown.
    """

    operator: str
    parents: tuple[str, ...]
    ancestor: str | None = None
    island: str = ""
    seen: int = 0


def births(made: Iterable[ProposalRow]) -> dict[str, ProposalRow]:
    """Each variant's first proposal, by its number, but parents before their children.

    A number says when a proposal was begun: one that took long can have a parent with a higher one.
    """
    firsts: dict[str, ProposalRow] = {}
    for proposal in made:
        if proposal.outcome is Outcome.VARIANT and proposal.variant_id is not None:
            firsts.setdefault(proposal.variant_id, proposal)
    born: dict[str, ProposalRow] = {}
    for variant_id in firsts:
        waiting = [variant_id]
        while waiting:
            child = firsts[waiting[-1]]
            parents = [one.variant_id for one in child.parents if one.variant_id in firsts]
            unborn = [one for one in parents if one not in born]
            waiting += unborn
            if not unborn:
                born.setdefault(waiting.pop(), child)
    return born


class Lineage:
    """The family of all variants, in memory; ancestors are bit sets, so answers are quick."""

    def __init__(self) -> None:
        self._order: list[str] = []  # in the order of their first proposals
        self._place: dict[str, int] = {}
        self._parents: dict[str, tuple[str, ...]] = {}
        self._children: dict[str, list[str]] = {}
        self._births: dict[str, Birth] = {}
        self._ancestors: dict[
            str, int
        ] = {}  # of those asked for of late; bit k: descends from variant k

    @classmethod
    def of(cls, store: Store) -> Self:
        """The family as the store knows it."""
        return cls.of_proposals(proposals(store))

    @classmethod
    def of_proposals(cls, made: Iterable[ProposalRow]) -> Self:
        """The family that these proposals founded."""
        family = cls()
        for variant_id, one in births(made).items():
            family.add(variant_id, one.parents, one.operator, one.island, one.seen)
        return family

    def __contains__(self, variant_id: str) -> bool:
        return variant_id in self._place

    def add(
        self,
        variant_id: str,
        parents: Sequence[Parent],
        operator: str = "",
        island: str = "",
        seen: int = 0,
    ) -> None:
        """Take in a variant after its parents; a variant already known keeps its first parents."""
        if variant_id in self._place:
            return
        wanted = (one.variant_id for one in parents if one.role != ANCESTOR)
        ids = tuple(dict.fromkeys(wanted))
        if strangers := [one for one in ids if one not in self._place]:
            raise KeyError(strangers[0])
        self._parents[variant_id] = ids
        base = next((one.variant_id for one in parents if one.role == ANCESTOR), None)
        self._births[variant_id] = Birth(operator, ids, base, island, seen)
        self._children[variant_id] = []
        self._place[variant_id] = len(self._order)
        self._order.append(variant_id)
        for parent in ids:
            self._children[parent].append(variant_id)

    def after(self, place: int) -> tuple[str, ...]:
        """The variants from a place on, in the order of their first proposals."""
        return tuple(self._order[place:])

    def edits_from_seed(self, variant_id: str) -> int:
        """How many first parents lie between it and a variant without parents."""
        edits = 0
        while parents := self._parents[variant_id]:
            variant_id, edits = parents[0], edits + 1
        return edits

    def parents_of(self, variant_id: str) -> tuple[str, ...]:
        """Its parents, the first one first. KeyError for an unknown variant."""
        return self._parents[variant_id]

    def children_of(self, variant_id: str) -> tuple[str, ...]:
        """Its children, oldest first. KeyError for an unknown variant."""
        return tuple(self._children[variant_id])

    def birth_of(self, variant_id: str) -> Birth | None:
        """What made a variant and from whom; None for one that is not known."""
        return self._births.get(variant_id)

    def descends(self, child: str, ancestor: str) -> bool:
        """Whether `child` comes from `ancestor` through any parents; nobody is its own child."""
        place = self._place[ancestor]
        return place < self._place[child] and bool(self._ancestors_of(child) >> place & 1)

    def lowest_common_ancestor(self, first: str, *others: str) -> str | None:
        """The latest variant all of them come from (or are); None when their families never meet."""
        common = self._ancestors_of(first) | self._bit(first)
        for other in others:
            common &= self._ancestors_of(other) | self._bit(other)
        return self._order[common.bit_length() - 1] if common else None

    def way(self, ancestor: str, variant_id: str) -> tuple[str, ...]:
        """From an ancestor to a variant, both included, through first parents where they lead there.

        ValueError when it does not descend from it.
        """
        way = [variant_id]
        while way[-1] != ancestor:
            parents = self._parents[way[-1]]
            leading = [one for one in parents if one == ancestor or self.descends(one, ancestor)]
            if not leading:
                raise ValueError(f"{variant_id} does not descend from {ancestor}")
            way.append(leading[0])
        return tuple(reversed(way))

    def lineage_root(self, variant_id: str) -> str:
        """The child of the seed it comes from along first parents; the seed's is the seed."""
        root = variant_id
        while (parents := self._parents[root]) and self._parents[parents[0]]:
            root = parents[0]
        return root

    def _ancestors_of(self, variant_id: str) -> int:
        """Bit k: descends from variant k. Those of all variants would take memory by their number's square."""
        kept = self._ancestors
        known = kept.get(variant_id)
        if known is None:
            known, seen, waiting = 0, {variant_id}, [variant_id]
            bits = bytearray(self._place[variant_id] // 8 + 1)
            while waiting:
                for parent in self._parents[waiting.pop()]:
                    if parent not in seen:
                        seen.add(parent)
                        place = self._place[parent]
                        bits[place // 8] |= 1 << place % 8
                        if parent in kept:
                            known |= kept[parent]
                        else:
                            waiting.append(parent)
            known |= int.from_bytes(bits, "little")
            if len(kept) >= MAX_KNOWN:
                kept = self._ancestors = {}  # threads that read the old ones go on with them
            kept[variant_id] = known
        return known

    def _bit(self, variant_id: str) -> int:
        return 1 << self._place[variant_id]


@dataclass(frozen=True, slots=True)
class Branch:
    """A variant in the family tree, under its first parent, with what made it."""

    variant_id: str
    operator: str
    idea: str
    children: tuple[Branch, ...] = ()


def tree(store: Store, keep: Collection[str] | None = None) -> list[Branch]:
    """The family tree along first parents: one branch for each variant without a parent.

    `keep`: only these variants; with each of them its first parents must be among them.
    """
    waiting: dict[str | None, list[Branch]] = {}
    for variant_id, proposal in reversed(births(proposals(store)).items()):
        if keep is not None and variant_id not in keep:
            continue
        below = tuple(reversed(waiting.pop(variant_id, [])))
        branch = Branch(variant_id, proposal.made_by, proposal.idea, below)
        parent = proposal.parents[0].variant_id if proposal.parents else None
        waiting.setdefault(parent, []).append(branch)
    return list(reversed(waiting.get(None, [])))
