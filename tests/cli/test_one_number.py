"""One variant has one number, whatever shows it: what is believed of it, by which the search ranks."""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from evo.cli.follow import Frames
from evo.evaluation.slots import Slot, Watch
from evo.runtime.budget import BudgetSettings
from evo.search.certification import CertificationSettings
from evo.search.scheduler import PolicySettings
from evo.terminal.live import draw
from evo.terminal.text import plus_minus
from population.migrations import MIGRATIONS
from population.reading import decisions
from population.store import Store
from population.types import Measurement, Purpose, RunRequest, Status
from tests.analysis.built import SEED, Built, finished
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store
from tests.campaign.test_certifying import FakeNoise
from tests.terminal.test_screens import shown as printed

from .driving import Evo

POLICY = PolicySettings(seed_blocks=4, seed_repeats=1, final_blocks=3, race_share=0)


def test_every_surface_shows_what_is_believed_of_a_variant(evo: Evo, tmp_path: Path) -> None:
    folder = tmp_path / "campaigns" / "one-1"
    folder.mkdir(parents=True)
    campaign = make_campaign(
        make_store(folder / "campaign.db"),
        evaluator=FakeNoise(gain=0.01, world=3),
        certification=CertificationSettings(attempts=0),
        policy=POLICY,
        budget=BudgetSettings(variants=12),
    )
    campaign.run()
    history = campaign.components.history
    frame = Frames(campaign, "one").frame()
    top = {one["variant_id"]: one for one in evo("top", "-n", "100", "--json").json()}
    tree = {one["variant_id"]: one["estimate"] for one in evo("tree", "--json").json()}
    with Store.open(folder / "campaign.db", read_only=True) as store:
        front = store.query("SELECT variant, believed, believed_sd, blocks FROM v_front")
        told = store.query(
            "SELECT variant, believed, believed_sd, blocks FROM v_beliefs WHERE metric = 'val_bpb'"
        )
    assert len(top) > 10 and front
    assert evo("report").code == 0
    table = (tmp_path / "report.html").read_text()
    screen = evo("top", "-n", "100").out
    assert "believed)" in screen and "less what blocks do, shrunk to its parent's" in screen
    assert "val bpb (believed)" in table
    moved = 0
    for one, shown in top.items():
        believed = history.believed(one, "proxy")["val_bpb"]
        estimate = shown["estimates"]["val_bpb"]
        assert (estimate["mean"], estimate["sd"], estimate["n"]) == (
            believed.mean,
            believed.sd,
            believed.n,
        )
        assert tree[one] == estimate
        assert evo("show", one[:10], "--json").json()["at_proxy"] == shown
        error = history.error(one, "proxy", "val_bpb")
        assert shown["errors"]["val_bpb"] == error > believed.sd  # what few runs leave unknown
        text = plus_minus("val_bpb", believed.mean, error, believed.n)
        assert text in screen and text in table
        assert text in re.sub(r" +n=", "  n=", " ".join(evo("show", one[:10]).out.split()))
        moved += abs(shown["measured"]["mean"] - believed.mean) > 1e-6
    for numbers in (front, told):
        for one, mean, sd, n in numbers:
            believed = history.believed(one, "proxy")["val_bpb"]
            assert (mean, sd, n) == (believed.mean, believed.sd, believed.n)
    assert {one for one, *_ in told} == top.keys()
    ranks = sorted(top, key=lambda one: (top[one]["estimates"]["val_bpb"]["mean"], one))
    assert list(top) == ranks and front[0][0] == history.front("proxy")[0]
    status = evo("status", "--json").json()
    for name in ("seed", "best"):
        score, estimate = getattr(frame, name), status[name]["estimates"]["val_bpb"]
        error = status[name]["errors"]["val_bpb"]
        assert (score.mean, score.error, score.n) == (estimate["mean"], error, estimate["n"])
    assert moved, "a campaign in which nothing is shrunk shows nothing"


def test_without_the_campaigns_word_the_same_is_believed_from_its_rows(
    evo: Evo, tmp_path: Path
) -> None:
    folder = tmp_path / "campaigns" / "one-1"
    folder.mkdir(parents=True)
    open_store = make_store(folder / "campaign.db")
    make_campaign(
        open_store,
        evaluator=FakeNoise(gain=0.01, world=4),
        policy=POLICY,
        budget=BudgetSettings(variants=12),
    ).run()
    said = evo("top", "-n", "100", "--json").json()
    with open_store() as store:
        ids = [one for (one,) in store.query("SELECT DISTINCT variant_id FROM beliefs")]
        store.set_beliefs("proxy", {one: {} for one in ids})
        assert not store.query("SELECT * FROM v_beliefs")
    assert evo("top", "-n", "100", "--json").json() == said


def test_the_live_view_says_of_a_certified_leader_that_it_is(tmp_path: Path) -> None:
    campaign = make_campaign(
        make_store(tmp_path / "campaign.db"),
        evaluator=FakeNoise(gain=0.03),
        certification=CertificationSettings(attempts=0),
        policy=POLICY,
        budget=BudgetSettings(variants=3),
    )
    campaign.run()
    frames, history = Frames(campaign, "one"), campaign.components.history
    assert "not yet proven" in printed(draw(frames.frame()))
    best = next(one for one in history.front("proxy") if one != history.seed_id)
    campaign.components.scheduler.certification.certified.append(best)
    text = printed(draw(frames.frame()))
    assert ", certified" in text and "not yet proven" not in text


def test_what_nobody_is_ranked_by_is_the_mean_of_the_runs_and_nothing_that_no_run_had(
    evo: Evo, tmp_path: Path
) -> None:
    built = Built(tmp_path / "campaigns" / "built-1")
    child = built.child(SEED.replace("0.1", "0.2"), built.seed)
    for block, ratio in enumerate((0.060, 0.052, 0.051)):  # the first block gives everyone more
        built.run(built.seed, 2.5, block, Purpose.CALIBRATE, more={"tokens_per_parameter": ratio})
    built.run(child, 2.4, 0, more={"tokens_per_parameter": 0.0607, "accuracy": 0.84})
    built.believe()
    said = " ".join(evo("show", child[:8]).out.split())
    assert "tokens per parameter 0.0607 " in said and "accuracy 0.84 " in said
    assert "last run" not in said
    said = " ".join(evo("show", built.seed[:8]).out.split())
    assert "tokens per parameter 0.05433 n=3, last run 0.051 " in said
    assert evo("export-table", "--of", "variants", "-o", "v.csv").code == 0
    with (tmp_path / "v.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert float(rows[child]["tokens_per_parameter"]) == 0.0607
    assert float(rows[built.seed]["tokens_per_parameter"]) == pytest.approx(0.163 / 3)


@dataclass
class FakeEasyBlock(FakeEvaluator):
    """Block 0 is far easier than all others, and on every block each child is worse than the seed."""

    def evaluate(self, request: RunRequest, source: str, slot: Slot, watch: Watch) -> Measurement:
        found = super().evaluate(request, source, slot, watch)
        own = int(hashlib.sha256(f"{source}{request.block}".encode()).hexdigest()[:4], 16) / 2**16
        score = 2.0 - 0.05 * (request.block == 0) + 0.002 * (request.block % 3) + 0.001 * own
        if "0.5\n" not in source:
            score += 0.002
        return replace(found, metrics={**found.metrics, "val_bpb": score})


@pytest.mark.parametrize("final_race", [0.0, 0.3])
def test_nobody_names_a_child_that_lost_to_the_seed_on_an_easy_block(
    evo: Evo, tmp_path: Path, final_race: float
) -> None:
    folder = tmp_path / "campaigns" / "easy-1"
    folder.mkdir(parents=True)
    open_store = make_store(folder / "campaign.db")
    campaign = make_campaign(
        open_store,
        evaluator=FakeEasyBlock(),
        certification=CertificationSettings(attempts=1),
        policy=POLICY.model_copy(update={"race_share": final_race}),
    )
    campaign.run()
    history = campaign.components.history
    seed_id = history.seed_id
    assert history.front("proxy") == [seed_id]
    frame = Frames(campaign, "easy").frame()
    assert frame.best is not None and frame.best.who == "seed"
    with open_store() as store:
        assert store.query("SELECT variant FROM v_front WHERE rung = 'proxy'") == [(seed_id,)]
        races = decisions(store, ("leaders",))
        assert bool(races) == bool(final_race)
        for race in races:
            seen = history.believed(seed_id, "proxy", race.detail["seen"])["val_bpb"].mean
            assert all(believed > seen for believed, _ in race.detail["leaders"].values())
    top = evo("top", "-n", "100", "--json").json()
    assert len(top) > 5 and top[0]["variant_id"] == seed_id
    assert evo("status", "--json").json()["best"]["variant_id"] == seed_id
    assert evo("show", "best", "--json").json()["variant_id"] == seed_id


def test_show_tells_the_mean_the_standing_the_difference_and_the_rank(
    evo: Evo, tmp_path: Path
) -> None:
    built, leader, _ = finished(tmp_path / "campaigns" / "built-1")
    built.run(leader, 2.39, 1, more={"serve_tokens_per_second": 100.0})
    built.run(leader, 2.39, 2, more={"serve_tokens_per_second": 300.0})
    built.store.add_decision("vetoed", leader, {"author": "ada", "reason": "too slow"})
    said = " ".join(evo("show", leader[:8]).out.split())
    assert re.search(
        r"believed val_bpb \d\.\d+ ± \d\.\d+ n=6 \(bits per byte, lower is better; believed: the mean",
        said,
    )
    assert "rank 1 of 3 variants by what is believed" in said
    assert (
        "against seed val_bpb 0.1000 better (0.0752 to 0.1248 better, n=3): better than the seed"
        in said
    )
    assert "standing vetoed" in said and "decided vetoed by ada: too slow" in said
    assert "serve tokens per second 200 n=2, last run 300" in said
    known = evo("show", leader[:8], "--json").json()
    assert (known["rank"], known["of"]) == (1, 3)
    assert len(known["beside_seed"]["blocks"]) == 3 and known["at_proxy"]["standing"] == "candidate"


def test_a_reference_run_counts_alike_against_the_seed_and_against_a_parent_that_is_the_seed(
    evo: Evo, tmp_path: Path
) -> None:
    built, leader, _ = finished(tmp_path / "campaigns" / "built-1")
    again = RunRequest(built.seed, "proxy", 0, 1, Purpose.REFERENCE)
    built.store.add_measurement(Measurement(again, Status.OK, metrics={"val_bpb": 2.0}))
    step = evo("history", leader[:8], "--json").json()["chapters"][1]
    beside = evo("show", step["variant_id"], "--json").json()["beside_seed"]
    assert step["effect"]["reference_id"] == built.seed and beside["blocks"] == [0]
    assert step["effect"]["difference"] == pytest.approx(2.45 - (2.5 + 2.0) / 2)
    assert beside["difference"] == step["effect"]["difference"]


def test_a_store_of_the_schema_before_is_read_as_it_is(
    evo: Evo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for module in ("migrations", "connection"):
            patch.setattr(f"population.{module}.MIGRATIONS", MIGRATIONS[:2])
        built, leader, _ = finished(tmp_path / "campaigns" / "built-1")
        built.store.close()
    for command in ("status", "top", "show leader", "tree", "history leader", "report"):
        assert evo(*command.split()).code == 0, command
    assert evo("idea", "wider").code == 0  # a writer brings it up to date
    with Store.open(built.folder / "campaign.db", read_only=True) as store:
        ((member, believed),) = store.query("SELECT variant, believed FROM v_front")
    assert (member, believed) == (leader, 2.0)
