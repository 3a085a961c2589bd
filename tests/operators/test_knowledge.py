"""The user's own papers: indexed once, found by their words, and never in the way."""

from __future__ import annotations

import os
from pathlib import Path

from operators.knowledge import Knowledge

MUON = "Muon orthogonalises the momentum of matrix parameters."


def pdf_of(text: str) -> bytes:
    """A page with one line of text."""
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + table
    return out + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start


def test_passages_are_found_by_their_words_in_md_txt_and_pdf(tmp_path: Path) -> None:
    folder, said = tmp_path / "papers", list[str]()
    (folder / "deep").mkdir(parents=True)
    (folder / "muon.md").write_text(f"# Muon\n\n{MUON}\n")
    (folder / "deep" / "warm.txt").write_text("A warm-up keeps early steps small.\n\n" * 3)
    (folder / "rope.pdf").write_bytes(pdf_of("Rotary embeddings turn queries and keys."))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / "data.bin").write_bytes(b"\0")
    known = Knowledge(folder, tmp_path / "k.db", said.append)
    assert known.find("momentum of matrices?", 3)[0].source == "muon.md"
    assert MUON in known.find("MOMENTUM", 1)[0].text
    assert known.find("rotary", 3)[0].source == "rope.pdf"
    assert known.find("warm", 3)[0].source == "deep/warm.txt"
    assert known.find('"; DROP TABLE (', 3) == () == known.find("", 3) == known.find("zebra", 3)
    assert any("broken.pdf is left out" in one for one in said)
    assert any("latin.txt is left out: not UTF-8" in one for one in said)


def test_the_index_is_made_again_only_when_a_file_changed(tmp_path: Path) -> None:
    paper, said = tmp_path / "papers" / "a.md", list[str]()
    paper.parent.mkdir()
    paper.write_text(MUON)
    for _ in range(2):
        Knowledge(paper.parent, tmp_path / "k.db", said.append)
    assert said == ["knowledge: 1 files, 1 passages"]
    paper.write_text("Something about dropout.")
    os.utime(paper, (1, 1))
    assert Knowledge(paper.parent, tmp_path / "k.db", said.append).find("dropout", 1)
    (tmp_path / "k.db").write_bytes(b"no database")
    assert Knowledge(paper.parent, tmp_path / "k.db", said.append).find("dropout", 1)
