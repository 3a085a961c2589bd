"""Which campaign a command means, and what can be known of it without starting it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evo.campaigns import (
    ABLATIONS,
    CALIBRATIONS,
    CAMPAIGNS,
    DATABASE,
    is_calibration,
    newest,
    no_search_in,
    running_process,
    touched,
)
from evo.files import campaign_around, write_file

if TYPE_CHECKING:
    from evo.analysis.campaign_view import Record
    from evo.analysis.overview import Overview
    from population.store import Store

SHIPPED = Path(__file__).resolve().parents[2]  # the folder that holds seed/ and configs/


class NoCampaign(Exception):
    """There is no campaign where one was looked for; the message says how to start one."""


def searched_folder(given: Path | None) -> Path:
    """The folder of a campaign that can go on. NoCampaign when there is none, or nothing to go on with."""
    folder = campaign_folder(given)
    if objection := no_search_in(folder):
        raise NoCampaign(objection)
    return folder


def campaign_folder(given: Path | None) -> Path:
    """The folder a command means: a path, or the name of one under `campaigns`, `calibrations` or `ablations`.

    NoCampaign when there is none, or when several lie in the folder that was given.
    """
    if given is not None:
        return _meant(given)
    found = newest(Path.cwd())
    if found is None:
        raise NoCampaign(
            "there is no campaign here; `evo run CONFIG` starts one, `evo init DIR` writes a config"
        )
    return found


def folder_to_stop(given: Path | None) -> Path:
    """The folder that was given, else the only campaign here that runs, else the newest.

    NoCampaign where several run: a stop that is meant for one must not end its neighbour.
    """
    here = sorted(one.parent for one in Path.cwd().glob(f"{CAMPAIGNS}/*/{DATABASE}"))
    running = [] if given is not None else [one for one in here if running_process(one) is not None]
    if len(running) > 1:
        names = ", ".join(one.name for one in running)
        raise NoCampaign(
            f"{len(running)} campaigns run here: {names}; name one: `evo stop --dir NAME`"
        )
    return running[0] if running else campaign_folder(given)


def _meant(given: Path) -> Path:
    named = [given, *(Path(under) / given for under in (CAMPAIGNS, CALIBRATIONS, ABLATIONS))]
    for one in named:
        if (one / DATABASE).is_file():
            return one
    inside = [
        one.parent for under in (CAMPAIGNS, "") for one in (given / under).glob(f"*/{DATABASE}")
    ]
    if len(inside) == 1:
        return inside[0]
    where = shlex.quote(str(given))
    if inside:
        last = max(inside, key=lambda one: touched(one / DATABASE))
        raise NoCampaign(
            f"{given} holds {len(inside)} campaigns (`evo list {where}`); name one of them, such as "
            f"`--dir {shlex.quote(str(last))}`"
        )
    if not os.path.lexists(given) or (given.is_dir() and not any(given.iterdir())):
        hint = f"`evo run CONFIG --dir {where}` starts one, `evo list` shows those that are here"
    else:
        hint = "`evo list` shows those that are here"
    raise NoCampaign(f"{given} holds no campaign (no {DATABASE}); {hint}")


def fresh_folder(base: Path, name: str, under: str = CAMPAIGNS) -> Path:
    """campaigns/<name>-<n> with the first n that is free."""
    taken = 1
    while os.path.lexists(base / under / f"{name}-{taken}"):
        taken += 1
    return base / under / f"{name}-{taken}"


def take_folder(base: Path, name: str, under: str) -> Path:
    """`fresh_folder`, made: of two that ask at once, each gets its own."""
    while True:
        path = fresh_folder(base, name, under)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


@contextmanager
def opened(given: Path | None) -> Iterator[tuple[Path, Store]]:
    """The folder that is meant and its store, for reading."""
    from population.store import Store

    folder = campaign_folder(given)
    with Store.open(folder / DATABASE, read_only=True) as store:
        yield folder, store


def at(folder: Path) -> str:
    """ " --dir FOLDER" for a command to type, "" where the folder is the default anyway."""
    default = newest(Path.cwd())
    same = default is not None and default.resolve() == folder.resolve()
    return "" if same else f" --dir {shlex.quote(str(folder))}"


def next_command(one: Overview) -> str:
    """The next useful command for a campaign in this state."""
    from population.types import CampaignState

    where = at(Path(one.folder))
    if is_calibration(Path(one.folder)):
        return "evo run CONFIG"
    if one.imported is not None:
        return f"evo report{where}"
    if one.running is not None:
        return f"evo top{where}"
    if one.state is CampaignState.WAITING:
        return f"evo approve{where}"
    if one.state.wants_resume:
        limited = any(used.limit is not None for used in one.budget.values())
        budget = (
            "" if limited else f" --set budget.variants={2 * one.proposals.get('variant', 0) + 2}"
        )
        return f"evo resume{where}{budget}"
    if one.findings.leader_id is None:  # over, and a resume would only spend more
        return f"evo report{where}"
    return f"evo show leader{where}"


def named(store: Store, text: str) -> str:
    """The variant that a person means. Of `best`, stderr tells where it is not whom the findings are about."""
    from evo.cli.app import complain
    from population.reading import compared, leader, resolve, seed

    found = resolve(store, text)
    first = leader(store) if text == "best" else None
    if first is not None and first != found:
        who = "the seed" if found == seed(store) else found[:8]
        why = "the final comparison was with" if compared(store) else "the front's best child is"
        complain(f"best is {who} here; {why} {first[:8]}, which `leader` names")
    elif text == "best" and found == seed(store):
        complain("best is the seed: no child is on the front")
    return found


def remark_on(record: Record) -> None:
    """Say above what is shown that its numbers were reported by others, where they are."""
    if record.imported is not None:
        from evo.terminal.imported import REMARK

        print(f"({REMARK})")


def write_start(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder to start from; NoCampaign and nothing written where anything of it is there."""
    there = [name for name in files if os.path.lexists(folder / name)]
    if there:
        raise NoCampaign(f"{folder} holds {', '.join(there)} already; nothing was written")
    if os.path.lexists(folder) and not folder.is_dir():
        raise NoCampaign(f"{folder} is a file; give the folder to write")
    if around := campaign_around(folder / "seed"):
        raise NoCampaign(f"{folder} lies in the campaign {around}; give a folder outside of it")
    for name, content in files.items():
        write_file(folder / name, content, replace=False)
