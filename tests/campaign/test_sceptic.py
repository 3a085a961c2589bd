"""A sceptic tests what others claim on fresh blocks; what it finds is believed from then on."""

from __future__ import annotations

from evo.proposals.context import CampaignInfo, ContextBuilder
from evo.search.certification import Certification, CertificationSettings
from evo.search.islands import MAX_PAIRS
from evo.search.ladder import Graduation
from evo.search.ladder_settings import GraduationSettings
from evo.search.scheduler import PolicySettings, Scheduler, SearchState
from population.archive import VAL_BPB
from population.fingerprint import fingerprint
from population.islands import (
    CHECKED,
    CHECKING,
    Island,
    IslandRole,
    Islands,
    Members,
    checked_in_words,
)
from population.lineage import Lineage
from population.reading import proposals
from population.run_history import RunHistory
from population.store import Store
from population.types import (
    Decision,
    Measurement,
    MeasurementRow,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)

POLICY = PolicySettings(seed_blocks=4, seed_repeats=0, race_share=0, final_blocks=0)
SHARE = {"finds": 7.0, "doubts": 3.0}


class Doubted:
    """One island and a sceptic; a child's gain is its truth, and more on the blocks that flatter it."""

    def __init__(self, share: float = SHARE["doubts"]) -> None:
        self.share = {**SHARE, "doubts": share}
        self.decided, self.rows, self.ready = list[Decision](), list[MeasurementRow](), list[str]()
        self.lineage = Lineage()
        self.lineage.add("seed", ())
        self.truth, self.flattered, self.size = {"seed": 0.0}, dict[str, float](), {"seed": 100.0}
        self.begin()

    def begin(self) -> None:
        """As another process would go on: from the rows and decisions alone."""
        self.history = RunHistory([VAL_BPB], "seed", family=self.lineage)
        members = Members("seed", self.lineage)
        part = self.history.part([VAL_BPB], members)
        own = Members("seed", self.lineage, ["finds"])
        finds = Island("finds", self.share["finds"], part, members)
        doubts = Island("doubts", self.share["doubts"], self.history, own, IslandRole.SCEPTIC)
        for row in self.rows:
            self.history.add(row)
        self.islands = Islands([finds, doubts], self.lineage)
        none = CertificationSettings(attempts=0)
        self.scheduler = Scheduler(
            POLICY,
            self.history,
            "proxy",
            Certification(none, self.history, "proxy", self.decided),
            Graduation(GraduationSettings(), self.history, self.lineage, ["proxy"]),
            decided=self.decided,
            islands=self.islands,
        )

    def child(
        self, name: str, gain: float, flattery: float = 0.0, size: float = 100.0, of: str = "seed"
    ) -> None:
        self.lineage.add(name, [Parent(of, "parent")], "made", "finds", self.history.last_id())
        self.truth[name], self.flattered[name], self.size[name] = gain, flattery, size
        self.ready.append(name)

    def run(self) -> tuple[RunRequest, ...]:
        step = self.scheduler.next(SearchState({}, tuple(self.ready)))
        self.decided += step.decisions
        for one in step.runs:
            noise = 0.01 * ((5 * one.block + 3 * len(self.rows)) % 7 - 3)
            gain = self.truth[one.variant_id]
            gain += self.flattered.get(one.variant_id, 0.0) if one.block < 3 else 0.0
            metrics = {"val_bpb": 2.0 - gain + noise, "parameters": self.size[one.variant_id]}
            made = Measurement(one, Status.OK, metrics=metrics, host="here")
            self.rows.append(MeasurementRow(len(self.rows) + 1, made))
            self.history.add(self.rows[-1])
            if one.variant_id in self.ready:
                self.ready.remove(one.variant_id)
        return step.runs

    def search(self, children: int) -> None:
        """So many children that gain nothing, each measured."""
        for k in range(children):
            self.child(f"c{len(self.rows)}", -0.2 - 0.003 * k)
            self.run_ready()

    def run_ready(self) -> None:
        """Until each child was measured once."""
        for _ in range(200):
            if not self.ready:
                return
            self.run()
        raise AssertionError("what is ready is not run")

    def found(self, variant_id: str) -> Decision:
        (one,) = [d for d in self.decided if d.kind == CHECKED and d.variant_id == variant_id]
        return one

    def checks(self) -> list[RunRequest]:
        runs = [row.measurement.request for row in self.rows]
        return [one for one in runs if one.purpose is Purpose.CHECK]


def test_a_gain_of_the_blocks_that_chose_it_is_refuted_and_believed_no_more() -> None:
    world = Doubted()
    world.child("lucky", -0.1, flattery=0.4)
    world.search(110)
    told = world.found("lucky").detail
    assert told["verdict"] == "refuted" and told["gain"] < 0.05 < 0.2 < told["claimed"]
    chose = {
        row.measurement.request.block
        for row in world.rows
        if row.measurement.request.variant_id == "lucky" and row.id <= told["chosen_by"]
    }
    fresh = {one.block for one in world.checks() if one.variant_id == "lucky"}
    assert fresh and not fresh & chose, "on blocks that did not choose it"
    assert {one.variant_id for one in world.checks()} == {"lucky", "seed"}
    for history in (world.history, world.islands.explorers[0].history):
        assert history.front("proxy")[0] == "seed"
        assert history.believed("lucky", "proxy")["val_bpb"].mean > 1.97
    believed = world.history.believed("lucky", "proxy")
    world.begin()
    assert world.history.believed("lucky", "proxy") == believed, "after a kill, too"


def test_a_true_gain_is_upheld_and_what_may_be_all_of_it_is_said() -> None:
    world = Doubted()
    world.child("larger", 0.3, size=310)
    world.search(110)
    told = world.found("larger").detail
    assert told["verdict"] == "upheld" and told["more"] == {"parameters": 3.1}
    assert "with 3.1 times the parameters" in checked_in_words(told)
    assert world.history.front("proxy")[0] == "larger"


def test_a_claim_is_tested_once_in_pairs_and_within_the_sceptics_share() -> None:
    world = Doubted()
    world.child("a", 0.1)
    world.child("b", 0.3, of="a")
    world.search(100)
    begun = [one.variant_id for one in world.decided if one.kind == CHECKING]
    assert len(begun) == len(set(begun)) and "b" in begun
    assert begun[0] == "b", "the most surprising one first"
    checks = world.checks()
    searched = sum(row.measurement.request.purpose is not Purpose.CALIBRATE for row in world.rows)
    assert len(checks) <= 0.3 * (searched + 2)
    for one, other in zip(checks[::2], checks[1::2], strict=True):
        assert one.block == other.block and one.variant_id != other.variant_id
    assert checks[0].variant_id == checks[3].variant_id, "in turn A B and B A"
    assert len({one.block for one in checks if one.variant_id == "b"}) <= MAX_PAIRS


def test_a_sceptic_stops_at_its_share_where_more_is_claimed_than_it_may_test() -> None:
    world = Doubted(share=0.5)
    for k in range(60):  # each the best so far
        world.child(f"c{k}", 0.1 * (k + 1))
        world.run_ready()
    searched = sum(row.measurement.request.purpose is not Purpose.CALIBRATE for row in world.rows)
    allowed = 0.5 / 7.5 * searched
    assert len(world.checks()) <= allowed + 2
    assert len(world.checks()) >= allowed - 4, "and it has all of that share"


def test_what_a_sceptic_found_is_said_in_a_sentence() -> None:
    detail = {
        "against": "0123456789", "claimed": 0.2, "claimed_on": 1, "verdict": "refuted", "pairs": 4,
        "gain": -0.01, "se": 0.004, "log_e": 0.0, "more": {},
    }  # fmt: skip
    assert checked_in_words(detail) == (
        "refuted by the sceptic: 0.2 better than 01234567 on 1 block, -0.01 ± 0.004 on 4 fresh ones (e-value 1)"
    )
    failed = {**detail, "gain": None, "pairs": 0}
    assert checked_in_words(failed).endswith("on 1 block, and it failed on fresh ones")


def test_prompts_quote_the_verdict_on_a_parent_and_hold_the_notes_of_its_island_alone() -> None:
    sources = ["LR = 1\n", "LR = 2\n", "LR = 3\n"]
    seed, mine, theirs = (variant_id(one) for one in sources)
    store, lineage = Store.in_memory(), Lineage()
    for number, (source, island) in enumerate(zip(sources, ("", "a", "b"), strict=True), 1):
        made = Variant(variant_id(source), source, fingerprint(source))
        parents = (Parent(seed, "parent"),) if island else ()
        proposal = Proposal(number, "nudge", parents, Outcome.VARIANT, variant=made, island=island)
        store.add_proposal(proposal)
        lineage.add(made.id, parents, "nudge", island)
    assert {one.variant_id: one.island for one in proposals(store)} == {
        seed: "",
        mine: "a",
        theirs: "b",
    }
    whole = RunHistory([VAL_BPB], seed, family=lineage)
    part = whole.part([VAL_BPB], Members(seed, lineage, ["b"]))
    for at, one in enumerate((seed, mine, theirs), 1):
        run = RunRequest(one, "proxy", 0, 0, Purpose.SCREEN)
        found = Measurement(run, Status.OK, metrics={"val_bpb": 2 - 0.1 * at})
        assert store.add_measurement(found) == at
        whole.add(MeasurementRow(at, found))
    for text, evidence in (("ours", [mine]), ("theirs", [theirs]), ("a person's", [])):
        store.add_note(text, "ann", evidence, 1)
    detail = {
        "against": seed, "claimed": 0.1, "claimed_on": 1, "verdict": "refuted", "pairs": 4,
        "gain": 0.0, "se": 0.01, "log_e": 0.0, "more": {}, "chosen_by": 1, "seen": 2,
    }  # fmt: skip
    store.add_decision(CHECKED, mine, detail)
    builder = ContextBuilder(part, lineage, CampaignInfo(0, "", "proxy", ""))
    parents = (Parent(mine, "parent"),)
    views = builder.views(store, parents, None)
    assert f"Its gain was refuted by the sceptic: 0.1 better than {seed[:8]}" in views[0].why
    assert "refuted" not in builder.views(store, parents, 1)[0].why, "it was not known yet"
    told = builder.context(store, parents, views, None)
    assert [one.text for one in told.notes] == ["ours", "a person's"]
    assert told.leader is None, "the best of its own island, and no parent"
    assert whole.front("proxy")[0] == theirs
