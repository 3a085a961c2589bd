"""Do islands pay on real training? One population, islands, and islands with a sceptic, at equal slot seconds.

The file names the islands. The first arm is one population with the operators of all of them, each weighed by
its island's share, and the campaign's own objectives; the second leaves the sceptics out. Seeds, order and
what a gain is are those of compare_operators.py. A night on two cores:

    python benchmarks/compare_islands.py configs/islands.yaml --seeds 3 --slot-seconds 6400

A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compare_operators import Played, arms_of, arms_table, order_of, play, tell

from evo.config import Config, read_config
from operators.registry import WITH_DESK, WITH_LLM
from population.islands import IslandRole

ARMS = ("one population", "islands", "islands and a sceptic")


def keys_of(config: Config, arm: str) -> dict[str, Any]:
    """The keys of the campaign that an arm sets."""
    if arm == ARMS[0]:
        return {"operators": mixed(config), "islands": {}}
    roles = {IslandRole.EXPLORER} if arm == ARMS[1] else set(IslandRole)
    chosen = {name: one for name, one in config.islands.items() if one.role in roles}
    return {"operators": config.operators, "islands": chosen}


def mixed(config: Config) -> dict[str, float]:
    """The explorers' operators together, each with its part of its island's share."""
    found: dict[str, float] = {}
    for name, own in config.populations().items():
        island = config.islands[name]
        if island.role is not IslandRole.EXPLORER:
            continue
        whole = sum(own.operators.values())
        for operator, weight in own.operators.items():
            found[operator] = found.get(operator, 0.0) + island.share * weight / whole
    return {name: round(weight, 6) for name, weight in found.items()}


def refuse_what_is_unequal(config_file: Path, config: Config) -> None:
    """End where the arms could not differ, or where one of them would have what another lacks."""
    roles = [one.role for one in config.islands.values()]
    if roles.count(IslandRole.EXPLORER) < 2 or IslandRole.SCEPTIC not in roles:
        raise SystemExit(
            f"{config_file}: islands: two explorers and a sceptic are compared; name them"
        )
    asking = {*WITH_LLM, *WITH_DESK}
    for name, own in config.populations().items():
        if wrong := sorted(asking & set(own.operators)):
            raise SystemExit(
                f"{config_file}: islands.{name}: {wrong[0]} asks a model; leave it out here"
            )
        again = set(config.islands[name].set_again()) - {"operators", "objectives"}
        if again:
            key = sorted(again)[0]
            raise SystemExit(
                f"{config_file}: islands.{name}.{key}: one population cannot have it; set {key} for all"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--dir", type=Path, default=Path("campaigns/populations"))
    parser.add_argument("--seeds", type=int, default=3, help="campaigns of each arm")
    parser.add_argument("--slot-seconds", type=float, default=6400.0, help="of each campaign")
    parser.add_argument("--final-blocks", type=int, default=6, help="fresh ones, leader and seed")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    config = read_config(given.config)
    refuse_what_is_unequal(given.config, config)
    order, played = order_of(given.seeds, ARMS), list[Played]()
    for number, (seed, arm) in enumerate(order, 1):
        tell(f"campaign {number} of {len(order)}: {arm}, seed {seed}")
        path = given.dir / f"{arm.replace(' ', '-')}-{seed}"
        terms = (given.slot_seconds, given.final_blocks, keys_of(config, arm))
        played.append(play(given.config, path, arm, seed, *terms))
    if given.json:
        arms = [asdict(one) for one in arms_of(played, ARMS)]
        print(json.dumps({"arms": arms, "campaigns": [asdict(one) for one in played]}, indent=2))
    else:
        print("\n".join(arms_table(played, ARMS)))


if __name__ == "__main__":
    main()
