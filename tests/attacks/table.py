"""The attacks as a table: what each file says of itself, and its source with the shared parts put in."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "attacks"
HONEST = "ok at the honest score"
PARTS = {
    "# table": "_table.py",
    "# learner": "_learner.py",
    "# missing names": "_missing_names.py",
}


@dataclass(frozen=True)
class Attack:
    """One attack: what it is after, and how it must end."""

    name: str
    attacks: str
    ends: tuple[str, ...]
    because: str = ""
    also: str = ""
    parameters: int | None = None
    rung: Mapping[str, float] = field(default_factory=dict)
    fresh_roles: bool = False
    final: bool = False
    compiled_ahead: float = 0.0  # seconds, where code is
    slow: bool = False
    ends_in_landlock: tuple[str, ...] = ()  # where something is refused earlier there
    open_in: str = ""  # the box that does not close it, as docs/security.md says

    def source(self, names: Mapping[str, str]) -> str:
        """The train.py, `names` like TARGET_PORT filled in."""
        text = (FOLDER / f"{self.name}.py").read_text()
        for line, part in PARTS.items():
            text = re.sub(
                f"^{line}$", lambda _, part=part: (FOLDER / part).read_text(), text, flags=re.M
            )
        if "# generated\n" in text:
            text += GENERATED[self.name]()
        return re.sub("TARGET_([A-Z]+)", lambda found: names[found[1]], text)


def read_attack(path: Path) -> Attack:
    """What the head of one file says. ValueError when it says nothing."""
    head = dict(re.findall(r"^# ([a-z ]+): (.+)$", path.read_text(), flags=re.M))
    if "attacks" not in head or "must end" not in head:
        raise ValueError(f"{path.name} does not say what it attacks and how it must end")
    changes = (change.split("=") for change in head.get("rung", "").split())
    lines = path.read_text().splitlines()
    return Attack(
        name=path.stem,
        attacks=head["attacks"],
        ends=_ends(head["must end"]),
        because=head.get("because", ""),
        also=head.get("and", ""),
        parameters=int(head["parameters"]) if "parameters" in head else None,
        rung={
            name: (int if name in ("rows", "memory_mb") else float)(value)
            for name, value in changes
        },
        fresh_roles="# fresh roles" in lines,
        final=head.get("purpose") == "final",
        compiled_ahead=float(head.get("compiled ahead", 0)),
        slow="# slow" in lines,
        ends_in_landlock=_ends(head.get("must end in landlock", head["must end"])),
        open_in=head.get("open in", ""),
    )


def _ends(told: str) -> tuple[str, ...]:
    return tuple(end.strip() for end in told.split("|"))


ATTACKS = tuple(read_attack(path) for path in sorted(FOLDER.glob("[a-z]*.py")))

TEXT = (
    "Four score and seven years ago our fathers brought forth, upon this continent, a new nation. "
)
BODY = "\nimport harness\n\nrun = harness.start()\nrun.progress()\nrun.finish(None)\n"


def _pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def _numbers(text: str) -> str:
    return ",".join(str(ord(letter)) for letter in text)


def _fractions(text: str) -> str:
    return ", ".join(f"0.{int.from_bytes(piece.encode())}" for piece in _pieces(text, 6))


def _words(text: str) -> str:
    names = (re.sub("[^a-z]", "_", piece.lower()) for piece in _pieces(text, 60))
    return "".join(f"def {name}_{number}(): ...\n" for number, name in enumerate(names))


LONG = "".join(f"{number} {TEXT}" for number in range(400))  # 37 thousand characters
PACKED = base64.b85encode(zlib.compress(bytes(range(256)) * 64 + LONG.encode()[::-1], 0)).decode()

BITS = "".join(f"{letter:08b}" for letter in LONG.encode())
BLANKS = BITS.replace("0", " ").replace("1", "\t")
DIGITS = "".join(f"{letter:03d}" for letter in LONG.encode())


def _runs(text: str) -> str:
    """Letters as numbers of empty lines."""
    return "".join("x = 0\n" + "\n" * (ord(letter) - 31) for letter in text)


GENERATED = {
    "pastes_text": lambda: f"text = {LONG!r}{BODY}",
    "pastes_text_in_pieces": lambda: f"text = {_pieces(LONG, 1000)!r}{BODY}",
    "pastes_compressed_text": lambda: f"text = {PACKED!r}{BODY}",
    "pastes_text_as_numbers": lambda: f"text = [{_numbers(LONG[:18_000])}]{BODY}",
    "pastes_text_as_fractions": lambda: f"text = [{_fractions(LONG[:20_000])}]{BODY}",
    "pastes_text_as_a_comment": lambda: (
        "".join(f"# {piece}\n" for piece in _pieces(LONG, 90))
        + f"text = open(__file__).read(){BODY}"
    ),
    "pastes_text_as_names": lambda: f"{_words(LONG)}text = open(__file__).read(){BODY}",
    "pastes_text_as_blanks": lambda: (
        "".join(f"x = 0{piece}\n" for piece in _pieces(BLANKS[:60_000], 200)) + BODY
    ),
    "pastes_text_as_empty_lines": lambda: _runs(LONG[:1_200]) + BODY,
    "pastes_text_as_tabs_and_spaces": lambda: (
        "".join(f"x ={piece}0;" for piece in _pieces(BLANKS[:60_000], 80)) + BODY
    ),
    "pastes_text_as_long_fractions": lambda: (
        "".join(f"x = 0.{piece}\n" for piece in _pieces(DIGITS[:60_000], 1_500)) + BODY
    ),
    "hangs_merges_with_empty_lines": lambda: (
        "def f():\n    x = 1" + "\n" * 80_000 + "    return x" + BODY
    ),
    "hangs_merges_with_nameless_blocks": lambda: "if x: y\n" * 9_000 + BODY,
    "hangs_the_parser_with_one_string": lambda: f"x = f'{'{x}' * 20_000}'{BODY}",
    "nests_attributes": lambda: f"x{'.a' * 450}{BODY}",
    "nests_additions": lambda: f"x = 1{' + 1' * 450}{BODY}",
    "nests_branches": lambda: "if 1: pass\n" + "elif 1: pass\n" * 450 + BODY,
    "nests_calls": lambda: f"def f(): return f\n\n\nf{'()' * 40_000}{BODY}",
    "nests_powers": lambda: f"x = 1{'**1' * 5_000}{BODY}",
    "fills_the_source": lambda: "x = x\n" * 40_000 + BODY,
}
