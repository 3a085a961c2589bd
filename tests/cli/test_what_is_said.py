"""What the screens say of scores: the same words for the same thing, whatever shows it."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from evo.analysis.campaign_view import Record
from evo.analysis.findings import find
from evo.analysis.imported import Imported, Keep
from evo.benchmark.comparison import Bounds
from evo.benchmark.summary import _beaten, cpu_time
from evo.terminal.imported import headline, imported_lines
from evo.terminal.sentences import against
from evo.terminal.text import GLOSSARY, NOTE, plus_minus
from population.reading import measurements, resolve, source_of
from population.types import PAIRED, Purpose
from tests.analysis.built import CONFIG, SEED, Built, choose, finished

from .driving import ROOT, Evo


def best_is_the_seed(folder: Path) -> tuple[Built, str]:
    """A campaign whose leader lost the final comparison, so that the seed leads the front again."""
    built, leader, _ = finished(folder)
    built.front({built.seed: "replicated", leader: "candidate"})
    return built, leader


def test_the_leader_is_whom_the_findings_are_about(tmp_path: Path) -> None:
    built = Built(tmp_path)
    with pytest.raises(LookupError, match="there is no 'leader' yet"):
        resolve(built.store, "leader")
    built.runs(built.seed, [2.5, 2.5], Purpose.CALIBRATE)
    first = built.child(SEED.replace("0.1", "0.2"), built.seed)
    second = built.child(SEED.replace("0.1", "0.3"), built.seed)
    for one in (first, second):
        built.run(one, 2.4)

    def leader() -> str | None:
        found = find(Record.of(built.store), lambda one: source_of(built.store, one)).leader_id
        assert resolve(built.store, "leader") == found
        return found

    built.front({built.seed: "replicated", first: "candidate", second: "candidate"})
    assert leader() == first
    for one in (built.seed, second):
        built.run(one, 2.4, 7, Purpose.FINAL)
    assert leader() == second
    built.store.add_request("veto", {"variant_id": second}, author="someone")
    assert leader() == first


@pytest.mark.parametrize(
    "command", ["diff seed best", "history best", "export best -o x.py", "show best"]
)
def test_best_tells_when_it_is_not_the_leader(evo: Evo, tmp_path: Path, command: str) -> None:
    _, leader = best_is_the_seed(tmp_path / "campaigns" / "built-1")
    said = evo(*command.split())
    assert said.err == (
        f"evo: best is the seed here; the final comparison was with {leader[:8]}, "
        "which `leader` names\n"
    )
    right = evo(*command.replace("best", "leader").replace("x.py", "y.py").split())
    assert right.code == 0 and not right.err
    assert leader[:8] in right.out


def test_the_report_takes_the_leader_home_by_its_id(evo: Evo, tmp_path: Path) -> None:
    _, leader = best_is_the_seed(tmp_path / "campaigns" / "built-1")
    assert evo("report").code == 0
    page = (tmp_path / "report.html").read_text()
    assert f"evo export {leader[:8]} -o train.py" in page
    assert "evo export best" not in page


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_every_screen_says_better_or_worse_and_never_a_sign(
    evo: Evo, tmp_path: Path, direction: str
) -> None:
    """The same numbers with the objective turned round: what was better is worse, everywhere."""
    built, leader, _ = finished(tmp_path / "campaigns" / "built-1")
    turned = {**CONFIG["objectives"][0], "direction": direction}  # type: ignore[index]
    built.store.set_setting("config", {**CONFIG, "objectives": [turned]})
    choose(built, leader)
    built.store.add_idea("raise LR", "ada")
    way = "better" if direction == "minimise" else "worse"
    for command in ("status", "tree", "history leader", "ladder", "export leader --patch -o -"):
        said = " ".join(evo(*command.split()).out.split())
        message = said.split("diff --git")[0]
        assert re.search(rf"0\.\d+ {way}", message), command
        assert not re.search(rf"0\.\d+ {'worse' if way == 'better' else 'better'}", message), (
            command
        )
        assert not re.search(r"[+−]\d\.\d", message), command
        assert not re.search(r"\d (lower|higher)\b", message), command
    assert evo("report").code == 0
    hero = (tmp_path / "report.html").read_text().split("<nav")[0].split("<main")[1]
    assert re.search(rf"0\.\d+ {way}", hero) and not re.search(r"[+−]\d\.\d", hero)


def test_where_nothing_is_certified_nothing_is_promised(evo: Evo, tmp_path: Path) -> None:
    built, _, _ = finished(tmp_path / "campaigns" / "built-1")
    assert evo("top", "--certified").out == "Nothing is certified.\n"
    assert evo("report").code == 0
    assert "certified champions" in (tmp_path / "report.html").read_text()
    built.store.set_setting("config", {**CONFIG, "certification": {"attempts": 0}})
    assert "this config certifies nothing (certification.attempts: 0)" in (
        evo("top", "--certified").out
    )
    assert evo("report").code == 0
    page = (tmp_path / "report.html").read_text().split("application/json")[0]
    assert "certified champion" not in page


@pytest.mark.parametrize(
    ("mean", "noise", "shown"),
    [
        (2.17493, 0.0044, "2.1749 ± 0.0044  n=7"),
        (2.17493, 0.044, "2.175 ± 0.044  n=7"),
        (2.17493, 0.44, "2.17 ± 0.44  n=7"),
        (2.17493, 0.00031, "2.17493 ± 0.00031  n=7"),
        (2.17493, float("nan"), "2.1749  n=7"),
    ],
)
def test_a_score_has_as_many_digits_as_its_noise_allows(
    mean: float, noise: float, shown: str
) -> None:
    assert plus_minus("val_bpb", mean, noise, 7) == shown


def test_the_headline_says_what_the_thing_is_its_size_and_where_it_did_not_run(
    evo: Evo, tmp_path: Path
) -> None:
    built = Built(tmp_path / "campaigns" / "built-1")
    child = built.child(SEED.replace("0.1", "0.2"), built.seed, "llm_mutate", "a table of bigrams")
    built.runs(built.seed, [2.5, 2.51, 2.52], Purpose.FINAL, first=5)
    for block, bpb in enumerate((2.4, 2.42, 2.41), start=5):
        built.run(child, bpb, block, Purpose.FINAL, more={"parameters": 13700.0})
    for one, size in ((child, 4917.0), (built.seed, 100.0)):
        built.run(one, 3.0, 0, Purpose.GRADUATE, "larger/one-step", more={"parameters": size})
    built.front({child: "candidate"})
    assert evo("report", "--json").json()["headline"] == (
        f"{child[:8]} is better than the seed: val_bpb 0.1000 better on 3 fresh blocks "
        "(a table of bigrams; 137 times the seed's parameters; not run at larger)"
    )


def test_labels_say_what_they_mean(evo: Evo, tmp_path: Path) -> None:
    built = Built(tmp_path / "campaigns" / "built-1")
    built.runs(built.seed, [2.5, 2.52], Purpose.CALIBRATE)
    child = built.child(SEED.replace("0.1", "0.2"), built.seed)
    built.run(child, 2.49)
    built.front({built.seed: "replicated"})
    said = " ".join(evo("status").out.split())
    assert "replicated" not in said and "best the seed: no child is believed better" in said
    assert "early stopping" not in said
    assert f"{child[:8]} has a better mean than the seed (1 block)" in said
    assert "what is believed of a child is its mean shrunk to its parent's" in said
    assert "replicated" not in evo("top").out
    built.run(child, 2.9, 1)
    assert "has a better mean" not in evo("status").out


def test_a_child_that_equals_the_seed_has_no_better_mean(evo: Evo, tmp_path: Path) -> None:
    built = Built(tmp_path / "campaigns" / "built-1")
    built.runs(built.seed, [2.5, 2.52], Purpose.CALIBRATE)
    for place in range(4):  # some id comes before the seed's
        built.run(built.child(f"{SEED}same = {place}\n", built.seed), 2.5)
    built.front({built.seed: "replicated"})
    assert "has a better mean" not in evo("status").out


def test_a_leader_that_does_not_grow_with_depth_is_told_so_against_it(
    evo: Evo, tmp_path: Path
) -> None:
    built, leader, _ = finished(tmp_path / "campaigns" / "built-1")
    for row in measurements(built.store, rung="larger/one-step"):
        built.store.void(row.id, "made again")
    for one, size in ((leader, 154.0), (built.seed, 291.0)):
        built.run(one, 3.0, 1, Purpose.GRADUATE, "larger/one-step", more={"parameters": size})
    lines = against(find(Record.of(built.store), None))
    remark = "does not grow with depth: 1.54 times its size at the proxy, the seed 2.91 times"
    assert f"Built for larger, it {remark}." in lines
    assert remark in " ".join(evo("report", "--summary").out.split())


def test_keeps_without_a_noise_are_not_held_against_it() -> None:
    keep = Keep("abcd", 2, "def", "wider", 2.0, 1.9, 0.1, same_code=False, proven=False)
    one = Imported("x", 2, (), 0, 0, None, 1, None, (keep,))
    assert "exceed" not in headline(one) + " ".join(imported_lines(one))


def test_few_seeds_have_no_interval_of_no_width() -> None:
    assert _beaten(Bounds(0.5, 0.5, 0.5)) == "50% (too few seeds for an interval)"
    assert _beaten(Bounds(0.5, 0.2, 0.8)) == "50% [20%, 80%]"
    assert (cpu_time(16.2), cpu_time(600)) == ("16 CPU seconds", "10 CPU minutes")


def test_a_dozen_words_are_explained_where_a_newcomer_looks(evo: Evo, tmp_path: Path) -> None:
    finished(tmp_path / "campaigns" / "built-1")
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert evo("report").code == 0
    page = html.unescape((tmp_path / "report.html").read_text())
    assert 'href="#words"' in page and len(GLOSSARY) == 12
    for word, meaning in GLOSSARY.items():
        assert f"**{word}**: {meaning}" in readme, word
        assert meaning in page, word
    assert NOTE in readme and NOTE in page
    assert "section Words" in " ".join(evo("--help").out.replace("│", " ").split())
    assert "README: Words" in " ".join(evo("show", "--help").out.replace("│", " ").split())


def test_status_says_when_rows_that_nobody_was_asked_run_out_and_what_then_happens(
    evo: Evo, tmp_path: Path
) -> None:
    built, _, _ = finished(tmp_path / "campaigns" / "built-1")
    asked = [row.measurement.request for row in Record.of(built.store).rows]
    used = 1 + max(one.block for one in asked if one.purpose in PAIRED)

    def says(held: int, *words: str) -> str:
        built.store.set_setting("fresh_blocks", held)
        assert evo("status", "--json").json()["fresh_blocks"] == {"used": used, "limit": held}
        return " ".join(evo("status", *words).out.split())

    assert "fresh rows" not in says(used * 2)
    assert f"fresh rows used by {used} of {used * 2} blocks" in says(used * 2, "--all")
    assert f"fresh rows used by {used} of {used} blocks" in says(used)
    gone = f"fresh rows used up after {used - 1} blocks: the same rows are asked again, as each run"
    assert gone in says(used - 1)
    built.store.set_setting("fresh_blocks", 0)
    assert "fresh rows" not in evo("status", "--all").out, "a campaign without them"
