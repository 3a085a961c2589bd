"""Histories in the style of autoresearch, made with a real git in a temporary folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from population.reading import facts_by_measurement
from population.store import Store

from .driving import Evo

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
TRAIN = "import torch\ntorch.manual_seed({seed})\nLR = {lr}\n"


class History:
    """A repository that is written as autoresearch writes it: a discard or crash is reset away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        who = {
            f"GIT_{role}_{what}": "a@b"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        done = subprocess.run(
            ["git", "-C", str(self.path), *words],
            check=True, capture_output=True, text=True, env={**os.environ, **who},
        )  # fmt: skip
        return done.stdout.strip()

    def attempt(
        self, source: str, val_bpb: float, status: str, words: str, commit: str | None = None
    ) -> None:
        if commit is None:
            (self.path / "train.py").write_text(source)
            self.git("add", "train.py")
            self.git("commit", "-q", "--allow-empty", "-m", words)
            commit = self.git("rev-parse", "--short=7", "HEAD")
            if status != "keep":
                self.git("reset", "-q", "--hard", "HEAD~1")
        self.lines.append(f"{commit}\t{val_bpb:.6f}\t44.0\t{status}\t{words}\n")
        self.write()

    def write(self) -> None:
        (self.path / "results.tsv").write_text(HEADER + "".join(self.lines))


def source(lr: float, seed: int = 1, remark: str = "") -> str:
    return TRAIN.format(lr=lr, seed=seed) + remark


@pytest.fixture
def history(tmp_path: Path) -> History:
    """A baseline, four repeats of it, a large gain, one within the noise, a crash, and a lost commit."""
    made = History(tmp_path / "lab")
    made.attempt(source(1), 1.0000, "keep", "baseline")
    made.attempt(source(1, seed=2), 1.0010, "discard", "another seed")
    made.attempt(source(1, remark="# no change\n"), 0.9995, "discard", "a remark")
    made.attempt("", 1.0004, "discard", "baseline re-run", commit="deadbee")
    made.attempt(source(1, seed=3), 0.9990, "discard", "seed three")
    made.attempt(source(2), 0.9000, "keep", "double the rate")
    made.attempt(source(3), 0.8999, "keep", "triple the rate")
    made.attempt(source(9), 0.0, "crash", "nine times the rate")
    made.attempt("", 0.9500, "discard", "what was lost", commit="deadbef")
    return made


def test_keeps_beyond_the_noise_of_repeats_are_told_from_the_unproven(
    evo: Evo, history: History
) -> None:
    said = evo("import-autoresearch", "lab", "--json")
    assert said.code == 0, said.err
    found = said.json()["findings"]
    assert (found["groups"], found["freedom"]) == (1, 4)  # seeds, a remark and repeated words
    assert found["sd"] == pytest.approx(0.000776, abs=1e-6)
    assert [(keep["description"], keep["proven"]) for keep in found["keeps"]] == [
        ("double the rate", True),
        ("triple the rate", False),
    ]
    assert said.json()["import"]["without_source"] == 2


def test_a_history_without_repeats_proves_nothing(evo: Evo, tmp_path: Path) -> None:
    made = History(tmp_path / "lab")
    made.attempt(source(1), 1.0, "keep", "baseline")
    made.attempt(source(2), 0.5, "keep", "far better")
    said = evo("import-autoresearch", "lab")
    assert "cannot be inferred" in said.out
    assert "1 after the first; how many of them are luck is not known" in said.out


def test_equal_words_on_code_known_to_differ_are_no_repeats(evo: Evo, tmp_path: Path) -> None:
    made = History(tmp_path / "lab")
    made.attempt(source(1), 1.0, "keep", "baseline")
    made.attempt(source(2), 1.1, "discard", "tune the rate")
    made.attempt(source(3), 1.2, "discard", "tune the rate")
    assert evo("import-autoresearch", "lab", "--json").json()["findings"]["groups"] == 0


def test_a_keep_of_the_same_code_is_luck_however_large(evo: Evo, history: History) -> None:
    history.attempt(source(3, seed=7), 0.5, "keep", "the seed alone")
    keep = evo("import-autoresearch", "lab", "--json").json()["findings"]["keeps"][-1]
    assert (keep["same_code"], keep["proven"]) == (True, False)


def test_a_keep_advances_and_a_discard_hangs_off_the_current_best(
    evo: Evo, history: History
) -> None:
    evo("import-autoresearch", "lab")
    rows = {row["idea"]: row for row in evo("tree", "--json").json()}
    ids = {words: row["variant_id"] for words, row in rows.items()}
    parents = {words: row["parent"] for words, row in rows.items()}
    assert parents["baseline"] is None
    assert parents["another seed"] == parents["double the rate"] == ids["baseline"]
    assert parents["triple the rate"] == ids["double the rate"]
    assert parents["what was lost"] == parents["nine times the rate"] == ids["triple the rate"]
    assert "a remark" not in rows  # the same code: another run of the baseline, no variant


@pytest.mark.parametrize("words", ["status", "tree", "top", "history best", "show best"])
def test_every_screen_says_that_the_numbers_are_self_reported(
    evo: Evo, history: History, words: str
) -> None:
    evo("import-autoresearch", "lab")
    said = evo(*words.split())
    assert said.code == 0, said.err
    assert "self-reported" in said.out.lower()


def test_every_measurement_carries_that_it_is_self_reported(evo: Evo, history: History) -> None:
    evo("import-autoresearch", "lab", "--dir", "seen")
    with Store.open(Path("seen/campaign.db"), read_only=True) as store:
        facts = facts_by_measurement(store)
    assert [one["origin"] for one in facts.values()] == ["self-reported"] * 9
    runs = evo("show", "seed", "--dir", "seen", "--json").json()["measurements"]
    assert [run["measurement"]["reason"] for run in runs] == [
        "self-reported: keep, line 2",
        "self-reported: discard, line 4",
    ]


def test_the_report_lists_every_keep_with_its_verdict(evo: Evo, history: History) -> None:
    evo("import-autoresearch", "lab")
    said = evo("report", "--json")
    assert said.code == 0, said.err
    assert said.json()["headline"].startswith("Self-reported: 1 of 2 keeps exceed the noise")
    page = Path("report.html").read_text()
    assert "exceeds the noise" in page and "unproven" in page


def test_the_report_tells_of_nothing_that_did_not_happen_here(evo: Evo, history: History) -> None:
    evo("import-autoresearch", "lab")
    assert evo("report").code == 0
    page = Path("report.html").read_text()
    page = page[page.index("<main") : page.index("</main>")]
    assert "Self-reported, imported from git history; nothing was run here" in page
    for untrue in (
        "slots busy",
        "Sandbox",
        "Budget",
        "0.0 s",
        "To run it again",
        "certified champions",
    ):
        assert untrue not in page
    assert str(history.path.parent) not in page  # where the clone lies is nobody else's business


def test_screens_and_report_know_one_noise(evo: Evo, history: History) -> None:
    sd = evo("import-autoresearch", "lab", "--json").json()["findings"]["sd"]
    status = evo("status", "--json").json()
    assert status["findings"]["noise"]["sd"] == sd
    first = status["findings"]["seed_id"]
    for one in evo("top", "--json").json():
        found = one["estimates"]["val_bpb"]
        assert found["sd"] == pytest.approx(sd / found["n"] ** 0.5)
        assert found["n"] == (2 if one["variant_id"] == first else 1)


def test_the_ladder_of_a_history_is_said_to_be_none(evo: Evo, history: History) -> None:
    evo("import-autoresearch", "lab")
    assert "nothing was run here" in evo("ladder").out
    assert "never run" in evo("approve").out


def test_a_crash_has_no_score(evo: Evo, history: History) -> None:
    evo("import-autoresearch", "lab")
    status = evo("status", "--json").json()
    assert status["measurements"] == {"ok": 8, "crashed": 1}
    assert status["best"]["estimates"]["val_bpb"]["mean"] == pytest.approx(0.8999)


def test_a_number_that_stands_for_none_is_a_crash_where_the_row_was_not_kept(
    evo: Evo, history: History
) -> None:
    history.lines.append("abc1234\t-999.000\t1.0\tdiscard\tinvalid\n")
    history.write()
    evo("import-autoresearch", "lab")
    status = evo("status", "--json").json()
    assert status["measurements"] == {"ok": 8, "crashed": 2}
    assert status["best"]["estimates"]["val_bpb"]["mean"] == pytest.approx(0.8999)


def test_rows_that_do_not_parse_are_told_with_their_line_and_the_rest_is_imported(
    evo: Evo, history: History
) -> None:
    history.lines[3:3] = [
        "short\n",
        "abc1234\tnan\t1.0\tkeep\tx\n",
        "abc1234\t1.0\t1.0\tmaybe\tx\n",
    ]
    history.lines.append("--help\t1.0\t1.0\tkeep\tx\n")
    history.lines.append("abc1234\t0.0\t1.0\tkeep\tx\n")
    history.write()
    said = evo("import-autoresearch", "lab", "--json")
    assert said.json()["import"]["measurements"] == 9
    for line in (5, 6, 7, 14, 15):
        assert f"results.tsv line {line}: " in said.err


def test_columns_that_are_not_known_become_metrics(evo: Evo, history: History) -> None:
    results = history.path / "results.tsv"
    results.write_text(results.read_text().replace("memory_gb", "mfu"))
    said = evo("import-autoresearch", "lab", "--json")
    assert said.code == 0, said.err
    runs = evo("show", "seed", "--json").json()["measurements"]
    assert runs[0]["measurement"]["metrics"] == {"mfu": 44.0, "val_bpb": 1.0}
    results.write_text("commit\tval_bpb\n")
    assert "no row can be imported" in evo("import-autoresearch", "lab").err


def commits(made: History, count: int, file: str = "train.py") -> list[str]:
    """So many commits beyond a first one, oldest first."""
    for number in range(count + 1):
        (made.path / file).write_text(source(number))
        made.git("add", file)
        made.git("commit", "-q", "-m", f"try {number}")
    return made.git("rev-list", "--reverse", "--abbrev-commit", "HEAD").split()[1:]


TABLES = {
    "another metric, higher is better": (
        "commit\tval_auc\tval_rmse\ttest_auc\tstatus\tdescription\n"
        "{0}\t0.70\t3\t0.6\tkeep\ta\n{1}\t0.60\t2\t0.5\tdiscard\tb\n{2}\t0.80\t1\t0.7\tkeep\tc\n",
        ("val_auc", "maximise", ["keep", "discard", "keep"]),
    ),
    "a baseline that is no commit": (
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
        "baseline\t0.9979\t44\tkeep\tbaseline\n{1}\t0.98\t44\tkeep\tb\n{2}\t0.9697\t44\tkeep\tc\n",
        ("val_bpb", "minimise", ["keep", "keep", "keep"]),
    ),
    "other words, no number for what failed": (
        "config_id,tok/s,memory_gb,outcome,notes\n"
        'c1,"1,200",3,BASELINE,"one, two"\nc2,-,3,FAIL,b\nc3,1300,4,PASS,c\nc4,1250,4,REVERT,d\n',
        ("tok/s", "maximise", ["keep", "crash", "keep", "discard"]),
    ),
    "no header": (
        "{0}\t2.0\t1.0\tkeep\ta\n{1}\t0\t0\tcrash\tb\n{2}\t1.0\t1.0\tkeep\tc\n",
        ("val_bpb", "minimise", ["keep", "crash", "keep"]),
    ),
    "no status: what is best so far was kept": (
        "exp\tseconds\trmse\tidea\n1\t9\t$152,340\ta\n2\t9\t$160,000\tb\n3\t9\t$150,000\tc\n",
        ("rmse", "minimise", ["keep", "discard", "keep"]),
    ),
    "outcomes inside the description": (
        "commit\trmse\tdescription\n{0}\t5\tKEEP first\n{1}\t6\t[DISCARD] b\n{2}\t-999.000\tinvalid\n",
        ("rmse", "minimise", ["keep", "discard", "crash"]),
    ),
    "a Markdown table": (
        "| run | accuracy | status |\n|---|---|---|\n| a | 0.5 | kept |\n| b | 0.6 | kept |\n",
        ("accuracy", "maximise", ["keep", "keep"]),
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_read_by_inference_and_told_how(evo: Evo, tmp_path: Path, kind: str) -> None:
    made, (text, (metric, way, outcomes)) = History(tmp_path / "lab"), TABLES[kind]
    (made.path / "results.tsv").write_text(text.format(*commits(made, 3)))
    said = evo("import-autoresearch", "lab", "--json")
    assert (said.code, said.err) == (0, "")
    better = "lower" if way == "minimise" else "higher"
    assert f"{metric} by " in said.json()["inferred"][0]
    assert f"{better} is better" in said.json()["inferred"][0]
    (folder,) = tmp_path.glob("campaigns/*")
    with Store.open(folder / "campaign.db", read_only=True) as store:
        objective = store.setting("config", {})["objectives"][0]
        facts = facts_by_measurement(store)
    assert (objective["name"], objective["direction"]) == (metric, way)
    assert [facts[number]["reported"] for number in sorted(facts)] == outcomes
    for words in ("status", "tree", "top", "show best", "report"):
        shown = evo(*words.split())
        assert shown.code == 0, shown.err
    assert "Read as: results.tsv: " in evo("status").out


def test_the_baseline_is_the_seed_with_the_source_the_first_commit_was_made_from(
    evo: Evo, tmp_path: Path
) -> None:
    made = History(tmp_path / "lab")
    text = TABLES["a baseline that is no commit"][0].format(*commits(made, 3))
    (made.path / "results.tsv").write_text(text)
    found = evo("import-autoresearch", "lab", "--json").json()["findings"]
    assert [round(keep["gain"], 4) for keep in found["keeps"]] == [0.0179, 0.0103]  # .0282 in all
    seed = evo("show", "seed", "--source", "--json").json()
    assert seed["source"] == source(1) and seed["measurements"][0]["measurement"]["metrics"]


def test_what_a_person_says_overrules_what_was_inferred(evo: Evo, tmp_path: Path) -> None:
    made = History(tmp_path / "lab")
    names = commits(made, 3, "model.py")
    table = "commit\tauc\tcost\tstatus\n{0}\t1\t9\tkeep\n{1}\t2\t8\tkeep\n{2}\t3\t7.9\tkeep\n"
    (made.path / "results.tsv").write_text(table.format(*names))
    words = ("--metric", "cost", "--goal", "min", "--noise", "0.1", "--baseline", names[1])
    said = evo("import-autoresearch", "lab", *words, "--train", "model.py", "--json")
    assert said.code == 0, said.err
    found = said.json()["findings"]
    assert (found["metric"], found["sd"]) == ("cost", 0.1)
    assert [keep["proven"] for keep in found["keeps"]] == [True, False]
    assert evo("show", "seed", "--source", "--json").json()["source"] == source(2)
    assert "as given" in evo("status").out
    for wrong, told in (
        (("--metric", "loss"), "there is no column 'loss'; columns: commit, auc"),
        (("--goal", "up"), "write min or max"),
        (("--baseline", "fffffff"), "no row has this commit or name"),
    ):
        said = evo("import-autoresearch", "lab", *wrong)
        assert (said.code, told in said.err) == (2, True), said.err


def test_a_table_is_found_in_a_folder_in_the_past_and_in_commit_subjects(
    evo: Evo, tmp_path: Path
) -> None:
    made = History(tmp_path / "lab")
    (made.path / "speed").mkdir()
    (made.path / "speed" / "train.py").write_text("LR = 1\n")
    table = made.path / "speed" / "experiments.csv"
    table.write_text("run,score,status\na,1.5,kept\nb,2.5,kept\n")
    made.git("add", "speed")
    made.git("commit", "-q", "-m", "loss: 0.5")
    assert "speed/experiments.csv: score" in evo("import-autoresearch", "lab").out
    table.rename(made.path / "results.tsv")
    made.git("add", "results.tsv")
    made.git("rm", "-q", "--cached", "speed/experiments.csv")
    made.git("commit", "-q", "-m", "moved, loss = 0.4")
    made.git("rm", "-q", "-f", "results.tsv")
    made.git("commit", "-q", "-m", "nothing of it")
    assert "results.tsv: score" in evo("import-autoresearch", "lab").out
    other = History(tmp_path / "other")
    for number in (0.5, 0.7, 0.6):
        (other.path / "train.py").write_text(f"LR = {number}\n")
        other.git("add", "train.py")
        other.git("commit", "-q", "-m", f"exp: wider, val_accuracy {number}")
    said = evo("import-autoresearch", "other")
    assert "commit subjects: val_accuracy by commit, higher is better (by its name)" in said.out
    assert "1 after the first" in said.out


def test_what_is_no_repository_or_has_no_results_is_said(
    evo: Evo, history: History, tmp_path: Path
) -> None:
    inside = history.path / "folder"  # a folder in a repository is not the repository
    inside.mkdir()
    assert "no git repository there" in evo("import-autoresearch", inside).err
    assert "no such folder" in evo("import-autoresearch", "nowhere").err
    assert "is a file: name the folder" in evo("import-autoresearch", __file__).err
    assert (
        "no branch or commit 'other'" in evo("import-autoresearch", "lab", "--branch", "other").err
    )
    (history.path / "results.tsv").unlink()
    said = evo("import-autoresearch", "lab")
    assert (said.code, "no results.tsv there" in said.err) == (2, True)


def test_a_branch_brings_its_own_results(evo: Evo, history: History) -> None:
    history.git("checkout", "-q", "-b", "mar5")
    history.git("add", "-f", "results.tsv")
    history.git("commit", "-q", "-m", "results")
    history.git("checkout", "-q", "main")
    (history.path / "results.tsv").write_text(HEADER)
    assert "no row can be imported" in evo("import-autoresearch", "lab").err
    said = evo("import-autoresearch", "lab", "--branch", "mar5", "--json")
    assert said.json()["import"]["measurements"] == 9


def test_a_branch_of_the_remote_is_found_by_its_name_and_named_where_it_alone_has_a_table(
    evo: Evo, history: History
) -> None:
    history.git("checkout", "-q", "-b", "mar5")
    history.git("add", "-f", "results.tsv")
    history.git("commit", "-q", "-m", "results")
    history.git("checkout", "-q", "main")
    history.git("clone", "-q", str(history.path), str(history.path.with_name("clone")))
    refused = evo("import-autoresearch", "clone")
    assert refused.code == 2 and "--branch origin/mar5 has one" in refused.err
    said = evo("import-autoresearch", "clone", "--branch", "mar5", "--json")
    assert said.json()["import"]["measurements"] == 9


def test_a_table_that_a_merged_branch_took_away_is_found(evo: Evo, history: History) -> None:
    history.git("checkout", "-q", "-b", "mar5")
    history.git("add", "-f", "results.tsv")
    history.git("commit", "-q", "-m", "results")
    history.git("rm", "-q", "results.tsv")
    history.git("commit", "-q", "-m", "tidy")
    history.git("checkout", "-q", "main")
    history.git("commit", "-q", "--allow-empty", "-m", "meanwhile")
    history.git("merge", "-q", "--no-ff", "-m", "merged", "mar5")
    said = evo("import-autoresearch", "lab", "--json")
    assert said.json()["import"]["measurements"] == 9


def test_a_second_import_into_the_same_folder_is_refused(evo: Evo, history: History) -> None:
    assert evo("import-autoresearch", "lab", "--dir", "seen").code == 0
    again = evo("import-autoresearch", "lab", "--dir", "seen")
    assert (again.code, "holds a campaign already" in again.err) == (2, True)


@pytest.mark.parametrize("command", ["resume", "graduate"])
def test_an_import_cannot_go_on_and_says_so(evo: Evo, history: History, command: str) -> None:
    evo("import-autoresearch", "lab", "--dir", "seen")
    said = evo(command, "--dir", "seen")
    assert (said.code, "import of self-reported measurements" in said.err) == (2, True)


def test_nothing_of_the_repository_is_executed(evo: Evo, history: History, tmp_path: Path) -> None:
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "diff.external"):
        history.git("config", key, str(trap))
    history.attempt(f"open('{tmp_path}/sprung', 'w')\n", 0.8, "keep", "a trap")
    history.attempt(source(4), 0.7, "keep", "after the trap")  # git ends at the trap
    promised = history.git("rev-parse", "HEAD~1:train.py")
    (history.path / ".git/objects" / promised[:2] / promised[2:]).unlink()  # git would fetch it
    history.git("config", "core.repositoryFormatVersion", "1")
    history.git("config", "extensions.partialClone", "origin")
    history.git("config", "remote.origin.promisor", "true")
    history.git("config", "remote.origin.url", f"ext::{trap}")
    history.git("config", "protocol.ext.allow", "always")
    (tmp_path / "sprung").unlink(missing_ok=True)  # our own git calls above may have run it
    said = evo("import-autoresearch", "lab", "--json")
    assert said.json()["import"]["without_source"] == 3
    assert not (tmp_path / "sprung").exists()
