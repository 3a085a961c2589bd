"""What a source says, without how it is written: fingerprints and sizes from its syntax tree."""

from __future__ import annotations

import ast
import hashlib
import operator
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache

from population.parsing import parse

Literal = bool | int | float | str
LARGEST = 1e15  # numbers beyond it set nothing: whole numbers stay exact, ranges finite
MAX_PARTS = 8  # numbers of a tuple
_OPERATIONS: dict[type, Callable[..., object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
# What a number passed by name says of these is where or what, not how much.
_NO_AMOUNTS = frozenset(
    ("dim", "dims", "dim0", "dim1", "dim2", "axis", "axes", "ndim", "start", "end", "stop", "step")
)
# What is called for people, for the machine, or for the shape of what it gives: no number there is turned.
_TELLS = frozenset(
    (
        *("print", "open", "range", "enumerate", "round", "tqdm", "field", "add_argument"),
        *("argparse", "json", "logging", "logger", "os", "sys", "time", "subprocess", "warnings"),
        *("plt", "sns", "ax", "axes", "fig", "wandb", "writer"),
    )
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_FORM_ONLY = frozenset({"kind", "type_comment", "type_ignores", "ctx"})  # u"" prefix and the like


@lru_cache(maxsize=64)  # a merge asks for its parents' and its own with every draw
def fingerprint(source: str) -> str:
    """64 hex digits, equal for sources that differ only in layout, comments and docstrings.

    Names, keyword order and every constant count; `-x` before a number is read as the number -x.
    SyntaxError for what does not parse.
    """
    return _digest(parse(source), masked=frozenset())


def knob_free_fingerprint(source: str) -> str:
    """Like `fingerprint`, with the values of its constants left out (`find_settings`)."""
    tree = parse(source)
    return fingerprint_without(tree, _knob_values(tree))


def fingerprint_without(tree: ast.Module, left_out: Collection[ast.expr]) -> str:
    """Like `fingerprint`, of a tree with these nodes left out. SyntaxError when it is nested too deeply."""
    return _digest(tree, masked=frozenset(map(id, left_out)))


def count_nodes(source: str) -> int:
    """How many syntax nodes a source holds; docstrings and load/store marks are not counted.

    SyntaxError for what does not parse.
    """
    waiting: list[ast.AST] = [parse(source)]
    count = 0
    while waiting:
        node = waiting.pop()
        count += 1
        for name, value in ast.iter_fields(node):
            if name in _FORM_ONLY:
                continue
            for part in _without_docstring(node, name, value):
                if isinstance(part, ast.AST):
                    waiting.append(part)
    return count


def _digest(tree: ast.Module, masked: frozenset[int]) -> str:
    parts: list[str] = []
    try:
        _write(tree, masked, parts.append)
    except RecursionError as error:
        raise SyntaxError("nested too deeply to parse") from error
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _write(node: ast.AST, masked: frozenset[int], put: Callable[[str], None]) -> None:
    """One canonical text of a tree. Our own, since `ast.dump` changed between Python versions."""
    if id(node) in masked:
        put("(knob)")
        return
    number = _number(node)
    if number is not None:
        put(f"({_constant(number)})")
        return
    put(f"({type(node).__name__}")
    for name, value in ast.iter_fields(node):
        if name in _FORM_ONLY or (value is None and not isinstance(node, ast.Constant)):
            continue
        parts = _without_docstring(node, name, value)
        if not parts:
            continue
        put(f" {name}[")
        for part in parts:
            if isinstance(part, ast.AST):
                _write(part, masked, put)
            else:
                put(f"{_constant(part)},")
        put("]")
    put(")")


def _without_docstring(node: ast.AST, name: str, value: object) -> list[object]:
    """A field as a list, less the docstring; a body of nothing but a docstring is empty."""
    if not isinstance(value, list):
        return [value]
    if name != "body" or not isinstance(node, _DOCUMENTED) or not value:
        return value
    first = value[0]
    documented = (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
    return value[1:] if documented else value


def _constant(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"int {value:x}"  # decimal text of a huge number is refused by Python
    return f"{type(value).__name__} {value!r}"


def _number(node: ast.AST) -> int | float | None:
    """The number that a literal stands for, with its sign; None for everything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand) if isinstance(node.operand, ast.Constant) else None
        return None if inner is None else -inner
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return None


def _knob_values(tree: ast.Module) -> list[ast.expr]:
    """What `find_settings` finds, and UPPER-case literals of the module level that are bound more than once."""
    bound = [value for name, value in _assigned(tree) if name.isupper() and _is_literal(value)]
    return [*bound, *find_settings(tree).values()]


def find_settings(tree: ast.Module, passed: bool = True) -> dict[str, ast.expr]:
    """The literals that set what a source does, by name; `value_of` reads them.

    A constant that the module level binds, in small letters where nothing else in the source does; its
    numbers, one by one, where it is a tuple of them (`BETAS[0]`); the field of a dataclass (`Config.width`);
    the default of an argument (`--width`). With `passed` also a number that a call is given by name
    (`AdamW.lr`), but for a source that speaks to the harness, whose numbers have names of their own.
    """
    found: dict[str, ast.expr] = {}
    assigned = _assigned(tree)
    often = Counter(name for name, _ in assigned)
    fields = {  # of a class: a name of its own
        id(one.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for one in node.body
        if isinstance(one, ast.AnnAssign)
    }
    stored = Counter(
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name)
        and not isinstance(node.ctx, ast.Load)
        and id(node) not in fields
    )
    for name, value in assigned:
        if often[name] == 1 and (name.isupper() or stored[name] == 1):
            parts = value.elts if isinstance(value, ast.Tuple) else []
            if 1 < len(parts) <= MAX_PARTS and all(_is_number(one) for one in parts):
                found |= {f"{name}[{at}]": one for at, one in enumerate(parts)}
            elif _is_literal(value):
                found[name] = value
    for node in ast.walk(tree):
        for name, literal in _set_in(node):
            if literal is not None and _is_literal(literal):
                found.setdefault(name, literal)
    return found | (_passed(tree, found) if passed and not _speaks_to_the_harness(tree) else {})


def _speaks_to_the_harness(tree: ast.Module) -> bool:
    return any(
        (isinstance(node, ast.Import) and any(one.name == "harness" for one in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "harness")
        for node in tree.body
    )


def _passed(tree: ast.Module, known: Mapping[str, ast.expr]) -> dict[str, ast.expr]:
    """The numbers that calls are given by name, such as `AdamW.lr`; of several such calls each by its place
    in the source (`Dropout.p[0]`), and of a tuple each number (`AdamW.betas[0]`)."""
    named = set(map(id, known.values()))
    by_name = defaultdict[str, list[ast.expr]](list)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not (path := _path_of(node.func)):
            continue
        if _TELLS & {path[0], path[-1]}:
            continue
        for one in node.keywords:
            parts = one.value.elts if isinstance(one.value, ast.Tuple) else [one.value]
            fits = 0 < len(parts) <= MAX_PARTS and all(map(_is_number, parts))
            if one.arg and one.arg not in _NO_AMOUNTS and fits and not named & set(map(id, parts)):
                by_name[f"{path[-1]}.{one.arg}"].append(one.value)
    found = dict[str, ast.expr]()
    for name, values in by_name.items():
        values.sort(key=lambda one: (one.lineno, one.col_offset))
        for at, value in enumerate(values):
            called = f"{name}[{at}]" if len(values) > 1 else name
            if isinstance(value, ast.Tuple):
                found |= {f"{called}[{n}]": part for n, part in enumerate(value.elts)}
            else:
                found[called] = value
    there = [(name, one) for name, one in found.items() if name not in known]
    return dict(sorted(there, key=lambda one: (one[1].lineno, one[1].col_offset)))


def _path_of(called: ast.expr) -> list[str]:
    """The names of what is called, such as nn, Dropout; [] where it is more than names."""
    if isinstance(called, ast.Name):
        return [called.id]
    if isinstance(called, ast.Attribute):
        above = _path_of(called.value)
        return [*above, called.attr] if above else []
    return []


def _set_in(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """The fields of a dataclass, or the default of an argument."""
    if isinstance(node, ast.ClassDef) and any(map(_makes_a_dataclass, node.decorator_list)):
        for one in node.body:
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
                yield f"{node.name}.{one.target.id}", _default_of(one.value)
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
        names = [one.value for one in node.args if isinstance(one, ast.Constant)]
        default = next((one.value for one in node.keywords if one.arg == "default"), None)
        yield str(names[-1] if names else ""), default if names else None


def _default_of(value: ast.expr | None) -> ast.expr | None:
    """The value that a dataclass's field begins with, also of `field(default=...)`."""
    if isinstance(value, ast.Call) and _path_of(value.func)[-1:] == ["field"]:
        return next((one.value for one in value.keywords if one.arg == "default"), None)
    return value


def value_of(node: ast.expr) -> Literal | None:
    """What a literal says, also a number written as an expression of numbers; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bool):
        return node.value
    return _number_of(node)


def _number_of(node: ast.expr) -> int | float | None:
    number = _number(node)
    return _computed(node) if number is None else number


def _computed(node: ast.expr) -> int | float | None:
    """The number that an expression of numbers comes to, such as 2**19; None where that is none or huge."""
    if not isinstance(node, ast.BinOp) or type(node.op) not in _OPERATIONS:
        return None
    left, right = (
        _number(one) if _number(one) is not None else _computed(one)
        for one in (node.left, node.right)
    )
    if left is None or right is None or max(abs(left), abs(right)) > LARGEST:
        return None
    if isinstance(node.op, ast.Pow) and (abs(right) > 64 or abs(left) > 1024):
        return None
    try:
        found = _OPERATIONS[type(node.op)](left, right)
    except (ArithmeticError, ValueError):
        return None
    return found if isinstance(found, int | float) and abs(found) <= LARGEST else None


def _assigned(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    """What the module level binds to one name, in order."""
    found = list[tuple[str, ast.expr]]()
    for one in tree.body:
        if isinstance(one, ast.Assign) and len(one.targets) == 1:
            target, value = one.targets[0], one.value
        elif isinstance(one, ast.AnnAssign) and one.value is not None:
            target, value = one.target, one.value
        else:
            continue
        if isinstance(target, ast.Name):
            found.append((target.id, value))
    return found


def _makes_a_dataclass(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(called, "attr", getattr(called, "id", "")) == "dataclass"


def _is_number(node: ast.expr) -> bool:
    return isinstance(value_of(node), int | float) and not isinstance(value_of(node), bool)


def _is_literal(node: ast.expr) -> bool:
    return value_of(node) is not None
