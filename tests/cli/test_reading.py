from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from evo.campaigns import newest
from evo.cli.app import PANELS, arrange
from evo.cli.folder import fresh_folder
from population import connection as opening
from population.connection import connect
from population.reading import pending
from population.types import Purpose, RunRequest
from tests.analysis.built import SEED, Built, finished
from tests.counting import lines_run

from .driving import MAIN, Evo

HEAVY = {
    "torch",
    "deap",
    "scipy",
    "openai",
    "moocore",
    "evo.config",
    "evo.assembly",
    "evo.folder",
    "numpy.random",
}
WRITES = {"idea"}  # through sqlite_utils


@pytest.fixture
def campaign(tmp_path: Path) -> tuple[Built, str, str]:
    return finished(tmp_path / "campaigns" / "built-1")


# What a command may import beyond typer, rich and sqlite3. Means are compared after taking off what blocks do
# to everyone, which is linear algebra: whatever ranks needs numpy. pydantic comes with typer itself.
MODELS = {"evo.search", "population.statistics.noise", "evo.analysis.forecast"}
SHOWS_ROWS = {"numpy", "yaml", "operators.source.knobs", "evo.analysis.campaign_view"} | MODELS
RANKS = {"yaml", "operators.source.knobs"} | MODELS
COUNTS = MODELS | {"operators.source.knobs"}  # status reads the budgets from the folder's config
ENTRY = {"": COUNTS, "--help": SHOWS_ROWS | {"pydantic"}, "status": COUNTS, "top": RANKS}
ENTRY |= {"show best": RANKS, "tree": RANKS, "history best": RANKS}
ENTRY |= {
    "diff seed best": SHOWS_ROWS,
    "log": SHOWS_ROWS,
    "idea": RANKS,
}  # ideas with effects, by pairs


def modules_of(command: str, folder: Path) -> set[str]:
    """Every module that is loaded when this command ends."""
    told = (
        f"import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {MAIN}"
    )
    done = subprocess.run(
        [sys.executable, "-c", told, *command.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("command", ENTRY)
def test_reading_commands_import_nothing_heavy(command: str, tmp_path: Path) -> None:
    finished(tmp_path / "campaigns" / "built-1")
    loaded = modules_of(command, tmp_path)
    heavy = HEAVY if command in WRITES else HEAVY | {"sqlite_utils"}
    assert not (heavy | ENTRY[command]) & loaded
    ours = [
        one
        for one in loaded
        if one.split(".")[0] in ("evo", "operators", "population")
        and not one.startswith("evo.cli.")  # a file a group of commands: each declares them
    ]
    assert len(ours) <= (24 if ENTRY[command] >= SHOWS_ROWS else 48), sorted(ours)
    assert len(loaded) < 500  # of 396 that typer, pydantic, rich and numpy need themselves


LIBRARIES = """
import sys
from pathlib import Path
from typing import Annotated
import typer
app = typer.Typer()
@app.callback()
def main() -> None: ...
@app.command()
def bare(folder: Annotated[Path | None, typer.Option("--dir")] = None, most: int = 10) -> None:
    import sqlite3
    from rich.console import Console
    from rich.table import Table
    table = Table("a", "b")
    table.add_row("1", "2")
    Console().print(table)
"""


@pytest.mark.soak
def test_a_read_command_costs_little_more_than_its_libraries_in_a_bare_command(
    campaign: tuple[Built, str, str], tmp_path: Path
) -> None:
    """What seconds are depends on the machine: measured in turn, against what uses the same libraries."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = "sys.argv = ['bare', 'bare']; app()"
    commands = {"rows": LIBRARIES + run, "numbers": f"{LIBRARIES}import numpy; {run}"}
    lines = {name: (sys.executable, "-c", source) for name, source in commands.items()}
    lines |= {
        words: (sys.executable, "-c", MAIN, *words.split())
        for words in ("status", "top", "show best", "tree", "diff seed best")
    }
    seconds: dict[str, list[float]] = {words: [] for words in lines}
    for _ in range(4):  # the first one compiles
        for words, line in lines.items():
            with subprocess.Popen(
                line, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL
            ) as process:
                _, code, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(code)
            assert process.returncode == 0
            seconds[words].append(used.ru_utime + used.ru_stime)
    least = {words: min(times) for words, times in seconds.items()}
    rows, numbers = least.pop("rows"), least.pop("numbers")
    assert least.pop("diff seed best") < 1.6 * rows, (rows, seconds)
    assert least.pop("status") < 1.8 * numbers, (
        numbers,
        seconds,
    )  # all that the others tell, in sums
    assert max(least.values()) < 1.6 * numbers, (numbers, least)


def test_without_a_campaign_it_says_how_to_start(evo: Evo) -> None:
    said = evo()
    assert said.code == 0
    assert "evo init mine" in said.out and "evo run mine/campaign.yaml" in said.out


@pytest.mark.parametrize(
    "command", ["status", "top", "tree", "show best", "stop", "resume", "graduate"]
)
def test_a_command_without_a_campaign_ends_in_one_clear_line(evo: Evo, command: str) -> None:
    said = evo(*command.split())
    assert said.code == 2
    assert said.err.strip() == (
        "evo: there is no campaign here; `evo run CONFIG` starts one, `evo init DIR` writes a config"
    )


def test_the_newest_campaign_is_the_one_begun_last_whichever_is_written_to(
    evo: Evo, tmp_path: Path
) -> None:
    assert newest(tmp_path) is None
    for place, name in enumerate(("b-1", "a-1", "c-1")):
        built = Built(tmp_path / "campaigns" / name)
        built.store.close()
        with sqlite3.connect(built.folder / "campaign.db") as database:
            database.execute("UPDATE proposals SET created = ?", (1000 + place % 2,))
        os.utime(built.folder / "campaign.db", (3000 - place, 3000 - place))
    assert newest(tmp_path) == tmp_path / "campaigns" / "a-1"
    assert "--dir" not in evo("status").out
    assert evo("list", "--json").json()[0]["folder"].endswith("a-1")
    assert fresh_folder(tmp_path, "a") == tmp_path / "campaigns" / "a-2"


def test_a_calibration_is_never_the_newest_campaign_and_cannot_go_on(
    evo: Evo, tmp_path: Path
) -> None:
    Built(tmp_path / "campaigns" / "a-1").store.close()
    for folder in ("campaigns/b-1", "calibrations/c-1"):
        built = Built(tmp_path / folder)
        built.store.set_setting("kind", "calibration")
        built.store.close()
        os.utime(built.folder / "campaign.db", (2e9, 2e9))
    assert newest(tmp_path) == tmp_path / "campaigns" / "a-1"
    for command in ("resume", "graduate"):
        said = evo(command, "--dir", "calibrations/c-1")
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert "is a calibration" in said.err
    assert "evo resume" not in evo("status", "--dir", "calibrations/c-1").out


def test_slots_that_have_not_measured_yet_are_counted_too(evo: Evo, tmp_path: Path) -> None:
    built = Built(tmp_path / "campaigns" / "a-1")
    for slot in ("cpu0", "cpu1"):
        request = RunRequest(built.seed, "proxy", int(slot[-1]), 0, Purpose.CALIBRATE)
        built.store.open_run(request, slot)
    assert evo("status", "--json").json()["slots"] == 2
    built.run(built.seed, 2.5, 7)  # on cpu0
    built.store.close()
    assert evo("status", "--json").json()["slots"] == 2


def test_status_says_where_the_campaign_stands(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    said = evo("status")
    for part in (
        "budget spent, variants (3)",
        "not running",
        "3 of 10",
        "1 crashed",
        "slots busy",
    ):
        assert part in said.out, part
    assert "overhead" not in said.out and "overhead" in evo("status", "--all").out
    assert "next  evo show leader" in said.out


def test_evo_alone_is_the_status(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    assert evo().out == evo("status").out


def test_status_as_json_carries_busy_share_and_overhead(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    one = evo("status", "--json").json()
    assert one["slot_busy_share"] == pytest.approx(1.0)
    assert one["overhead_seconds_median"] == pytest.approx(2.0)
    assert one["budget"]["variants"] == {"used": 3, "limit": 10}
    assert one["measurements"] == {"ok": 15, "crashed": 1}
    assert one["findings"]["final"]["verdict"] == "better"
    assert one["running"] is None
    assert one["best"]["variant_id"] == campaign[1]


def test_every_reading_command_gives_one_json_document(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    assert [row["standing"] for row in evo("top", "--json").json()] == ["candidate", "", ""]
    assert evo("show", "best", "--json").json()["variant_id"] == campaign[1]
    assert evo("diff", "seed", "best", "--json").json()["knobs"][0]["name"] == "LR"
    generations = [row["generation"] for row in evo("tree", "--json").json()]
    assert generations == [0, 1, 2, 2]


def test_what_is_not_a_number_is_null_in_json(evo: Evo, tmp_path: Path) -> None:
    built = Built(tmp_path / "campaigns" / "built-1")
    built.run(built.seed, 2.5, purpose=Purpose.CALIBRATE)
    (row,) = evo("top", "--json").json()
    assert row["estimates"]["val_bpb"]["sd"] is None


def test_top_shows_the_front_first_with_n(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    lines = [line for line in evo("top").out.splitlines() if "n=" in line]
    assert lines[0].startswith(campaign[1][:8]) and "candidate" in lines[0]
    assert any("the seed" in line and "n=6" in line for line in lines)


def test_show_tells_lineage_runs_and_reasons(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    said = evo("show", campaign[2][:6], "--source")
    for part in ("llm_mutate", "a bold idea", "crashed", "NameError: boom", "LR = 0.1"):
        assert part in said.out, part


def test_diff_is_unified_and_plain_where_nobody_looks(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    said = evo("diff", "seed", "best")
    assert "--- a/train.py" in said.out
    assert "-LR = 0.1  # knob: log 1e-3 1" in said.out
    assert "+LR = 0.3  # knob: log 1e-3 1" in said.out
    assert "\x1b" not in said.out


def test_tree_can_start_anywhere_and_end_early(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    assert evo("tree").out.count("n=") == 5  # three scores, two effects
    assert "a bold idea" not in evo("tree", "--of", "best").out
    assert "… 3 more" in evo("tree", "--depth", 0).out


def test_an_unknown_id_is_one_line_that_names_near_ones(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    said = evo("show", "zzzzzz")
    assert said.code == 2
    assert said.err.startswith("evo: no variant 'zzzzzz'") and said.err.count("\n") == 1


def test_export_writes_the_source_as_it_was_and_spares_what_is_there(
    evo: Evo, campaign: tuple[Built, str, str], tmp_path: Path
) -> None:
    assert evo("export", "seed", "-o", "out.py").code == 0
    assert (tmp_path / "out.py").read_text() == SEED
    assert evo("export", "best", "-o", "out.py").code == 2
    assert (tmp_path / "out.py").read_text() == SEED
    assert evo("export", "seed", "-o", "-").out == SEED


def test_a_file_that_is_no_store_is_told_in_one_line(evo: Evo, tmp_path: Path) -> None:
    folder = tmp_path / "campaigns" / "broken-1"
    folder.mkdir(parents=True)
    (folder / "campaign.db").write_text("not a database")
    said = evo("status")
    assert (said.code, said.err.count("\n")) == (2, 1)


def test_help_lists_every_command_in_its_panel_and_teaches_each_by_example(evo: Evo) -> None:
    listed = evo("--help").out
    places = [listed.index(f"─ {panel} ─") for panel in PANELS]
    assert places == sorted(places)
    for names in PANELS.values():
        for command in names:
            assert f"│ {command} " in listed
            assert "Example: evo" in evo(command, "--help").out, command


def test_a_command_without_a_panel_is_a_mistake() -> None:
    lost = typer.Typer()
    lost.command()(lambda: None)
    with pytest.raises(KeyError):
        arrange(lost)


def test_approval_waits_in_the_store_for_the_next_run(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    said = evo("approve", "best")
    assert "takes effect with the next" in said.out
    (asked,) = pending(campaign[0].store)
    assert (asked.kind, asked.detail) == (
        "approve",
        {"variant_id": campaign[1], "rung": "larger"},
    )


def test_stop_asks_nobody_when_nobody_runs(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    assert "is not running" in evo("stop").out
    assert pending(campaign[0].store) == []


def test_the_cost_of_a_status_grows_no_faster_than_the_campaign(
    evo: Evo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [0]

    def counted(path: Path, mode: str) -> sqlite3.Connection:
        connection = connect(path, mode)
        connection.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 1)
        return connection

    monkeypatch.setattr(opening, "connect", counted)

    def cost(variants: int) -> tuple[int, int]:
        """Lines of Python and steps of SQLite that a status takes."""
        if not (tmp_path / str(variants)).exists():
            _descending(tmp_path / str(variants), variants)
        words = ("status", "--json", "--dir", str(tmp_path / str(variants)))
        said, steps[0] = [], 0
        lines = lines_run(lambda: said.append(evo(*words)))
        assert said[0].json()["measurements"]["ok"] == variants + 2
        return lines, steps[0]

    cost(100)  # what a first call alone pays for
    small, middle, large = (cost(variants) for variants in (100, 200, 400))
    for least, less, most in zip(small, middle, large, strict=True):
        # twice as many more cost twice as much more; with one loop over pairs it is 2.6 times
        assert most - less < 2.3 * (less - least), (small, middle, large)


def _descending(folder: Path, variants: int) -> None:
    """A campaign in which every third child has children of its own, each a little better."""
    built = Built(folder)
    built.runs(built.seed, [2.5, 2.51], Purpose.CALIBRATE)
    with built.store.transaction():
        parent = built.seed
        for place in range(variants):
            child = built.child(f"x = {place}\n", parent)
            built.run(child, 2.5 - place * 1e-4)
            parent = child if place % 3 == 0 else parent


def test_export_says_in_one_line_where_it_cannot_write(
    evo: Evo, campaign: tuple[Built, str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for where, told in (("file/x.py", "is no folder"), (".", "is a folder")):
        said = evo("export", "seed", "-o", where)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert told in said.err


def test_an_exported_file_says_what_it_needs_beside_it(
    evo: Evo, campaign: tuple[Built, str, str], tmp_path: Path
) -> None:
    assert (
        "--with-harness" not in evo("export", "seed", "-o", "out.py").out
    )  # it imports no harness
    told = evo("export", "seed", "-o", "again.py", "--with-harness", "--json").json()
    assert told["path"] == "again.py" and told["harness"] == "harness.py"
    assert (tmp_path / "harness.py").is_file() and (tmp_path / "corpus" / "sotu.txt.xz").is_file()
    assert "--with-harness" not in evo("export", "best", "-o", "third.py").out


def test_show_keeps_the_rungs_apart(evo: Evo, tmp_path: Path) -> None:
    built = Built(tmp_path / "campaigns" / "built-1")
    built.run(built.seed, 2.5, purpose=Purpose.CALIBRATE, more={"peak_memory_mb": 11.0})
    built.run(built.seed, 9.9, 0, Purpose.GRADUATE, "larger/one-step", more={"peak_memory_mb": 7.0})
    built.run(built.seed, 2.1, 0, Purpose.GRADUATE, "larger", more={"peak_memory_mb": 99.0})
    out = evo("show", "seed").out
    assert re.search(r"peak memory mb +11\b", out)
    assert "9.9" not in out and "2.1000" in out


def test_a_variant_does_not_differ_from_itself(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    assert "are equal" in evo("diff", "seed", "seed").out


@pytest.mark.parametrize(
    ("who", "told"), [("seed", "the seed needs no approval"), ("last", "has no score at proxy")]
)
def test_what_cannot_go_up_is_not_approved(
    evo: Evo, campaign: tuple[Built, str, str], who: str, told: str
) -> None:
    said = evo("approve", who)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert told in said.err
    assert pending(campaign[0].store) == []


def test_nobody_is_approved_where_nobody_waits(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    (campaign[0].folder / "config.yaml").write_text("graduation: {promotion: auto}\n")
    said = evo("approve", "best")
    assert said.code == 2
    assert "promotion is auto" in said.err and "--set graduation.graduates=N" in said.err


def test_commands_for_another_folder_name_it(evo: Evo, tmp_path: Path) -> None:
    for name in ("campaigns/new-1", "old one"):
        built = Built(tmp_path / name)
        built.run(built.seed, 2.5, purpose=Purpose.CALIBRATE)
        built.store.add_event("end", "stopped; `evo resume` goes on from here")
    out = " ".join(evo("status", "--dir", "old one").out.split())
    assert out.count("evo resume --dir 'old one'") == 2
    assert "--dir" not in evo("status").out


def test_the_version_is_told(evo: Evo) -> None:
    assert re.fullmatch(r"evotrain \d+\.\d+\.\d+\n", evo("--version").out)
