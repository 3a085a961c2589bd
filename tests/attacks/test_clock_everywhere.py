"""What is held of the clock and of memory in every box, with control groups and without."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from evo.evaluation import process
from evo.evaluation.data import Dataset
from evo.evaluation.sandbox.cgroups import Parents
from evo.evaluation.sandbox.sandbox import Sandbox
from tests.attacks.table import ATTACKS
from tests.attacks.test_attacks import ending, honest_score
from tests.evaluation.boxes import every_box
from tests.evaluation.conftest import RUNG, Evaluate

pytestmark = pytest.mark.sandbox

QUICK = ("works_in_unwaited_children", "holds_memory_in_sockets")
NAMES = (
    *QUICK,
    "works_behind_a_dead_leader",
    "works_behind_dead_leaders_in_turn",
    "memory_behind_a_dead_leader",
    "works_in_children_that_leave_no_trace",
    "works_in_orphans_of_a_careless_parent",
    "works_in_children",
    "works_in_daemons",
    "works_in_short_children",
    "works_in_threads",
    "trains_after_the_budget",
    "trains_between_done_and_saved",
    "waits_with_saving_until_it_has_learned",
    "buys_time_with_a_file_of_holes",
    "trains_on_while_its_weights_are_taken",
    "continues_itself_while_its_weights_are_taken",
    "spreads_its_waiting_over_roles",
    "holds_memory_in_connections_that_nobody_takes",
    "holds_memory_in_page_tables",
    "holds_memory_in_pages_it_unmapped",
    "holds_memory_in_tcp_connections",
    "holds_memory_on_its_way",
    "holds_memory_by_the_zero_device",
    "fills_the_tmpfs_with_names",
)


@every_box
@pytest.mark.parametrize("groups", [True, False], ids=["groups", "no groups"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=[] if one in QUICK else [pytest.mark.soak]) for one in NAMES],
)
def test_the_attack_ends_as_it_must_in_every_box(
    name: str,
    groups: bool,
    evaluate: Evaluate,
    sandbox: Sandbox,
    dataset: Dataset,
    targets: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not groups:
        monkeypatch.setattr(process, "parents", Parents)
    (attack,) = (one for one in ATTACKS if one.name == name)
    seen = evaluate(attack.source(targets), sandbox, **attack.rung)
    assert "GOT THROUGH" not in seen.reason + seen.log_tail
    honest = honest_score(dataset, int(attack.rung.get("rows", RUNG.rows)))
    ends = attack.ends_in_landlock if sandbox.name == "landlock" else attack.ends
    assert {ending(seen, honest), seen.status.value} & {*ends}, seen.reason
