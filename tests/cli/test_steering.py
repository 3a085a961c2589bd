"""A person steers from the command line, whether the campaign runs or not."""

from __future__ import annotations

import getpass
import subprocess
import sys
from pathlib import Path

import pytest

from evo.campaigns import LOCK
from evo.config import read_config
from evo.folder import create_campaign
from population.connection import is_older
from population.fingerprint import fingerprint
from population.migrations import MIGRATIONS
from population.reading import first_proposal, measurements, pending
from population.store import Store
from population.types import Outcome, Parent, Proposal, Status, Variant, variant_id
from tests.analysis.built import Built, finished

from .driving import ROOT, Evo, started

QUICK = (ROOT / "tests" / "standins" / "quick.py").read_text()


@pytest.fixture
def campaign(tmp_path: Path) -> tuple[Built, str, str]:
    return finished(tmp_path / "campaigns" / "built-1")


@pytest.fixture
def fresh(quick: Path, tmp_path: Path) -> Path:
    """A campaign that was never started."""
    return create_campaign(read_config(quick), tmp_path / "campaigns" / "quick-1").database


def test_an_idea_waits_for_the_next_resume(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    said = evo("idea", "warm up longer")
    assert said.code == 0 and "carried out by the next `evo resume`" in said.out
    (asked,) = pending(campaign[0].store)
    assert (asked.kind, asked.detail) == ("idea", {"text": "warm up longer"})
    assert asked.author == getpass.getuser()


HOLDS = """
import sys
from pathlib import Path
from evo.lock import hold
with hold(Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    "asked", [("stop",), ("idea", "wider"), ("note", "seen"), ("veto", "leader")]
)
def test_what_an_older_version_runs_keeps_its_schema(
    evo: Evo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...]
) -> None:
    folder = tmp_path / "campaigns" / "built-1"
    with monkeypatch.context() as patch:
        for module in ("migrations", "connection"):
            patch.setattr(f"population.{module}.MIGRATIONS", MIGRATIONS[:2])
        built, *_ = finished(folder)
        built.store.close()
    running = [sys.executable, "-c", HOLDS, str(folder / LOCK)]
    pipe = subprocess.PIPE
    with subprocess.Popen(running, stdin=pipe, stdout=pipe, cwd=ROOT) as older:
        assert older.stdout is not None and older.stdout.readline()
        said = evo(*asked)
        assert (
            said.code == 2 and f"process {older.pid} runs this campaign with an older" in said.err
        )
        assert is_older(folder / "campaign.db")
        older.communicate()
    assert evo(*asked).code == 0


def test_an_author_can_be_named(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    assert evo("idea", "warm up", "--author", "ada", "--json").json()["author"] == "ada"
    assert pending(campaign[0].store)[0].author == "ada"


@pytest.mark.parametrize("text", ["", "  ", "x" * 20_001])
def test_an_idea_needs_words_and_not_too_many(
    evo: Evo, campaign: tuple[Built, str, str], text: str
) -> None:
    said = evo("idea", text)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "1 to 20,000 characters" in said.err
    assert pending(campaign[0].store) == []


def test_ideas_are_listed_with_what_came_of_them(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    built, leader, _ = campaign
    assert "No ideas yet" in evo("idea").out
    tried = built.store.add_idea("narrow \x1b[31mheads", "ada")
    built.store.add_idea("rest", "bob")
    built.store._execute("UPDATE proposals SET idea_id = ? WHERE variant_id = ?", [tried, leader])
    evo("idea", "sleep", "--author", "cleo")
    told = evo("idea").out
    assert "narrow heads" in told and "\x1b" not in told
    assert "not tried yet" in told and "0.0700 better (n=1)" in told
    assert "cleo" in told and "waits for the campaign" in told
    listed = evo("idea", "--json").json()
    assert [one["author"] for one in listed["ideas"]] == ["ada", "bob"]
    assert [one["detail"] for one in listed["waiting"]] == [{"text": "sleep"}]
    assert listed["ideas"][0]["children"] == 1
    assert "narrow" not in evo("idea", "--author", "bob").out


def test_an_idea_that_nobody_will_try_says_so(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    folder = campaign[0].store.path.parent
    for command in ("idea", "note"):
        assert "no operator here asks a model" in evo(command, "tie the embeddings").out
    assert "no operator here asks a model" in evo("idea").out
    (folder / "config.yaml").write_text("operators: {llm_mutate: 1}")
    assert "there is no llm in the config" in evo("idea", "warm up").out
    keyless = "{endpoints: [{name: a, model: a, key_env: ''}]}"
    (folder / "config.yaml").write_text(f"operators: {{llm_mutate: 1}}\nllm: {keyless}")
    assert "nobody" not in evo("idea", "warm up").out + evo("idea").out


@pytest.mark.parametrize("columns", [40, 80, 110, 160, 220])
def test_a_note_shows_its_words_at_every_width(
    evo: Evo, campaign: tuple[Built, str, str], columns: int
) -> None:
    words = [f"word{place}" for place in range(400)]
    evidence = [f"{place:064x}" for place in range(15)]
    campaign[0].store.add_note(" ".join(words), "a-model-with-a-long-name", evidence)
    told = evo("note", columns=columns).out
    lines = told.splitlines()
    assert " ".join(told.split()).count("word399") == 1 and "a-model-with-a-long-name" in told
    assert all(word in told for word in words)
    assert max(map(len, lines)) <= columns
    assert max(line.count("word") for line in lines) >= (columns - 5) // 9
    assert "3 more" in told


def test_words_are_kept_whole(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    built, leader, _ = campaign
    long = "tie " * 4_000 + "end"
    built.store._execute("UPDATE proposals SET idea = ? WHERE variant_id = ?", [long, leader])
    assert " ".join(evo("show", leader).out.split()).count("tie") == 4_000
    assert evo("idea", long).code == 0 and pending(built.store)[0].detail["text"] == long
    assert evo("idea").out.count("tie") < 200


def test_a_note_that_waits_can_be_changed_and_withdrawn(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    store = campaign[0].store
    evo("note", "width helps", "--author", "ada")
    evo("note", "depth helps")
    first, second = pending(store)
    assert first.name in evo("note").out
    assert "1 to 20,000" in evo("note", "--edit", first.name, " ").err
    evo("note", "--edit", first.name, "width helps a little")
    assert evo("note", "--delete", second.name).out == "withdrawn\n"
    (left,) = pending(store)
    assert (left.kind, left.author, left.detail["text"]) == ("note", "ada", "width helps a little")
    gone = evo("note", "--delete", second.name)
    assert gone.code == 2 and f"waiting: {left.name}" in gone.err


def test_an_idea_that_waits_can_be_withdrawn(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    store = campaign[0].store
    evo("note", "width helps")
    evo("idea", "tie the embeddings")
    note, idea = pending(store)
    wrong = evo("idea", "--delete", note.name)
    assert wrong.code == 2 and f"no idea {note.name} that waits; waiting: {idea.name}" in wrong.err
    assert evo("idea", "--delete", idea.name).out == "withdrawn\n"
    assert [one.kind for one in pending(store)] == ["note"]
    assert evo("idea", "wider", "--delete", "w9").code == 2


def test_an_idea_of_the_length_that_models_write_is_listed_whole(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    campaign[0].store.add_request("idea", {"text": "wide " * 120 + "end"}, "ada")
    said = evo("idea").out
    assert said.count("wide") == 120 and "end" in said and "…" not in said


def test_notes_are_written_edited_and_deleted(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    built, leader, _ = campaign
    assert "No notes yet" in evo("note").out
    first = built.store.add_note("depth helps", "model", [leader])
    evo("note", "width helps", "--on", "best")
    evo("note", "--edit", first, "depth helps a little")
    evo("note", "--delete", first)
    asked = [(one.kind, one.detail) for one in pending(built.store)]
    assert asked == [
        ("note", {"text": "width helps", "evidence": [leader]}),
        ("edit note", {"id": first, "text": "depth helps a little"}),
        ("delete note", {"id": first}),
    ]
    told = evo("note").out
    assert "depth helps" in told and leader[:8] in told and "width helps" in told
    assert [one["id"] for one in evo("note", "--json").json()["notes"]] == [first]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--edit", "9", "text"), "no note 9; notes that stand or wait: none yet"),
        (("--delete", "9"), "no note 9"),
        (("--edit", "9"), "--edit 9 needs a TEXT"),
        (("--delete", "9", "text"), "--delete needs no TEXT"),
        (("--edit", "9", "--delete", "9", "text"), "do not go together"),
        (("text", "--on", "ffff"), "no variant 'ffff'"),
        (("x" * 20_001,), "1 to 20,000 characters"),
        (("--edit", "9", "text", "--on", "best"), "belongs to a new note"),
    ],
)
def test_a_note_that_cannot_be_taken_is_told_at_once(
    evo: Evo, campaign: tuple[Built, str, str], words: tuple[str, ...], told: str
) -> None:
    said = evo("note", *words)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert told in said.err
    assert pending(campaign[0].store) == []


def test_a_variant_put_in_hangs_on_its_nearest(evo: Evo, fresh: Path) -> None:
    mine = Path("mine.py")
    mine.write_text(QUICK + "\nEXTRA = 1\n")
    said = evo("inject", mine, "--idea", "an extra", "--author", "ada")
    child, root = variant_id(mine.read_text()), variant_id(QUICK)
    assert said.code == 0
    assert (
        f"{child[:8]}, a child of {root[:8]}, with which it shares 98.2 % of its lines" in said.out
    )
    with Store.open(fresh) as store:
        (asked,) = pending(store)
    assert (asked.kind, asked.author) == ("inject", "ada")
    detail = {"parent_id": root, "source": mine.read_text(), "idea": "an extra"}
    assert asked.detail == detail


def test_a_named_parent_is_taken_whatever_is_near(evo: Evo, fresh: Path) -> None:
    with Store.open(fresh) as store:
        for number, source in ((2, "nothing = 'alike'\n"), (3, QUICK + "\nEXTRA = 1\n")):
            one = Variant(variant_id(source), source, fingerprint(source))
            parents = (Parent(variant_id(QUICK), "parent"),)
            made = Proposal(number, "nudge", parents, Outcome.VARIANT, variant=one)
            store.add_proposal(made)
    Path("mine.py").write_text(QUICK + "\nEXTRA = 2\n")
    assert evo("inject", "mine.py", "--json").json()["parent"] == one.id
    again = evo("inject", "mine.py", "--parent", "seed")
    assert again.code == 2 and "the same code was put in before and waits" in again.err
    Path("mine.py").write_text(QUICK + "\nEXTRA = 3\n")
    named = evo("inject", "mine.py", "--parent", "seed", "--json").json()
    assert named["parent"] == variant_id(QUICK)
    Path("mine.py").write_text("import harness\nharness.start().progress()\nharness.finish()\n")
    assert evo("inject", "mine.py", "--json").json()["parent"] == variant_id(QUICK)
    Path("mine.py").write_text(QUICK + "\nEXTRA = 4\n")
    said = evo("inject", "mine.py", "--parent", "ffff")
    assert said.code == 2 and "no variant 'ffff'" in said.err


def test_a_share_of_lines_is_all_only_where_all_are_shared(evo: Evo, fresh: Path) -> None:
    source = QUICK + "".join(f"# line {place}\n" for place in range(3000))
    one = Variant(variant_id(source), source, fingerprint(source))
    parents = (Parent(variant_id(QUICK), "parent"),)
    with Store.open(fresh) as store:
        store.add_proposal(Proposal(2, "nudge", parents, Outcome.VARIANT, variant=one))
    Path("mine.py").write_text(source + "EXTRA = 1\n")
    assert "shares more than 99.9 % of its lines" in evo("inject", "mine.py").out


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import harness\n", "harness.start() is missing"),
        ("def broken(:\n", "does not parse"),
        (QUICK + "\nimport nowhere_to_be_found\n", "not installed"),
        (QUICK.replace("SMOOTHING = 0.5", "SMOOTHING  =  0.5", 1), "same code as"),
        (QUICK, "same code as"),
        ("#" * 200_000, "larger than"),
    ],
)
def test_what_cannot_be_a_new_child_is_told_at_once(
    evo: Evo, fresh: Path, source: str, told: str
) -> None:
    Path("mine.py").write_text(source)
    said = evo("inject", "mine.py")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert told in said.err
    with Store.open(fresh) as store:
        assert pending(store) == []


def test_a_running_campaign_takes_it_up_and_measures_it(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(QUICK + "\nEXTRA = 1\n")
    words = ("run", quick, "--plain", "--set", "budget.variants=200", "--set", "slots=1")
    with started(*words, cwd=tmp_path) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "calibrate" in line:
                break
        assert "carries it out now" in evo("inject", mine, "--author", "ada").out
        child = variant_id(mine.read_text())
        for line in running.stdout:
            if f"screen {child[:8]}" in line:
                break
        else:
            raise AssertionError("it was never measured")
        evo("stop", "--now")
        running.communicate(timeout=250)
    with Store.open(tmp_path / "campaigns" / "quick-1" / "campaign.db") as store:
        made = first_proposal(store, child)
        assert made is not None and (made.operator, made.author) == ("inject", "ada")
        assert measurements(store, variant_id=child)[0].measurement.status is Status.OK
