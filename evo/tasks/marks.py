"""EVOLVE-BLOCK marks: where a file has them, only what stands between them may change."""

from __future__ import annotations

START, END = "EVOLVE-BLOCK-START", "EVOLVE-BLOCK-END"


def marks_objection(source: str, seed: str) -> str | None:
    """Why a source cannot follow from a seed with marks, in one line; None where nothing speaks against it.

    A seed without marks may change anywhere. Marks belong to what stays: a source cannot move them.
    """
    if START not in seed and END not in seed:
        return None
    try:
        kept = _outside(seed)
    except ValueError as error:
        return str(error)
    try:
        mine = _outside(source)
    except ValueError:
        return f"its marks {START} and {END} are not those of the seed"
    for (_, before), (number, line) in zip(kept, mine, strict=False):
        if before != line:
            return f"line {number} stands outside of {START} and {END}, and was changed"
    if len(kept) != len(mine):
        return f"lines outside of {START} and {END} were {'added' if len(mine) > len(kept) else 'removed'}"
    return None


def _outside(source: str) -> list[tuple[int, str]]:
    """The lines outside of blocks with their numbers, those with the marks included. ValueError."""
    found, opened = [], 0
    for number, line in enumerate(source.splitlines(), 1):
        if START in line and END in line:
            raise ValueError(f"line {number} holds both {START} and {END}")
        if START in line:
            if opened:
                raise ValueError(f"{START} in line {number}: the block from line {opened} is open")
            opened = number
            found.append((number, line))
        elif END in line:
            if not opened:
                raise ValueError(f"{END} in line {number} ends no block")
            opened = 0
            found.append((number, line))
        elif not opened:
            found.append((number, line.rstrip()))
    if opened:
        raise ValueError(f"{START} in line {opened} has no {END}")
    return found
