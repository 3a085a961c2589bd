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
PARTS = {"# table": "_table.py", "# learner": "_learner.py"}


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
    slow: bool = False

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
        ends=tuple(end.strip() for end in head["must end"].split("|")),
        because=head.get("because", ""),
        also=head.get("and", ""),
        parameters=int(head["parameters"]) if "parameters" in head else None,
        rung={
            name: (int if name in ("rows", "memory_mb") else float)(value)
            for name, value in changes
        },
        fresh_roles="# fresh roles" in lines,
        final=head.get("purpose") == "final",
        slow="# slow" in lines,
    )


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
    "fills_the_source": lambda: "x = x\n" * 40_000 + BODY,
}
