"""Text on its way to a terminal. What came from a variant is shown as it is read, never obeyed."""

from __future__ import annotations

import re

from rich.text import Text

from population.variant import MAX_TEXT_CHARS

LONGEST = MAX_TEXT_CHARS
_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links: OSC up to its end
    r"|\x1b[P^_X][^\x1b]*(?:\x1b\\)?"  # DCS, PM, APC, SOS
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]?"  # CSI and two-character escapes
)

_COMMANDS = re.compile(
    r"(`evo (?!run|init|doctor|list|calibrate|bench)(?:(?!--dir|`| --set).)*)((?: --set[^`]*)?`)"
)


def plain(text: str) -> str:
    """One printable line: terminal escapes, control and direction marks gone, blanks united."""
    shown = "".join(letter if letter.isprintable() else " " for letter in _ESCAPES.sub("", text))
    return " ".join(shown[:LONGEST].split())


def printable(text: str) -> str:
    """Source or log with its line breaks and tabs, and nothing else that could steer a terminal."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "�"
        for letter in text.replace("\r\n", "\n")
    )


def words(text: str, style: str = "") -> Text:
    """Foreign text for rich: one plain line in which markup is not read."""
    return Text(plain(text), style=style, no_wrap=False)


def placed(text: str, where: str) -> str:
    """The same text with `where` (" --dir FOLDER") in every `evo ...` that is named in it."""
    return _COMMANDS.sub(lambda found: f"{found[1]}{where}{found[2]}", text) if where else text


def short(variant_id: str) -> str:
    """The id as shown: enough digits for a prefix."""
    return variant_id[:8]


def clip(text: str, most: int) -> str:
    """A plain line, shortened to `most` characters."""
    line = plain(text)
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
