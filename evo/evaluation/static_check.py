"""What can be said against a source before it runs."""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from population.file_set import paths_of
from population.fingerprint import count_nodes
from population.parsing import parse, tokens

# Text that a model knows by heart could be pasted into a source, as it is or in any code. What the
# campaign's seed holds does not count.
MAX_SOURCE_BYTES = 100_000
MAX_LITERAL = 4_096  # characters or bytes of one literal, digits of one number
MODULES = "modules"  # in a campaign's folder: what stood beside its train.py
NO_MODULES = frozenset((*sys.stdlib_module_names, "harness"))
CALLS = ("start", "progress", "finish")
_QUANTISES = re.compile(r"quanti[sz]|float8|fp8|_scaled_mm|\bq?int8\b", re.IGNORECASE)
_ROUNDS = re.compile(r"bfloat16|\bfloat16|\bhalf\b|autocast|float8|fp8|quanti[sz]", re.IGNORECASE)
_COOKIE = re.compile(r"coding[:=][ \t]*([-\w.]+)")
_LAYOUT = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
_MAY_NOT_RUN = (ast.Try, ast.TryStar, ast.If, ast.FunctionDef, ast.AsyncFunctionDef, ast.expr)
_TEXT = {tokenize.STRING, tokenize.NUMBER, getattr(tokenize, "FSTRING_MIDDLE", -1)}


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What a source holds, in bytes of UTF-8 but for lines and nodes. `names`: of all different ones."""

    bytes: int = 0
    lines: int = 0
    nodes: int = 0  # of its syntax tree
    literals: int = 0
    comments: int = 0
    names: int = 0
    blanks: int = 0


MOST = _Sizes(MAX_SOURCE_BYTES, 8_000, 30_000, 32_768, 32_768, 16_384, 40_960)


def quantises(source: str) -> bool:
    """Whether a source speaks of quantised numbers. Anyone may: it allows nothing, it chooses words."""
    return bool(_QUANTISES.search(source))


def rounds(source: str) -> bool:
    """Whether a source speaks of reduced precision. Asked of the seed, whose person is trusted."""
    return bool(_ROUNDS.search(source))


def check_source(
    source: str, seed: str = "", stand_in: str = "", beside: Collection[str] = ()
) -> str | None:
    """Why a source cannot be a train.py, in one line; None when nothing speaks against it.

    `seed`: the source that the campaign began with; every limit grows by what it holds. `stand_in`: a
    module that speaks to the harness for it, so that it need not keep the contract itself. `beside`: the
    names of modules that stand beside it.
    """
    if paths_of(source):
        return "its first line reads as one that names a file: a train.py is one file"
    size, most = len(source.encode(errors="replace")), MOST.bytes + _sizes(seed).bytes
    if size > most:
        return f"the source is larger than {most:,} bytes"
    try:
        tree = parse(source)
        held = _sizes(source)
    except SyntaxError as error:
        return _unparsed(error)
    nodes = list(ast.walk(tree))
    return (
        _encoding(source)
        or _literal(nodes, _longest_literal(seed))
        or _too_much(held, _sizes(seed))
        or (_contract(nodes) if not stand_in else None)
        or _imports(tree, {stand_in, *beside})
    )


def check_syntax(source: str) -> str | None:
    """Why a source is no Python at all, in one line; None when it parses."""
    try:
        parse(source)
    except SyntaxError as error:
        return _unparsed(error)
    return _encoding(source)


def _unparsed(error: SyntaxError) -> str:
    where = f" (line {error.lineno})" if error.lineno else ""
    return f"does not parse: {error.msg}{where}"


def most_bytes(seed: str) -> int:
    """How large a source may be in a campaign that began with this seed."""
    return MAX_SOURCE_BYTES + len(seed.encode(errors="replace"))


def _encoding(source: str) -> str | None:
    """A comment in the first two lines can make Python read another text than the one looked at here."""
    head = "\n".join(source.split("\n", 2)[:2])
    for line in re.split(r"[\r\n]", head):
        comment = line.lstrip(" \t\f\ufeff")
        for found in _COOKIE.findall(comment) if comment.startswith("#") else ():
            if found.lower().replace("_", "-") not in ("utf-8", "utf8"):
                return f"its first lines declare the encoding {found[:40]}: a source is UTF-8"
    return None


def _literal(nodes: list[ast.AST], longest: int) -> str | None:
    for node in nodes:
        if _length(node) > max(MAX_LITERAL, longest):
            line = getattr(node, "lineno", 0)
            return (
                f"a literal is longer than {MAX_LITERAL:,} (line {line}): data belongs in the data"
            )
    return None


def _length(node: ast.AST) -> int:
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, int):
        return 1 + value.bit_length() * 3 // 10
    return 0


@lru_cache(maxsize=8)
def _longest_literal(seed: str) -> int:
    return max(map(_length, ast.walk(parse(seed))))


@lru_cache(maxsize=8)  # the seed's are asked for with every source
def _sizes(source: str) -> _Sizes:
    """Literals as written, comments and names: a source can read itself. SyntaxError."""
    literals = comments = rest = 0
    names: set[str] = set()
    for token in tokens(source):
        size = len(token.string.encode(errors="replace"))
        if token.type in _TEXT:
            literals += size
        elif token.type == tokenize.COMMENT:
            comments += size
        elif token.type not in _LAYOUT:
            rest += size
            if token.type == tokenize.NAME:
                names.add(token.string)
    whole = len(source.encode(errors="replace"))
    return _Sizes(
        bytes=whole,
        lines=source.count("\n") + source.count("\r"),
        nodes=count_nodes(source),
        literals=literals,
        comments=comments,
        names=sum(len(name.encode(errors="replace")) for name in names),
        blanks=max(whole - literals - comments - rest, 0),
    )


def _too_much(held: _Sizes, seed: _Sizes) -> str | None:
    for one in fields(_Sizes):
        size, most = getattr(held, one.name), getattr(MOST, one.name) + getattr(seed, one.name)
        if size > most:
            unit = "" if one.name in ("lines", "nodes") else "bytes of "
            return f"it has {size:,} {unit}{one.name} together, more than {most:,}"
    return None


def _contract(nodes: list[ast.AST]) -> str | None:
    called, imported = set(), False
    for node in nodes:
        if isinstance(node, ast.Call):
            called.add(node.func.attr if isinstance(node.func, ast.Attribute) else _name(node.func))
        elif isinstance(node, ast.Import):
            imported |= any(alias.name == "harness" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported |= node.module == "harness"
    if not imported:
        return (
            "it does not import harness: `evo adopt` says which calls a script lacks, and `evo init DIR --from "
            "FOLDER` takes it as it is (docs/bring-your-own.md)"
        )
    for name in CALLS:
        if name not in called:
            shown = "harness.start()" if name == "start" else f"run.{name}({_ARGUMENT[name]})"
            return f"the call {shown} is missing"
    return None


_ARGUMENT = {"progress": "", "finish": "model"}


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _imports(tree: ast.Module, beside: Collection[str]) -> str | None:
    for node in _unguarded(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            return f"a relative import has nothing to be relative to (line {node.lineno})"
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
        for name in names:
            first = name.split(".")[0]
            if first not in beside and not _exists(first):
                return (
                    f"imports {name}, which is not installed here (line {node.lineno}), nor is it a module "
                    "that the seed imports from its own folder"
                )
    return None


def modules_beside(script: Path) -> tuple[Path, ...]:
    """The modules that a script imports, they or each other, and that stand beside it or in its MODULES.

    What is part of Python or of a run is none. What cannot be read imports nothing.
    """
    found: dict[str, Path] = {}
    waiting = [script]
    while waiting:
        for name in _imported_by(waiting.pop()) - set(found) - NO_MODULES - {script.stem}:
            for folder in (script.parent, script.parent / MODULES):
                if (folder / f"{name}.py").is_file():
                    found[name] = folder / f"{name}.py"
                    waiting.append(found[name])
                    break
    return tuple(found[name] for name in sorted(found))


def _imported_by(path: Path) -> set[str]:
    """The first parts of the names that a file imports anywhere."""
    try:
        nodes = list(ast.walk(parse(path.read_text(encoding="utf-8-sig"))))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return set()
    named = [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
    named += [one.module for one in nodes if isinstance(one, ast.ImportFrom) and one.module]
    return {name.partition(".")[0] for name in named}


def _unguarded(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run come what may: neither tried, nor under a condition, nor in a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, _MAY_NOT_RUN):
            yield from _unguarded(node)


@lru_cache(maxsize=512)
def _exists(name: str) -> bool:
    try:
        return name == "harness" or find_spec(name) is not None
    except (ImportError, ValueError):
        return False
