"""The user's own papers and notes as passages, found by full-text search (SQLite FTS5).

The index is one file; it is made anew when a file of the folder changed. What cannot be read is told, and
holds nothing up.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".md", ".txt", ".pdf")
PASSAGE_CHARS = 1200
MAX_PASSAGES = 4  # of the user's papers in one prompt
MAX_FILE_CHARS = 2_000_000
MAX_PAGES = 400
MAX_TERMS = 40
_WORD = re.compile(r"[^\W_]{3,30}")
_PLAIN = frozenset(
    {"the", "and", "for", "with", "from", "that", "this", "are", "not", "than", "into"}
)


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a file of the knowledge folder."""

    source: str  # the file's path inside the folder
    text: str


class Knowledge:
    """A folder of md, txt and pdf files, indexed in `index` (made or renewed here). Thread-safe."""

    def __init__(self, folder: Path, index: Path, say: Callable[[str], None]) -> None:
        self._index = index
        files = sorted(one for one in folder.rglob("*") if one.suffix.lower() in ENDINGS)
        state = _state(folder, files)
        if self._known_state() != state:
            self._renew(folder, files, state, say)

    def find(self, query: str, most: int) -> tuple[Passage, ...]:
        """The passages that fit the words of a text best, at most `most`; ties in a fixed order."""
        words = (one.lower() for one in _WORD.findall(query))
        terms = list(dict.fromkeys(one for one in words if one not in _PLAIN))[:MAX_TERMS]
        if not terms:
            return ()
        sql = """SELECT source, text FROM passages WHERE passages MATCH ?
            ORDER BY bm25(passages), rowid LIMIT ?"""
        match = " OR ".join(f'"{one}"' for one in terms)
        with closing(sqlite3.connect(self._index)) as db:
            return tuple(Passage(*row) for row in db.execute(sql, [match, most]))

    def _known_state(self) -> str:
        if not self._index.exists():
            return ""
        try:
            with closing(sqlite3.connect(self._index)) as db:
                return str(db.execute("SELECT state FROM state").fetchone()[0])
        except (sqlite3.Error, TypeError):
            return ""

    def _renew(
        self, folder: Path, files: list[Path], state: str, say: Callable[[str], None]
    ) -> None:
        self._index.unlink(missing_ok=True)
        count = 0
        with closing(sqlite3.connect(self._index)) as db, db:
            db.execute(
                "CREATE VIRTUAL TABLE passages USING fts5 (source, text, tokenize = 'porter')"
            )
            db.execute("CREATE TABLE state (state TEXT NOT NULL)")
            for path in files:
                name = str(path.relative_to(folder))
                try:
                    passages = list(_passages(_text_of(path)))
                except Unreadable as error:
                    say(f"knowledge: {name} is left out: {error}")
                    continue
                db.executemany("INSERT INTO passages VALUES (?, ?)", [(name, p) for p in passages])
                count += len(passages)
            db.execute("INSERT INTO state VALUES (?)", [state])
        say(f"knowledge: {len(files)} files, {count} passages")


class Unreadable(Exception):
    """A file of the folder gives no text; the message says why."""


def _state(folder: Path, files: Iterable[Path]) -> str:
    told = hashlib.sha256()
    for path in files:
        stat = path.stat()
        told.update(f"{path.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return told.hexdigest()


def _text_of(path: Path) -> str:
    try:
        if path.suffix.lower() == ".pdf":
            return _pdf_text(path)
        return path.read_text(encoding="utf-8")[:MAX_FILE_CHARS]
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None


def _pdf_text(path: Path) -> str:
    try:
        from pypdf import PdfReader
    except ImportError:
        raise Unreadable("reading pdf files needs the package pypdf") from None
    try:
        pages = PdfReader(path).pages
        texts = [pages[at].extract_text() for at in range(min(len(pages), MAX_PAGES))]
    except Exception as error:  # noqa: BLE001 - border: a damaged file breaks its reader in many ways
        raise Unreadable(f"not a readable pdf ({type(error).__name__})") from None
    text = "\n\n".join(texts)[:MAX_FILE_CHARS]
    if not text.strip():
        raise Unreadable("it holds no text (pictures of pages?)")
    return text


def _passages(text: str) -> Iterator[str]:
    """Whole paragraphs up to a passage's length; longer ones are cut."""
    held = ""
    for paragraph in re.split(r"\n\s*\n", text):
        piece = " ".join(paragraph.split())
        if held and len(held) + len(piece) > PASSAGE_CHARS:
            yield held
            held = ""
        while len(piece) > PASSAGE_CHARS:
            yield piece[:PASSAGE_CHARS]
            piece = piece[PASSAGE_CHARS:]
        held = f"{held}\n{piece}".strip()
    if held:
        yield held
