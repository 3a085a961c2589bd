"""A JSON answer, however a model dressed it, as the IDEA line and the edits that operators read.

Lenient in reading, strict in meaning: a string ends where JSON can go on after it, so that quotes and line
breaks that were not escaped do no harm; an answer that breaks off, or that could mean two things, is left as
it is. Every character is read a bounded number of times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from operators.llm.answer import one_line
from operators.source.expressions import place_in
from population.types import MAX_TEXT_CHARS

MAX_DEPTH = 12
MAX_VALUES = 60  # JSON values looked at in one reply
MAX_NUMBERS = 9  # of ideas that one answer joins
_EDITS = "edits edit changes change replacements patches diffs modifications blocks operations"
_SEARCH = (
    "search old find original before old_str old_string old_text old_code old_lines "
    "old_content original_lines original_text original_code search_text search_lines search_block from"
)
_REPLACE = (
    "replace new replacement updated after new_str new_string new_text new_code new_lines new_content "
    "updated_lines updated_text updated_code replacement_text replace_text replace_lines replace_block "
    "replace_with to"
)
_FILE = "file new_file whole_file full_file code source content train.py train_py"
_IDEA = "idea hypothesis summary description title"
_NUMBER = "idea_numbers idea_number idea_no idea_id idea_ids number numbers"
_LINE, _VALUE = "line", "value new_value expression"
_WRAPPERS = "answer result response output arguments parameters input json object text"
_KEYS = {
    near: key
    for key, names in {
        "edits": _EDITS,
        "search": _SEARCH,
        "replace": _REPLACE,
        "file": _FILE,
        "idea": _IDEA,
        "idea_numbers": _NUMBER,
        "line": _LINE,
        "value": _VALUE,
        "wrapper": _WRAPPERS,
    }.items()
    for near in names.split()
}
_OPENING_QUOTES = "\"'`“”"
_START = re.compile(
    rf"\{{\s{{0,200}}[{_OPENING_QUOTES}]?({'|'.join(map(re.escape, _KEYS))}|name|type|role)"
    rf"[{_OPENING_QUOTES}]?\s{{0,40}}:",
    re.IGNORECASE,
)
_LIST = re.compile(r"\[\s{0,200}\Z")
_BEFORE = 210  # characters looked at before the first object
_BARE = re.compile(r"[A-Za-z_][\w.-]{0,60}|[-+]?\d[\d.eE+-]{0,40}")
_BLANK = re.compile(r"(?:\s+|//[^\n]{0,400}|/\*(?:(?!\*/).){0,2000}\*/)+", re.DOTALL)
_WORDS = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
    "None": None,
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_FILE_NAME = re.compile(r"[\w./-]{1,80}\.py\Z")
_MARKER = re.compile(r"^[ \t>]{0,40}<{5,12}", re.MULTILINE)


class _NotJson(ValueError):
    """No JSON value stands there, or it breaks off."""


class _Unclear(ValueError):
    """It is no answer of the form asked for, or could mean two things."""


def plain_answer(text: str) -> str:
    """The answer as an IDEA line and blocks or a file, where it is JSON; else the text as it is."""
    whole = _decoded_string(text)
    if whole is not None:
        text = whole
    values, rest = _values(text)
    if not values or _MARKER.search(rest):
        return text
    try:
        answer = _answer(values[0] if len(values) == 1 else _joined(values))
    except _Unclear:
        return text
    return answer


def _decoded_string(text: str) -> str | None:
    """The whole reply, where it is one JSON string."""
    stripped = text.strip()
    if not (stripped.startswith('"') and stripped.endswith('"')):
        return None
    try:
        said = json.loads(stripped, strict=False)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, str) else None


def _values(text: str) -> tuple[list[object], str]:
    """The JSON values of a text that may belong to an answer, and the text around them."""
    found, rest, at = list[object](), list[str](), 0
    for _ in range(MAX_VALUES):
        start = _START.search(text, at)
        if start is None:
            break
        begin = start.start()
        before = _LIST.search(text[max(at, begin - _BEFORE) : begin])
        if before is not None:
            begin = max(at, begin - _BEFORE) + before.start()
        try:
            value, end = _read(text, begin)
        except _NotJson:
            return [], text
        found.append(value)
        rest.append(text[at:begin])
        at = end
    return found, "".join([*rest, text[at:]])


def _read(text: str, at: int) -> tuple[object, int]:
    """The value at a place and where it ends: strictly if it can be, else leniently."""
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_object)
    try:
        value, end = decoder.raw_decode(text, at)
    except (ValueError, RecursionError):
        reader = Lenient(text, at)
        value, end = reader.value(0), reader.at
    return value, end


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    said: dict[str, object] = {}
    for key, value in pairs:
        if key in said and said[key] != value:
            raise ValueError(f"two values for {key}")
        said[key] = value
    return said


# -- meaning ---------------------------


def _joined(values: Sequence[object]) -> object:
    """Several values one after the other: edits a line each, with an object for the idea at most."""
    distinct = [one for at, one in enumerate(values) if one not in values[:at]]
    if len(distinct) == 1:
        return distinct[0]
    edits, idea = list[object](), dict[str, object]()
    for one in distinct:
        known = _known(one) if isinstance(one, dict) else {}
        if isinstance(one, dict) and _is_edit(one):
            edits.append(one)
        elif known and set(known) <= {"idea", "idea_numbers"} and not idea:
            idea = known
        else:
            raise _Unclear
    return {**idea, "edits": edits}


def _known(said: Mapping[str, object]) -> dict[str, object]:
    """An object's fields under the names asked for; a near name counts where the right one is missing."""
    found: dict[str, object] = {}
    near: dict[str, object] = {}
    for key, value in said.items():
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip()).lower()
        name = name.replace("-", "_").replace(" ", "_")
        meaning = _KEYS.get(name)
        if meaning is None:
            continue
        if meaning == name:
            found[meaning] = value
        elif meaning not in near:
            near[meaning] = value
        elif near[meaning] != value and meaning in ("edits", "search", "replace"):
            raise _Unclear
    if "file" in near and _FILE_NAME.match(str(found.get("file"))):
        del found["file"]  # {"file": "train.py", "content": ...}
    return {**near, **found}


def _answer(said: object) -> str:
    """The text of an answer in JSON."""
    for _ in range(MAX_DEPTH):
        inner = _unwrapped(said)
        if inner is said:
            break
        said = inner
    if isinstance(said, str):
        return said
    if not isinstance(said, dict):
        raise _Unclear
    fields = _known(said)
    idea, named = fields.get("idea", ""), _numbers(fields.get("idea_numbers"))
    lines = [f"IDEA{named}: {one_line(_text(idea) if idea else '', MAX_TEXT_CHARS)}"]
    edits = _edits(fields)
    for edit in edits:
        lines += [edit] if isinstance(edit, str) else _block(*edit)
    file = fields.get("file")
    if not edits and file:
        lines += ["````````python", _text(file).rstrip("\n"), "````````"]
    if len(lines) == 1 and not {"edits", "file"} & set(fields):
        raise _Unclear
    return "\n".join(lines)


def _unwrapped(said: object) -> object:
    """What stands inside a list of one, a wrapper such as `arguments`, or text in parts."""
    if isinstance(said, list):
        if said and all(isinstance(one, dict) and "text" in one for one in said):
            return _unwrapped("".join(_text(one["text"]) for one in said))
        if len(said) == 1 and not (isinstance(said[0], dict) and _is_edit(said[0])):
            return said[0]
        return {"edits": said}
    if isinstance(said, str):
        text = plain_answer(said) if said.lstrip()[:1] in ("{", "[") else said
        return said if text == said else text
    if isinstance(said, dict):
        fields = _known(said)
        if "wrapper" in fields and not {"edits", "search", "line", "file"} & set(fields):
            return fields["wrapper"]
        if _is_edit(said) and "edits" not in fields:
            return {**{k: v for k, v in fields.items() if k.startswith("idea")}, "edits": [said]}
    return said


def _numbers(said: object) -> str:
    """The numbers of the ideas that an answer tries, as its IDEA line has them; "" for none."""
    every = said if isinstance(said, list) else [said]
    numbers = [int(one) if isinstance(one, str) and one.isdecimal() else one for one in every]
    named = [str(one) for one in numbers if type(one) is int and 0 < one < 10**9]
    return f" {', '.join(named[:MAX_NUMBERS])}" if named else ""


def _is_edit(said: Mapping[str, object]) -> bool:
    known = set(_known(said))
    return {"search", "replace"} <= known or {"line", "value"} <= known


def _pair(edit: Mapping[str, object]) -> tuple[str, str]:
    """What an edit looks for, and what stands there afterwards."""
    known = _known(edit)
    if "search" in known:
        return _text(known["search"]), _text(known["replace"])
    line, value = _text(known["line"]), _text(known["value"])
    place = place_in(line)
    if place is None:
        raise _Unclear
    said_whole = place.start and value.lstrip().startswith(line[: place.start].strip())
    return line, value if said_whole else place.filled(value)


def _edits(fields: Mapping[str, object]) -> list[str | tuple[str, str]]:
    edits = fields.get("edits")
    if edits is None or edits == "":
        return []
    if isinstance(edits, str):
        inner = _decoded(edits)
        if inner is None:
            return [edits]
        edits = inner
    if isinstance(edits, dict):
        if not _is_edit(edits):  # from old text to new text
            return [(old, _text(new)) for old, new in edits.items()]
        edits = [edits]
    if not isinstance(edits, list):
        raise _Unclear
    if edits and all(isinstance(one, str) for one in edits):
        return ["\n".join(edits)]
    found = list[str | tuple[str, str]]()
    for edit in edits:
        if not isinstance(edit, dict) or not _is_edit(edit):
            raise _Unclear
        found.append(_pair(edit))
    return found


def _decoded(text: str) -> object:
    """A list or an object that was written as text; None: it is no such text."""
    try:
        said = json.loads(text, strict=False) if text.lstrip()[:1] in ("[", "{") else None
    except (ValueError, RecursionError):
        return None
    return said


def _text(said: object) -> str:
    """A text, also as a list of its lines or parts."""
    if isinstance(said, str):
        return said
    if isinstance(said, list) and all(isinstance(one, str) for one in said):
        return "\n".join(one.rstrip("\n") for one in said)
    raise _Unclear


def _block(old: str, new: str) -> list[str]:
    new = new.rstrip("\n")
    return [
        "<<<<<<< SEARCH",
        old.rstrip("\n"),
        "=======",
        *([new] if new else []),
        ">>>>>>> REPLACE",
    ]


# -- lenient reading ---------------------------


class Lenient:
    """Reads one value; `at` is how far it has come. Raises _NotJson."""

    def __init__(self, text: str, at: int) -> None:
        self._text, self.at = text, at
        self._in_list = False  # the innermost container is a list

    def value(self, depth: int) -> object:
        """The value that begins here, inside `depth` others."""
        self.at = self._skip(self.at)
        sign = self._text[self.at : self.at + 1]
        if depth > MAX_DEPTH or not sign:
            raise _NotJson
        if sign == "{":
            return self._members(depth)
        if sign == "[":
            return self._items(depth)
        if sign in _OPENING_QUOTES:
            return self._string(self._ends_value, depth)
        word = _BARE.match(self._text, self.at)
        if word is None:
            raise _NotJson
        self.at = word.end()
        return _WORDS[word[0]] if word[0] in _WORDS else _number(word[0])

    def _members(self, depth: int) -> dict[str, object]:
        pairs = list[tuple[str, object]]()
        self.at += 1
        while True:
            self._in_list = False
            self.at = self._skip(self.at)
            sign = self._text[self.at : self.at + 1]
            if sign == "}":
                self.at += 1
                return self._checked(pairs)
            if not sign and depth == 0 and pairs and isinstance(pairs[-1][1], list):
                return self._checked(pairs)  # only its last brace is missing
            if sign == "," and pairs:
                self.at += 1
                continue
            pairs.append((self._key(), self._after_colon(depth)))

    def _checked(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        try:
            return _object(pairs)
        except ValueError:
            raise _NotJson from None

    def _key(self) -> str:
        if self._text[self.at] in _OPENING_QUOTES:
            return self._string(self._ends_key, 0)
        word = _BARE.match(self._text, self.at)
        if word is None:
            raise _NotJson
        self.at = word.end()
        return word[0]

    def _after_colon(self, depth: int) -> object:
        self.at = self._skip(self.at)
        if self._text[self.at : self.at + 1] != ":":
            raise _NotJson
        self.at += 1
        return self.value(depth + 1)

    def _items(self, depth: int) -> list[object]:
        items = list[object]()
        self.at += 1
        while True:
            self.at = self._skip(self.at)
            sign = self._text[self.at : self.at + 1]
            if sign == "]":
                self.at += 1
                return items
            if sign == "," and items:
                self.at += 1
                continue
            self._in_list = True
            items.append(self.value(depth + 1))

    def _string(self, ends: Callable[[int], bool], depth: int) -> str:
        """A string in any quotes; one of these quotes ends it only where JSON can go on after it."""
        text, quote = self._text, self._text[self.at]
        if quote * 3 == text[self.at : self.at + 3]:
            end = text.find(quote * 3, self.at + 3)
            if end < 0:
                raise _NotJson
            inner, self.at = text[self.at + 3 : end], end + 3
            return _unescaped(inner.removeprefix("\n"))
        closing = "”“" if quote in "“”" else quote
        begin = at = self.at + 1
        while at < len(text):
            sign = text[at]
            if sign == "\\":
                at += 2
                continue
            if sign in closing and ends(at + 1):
                self.at = at + 1
                return _unescaped(text[begin:at])
            at += 1
        raise _NotJson

    def _ends_key(self, at: int) -> bool:
        return self._sign(at) == ":"

    def _ends_value(self, at: int) -> bool:
        """Whether a value may end before this place: a key, another value or the end comes next."""
        at = self._skip_blanks(at)
        sign = self._text[at : at + 1]
        if sign == "":
            return True
        if sign == ",":
            after = self._skip(at + 1)
            return self._text[after : after + 1] in ("{", "]", "}") or self._is_next(after)
        if sign not in "}]":
            return sign == "/" and self._text[at : at + 2] in ("//", "/*")
        after = self._skip_blanks(at + 1)
        following = self._text[after : after + 1]
        if following != ",":
            return following in ("", "}", "]", "`", "/") or self._text[at + 1 : at + 2] == "\n"
        after = self._skip(after + 1)
        return self._text[after : after + 1] in ("{", "]", "}", "") or self._is_next(after)

    def _is_next(self, at: int) -> bool:
        """Whether a known key with its colon, or a line of a list, stands here."""
        word = _NEXT_KEY.match(self._text, at)
        if word is not None and word["colon"]:
            return word["name"].lower() in _KEYS
        # an item of a list of lines, each on a line of its own
        line = self._text.rfind("\n", max(0, at - 80), at) + 1
        return (
            self._in_list
            and line > 0
            and not self._text[line:at].strip()
            and self._text[at : at + 1] in _OPENING_QUOTES
        )

    def _sign(self, at: int) -> str:
        at = self._skip(at)
        return self._text[at : at + 1]

    def _skip(self, at: int) -> int:
        blank = _BLANK.match(self._text, at)
        return blank.end() if blank else at

    def _skip_blanks(self, at: int) -> int:
        while self._text[at : at + 1].isspace():
            at += 1
        return at


_NEXT_KEY = re.compile(
    rf"[{_OPENING_QUOTES}]?(?P<name>[A-Za-z][\w.-]{{0,40}})[{_OPENING_QUOTES}]?\s{{0,40}}(?P<colon>:)?"
)


def _number(word: str) -> object:
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word)
    except ValueError:
        raise _NotJson from None


def _unescaped(text: str) -> str:
    """A string's text; a backslash that begins no escape of JSON stays, as in code."""

    def decoded(found: re.Match[str]) -> str:
        sign = found[1]
        if sign[0] == "u":
            return chr(int(sign[1:], 16))
        return _ESCAPES.get(sign, sign)

    text = re.sub(r"\\(u[0-9a-fA-F]{4}|[ntrbf\"'`/\\])", decoded, text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
