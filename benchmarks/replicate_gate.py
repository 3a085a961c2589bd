"""The gate on real training: identical code raced against itself (A/A), and a planted gain beside it (A/B).

The seed runs several times on each of many blocks, and a handicapped seed once on each. Their rows are
resampled by whole blocks into synthetic campaigns, and every attempt goes through the rule in force. Nothing
may be certified in A/A more often than alpha; in A/B the gain is moved to exactly two run sds.

    python benchmarks/replicate_gate.py configs/quickstart.yaml --dir campaigns/gate

A run that was interrupted goes on where it stopped.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evo.assembly.campaign import build_campaign
from evo.campaigns import CALIBRATION
from evo.cli.follow import Follower
from evo.config import read_config
from evo.folder import Folder, config_of, create_campaign, locked
from evo.runtime.components import LoopSettings
from evo.search.certification import ALPHA, CertificationSettings, rule_of
from operators.source.knobs import with_knobs
from population.fingerprint import fingerprint
from population.reading import measurements, seed, source_of
from population.statistics.certification import ends, simulate
from population.statistics.intervals import Interval, share_at_most, share_interval
from population.types import (
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)

Table = NDArray[np.float64]
PLANTED = 2.0  # run sds
CHILDREN = 100  # of a greedy campaign


@dataclass(frozen=True)
class Gate:
    """What the resampled campaigns showed; scores in val_bpb."""

    runs: int
    blocks: int
    run_sd: float  # across blocks, what a campaign takes as the noise
    pair_sd: float  # of a difference of two identical runs on one block
    planted_as_measured: float  # the handicap's mean cost, before it is moved to PLANTED run sds
    campaigns: int
    attempts: int
    false_promotions: float  # a campaign
    with_a_false_one: Interval
    at_most: float  # upper 95 % bound of that share
    greedy_keeps: float  # a campaign of CHILDREN children, each no better
    greedy_claims: float  # the gain it then believes in, in run sds
    power: Interval
    planted_sd: float  # of a pair of the planted gain, which has noise of its own
    promised: float  # by simulation with normal noise at the sd of a pair of identical code
    promised_planted: float  # and at that of the planted pair


def measure(
    config_file: Path, folder: Path, blocks: int, repeats: int, handicap: dict[str, float]
) -> str:
    """Make the runs that are missing; the id of the handicapped seed."""
    if not Folder(folder).database.exists():
        _create(config_file, folder, handicap)
    home = Folder(folder)
    with home.open_store() as store:
        worse: str = store.setting("handicapped")
    with locked(home):

        def only(seed_id: str, rungs: Sequence[str]) -> list[list[RunRequest]]:
            runs = [(seed_id, repeat) for repeat in range(repeats)] + [(worse, 0)]
            return [
                [
                    RunRequest(one, rungs[0], block, repeat, Purpose.CALIBRATE)
                    for one, repeat in runs
                ]
                for block in range(blocks)
            ]

        config = config_of(home)
        loop = LoopSettings(search=False, finish=False)
        ending = Follower(build_campaign(home, config, loop, print, only), "gate", live=False).run()
    if not ending.complete:
        raise SystemExit(f"stopped; the same command goes on from here ({ending.reason})")
    return worse


def _create(config_file: Path, folder: Path, handicap: dict[str, float]) -> None:
    home = create_campaign(read_config(config_file), folder, CALIBRATION)
    with home.open_store() as store:
        root = seed(store)
        assert root is not None  # it has just been created
        source = with_knobs(source_of(store, root), handicap)
        worse = Variant(variant_id(source), source, fingerprint(source))
        idea = "handicapped: " + ", ".join(f"{k} = {v}" for k, v in handicap.items())
        parents = (Parent(root, "parent"),)
        store.add_proposal(
            Proposal(2, "inject", parents, Outcome.VARIANT, variant=worse, idea=idea)
        )
        store.set_setting("handicapped", worse.id)


def scores(folder: Path, worse: str, blocks: int, repeats: int) -> tuple[Table, Table]:
    """val_bpb of the seed [blocks, repeats] and the handicapped one [blocks]; no block with a failure."""
    with Folder(folder).open_store() as store:
        rows = measurements(store, statuses=[Status.OK])
    found = {
        (o.variant_id == worse, o.block, o.repeat): row.measurement.metrics["val_bpb"]
        for row in rows
        for o in [row.measurement.request]
    }
    wanted = [[(False, b, r) for r in range(repeats)] + [(True, b, 0)] for b in range(blocks)]
    whole = [keys for keys in wanted if all(key in found for key in keys)]
    table = np.array([[found[key] for key in keys] for keys in whole])
    return table[:, :-1], table[:, -1]


def resample(
    same: Table,
    worse: Table,
    settings: CertificationSettings,
    campaigns: int,
    rng: np.random.Generator,
) -> Gate:
    """The synthetic campaigns; `same` [blocks, repeats] of identical code, `worse` [blocks]."""
    blocks, repeats = same.shape
    run_sd = float(np.sqrt(same.var(axis=0, ddof=1).mean()))
    rule = rule_of(settings, run_sd)
    pairs = min(rule.most_pairs, blocks)
    shift = PLANTED * run_sd - float((worse[:, None] - same).mean())

    def drawn(
        attempts: int,
    ) -> NDArray[np.int64]:  # blocks of each attempt [attempts, pairs], none twice in one
        return rng.permuted(np.tile(np.arange(blocks), (attempts, 1)), axis=1)[:, :pairs]

    at = drawn(campaigns * rule.attempts)
    first = rng.integers(repeats, size=at.shape)
    second = (first + rng.integers(1, repeats, size=at.shape)) % repeats  # never the same run
    false = ends(rule, same[at, first] - same[at, second])[1].reshape(campaigns, -1).sum(axis=1)
    at = drawn(campaigns)
    gains = worse[at] - same[at, rng.integers(repeats, size=at.shape)] + shift
    planted = ends(rule, gains)[1]
    stream = rng.choice(same.ravel(), (campaigns, CHILDREN + 1))
    best = np.minimum.accumulate(stream, axis=1)
    pair_sd = float(np.sqrt(2 * same.var(axis=1, ddof=1).mean()))
    planted_sd = float(np.sqrt((worse[:, None] - same).var(axis=0, ddof=1).mean()))
    wrong = int(np.count_nonzero(false))

    def promised(sd: float) -> float:
        return simulate(rule, PLANTED * run_sd, sd, rng, 4000).certified

    return Gate(
        runs=same.size + worse.size,
        blocks=blocks,
        run_sd=run_sd,
        pair_sd=pair_sd,
        planted_as_measured=float((worse[:, None] - same).mean()),
        campaigns=campaigns,
        attempts=rule.attempts,
        false_promotions=float(np.mean(false)),
        with_a_false_one=share_interval(wrong, campaigns),
        at_most=share_at_most(wrong, campaigns),
        greedy_keeps=float((stream[:, 1:] < best[:, :-1]).sum(axis=1).mean()),
        greedy_claims=float((stream[:, 0] - best[:, -1]).mean()) / run_sd,
        power=share_interval(int(np.count_nonzero(planted)), campaigns),
        planted_sd=planted_sd,
        promised=promised(pair_sd),
        promised_planted=promised(planted_sd),
    )


def markdown(gate: Gate, alpha: float) -> str:
    """The findings as two tables."""
    wrong, power = gate.with_a_false_one, gate.power
    return f"""{gate.runs} runs on {gate.blocks} blocks; run sd {gate.run_sd:.4f}, pair sd {gate.pair_sd:.4f}; \
{gate.campaigns} campaigns of {gate.attempts} attempts, resampled by whole blocks.

| identical code | false promotions a campaign | campaigns with one (95 %) | upper 95 % | allowed |
|---|---|---|---|---|
| the gate | {gate.false_promotions:.4f} | {wrong.value:.4f} ({wrong.low:.4f} to {wrong.high:.4f}) \
| {gate.at_most:.4f} | {alpha} |
| greedy, {CHILDREN} children | {gate.greedy_keeps:.2f} keeps, claiming {gate.greedy_claims:.2f} run sds | | | |

| planted gain of {PLANTED:g} run sds | certified (95 %) | promised at the sd of identical code | \
at its own, {gate.planted_sd:.4f} |
|---|---|---|---|
| the gate | {power.value:.3f} ({power.low:.3f} to {power.high:.3f}) | {gate.promised:.3f} \
| {gate.promised_planted:.3f} |

The handicap as measured cost {gate.planted_as_measured:+.4f}; it was moved to exactly {PLANTED:g} run sds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--dir", type=Path, default=Path("campaigns/gate"))
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3, help="of the seed on each block")
    parser.add_argument("--handicap", default="MATRIX_LR=0.025", help="knob=value of the worse one")
    parser.add_argument("--attempts", type=int, default=2)
    parser.add_argument("--campaigns", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    name, _, value = given.handicap.partition("=")
    worse = measure(given.config, given.dir, given.blocks, given.repeats, {name: float(value)})
    same, handicapped = scores(given.dir, worse, given.blocks, given.repeats)
    settings = CertificationSettings(attempts=given.attempts)
    gate = resample(same, handicapped, settings, given.campaigns, np.random.default_rng(2026))
    print(json.dumps(asdict(gate), indent=2) if given.json else markdown(gate, ALPHA))


if __name__ == "__main__":
    main()
