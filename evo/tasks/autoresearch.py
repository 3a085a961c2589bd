"""The train.py of an autoresearch repository under our seal: our prepare.py stands in for theirs."""

from __future__ import annotations

import ast
from pathlib import Path

from population.parsing import parse

PREPARE = "prepare"  # the module that such a script takes everything from that is not its own
STAND_IN = Path(__file__).parents[2] / "seed" / "prepare.py"
NAMES = frozenset(
    (
        *("MAX_SEQ_LEN", "TIME_BUDGET", "Tokenizer"),
        *("make_dataloader", "evaluate_bpb", "get_device"),
    )
)
REPORTED = (
    "kind: command with its own prepare.py runs it as it is, its val_bpb then self-reported "
    "(docs/bring-your-own.md)"
)


def takes_what_is_there(source: str) -> str | None:
    """Why a source cannot be sealed, in one line: what it takes from `prepare` that the stand-in has not.

    None when nothing speaks against it. The source parses.
    """
    taken: dict[str, int] = {}
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Import) and any(one.name == PREPARE for one in node.names):
            return f"import prepare (line {node.lineno}): write from prepare import ..., or: {REPORTED}"
        if isinstance(node, ast.ImportFrom) and node.module == PREPARE and not node.level:
            taken |= {one.name: node.lineno for one in node.names}
    for name, line in taken.items():
        if name not in NAMES:
            known = ", ".join(sorted(NAMES))
            return (
                f"it takes {name} from prepare (line {line}); sealed there are {known}. {REPORTED}"
            )
    missing = [
        one for one in ("TIME_BUDGET", "make_dataloader", "evaluate_bpb") if one not in taken
    ]
    if missing:
        return (
            f"it does not take {missing[0]} from prepare: nothing would end it, feed it or score it"
        )
    return None
