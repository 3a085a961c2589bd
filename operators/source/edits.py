"""Turn a model's reply into a source: edits of the parent, or a whole file."""

from __future__ import annotations

import ast
import builtins
import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from operators.source.blocks import Block, EditError, Replacement, plain_lines, read_blocks
from operators.source.compare import Steps
from operators.source.dress import plain_characters, readings, rivals
from operators.source.parse import SourceError, line_end_of, parse, unify_lines
from population.file_set import (
    added_objection,
    head_of,
    is_sound,
    join_files,
    path_in,
    paths_of,
    split_files,
)

MAX_REPLY_CHARS = 400_000
_MAX_PAGES = 2
_PAGE = re.compile(r"(?:&(?:amp;)?lt;){3}")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>")
_MAX_FENCES = 60  # fence lines looked at in one reply
_MAX_PARSES = 40  # candidates for the whole file tried, longest first
_MAX_PARSED_CHARS = 1_000_000  # of all of them
_MAX_DRESSED = (
    2  # of them, the longest, that are also read without numbers, quotation marks and the like
)
_MAX_UNCLOSED = 3  # of the fences, the last, that may end with the reply
_MAX_STARTS = 4  # lines at which a file without a fence may begin, and at which it may end
_CHARS_A_STEP = 10_000  # compared by a regular expression in the time of a step
_FENCE = re.compile(r"(?P<prefix>[ \t]*(?:>[ \t]?)*[ \t]*)(?P<mark>`{3,}|~{3,})(?P<info>[^`\n]*)$")
_FILE_START = re.compile(r'(?:"""|\'\'\'|import |from [\w.]+ import |#!|# |[A-Z_]{2,40} = )')
_DRESSED = re.compile(r"\A\s{0,99}[LN]?\d|&(?:lt|gt|amp|quot|#\d{2,5});|[^\x00-\x7f]")
_IN_PART = (
    "only a part of the file is shown, so it cannot be given whole: give SEARCH/REPLACE blocks"
)
_WHOLE = ("harness", ".finish(")  # what every whole train.py names
_LEFT_OUT = re.compile(
    r"^\s{0,80}(?:#|//|\.\.\.|<!--)[ \t]{0,4}(?:\.\.\.|…)?.{0,60}\b(?:existing|rest of|remaining|"
    r"unchanged|same as|as before|previous|other code|your code|omitted|elided)\b.{0,80}$"
    r"|^\s{0,80}#[ \t]{0,4}(?:\.\.\.|…)[ \t]*$",
    re.IGNORECASE,
)
_DOTS = re.compile(
    r"(?:\.\.\.|…)|\b(?:rest of the|remaining) (?:code|file|class|function|method|model|script)\b",
    re.IGNORECASE,
)


class _Ambiguous(EditError):
    """There are two places, or two meanings: no other reading is tried."""


def apply_reply(
    parent_source: str, reply: str, may_add: Sequence[str] = (), in_part: str | None = None
) -> str:
    """The child's source. Raises EditError: no edit, text not found or found n times, no change, two
    meanings, or a result that does not parse. Line ends stay the parent's.

    `may_add`: patterns of files that a parent of several files may get. `in_part`: the file of which the reply
    saw only a part, so that it cannot give it whole; "" is that of a parent that is one file."""
    if len(reply) > MAX_REPLY_CHARS:
        raise EditError(f"the reply has {len(reply)} characters, more than {MAX_REPLY_CHARS}")
    parent = unify_lines(parent_source)
    reply = plain_lines(unify_lines(reply.replace("\ufeff", "")))
    files = bool(paths_of(parent))
    blocks = read_blocks(reply, files)
    for _ in range(_MAX_PAGES):  # that the whole reply went through
        if blocks or not _PAGE.search(reply):
            break
        reply = plain_lines(html.unescape(_TAG.sub("", reply)))
        blocks = read_blocks(reply, files)
    if blocks:
        child = _edited(parent, blocks)
    else:
        child = _whole_files(parent, reply, in_part) if files else _whole_file(parent, reply)
        if in_part == "":
            raise EditError(_IN_PART)
    if files and not child.endswith("\n"):
        child += "\n"
    if child == parent:
        raise EditError("the reply changes nothing")
    if bool(paths_of(child)) != files or not is_sound(child):
        raise EditError("the lines that name the files stay as they are: no file goes")
    if objection := added_objection(child, parent, may_add):
        raise EditError(objection)
    return child.replace("\n", "\r\n") if line_end_of(parent_source) == "\r\n" else child


def _checked(child: str, what: str = "the result") -> str:
    try:
        parse(child)
    except SourceError as error:
        raise EditError(f"{what} does not parse: {error}") from None
    return child


# -- edits ---------------------------


def _edited(parent: str, blocks: Sequence[Block]) -> str:
    """The parent with all edits made as they are written, or as the first reading that can be made says."""
    steps, reason = Steps(), None
    known = set(map(str.strip, parent.split("\n")))
    for one in (one for block in blocks for one in block):
        _refuse_left_out(one.search, known, "its SEARCH text")
        _refuse_left_out(one.replace, known, "its new text")
    plain = [block[0] for block in blocks]
    tries = [(plain, blocks)]
    if any(
        block[-1].in_diff for block in blocks
    ):  # lines that stay may have lost their first blank
        tries.append(([block[-1] for block in blocks], [block[::-1] for block in blocks]))
    tries += [(read, [(one,) for one in read]) for read in readings(plain)[1:]]
    for read, choices in tries:
        try:
            child = _checked(_made(parent, choices, steps))
        except _Ambiguous:
            raise
        except EditError as error:
            reason = reason or error
            continue
        for other in rivals(read):
            _refuse_rival(parent, child, other, steps)
        return child
    assert reason is not None
    raise reason


def _refuse_rival(parent: str, child: str, edits: list[Replacement], steps: Steps) -> None:
    """_Ambiguous where the other reading is code too, and other code."""
    try:
        other = _checked(_made(parent, [(one,) for one in edits], steps))
    except EditError:
        return
    if ast.dump(parse(other)) != ast.dump(parse(child)):
        raise _Ambiguous(
            "its escapes (`\\n`, `&lt;`) can mean two things: write the characters themselves"
        )


def _refuse_left_out(lines: Sequence[str], known: set[str], what: str) -> None:
    for line in lines:
        if _LEFT_OUT.match(line) and _DOTS.search(line) and line.strip() not in known:
            raise _Ambiguous(f"{what} leaves lines out ({line.strip()[:60]!r}): write every line")


def _made(parent: str, blocks: Sequence[Block], steps: Steps) -> str:
    """The parent with every edit made in turn. A block that may say several things says what can be found."""
    child = parent
    for number, block in enumerate(blocks, 1):
        label = f"edit {number} of {len(blocks)}"
        made, reason = list[str](), None
        for one in block:
            try:
                made.append(_apply(child, one, label, steps))
            except _Ambiguous:
                raise
            except EditError as error:
                reason = reason or error
            if made and one.in_diff:
                break
        if len(set(made)) > 1:
            raise _Ambiguous(f"{label}: more than one of its `=======` lines can be the divider")
        if not made:
            assert reason is not None
            raise reason
        child = made[0]
    return child


def _apply(source: str, replacement: Replacement, label: str, steps: Steps) -> str:
    """One edit made: on exact lines, else alike but for spaces and typography, else within a line.

    Lines that begin with the line above a file are looked for in that file alone.
    """
    path = path_in(replacement.search[0]) if replacement.search else None
    if path is not None:
        within = replace(
            replacement, search=replacement.search[1:], replace=_headless(replacement.replace, path)
        )
        files = split_files(source)
        if files and path not in files and not "".join(within.search).strip():
            return join_files({**files, path: "\n".join(_trimmed(within.replace))})
        if files and path not in files:
            raise EditError(f"{label}: {path} is none of the files: {', '.join(files)}")
        if not files:
            return _apply(source, within, label, steps)
        return join_files({**files, path: _apply(files[path], within, label, steps)})
    if not "".join(replacement.search).strip():
        return _inserted(source, replacement.replace, label)
    lines = source.split("\n")
    for same, trim in ((_exact, False), (_exact, True), (_alike, True), (_alike_in_type, True)):
        search = _trimmed(replacement.search) if trim else replacement.search
        places = _places(lines, search, same, steps)
        if len(places) > 1:
            raise _Ambiguous(_too_often(source, label, len(places)))
        if places:
            new = _trimmed(replacement.replace) if trim else replacement.replace
            at, found = places[0], lines[places[0] : places[0] + len(search)]
            if same is _alike_in_type:
                new = _retyped(new, found)
            return "\n".join(
                [*lines[:at], *_reindent(new, search, found), *lines[at + len(search) :]]
            )
    return _apply_within_line(source, replacement, label, steps)


def _too_often(source: str, label: str, times: int) -> str:
    files = paths_of(source)
    more = f", or the line above its file first, such as {head_of(files[0])}" if files else ""
    return f"{label}: its SEARCH text is found {times} times: add lines{more}"


def _headless(lines: tuple[str, ...], path: str) -> tuple[str, ...]:
    return lines[1:] if lines and path_in(lines[0]) == path else lines


def _apply_within_line(source: str, replacement: Replacement, label: str, steps: Steps) -> str:
    """A SEARCH text that is part of a line (its comment left out, say), at the edges of words."""
    text = "\n".join(_trimmed(replacement.search)).strip()
    _count(steps, len(source) * len(text) // _CHARS_A_STEP)
    edges = re.compile(r"(?<![\w.])" + re.escape(text) + r"(?![\w.])")
    places = [match.span() for match in edges.finditer(source)]
    if len(places) > 1:
        raise _Ambiguous(_too_often(source, label, len(places)))
    if not places:
        shown = text.split("\n")[0].strip()[:80]
        raise EditError(f"{label}: its SEARCH text is not in the file (it begins with {shown!r})")
    start, end = places[0]
    return source[:start] + "\n".join(_trimmed(replacement.replace)).strip() + source[end:]


def _places(
    lines: list[str], search: tuple[str, ...], same: Callable[[str, str], bool], steps: Steps
) -> list[int]:
    width = len(search)
    _count(steps, len(lines))
    starts = [at for at in range(len(lines) - width + 1) if same(lines[at], search[0])]
    _count(steps, len(starts) * width)
    pairs = range(1, width)
    return [at for at in starts if all(same(lines[at + k], search[k]) for k in pairs)]


def _count(steps: Steps, wanted: int) -> None:
    if not steps.take(wanted):
        raise _Ambiguous(
            "the edits take too long to find: give fewer, with SEARCH texts of few lines"
        )


def _exact(a: str, b: str) -> bool:
    return a == b


def _alike(a: str, b: str) -> bool:
    return a.split() == b.split()


def _alike_in_type(a: str, b: str) -> bool:
    return plain_characters(a).split() == plain_characters(b).split()


def _retyped(new: tuple[str, ...], found: list[str]) -> tuple[str, ...]:
    """The new lines; those that the file has already in other typography stay as they are in the file."""
    there = {" ".join(plain_characters(line).split()): line for line in found}

    def retyped(line: str) -> str:
        known = there.get(" ".join(plain_characters(line).split()))
        return line if known is None else _indent(line) + known.lstrip()

    return tuple(retyped(line) for line in new)


def _trimmed(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Without the blank lines at both ends."""
    full = [at for at, line in enumerate(lines) if line.strip()]
    return lines[full[0] : full[-1] + 1] if full else ()


def _reindent(new: tuple[str, ...], search: tuple[str, ...], found: list[str]) -> list[str]:
    """The new lines, moved right or left as the found lines stand to the SEARCH lines."""
    asked, there = _indent(search[0]), _indent(found[0])
    if asked == there:
        return list(new)
    moved = [there + line[len(asked) :] if line.startswith(asked) else line for line in new]
    return [line if line.strip() else "" for line in moved]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


# -- an insertion ---------------------------


def _inserted(source: str, new: tuple[str, ...], label: str) -> str:
    """An edit that looks for nothing: beside a line that it repeats, or as definitions that fit anywhere.

    Definitions fit anywhere when their names are new and they use none of the file's own: they go after
    the imports. Anything else has no place of its own, and none is guessed.
    """
    new, lines = _trimmed(new), source.split("\n")
    if not new:
        raise EditError(f"{label}: its SEARCH text is empty")
    if files := paths_of(source):
        raise EditError(
            f"{label}: its SEARCH text is empty: begin it with the line above the file, such as "
            f"{head_of(files[0])}"
        )
    for repeated, around in ((new[0], new[1:]), (new[-1], new[:-1])):
        if around and repeated.strip() and lines.count(repeated) == 1:
            at = lines.index(repeated)
            return "\n".join([*lines[:at], *new, *lines[at + 1 :]])
    try:
        added, tree = parse("\n".join(new) + "\n"), parse(source)
    except SourceError:
        added, tree = ast.Module([], []), ast.Module([], [])
    if not added.body or not _fits_anywhere(added, tree):
        raise _Ambiguous(
            f"{label}: its SEARCH text is empty: copy the line beside which the new ones belong"
        )
    last = 0
    for number, statement in enumerate(tree.body):
        is_head = isinstance(statement, ast.Import | ast.ImportFrom) or (
            number == 0 and isinstance(statement, ast.Expr)
        )
        if not is_head:
            break
        last = statement.end_lineno or 0
    return "\n".join([*lines[:last], *new, *lines[last:]])


def _fits_anywhere(added: ast.Module, tree: ast.Module) -> bool:
    """Whether statements bind new names only, and run with nothing of the file but its first imports."""
    kinds = (
        ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
    )
    if not all(isinstance(one, kinds) for one in added.body):
        return False
    taken = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    taken |= {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
    }
    imported = set(dir(builtins))
    for one in tree.body:
        if isinstance(one, ast.Import | ast.ImportFrom):
            imported |= {(name.asname or name.name).split(".")[0] for name in one.names}
        elif not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)):
            break
    for statement in added.body:
        if not set(_names_at_once(statement)) <= imported:
            return False
        bound = set(_bound_by(statement))
        if bound & (taken - set(dir(builtins))) and not isinstance(
            statement, ast.Import | ast.ImportFrom
        ):
            return False
        imported |= bound
    return True


def _names_at_once(statement: ast.stmt) -> Iterator[str]:
    """The names that a definition needs while it is made, not when it is called."""
    parts: list[ast.AST] = [statement]
    while parts:
        part = parts.pop()
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            defaults = [one for one in part.args.kw_defaults if one is not None]
            parts += [*part.decorator_list, *part.args.defaults, *defaults]
            continue
        if isinstance(part, ast.Lambda):
            continue
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            yield part.id
        parts += ast.iter_child_nodes(part)


def _bound_by(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from ((one.asname or one.name).split(".")[0] for one in statement.names)
    else:
        yield from (
            node.id
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        )


# -- whole files ---------------------------


def _whole_files(parent: str, reply: str, in_part: str | None) -> str:
    """The parent with each file that a reply gives below the line above it, fenced or not."""
    files = split_files(parent)
    lines = reply.split("\n")
    heads = [(at, path) for at, line in enumerate(lines) if (path := path_in(line)) is not None]
    for number, (at, path) in enumerate(heads):
        end = heads[number + 1][0] if number + 1 < len(heads) else len(lines)
        text = "\n".join(_unfenced(lines[at + 1 : end])).strip("\n")
        if path == in_part:
            raise EditError(_IN_PART)
        _refuse_left_out(text.split("\n"), set(map(str.strip, parent.split("\n"))), path)
        files[path] = f"{text}\n"
    if not heads:
        raise EditError(
            "no SEARCH/REPLACE block and no whole file was found; above a whole file stands its line, such "
            f"as {head_of(next(iter(files)))}"
        )
    return _checked(join_files(files))


def _unfenced(lines: Sequence[str]) -> Sequence[str]:
    """What stands in the fence that these lines open, or up to one that was opened above them."""
    full = [at for at, line in enumerate(lines) if line.strip()]
    fences = [at for at, line in enumerate(lines) if _FENCE.match(line)]
    if not fences:
        return lines
    opens = fences[0] == full[0]
    closing = [at for at in fences if lines[at].strip().strip("`~> ") == ""]
    end = next((at for at in reversed(closing) if at != fences[0] or not opens), len(lines))
    return lines[fences[0] + 1 : end] if opens else lines[:end]


def _whole_file(parent: str, reply: str) -> str:
    """The file of a reply: fenced, else in a last fence that nothing closes, else without a fence."""
    lines = reply.split("\n")
    fences = [(at, match) for at, line in enumerate(lines) if (match := _FENCE.match(line))]
    fences = fences[:_MAX_FENCES]
    sources: tuple[Callable[[], list[tuple[Span, str]]], ...] = (
        lambda: _fenced(lines, fences, False),
        lambda: _fenced(lines, fences[-_MAX_UNCLOSED:], True),
        lambda: _bare(lines, _closed(fences)),
    )
    reason, left = "", [_MAX_PARSED_CHARS]
    for candidates in sources:
        found, why = _complete(parent, candidates(), left)
        reason = reason or why
        different = list(dict.fromkeys(one for one in found if one != parent)) or found
        if len(different) > 1:
            raise EditError(f"the reply holds {len(different)} whole files: give one")
        if different:
            known = set(map(str.strip, parent.split("\n")))
            _refuse_left_out(different[0].split("\n"), known, "the file")
            return different[0]
    if reason:
        raise EditError(reason)
    if re.search(r'"(?:edits|search|replace|file)"\s{0,20}:', reply):
        raise EditError(
            "the JSON is not whole, or not of the form asked for: one object, in which `edits` is a list of "
            "objects with `search` and `replace`"
        )
    raise EditError("no SEARCH/REPLACE block and no whole file in a fenced block was found")


Span = tuple[int, int, str]


def _complete(
    parent: str, candidates: Sequence[tuple[Span, str]], left: list[int]
) -> tuple[list[str], str]:
    """The texts that are whole files, none inside another, and why the longest of the others is none."""
    found, spans, reason = list[str](), list[Span](), ""
    for number, (span, text) in enumerate(candidates):
        if any(one[0] <= span[0] and span[1] <= one[1] for one in spans):
            continue
        plain = [Replacement((), tuple(text.split("\n")), span[2])]
        dressed = number < _MAX_DRESSED and (span[2] or _DRESSED.search(text))
        for one in readings(plain) if dressed else [plain]:
            child = "\n".join(one[0].replace).rstrip("\n") + "\n"
            left[0] -= len(child)
            if left[0] < 0:
                return found, reason or "the fenced blocks are too long to try"
            try:
                parse(child)
            except SourceError as error:
                reason = reason or f"the fenced block does not parse: {error}"
                continue
            missing = [name for name in _WHOLE if name in parent and name not in child]
            if missing:
                named = missing[0].strip(".(")
                reason = f"the fenced block is not a whole train.py: it never names `{named}`"
                break
            found.append(child)
            spans.append(span)
            break
    return found, reason


def _fenced(
    lines: list[str], fences: Sequence[tuple[int, re.Match[str]]], unclosed: bool
) -> list[tuple[Span, str]]:
    """The texts between an opening fence and a later closing one (or the end), longest first."""
    spans: list[Span] = []
    for index, (start, opening) in enumerate(fences):
        ends = [
            end
            for end, closing in fences[index + 1 :]
            if closing["mark"].startswith(opening["mark"]) and not closing["info"].strip()
        ]
        for end in [len(lines)] if unclosed else ends:
            if end > start + 1:
                spans.append((start, end, opening["prefix"]))
    spans.sort(key=lambda span: span[0] - span[1])
    return [(span, _between(lines, span)) for span in spans[:_MAX_PARSES]]


def _between(lines: list[str], span: Span) -> str:
    body = lines[span[0] + 1 : span[1]]
    if ">" in span[2]:
        body = [re.sub(r"^[ \t]*(?:>[ \t]?)+", "", line) for line in body]
    return "\n".join(body) + "\n"


def _closed(fences: Sequence[tuple[int, re.Match[str]]]) -> list[tuple[int, int]]:
    """The blocks with both fences, in order: the lines of the opening and of the closing one."""
    found, opened = list[tuple[int, int]](), list[tuple[int, str]]()
    for at, fence in fences:
        if not opened:
            opened.append((at, fence["mark"]))
        elif fence["mark"].startswith(opened[0][1]) and not fence["info"].strip():
            found.append((opened.pop()[0], at))
    return found


def _bare(lines: list[str], closed: Sequence[tuple[int, int]]) -> list[tuple[Span, str]]:
    """What may be a file without a fence: from a line that can begin one to the end, or to a blank line.

    Never a part of a block with both fences: that one is whole as it stands, or broken."""

    def free(start: int, end: int) -> bool:
        return all(end <= first or last < start for first, last in closed)

    starts = [at for at, line in enumerate(lines) if _FILE_START.match(line)][:_MAX_STARTS]
    blanks = [at for at, line in enumerate(lines) if not line.strip()]
    ends = [len(lines), *reversed(blanks[-_MAX_STARTS:])]
    spans = sorted(
        (
            (start, end, "")
            for start in starts
            for end in ends
            if end > start + 2 and free(start, end)
        ),
        key=lambda span: span[0] - span[1],
    )
    return [(span, "\n".join(lines[span[0] : span[1]]) + "\n") for span in spans[:_MAX_PARSES]]
