"""What each classical operator earns: real campaigns with all of them, and with each left out in turn.

Every arm gets the same slot seconds and the same seeds, one campaign after the other, arms interleaved. The
gain of a campaign is its leader's over the seed on the fresh blocks of its own final comparison, which chose
nobody; 0 where no child was there to compare.

    python benchmarks/compare_operators.py configs/quickstart.yaml --dir campaigns/operators

A run that was interrupted goes on where it stopped.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from evo.analysis.campaign_view import START, Record
from evo.analysis.comparison import block_values, paired_differences
from evo.analysis.ranking import earnings
from evo.assembly.campaign import build_campaign
from evo.campaigns import findings_of
from evo.cli.follow import Follower
from evo.config import Config, read_config
from evo.evaluation.slots import find_slots
from evo.folder import Folder, config_of, create_campaign, locked
from evo.runtime.components import LoopSettings
from evo.search.halting import StopSettings
from population.statistics.intervals import Interval, mean_interval

WEIGHTS = {"nudge": 1, "merge": 1, "revert": 0.5, "tune": 2}
FULL = "all"
ARMS = (FULL, *(f"without {name}" for name in WEIGHTS))
DONE = "compared"  # the setting of a store whose campaign ended


@dataclass(frozen=True)
class Earned:
    """One operator in one campaign; `gain`: of its steps on the leader's line, as the search measured them."""

    operator: str
    proposals: int
    valid: int  # children with a score
    slot_seconds: float
    gain: float


@dataclass(frozen=True)
class Played:
    """One campaign; `gain` in the first objective, positive is better, on `blocks` fresh blocks."""

    arm: str
    seed: int
    gain: float
    blocks: int
    evaluations: int
    slot_seconds: float
    operators: tuple[Earned, ...]


def tell(text: str) -> None:
    """Progress: the tables alone go to the standard output."""
    print(text, file=sys.stderr, flush=True)


def weights_of(arm: str) -> dict[str, float]:
    return {name: weight for name, weight in WEIGHTS.items() if arm != f"without {name}"}


def order_of(seeds: int, arms: Sequence[str] = ARMS) -> list[tuple[int, str]]:
    """Seed by seed all arms, each seed beginning with another one."""
    return [
        (seed, arms[(at + seed) % len(arms)]) for seed in range(seeds) for at in range(len(arms))
    ]


def play(
    config_file: Path,
    path: Path,
    arm: str,
    seed: int,
    slot_seconds: float,
    final: int,
    keys: Mapping[str, Any],
) -> Played:
    """Run one campaign to its end, or go on with it; then read its outcome. `keys`: what the arm sets."""
    folder = Folder(path)
    if not folder.database.exists():
        create_campaign(configured(config_file, arm, seed, slot_seconds, final, keys), path)
    with folder.open_store() as store:
        done = store.setting(DONE, False)
    if not done:
        with locked(folder):
            config = config_of(folder)
            refuse_change(path, config, seed, slot_seconds, final, keys)
            loop = LoopSettings(config.exact)
            campaign = build_campaign(folder, config, loop, tell)
            with folder.open_store() as store:
                store.add_event(START, f"started with {campaign.components.slots.size} slots")
            ending = Follower(campaign, config.name, live=False, to_stderr=True).run()
            if not ending.complete:
                raise SystemExit(f"stopped; the same command goes on from here ({ending.reason})")
            with folder.open_store() as store:
                store.set_setting(DONE, True)
    else:
        refuse_change(path, config_of(folder), seed, slot_seconds, final, keys)
    return read(folder, arm, seed)


def configured(
    config_file: Path, arm: str, seed: int, slot_seconds: float, final: int, keys: Mapping[str, Any]
) -> Config:
    """The campaign file with one arm's keys and budget, without models, larger rungs and other ends."""
    config = read_config(config_file)
    if not isinstance(config.slots, int | str):
        raise SystemExit(
            f"{config_file}: slots: a number or auto; slot seconds are compared on one machine"
        )
    slots = len(find_slots(config.slots))
    first = next(iter(config.rungs))
    policy = config.policy.model_copy(update={"final_blocks": final})
    budget = config.budget.model_copy(
        update={"variants": None, "seconds": slot_seconds / slots, "llm_tokens": None}
    )
    return config.model_copy(
        update={
            "name": arm.replace(" ", "-"),
            "random_seed": seed,
            **keys,
            "rungs": {first: config.rungs[first]},
            "policy": policy,
            "budget": budget,
            "stop": StopSettings(),
            "llm": None,
            "agent": None,
            "slots": slots,
        }
    )


def refuse_change(
    path: Path,
    config: Config,
    seed: int,
    slot_seconds: float,
    final: int,
    keys: Mapping[str, Any],
) -> None:
    """Campaigns of other terms in the same folder cannot be compared."""
    seconds, slots = config.budget.seconds, config.slots
    assert seconds is not None and isinstance(slots, int)  # as `configured` wrote them
    found = (seconds * slots, config.policy.final_blocks, config.random_seed)
    differing = [key for key, wanted in keys.items() if getattr(config, key) != wanted]
    if differing or found != (slot_seconds, final, seed):
        told = f", {differing[0]} {getattr(config, differing[0])}" if differing else ""
        raise SystemExit(
            f"{path} was begun with other terms: {found[0]:g} slot seconds, {found[1]} final blocks, "
            f"random seed {found[2]}{told}; give the same ones, or another --dir"
        )


def read(folder: Folder, arm: str, seed: int) -> Played:
    """The outcome of a campaign, from its rows."""
    with folder.open_store() as store:
        record = Record.of(store)
        findings = findings_of(store, record)
    sign = -1.0 if findings.minimise else 1.0
    final, steps = findings.final, steps_of(record, findings.leader_id, sign)
    return Played(
        arm=arm,
        seed=seed,
        gain=sign * final.difference if final is not None else 0.0,
        blocks=final.n if final is not None else 0,
        evaluations=len(record.rows),
        slot_seconds=sum(run.wall_seconds for run in record.runs()),
        operators=tuple(
            Earned(name, one.proposals, one.valid, one.slot_seconds, steps.get(name, 0))
            for one in earnings(record)
            if (name := one.operator) in WEIGHTS
        ),
    )


def steps_of(record: Record, leader: str | None, sign: float) -> dict[str, float]:
    """Each operator's share of the leader's line: child over first parent on the blocks of both."""
    values = block_values(record.rows, record.proxy, record.objective.name)
    found: dict[str, float] = {}
    for made in record.chain(leader) if leader is not None else ():
        if made.parents and made.operator is not None and made.variant_id is not None:
            mine, theirs = (
                values.get(one, {}) for one in (made.variant_id, made.parents[0].variant_id)
            )
            pairs = paired_differences(mine, theirs)
            gain = sign * fmean(pairs.values()) if pairs else 0.0
            found[made.operator] = found.get(made.operator, 0.0) + gain
    return found


@dataclass(frozen=True)
class Arm:
    """One arm over its campaigns; intervals (95 %, Student's t) are None below two."""

    arm: str
    campaigns: int
    gain: float
    interval: Interval | None
    difference: (
        float | None
    )  # to the full arm, seed by seed; None for itself or without a common one
    difference_interval: Interval | None
    evaluations: float  # a campaign
    slot_seconds: float  # a campaign


def arms_of(played: Sequence[Played], arms: Sequence[str] = ARMS) -> list[Arm]:
    """Each arm that was played; differences are to the first of `arms`."""
    full = {one.seed: one.gain for one in played if one.arm == arms[0]}
    found = []
    for arm in arms:
        mine = [one for one in played if one.arm == arm]
        if not mine:
            continue
        gains = [one.gain for one in mine]
        pairs = [one.gain - full[one.seed] for one in mine if one.seed in full and arm != arms[0]]
        found.append(
            Arm(
                arm,
                len(mine),
                fmean(gains),
                mean_interval(gains),
                fmean(pairs) if pairs else None,
                mean_interval(pairs),
                fmean(one.evaluations for one in mine),
                fmean(one.slot_seconds for one in mine),
            )
        )
    return found


@dataclass(frozen=True)
class Operator:
    """One operator over all campaigns that had it."""

    operator: str
    campaigns: int
    proposals: int
    valid: int
    slot_seconds: float
    gain: float  # a campaign
    interval: Interval | None


def operators_of(played: list[Played]) -> list[Operator]:
    found = []
    for name in WEIGHTS:
        had = [one for one in played if name in weights_of(one.arm)]
        if not had:
            continue
        mine = [next((e for e in one.operators if e.operator == name), None) for one in had]
        gains = [one.gain if one is not None else 0.0 for one in mine]
        made = [one for one in mine if one is not None]
        found.append(
            Operator(
                name,
                len(had),
                sum(one.proposals for one in made),
                sum(one.valid for one in made),
                sum(one.slot_seconds for one in made),
                fmean(gains),
                mean_interval(gains),
            )
        )
    return found


def arms_table(played: Sequence[Played], arms: Sequence[str] = ARMS) -> list[str]:
    """The lines of a table, an arm each."""
    lines = [
        f"| arm | campaigns | gain over the seed on fresh blocks (95 %) | difference to {arms[0]} (95 %) "
        "| evaluations | slot seconds |",
        "|---|---|---|---|---|---|",
    ]
    for one in arms_of(played, arms):
        difference = (
            "-"
            if one.difference is None
            else with_interval(one.difference, one.difference_interval)
        )
        lines.append(
            f"| {one.arm} | {one.campaigns} | {with_interval(one.gain, one.interval)} | {difference} "
            f"| {one.evaluations:.0f} | {one.slot_seconds:.0f} |"
        )
    return lines


def markdown(played: list[Played]) -> str:
    """Both tables."""
    lines = [
        *arms_table(played),
        "",
        "| operator | campaigns | proposals | valid | slot seconds "
        "| gain of its steps on the leader's line, a campaign (95 %) |",
        "|---|---|---|---|---|---|",
    ]
    for each in operators_of(played):
        valid = f"{each.valid / each.proposals:.0%}" if each.proposals else "-"
        lines.append(
            f"| {each.operator} | {each.campaigns} | {each.proposals} | {valid} | {each.slot_seconds:.0f} "
            f"| {with_interval(each.gain, each.interval)} |"
        )
    return "\n".join(lines)


def with_interval(value: float, interval: Interval | None) -> str:
    """A mean, and its interval where there is one."""
    bounds = f" ({interval.low:+.4f} to {interval.high:+.4f})" if interval is not None else ""
    return f"{value:+.4f}{bounds}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--dir", type=Path, default=Path("campaigns/operators"))
    parser.add_argument("--seeds", type=int, default=3, help="campaigns of each arm")
    parser.add_argument("--slot-seconds", type=float, default=240.0, help="of each campaign")
    parser.add_argument("--final-blocks", type=int, default=6, help="fresh ones, leader and seed")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    order, played = order_of(given.seeds), []
    for number, (seed, arm) in enumerate(order, 1):
        tell(f"campaign {number} of {len(order)}: {arm}, seed {seed}")
        path = given.dir / f"{arm.replace(' ', '-')}-{seed}"
        keys = {"operators": weights_of(arm)}
        terms = (given.slot_seconds, given.final_blocks, keys)
        played.append(play(given.config, path, arm, seed, *terms))
    if given.json:
        found = {
            "arms": [asdict(one) for one in arms_of(played)],
            "operators": [asdict(one) for one in operators_of(played)],
            "campaigns": [asdict(one) for one in played],
        }
        print(json.dumps(found, indent=2))
    else:
        print(markdown(played))


if __name__ == "__main__":
    main()
