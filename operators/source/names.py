"""Names that a source uses and does not have: a merge of two sources may take a use without its definition."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator

from operators.source.parse import SourceError, parse
from population.file_set import is_python, split_files

_SETTERS = {"register_buffer", "register_parameter", "add_module"}  # of torch.nn.Module
_GIVEN = {*dir(builtins), "__file__", "__name__", "__doc__"}


def undefined_names(source: str) -> set[str]:
    """Names that no assignment, import, definition or builtin binds; none where `*` is imported.

    Of several files, those of each. SourceError when it does not parse.
    """
    if files := split_files(source):
        found = [undefined_names(text) for path, text in files.items() if is_python(path)]
        return set[str]().union(*found)
    tree = parse(source)
    if any(
        isinstance(node, ast.ImportFrom) and any(one.name == "*" for one in node.names)
        for node in ast.walk(tree)
    ):
        return set()
    try:
        module = symtable.symtable(source, "train.py", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"{type(error).__name__}: {error}") from None
    scopes = list(_scopes(module))
    bound = {one.get_name() for one in module.get_symbols() if _is_bound(one)}
    bound |= {
        one.get_name()
        for scope in scopes
        for one in scope.get_symbols()
        if one.is_declared_global() and one.is_assigned()
    }
    used = {
        one.get_name()
        for scope in scopes
        for one in scope.get_symbols()
        if one.is_referenced() and (one.is_global() or scope is module)
    }
    return used - bound - _GIVEN


def lost_attributes(merged: str, *parents: str) -> set[str]:
    """`Class.name` that a class uses of itself and does not set, though it does in a parent that uses it.

    SourceError when one does not parse.
    """
    found = set()
    there = [_classes(parse(one)) for one in parents]
    for name, (used, has) in _classes(parse(merged)).items():
        known = [classes[name] for classes in there if name in classes]
        found |= {
            f"{name}.{one}"
            for one in used - has
            if any(one in their_used and one in their_own for their_used, their_own in known)
        }
    return found


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    waiting = [table]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(one.get_children())


def _is_bound(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def _classes(tree: ast.Module) -> dict[str, tuple[set[str], set[str]]]:
    """By class: the attributes of `self` that it reads, and those that it or a base in the file has."""
    definitions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    read: dict[str, set[str]] = {}
    own: dict[str, set[str]] = {}
    for name, definition in definitions.items():
        read[name], own[name] = set(), set()
        for node in ast.walk(definition):
            match node:
                case ast.Attribute(value=ast.Name(id="self"), attr=attribute, ctx=ast.Load()):
                    read[name].add(attribute)
                case ast.Attribute(value=ast.Name(id="self"), attr=attribute):
                    own[name].add(attribute)
                case ast.FunctionDef(name=attribute) | ast.AsyncFunctionDef(name=attribute):
                    own[name].add(attribute)
                case ast.Name(id=attribute, ctx=ast.Store()):
                    own[name].add(attribute)
                case ast.Call(
                    func=ast.Attribute(attr=call), args=[ast.Constant(value=str(attribute)), *_]
                ) if call in _SETTERS:
                    own[name].add(attribute)
    return {name: (read[name], _with_bases(name, definitions, own)) for name in definitions}


def _with_bases(
    name: str, definitions: dict[str, ast.ClassDef], own: dict[str, set[str]]
) -> set[str]:
    found, waiting, met = set[str](), [name], set[str]()
    while waiting:
        one = waiting.pop()
        if one in definitions and one not in met:
            met.add(one)
            found |= own[one]
            waiting.extend(base.id for base in definitions[one].bases if isinstance(base, ast.Name))
    return found
