"""What a source says apart from its random seeds: two runs of such code are repeats of each other."""

from __future__ import annotations

import ast

from population.fingerprint import fingerprint_without
from population.parsing import parse

_CALLS = frozenset({"seed", "manual_seed", "manual_seed_all", "set_seed", "PRNGKey", "default_rng"})


def seedless_fingerprint(source: str) -> str:
    """Like `fingerprint`, with whole numbers that seed randomness left out. SyntaxError as there.

    They are the arguments of the usual seeding calls, `seed=` arguments, and names that are `seed` or
    end in `_seed`.
    """
    tree = parse(source)
    seeds = [literal for node in ast.walk(tree) for literal in _seeds(node)]
    return fingerprint_without(tree, seeds)


def _seeds(node: ast.AST) -> list[ast.Constant]:
    found: list[ast.expr | None] = []
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        found += node.args if name in _CALLS else []
    elif isinstance(node, ast.keyword):
        found += [node.value] if _is_seed(node.arg or "") else []
    elif isinstance(node, ast.Assign):
        names = [one.id for one in node.targets if isinstance(one, ast.Name)]
        found += [node.value] if any(map(_is_seed, names)) else []
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        found += [node.value] if _is_seed(node.target.id) else []
    return [one for one in found if isinstance(one, ast.Constant) and type(one.value) is int]


def _is_seed(name: str) -> bool:
    return name.lower() == "seed" or name.lower().endswith("_seed")
