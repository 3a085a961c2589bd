"""The report as a file: whole, self-contained, and with nothing foreign that a browser would obey."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from evo.analysis.campaign_view import Record
from evo.analysis.ranking import ranking
from evo.report.figures import fronts
from population.store import Store
from population.types import Estimate, Measurement, Purpose, RunRequest, Status
from tests.analysis.built import SEED, Built, finished
from tests.report.conftest import Write
from tests.report.large import HOSTILE, campaign_of, hostile_campaign


def scripts(html: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", html, re.DOTALL)


def dossiers(html: str) -> list[dict]:
    chunks = re.findall(r'<script type="text/plain" id="chunk-\d+">(.*?)</script>', html)
    return [one for text in chunks for one in json.loads(gzip.decompress(base64.b64decode(text)))]


def test_the_policy_names_the_hash_of_every_script_that_may_run_and_allows_nothing_else(
    write_report: Write, tmp_path: Path
) -> None:
    finished(tmp_path / "c")[0].store.close()
    html = write_report(tmp_path / "c").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy and len(scripts(html)) == 2
    for script in scripts(html):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"sha256-{digest}" in policy[1].replace("&#43;", "+").replace("&#39;", "'")
    allowed = policy[1].split("script-src")[1].split(";")[0]
    assert "unsafe" not in allowed and "default-src &#39;none&#39;" in policy[1]


def test_the_page_fetches_nothing(write_report: Write, tmp_path: Path) -> None:
    finished(tmp_path / "c")[0].store.close()
    html = write_report(tmp_path / "c").read_text()
    ours = html.replace(scripts(html)[0], "")
    assert not re.search(r'(src|href)="(?!#)', ours)
    assert "@import" not in ours and "url(" not in ours


def test_without_javascript_the_page_says_what_is_missing(
    write_report: Write, tmp_path: Path
) -> None:
    finished(tmp_path / "c")[0].store.close()
    html = write_report(tmp_path / "c").read_text()
    assert "need JavaScript" in html.split("<noscript>")[1].split("</noscript>")[0]


def test_foreign_text_stands_in_the_page_only_escaped(write_report: Write, tmp_path: Path) -> None:
    hostile_campaign(tmp_path / "c")
    html = write_report(tmp_path / "c").read_text()
    assert HOSTILE not in html and "<img src" not in html
    assert html.count("<script>") == 2
    assert "&lt;script&gt;" in html


def test_each_variant_has_a_dossier_with_its_diff_runs_and_log(
    write_report: Write, tmp_path: Path
) -> None:
    built, leader, crashed = finished(tmp_path / "c")
    built.store.close()
    found = {one["id"]: one for one in dossiers(write_report(tmp_path / "c").read_text())}
    assert set(found) == {built.seed, leader, crashed, found[leader]["parents"][0][0]}
    assert "+LR = 0.3  # knob: log 1e-3 1" in found[leader]["diff"].splitlines()
    assert found[crashed]["runs"][0][3] == "crashed"
    assert found[crashed]["runs"][0][6] == "NameError: boom"


def test_what_a_model_was_asked_and_answered_is_in_the_dossier(
    write_report: Write, tmp_path: Path
) -> None:
    child = hostile_campaign(tmp_path / "c")
    found = {one["id"]: one for one in dossiers(write_report(tmp_path / "c").read_text())}
    assert found[child]["calls"] == [
        {"model": HOSTILE, "outcome": HOSTILE, "prompt": HOSTILE, "reply": HOSTILE}
    ]
    assert found[child]["log"] == HOSTILE


@pytest.mark.parametrize("size", [1, 230])
def test_every_variant_is_found_where_the_page_looks_for_it(
    write_report: Write, tmp_path: Path, size: int
) -> None:
    html = write_report(campaign_of(tmp_path / "c", size)).read_text()
    listed = re.search(r'<script type="application/json" id="variants">(.*?)</script>', html)
    assert listed and json.loads(listed[1]) == [one["id"] for one in dossiers(html)]
    per_chunk = re.search(r"PER_CHUNK = (\d+)", html)
    assert per_chunk and int(per_chunk[1]) == 100
    assert len(json.loads(listed[1])) == size


def test_a_campaign_that_has_measured_nothing_gives_a_page_that_says_so(
    write_report: Write, tmp_path: Path
) -> None:
    from tests.analysis.built import Built

    Built(tmp_path / "c").store.close()
    assert "Nothing has been measured yet." in write_report(tmp_path / "c").read_text()


def test_the_headline_carries_its_n_and_its_verdict(write_report: Write, tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path / "c")
    built.store.close()
    html = write_report(tmp_path / "c").read_text()
    said = re.search(r"<h1>(.*?)</h1>", html)
    assert (
        said
        and said[1]
        == f"{leader[:8]} is better than the seed: val_bpb 0.1000 better on 3 fresh blocks "
        "(LR 0.2 -&gt; 0.3)"
    )


def test_first_comes_what_was_found_then_what_speaks_against_it_and_its_evidence_is_folded(
    write_report: Write, tmp_path: Path
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    built.store.close()
    html = write_report(tmp_path / "c").read_text()
    hero = html.split("What was found")[1].split("</section>")[0]
    found = hero.index("4.0 % fewer bits per byte than the seed")
    against = hero.index('class="caveat">')
    folded = hero.index("<summary>How sure that is</summary>")
    interval = hero.index("95 % interval of the difference")
    assert found < against < folded < interval < hero.index("</details>")
    assert f'data-variant="{leader}">Open the leader' in hero


def test_the_way_to_the_leader_says_what_each_step_did(write_report: Write, tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path / "c")
    built.run(leader, 2.31, block=1)
    built.run(leader, 2.33, block=2)
    built.store.close()
    html = write_report(tmp_path / "c").read_text()
    steps = html.split("The way from the seed to the leader")[1].split("</table>")[0]
    assert '<th scope="col">against its parent</th>' in steps
    assert re.search(r"0\.0[57]\d* better \(n=1\)", steps), steps


@pytest.mark.parametrize(("largest", "kind"), [(9.0, None), (40.0, "log")])
def test_an_axis_of_sizes_is_logarithmic_where_they_differ_tenfold(
    tmp_path: Path, largest: float, kind: str | None
) -> None:
    finished(tmp_path / "c")[0].store.close()
    with Store.open(tmp_path / "c" / "campaign.db", read_only=True) as store:
        record = Record.of(store)
    ranked = [
        replace(one, estimates={**one.estimates, "parameters": Estimate(size, 0.0, 1)})
        for one, size in zip(ranking(record), (1.0, largest, 2.0), strict=False)
    ]
    ((_, make),) = fronts(ranked, record.objectives, {})
    assert json.loads(make().to_json())["layout"]["xaxis"].get("type") == kind


def test_a_dossier_names_the_other_children_of_its_idea(
    write_report: Write, tmp_path: Path
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    again = built.child(SEED.replace("0.1", "0.6"), built.seed, "llm_mutate", "warm up longer")
    idea = built.store.add_idea("warm up longer", "ada")
    for one in (leader, again):
        built.store._execute("UPDATE proposals SET idea_id = ? WHERE variant_id = ?", [idea, one])
    built.store.close()
    found = {one["id"]: one["others"] for one in dossiers(write_report(tmp_path / "c").read_text())}
    assert found[leader] == [again] and found[again] == [leader]
    assert [one for one, others in found.items() if others] == [leader, again]


def test_what_happened_and_what_models_came_to_stand_in_the_page(
    write_report: Write, tmp_path: Path
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    built.store._execute("UPDATE proposals SET model = 'oracle-9' WHERE variant_id = ?", [leader])
    built.store.add_event("note", "a slot \x1b[31mblinked")
    built.store.close()
    html = write_report(tmp_path / "c").read_text()
    happened = html.split("What happened</h2>")[1].split("</section>")[0]
    assert "budget spent, variants (3)" in happened and "a slot blinked" in happened
    models = html.split(">model</th>")[1].split("</table>")[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", models)
    assert cells == ["oracle-9", "1", "1", "1 of 1", "1", "–", "–", "–"]


@pytest.mark.parametrize("scores", [[2.5], [2.5] * 8, [2.5, 1e300, 2.4, -1e300, 2.3, 0.0]])
def test_odd_campaigns_give_pages_with_figures_that_a_browser_can_read(
    write_report: Write, tmp_path: Path, scores: list[float]
) -> None:
    built = Built(tmp_path / "c")
    built.run(built.seed, scores[0], 0, Purpose.CALIBRATE)
    for place, score in enumerate(scores[1:]):
        child = built.child(SEED.replace("0.1", f"0.{place + 2}"), built.seed)
        built.run(child, score, more={"parameters": score})
    built.store.close()

    def refused(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    html = write_report(tmp_path / "c").read_text()
    drawn = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html)
    assert drawn and "progress" in json.loads(drawn[1], parse_constant=refused)


def test_the_ladders_report_stands_in_the_page(write_report: Write, tmp_path: Path) -> None:
    from tests.analysis.built import waiting

    built, _, _ = waiting(tmp_path / "c")
    built.store.close()
    assert (
        "Slot time: proxy 60 s (6 runs), larger 30 s (3 runs)."
        in write_report(tmp_path / "c").read_text()
    )


def test_ideas_notes_and_vetoes_stand_in_the_page_whole(
    write_report: Write, tmp_path: Path
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    long = "word " * 400 + "at the very end"
    tried = built.store.add_idea(f"an idea: {long}", "ada")
    built.store._execute("UPDATE proposals SET idea_id = ? WHERE variant_id = ?", [tried, leader])
    built.store.add_note(f"a note: {long}", "a-model", [leader])
    built.store.add_request("idea", {"text": "tie the embeddings"}, "bob")
    built.store.add_decision("vetoed", leader, {"author": "cleo", "reason": "it looks ahead"})
    built.store.close()
    html = write_report(tmp_path / "c").read_text()
    section = html.split("Ideas and notes</h2>")[1].split("</section>")[0]
    assert section.count(long.strip()) == 2
    for text in ("ada", "a-model", "tie the embeddings", "waits", "cleo", "it looks ahead"):
        assert text in section, text


def test_the_sandbox_table_holds_promises_alone_and_no_gpu_where_none_was_used(
    write_report: Write, tmp_path: Path
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    facts = {"sandbox": "bwrap", "fs_write": "enforced: here", "gpu": "enforced: there"}
    for place, device in enumerate(("cpu", "cuda")):
        request = RunRequest(leader, "proxy", 20 + place, 0, Purpose.REMEASURE)
        run = Measurement(request, Status.OK, "", {"val_bpb": 2.0}, device=device)
        for number in range(30):
            more = {**facts, "weights_sha256": "feed" * 16}
            again = replace(run.request, block=20 + place + 2 * number)
            built.store.add_measurement(replace(run, request=again, facts=more))
        html = write_report(tmp_path / "c").read_text()
        assert "enforced: here" in html and "weights_sha256" not in html
        assert ("enforced: there" in html) is (device == "cuda")


def test_the_sandbox_table_shows_every_box_that_runs_were_in(
    write_report: Write, tmp_path: Path
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    for block, (box, held) in enumerate(
        [("bwrap", "enforced: a copy")] * 2 + [("landlock", "none: the host's")]
    ):
        run = RunRequest(leader, "proxy", 20 + block, 0, Purpose.REMEASURE)
        facts = {"sandbox": box, "files": held, "waited_seconds": f"{block}"}
        built.store.add_measurement(
            Measurement(run, Status.OK, "", {"val_bpb": 2.0}, device="cpu", facts=facts)
        )
    shown = re.sub(r"<[^>]+>", " ", write_report(tmp_path / "c").read_text())
    assert re.search(r"bwrap \(2 runs\); landlock \(1 run\)", shown)
    assert re.search(r"enforced: a copy \(2 runs\); none: the host&#39;s \(1 run\)", shown)
