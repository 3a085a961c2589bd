"""Read the edits of a reply: SEARCH/REPLACE blocks in any markers, tags, labelled fences, or a diff."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from population.file_set import head_of, path_in

MAX_EDITS = 200  # of one reply
_SEARCH_WORD = r"SEARCH|ORIGINAL|HEAD|OLD|BEFORE|FIND|CURRENT|EXISTING|OURS|LOCAL"
_REPLACE_WORD = r"REPLACE|REPLACEMENT|UPDATED?|NEW|AFTER|WITH|MODIFIED|CHANGED|THEIRS|REMOTE|END"
# `> ` of a quotation, the indentation of a list; then, before a marker, a bullet or stars
_PREFIX = r"(?P<prefix>(?:[ \t]{0,8}>[ \t])*[ \t]*)"
_BULLET = r"(?:(?:[-*+]|\d{1,3}[.)])[ \t]{1,4})?[*`]{0,3}"
_OPEN = re.compile(
    rf"{_PREFIX}{_BULLET}(?:<{{5,12}}(?![<\w]*>)|<{{3,4}}(?=[ \t]?[\[(]?(?:{_SEARCH_WORD})\b))"
    rf"[ \t]?(?P<rest>[^\n]{{0,100}})$",
    re.IGNORECASE,
)
_REPLACE_OPEN = re.compile(rf"[\[(]?(?:{_REPLACE_WORD})\b", re.IGNORECASE)
_DIVIDER = re.compile(
    rf"(?:[ \t]{{0,8}}>[ \t])*[ \t]*[*`]{{0,3}}(?:={{5,12}}>?|={{3,4}}(?=[ \t]?(?:{_REPLACE_WORD})\b)|={{4}}$)"
    rf"[ \t]*(?:(?:{_REPLACE_WORD})\b[ \t:]*(?:WITH)?)?[ \t:*`]{{0,4}}$",
    re.IGNORECASE,
)
_DASHES = re.compile(r"(?:[ \t]{0,8}>[ \t])*[ \t]*(?:-{5,12}|~{5,12})[ \t]*$")
_CLOSE = re.compile(
    rf"(?:[ \t]{{0,8}}>[ \t])*[ \t]*[*`]{{0,3}}(?:>{{5,12}}|>{{3,4}}(?=[ \t]?[\[(]?(?:{_REPLACE_WORD})\b))"
    rf"(?P<rest>[^\n]{{0,100}})$",
    re.IGNORECASE,
)
_BASE = re.compile(r"[ \t]*\|{5,12}(?:[ \t].{0,80})?$")
_FENCE = re.compile(r"(?P<prefix>[ \t>]{0,40})(?P<mark>`{3,}|~{3,})(?P<info>[^`\n]*)$")
_ALIKE_MARKS = str.maketrans(
    {"＜": "<", "＞": ">", "＝": "=", "‹": "<", "›": ">", "«": "<<", "»": ">>"}
)
_TAGS = (
    ("search", "replace"),
    ("find", "replace"),
    ("old", "new"),
    ("original", "updated"),
    ("original", "replacement"),
    ("before", "after"),
    ("old_str", "new_str"),
    ("old_string", "new_string"),
    ("old_text", "new_text"),
    ("old_code", "new_code"),
)
_THING = r"(?:[ \t](?:CODE|TEXT|LINES?|BLOCK|VERSION|THIS|WITH))?"


def _label(words: str) -> re.Pattern[str]:
    before, after = r"[ \t#*_>`-]{0,12}(?:\d{1,2}[.)][ \t])?", r"[ \t*_`]{0,6}:?[ \t*_`]{0,6}$"
    return re.compile(f"{before}(?:{words}){_THING}{after}", re.IGNORECASE)


_SEARCH_LABEL, _REPLACE_LABEL = _label(_SEARCH_WORD), _label(_REPLACE_WORD)
# whether it is worth a look at every line
_MARKS = re.compile(r"[<＜]{3}|[‹«]{2}")
_LABELS = re.compile(
    rf"^[ \t#*_>`-]{{0,12}}(?:\d{{1,2}}[.)][ \t])?(?:{_SEARCH_WORD})\b",
    re.IGNORECASE | re.MULTILINE,
)
_DIFF = re.compile(
    r"^(?:@@|\+\+\+ |[ \t>]{0,40}(?:`{3,}|~{3,})[ \t]{0,9}(?:u?diff|patch))", re.MULTILINE
)
_FILE_NAMED = re.compile(r"[ \t*#`]{0,8}FILE[ \t*`]{0,4}:?[ \t*`]{1,4}([^\s*`]+)[ \t*`]{0,4}:?$")
_HUNK = re.compile(r"@@(?:[ \t].{0,200})?$|@@ .{0,200}@@.{0,200}$")
_DIFF_END = re.compile(r"(?:diff --git |\*\*\* |index [0-9a-f]{6,}|Index: )")


class EditError(ValueError):
    """The reply gives no new source; the message is one sentence for the model and for people."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Lines to find and the lines to put there; `indent` is what stood before their markers."""

    search: tuple[str, ...]
    replace: tuple[str, ...]
    indent: str = ""
    in_diff: bool = False  # the first letter of a line said what becomes of it


_COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
_SHELL = re.compile(
    r"[ \t]{0,40}(?:\$ )?(?:cat|tee|patch|git apply|apply_patch)\b[^\n]{0,200}<<-?[ \t]?"
    r"(?P<quote>['\"]?)(?P<word>\w{1,40})(?P=quote)[^\n]{0,80}$"
)
_WORDY = re.compile(r"[A-Za-z]{3}")
_EDITOR = re.compile(r"^([ \t>]{0,40})-{5,12}(?=[ \t]?SEARCH\b)", re.MULTILINE)
_EDITOR_END = re.compile(r"^([ \t>]{0,40})\+{5,12}(?=[ \t]?REPLACE\b)", re.MULTILINE)
_PARAMETER = re.compile(
    r"<(?P<tag>parameter|param|argument|arg)(?:=|[ \t]name=)(?P<quote>[\"']?)(?P<name>\w{1,40})(?P=quote)>"
)


def plain_lines(reply: str) -> str:
    """The reply without colours and a shell's words around a file, each marker on a line of its own."""
    if "\x1b" in reply:
        reply = _COLOUR.sub("", reply)
    if _EDITOR.search(reply) and _EDITOR_END.search(reply):
        reply = _EDITOR_END.sub(r"\1>>>>>>>", _EDITOR.sub(r"\1<<<<<<<", reply))
    lines, word = list[str](), ""
    for line in reply.split("\n"):
        shell = None if word or "<<" not in line else _SHELL.match(line)
        if shell is not None:
            word = shell["word"]
        elif word and line.strip() == word:
            word = ""
        else:
            lines += _markers_apart(line) if "<<<<<" in line else [line]
    return "\n".join(lines) if not word else reply


def _markers_apart(line: str) -> list[str]:
    """A line in two where a block begins behind words, or behind the end of another."""
    at = line.index("<<<<<")
    head, marker = line[:at].rstrip(), line[at:]
    if not _OPEN.match(marker.rstrip()) or not (_CLOSE.match(head) or _WORDY.search(head)):
        return [line]
    return [head, marker]


Block = tuple[
    Replacement, ...
]  # what a block may say: more than one where its divider is not plain


def read_blocks(reply: str, files: bool = False) -> list[Block]:
    """The edits of a reply with LF line ends, each once; [] where there are none. EditError for a torn one.

    `files`: a line above a block may name the file that it is about.
    """
    lines = reply.split("\n")
    found = _marked(lines, files) if _MARKS.search(reply) else []
    found = found or _tagged(reply)
    found = found or (_labelled(lines) if _LABELS.search(reply) else [])
    found = found or (_hunks(lines) if _DIFF.search(reply) else [])
    return list(dict.fromkeys(found))[:MAX_EDITS]


def _marked(lines: list[str], files: bool) -> list[Block]:
    """The blocks between lines of `<` and `>`."""
    found, at = list[Block](), 0
    while at < len(lines):
        opening = _OPEN.match(lines[at].translate(_ALIKE_MARKS).rstrip())
        if opening is None:
            at += 1
            continue
        end = _end_of_block(lines, at, len(found) + 1)
        block = _block(lines[at + 1 : end], opening["prefix"], len(found) + 1)
        found.append(_in_file(_file_above(lines, at), block) if files else block)
        at = end + 1
    return found


def _file_above(lines: list[str], at: int) -> str | None:
    """The file that is named right above a block."""
    for line in reversed(lines[max(at - 3, 0) : at]):
        if not line.strip() or _FENCE.match(line):
            continue
        named = _FILE_NAMED.match(line)
        return named[1] if named else path_in(line)
    return None


def _in_file(path: str | None, block: Block) -> Block:
    """The block with the line above its file before its own lines."""
    if path is None or any(one.search and path_in(one.search[0]) for one in block):
        return block
    head = (head_of(path),)
    return tuple(
        replace(one, search=(*head, *one.search), replace=(*head, *one.replace)) for one in block
    )


def _end_of_block(lines: list[str], start: int, number: int) -> int:
    """Where the block that begins at a line ends. A half of its own for each part is one block too."""
    divided = False
    for at in range(start + 1, len(lines)):
        line = lines[at].translate(_ALIKE_MARKS).rstrip()
        opening, closing = _OPEN.match(line), _CLOSE.match(line)
        if opening is not None:
            if divided or not _REPLACE_OPEN.match(opening["rest"]):
                break
            divided = True
        elif closing is not None:
            if divided or not _next_is_replace(lines, at):
                return _checked(divided, at, number)
        elif _DIVIDER.match(line) or _DASHES.match(line):
            divided = True
    raise _torn(number, "`>>>>>>> REPLACE`" if divided else "`=======`")


def _checked(divided: bool, at: int, number: int) -> int:
    if not divided:
        raise _torn(number, "`=======`")
    return at


def _next_is_replace(lines: list[str], at: int) -> bool:
    """Whether the next full line opens the other half of a block."""
    for line in lines[at + 1 : at + 4]:
        if line.strip():
            opening = _OPEN.match(line.translate(_ALIKE_MARKS).rstrip())
            return opening is not None and bool(_REPLACE_OPEN.match(opening["rest"]))
    return False


def _torn(number: int, missing: str) -> EditError:
    return EditError(f"SEARCH/REPLACE block {number} is not finished: no {missing} line")


def _block(body: list[str], prefix: str, number: int) -> Block:
    """What a block's lines may say, for each line that may be its divider."""
    marks = [line.translate(_ALIKE_MARKS).rstrip() for line in body]
    if ">" in prefix:
        body = [re.sub(r"^(?:[ \t]{0,8}>[ \t]?)+", "", line) for line in body]
        prefix = ""
    halves = [at for at, line in enumerate(marks) if _OPEN.match(line)]
    if halves:  # <<<<<<< SEARCH ... (>>>>>>> SEARCH) <<<<<<< REPLACE ... >>>>>>> REPLACE
        end = next((at for at, line in enumerate(marks) if _CLOSE.match(line)), halves[0])
        end = next((at for at in range(end) if _DIVIDER.match(marks[at])), end)
        return (Replacement(tuple(body[:end]), tuple(body[halves[0] + 1 :]), prefix),)
    dividers = [at for at, line in enumerate(marks) if _DIVIDER.match(line)]
    dividers = dividers or [at for at, line in enumerate(marks) if _DASHES.match(line)]
    if not dividers:
        raise _torn(number, "`=======`")
    base = next((at for at in range(dividers[0]) if _BASE.match(marks[at])), None)
    return tuple(
        Replacement(tuple(body[: at if base is None else base]), tuple(body[at + 1 :]), prefix)
        for at in dividers[:8]
    )


# -- tags and labels ---------------------------


def _tagged(reply: str) -> list[Block]:
    """`<search>...</search><replace>...</replace>`, by their usual names."""
    reply = _with_tags(reply)
    lowered = reply.lower()
    if len(lowered) != len(reply):
        return []
    for old, new in _TAGS:
        found, at = list[Block](), 0
        while len(found) < MAX_EDITS:
            search, end = _between(reply, lowered, old, at)
            replace, after = _between(reply, lowered, new, end) if search is not None else (None, 0)
            if search is None or replace is None:
                break
            found.append((Replacement(search, replace),))
            at = after
        if found:
            if lowered.find(f"<{old}>", at) >= 0:
                raise EditError(
                    f"<{old}> number {len(found) + 1} has no </{old}> and <{new}> after it"
                )
            return found
    return []


def _with_tags(reply: str) -> str:
    """A tool call's `<parameter name="search">...</parameter>` as `<search>...</search>`."""
    parts, at = list[str](), 0
    for opening in _PARAMETER.finditer(reply):
        close = f"</{opening['tag']}>"
        end = reply.find(close, opening.end())
        if opening.start() < at or end < 0 or len(parts) > 8 * MAX_EDITS:
            continue
        name = opening["name"]
        inside = reply[opening.end() : end]
        parts += [reply[at : opening.start()], f"<{name}>{inside}</{name}>"]
        at = end + len(close)
    return "".join([*parts, reply[at:]])


def _between(reply: str, lowered: str, tag: str, at: int) -> tuple[tuple[str, ...] | None, int]:
    start = lowered.find(f"<{tag}>", at)
    end = lowered.find(f"</{tag}>", start) if start >= 0 else -1
    if end < 0:
        return None, at
    text = reply[start + len(tag) + 2 : end]
    text = (
        text.strip().removeprefix("<![CDATA[").removesuffix("]]>") if "<![CDATA[" in text else text
    )
    if text.startswith("\n"):
        text = text[1:]
        text = text.rpartition("\n")[0] if not text.rpartition("\n")[2].strip() else text
    return tuple(text.split("\n")), end + len(tag) + 3


def _labelled(lines: list[str]) -> list[Block]:
    """A fence after a line such as `SEARCH:`, and one after a line such as `REPLACE:`."""
    found, at, tried = list[Block](), 0, 0
    while at < len(lines) and tried < MAX_EDITS:
        if not _SEARCH_LABEL.match(lines[at]):
            at += 1
            continue
        tried += 1
        search, end = _fence_after(lines, at)
        if search is None:
            at += 1
            continue
        label = next((k for k in range(end, min(end + 4, len(lines))) if lines[k].strip()), end)
        replace = None
        if label < len(lines) and _REPLACE_LABEL.match(lines[label]):
            replace, end = _fence_after(lines, label)
        if replace is None:
            at += 1
            continue
        found.append((Replacement(search, replace),))
        at = end
    return found


def _fence_after(lines: list[str], label: int) -> tuple[tuple[str, ...] | None, int]:
    """The fenced lines after a label, and where they end."""
    start = next(
        (k for k in range(label + 1, min(label + 4, len(lines))) if lines[k].strip()), None
    )
    opening = _FENCE.match(lines[start]) if start is not None else None
    if start is None or opening is None:
        return None, label
    for end in range(start + 1, len(lines)):
        closing = _FENCE.match(lines[end])
        if closing and not closing["info"].strip() and closing["mark"].startswith(opening["mark"]):
            return tuple(lines[start + 1 : end]), end + 1
    return None, label


# -- diffs ---------------------------


def _hunks(lines: list[str]) -> list[Block]:
    """The hunks of a unified diff, or of a patch without line numbers; what its numbers say is not believed."""
    found = list[Block]()
    for hunk in _hunk_lines(lines):
        while hunk and not hunk[-1].strip():
            hunk.pop()
        if any(line[:1] in ("+", "-") for line in hunk):
            found.append((_hunk(hunk, True), _hunk(hunk, False)))
    return found


def _hunk(lines: list[str], marked: bool) -> Replacement:
    """A hunk as an edit; `marked`: a line that stays begins with a blank that is not the file's."""
    search, replace = list[str](), list[str]()
    for line in lines:
        stays = line[1:] if marked and line.startswith(" ") else line
        if line.startswith("\\"):  # \ No newline at end of file
            continue
        if not line.startswith("+"):
            search.append(line[1:] if line.startswith("-") else stays)
        if not line.startswith("-"):
            replace.append(line[1:] if line.startswith("+") else stays)
    return Replacement(tuple(search), tuple(replace), in_diff=True)


def _hunk_lines(lines: list[str]) -> Iterator[list[str]]:
    hunk: list[str] | None = None
    fenced = False
    for at, line in enumerate(lines):
        fence = _FENCE.match(line)
        heads = (
            line.startswith("--- ") and lines[at + 1 : at + 2] and lines[at + 1].startswith("+++ ")
        )
        if fence or heads or _HUNK.match(line) or _DIFF_END.match(line):
            if hunk:
                yield hunk
            if fence:
                fenced = not fenced if not fence["info"].strip() else True
                is_diff = fence["info"].strip().lower().startswith(("diff", "patch", "udiff"))
                hunk = [] if fenced and is_diff else None
            else:
                hunk = [] if _HUNK.match(line) else None
        elif line.startswith("+++ ") and at and lines[at - 1].startswith("--- "):
            hunk = []
        elif hunk is not None:
            if fenced or line[:1] in (" ", "+", "-", "\\", ""):
                hunk.append(line)
            else:
                if hunk:
                    yield hunk
                hunk = None
    if hunk:
        yield hunk
