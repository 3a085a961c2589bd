"""The live page over real HTTP: what it shows, what it refuses, and that it only reads."""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from evo.lock import hold
from evo.runtime.monitor import POINTS_KEPT, LiveFile, Monitor
from evo.serve import watching
from population.reading import pending
from population.store import Store
from population.types import CurvePoint, Measurement, Purpose, RunRequest, Status
from tests.analysis.built import SEED, Built, finished, waiting
from tests.report.large import HOSTILE, campaign_of, grow, hostile_campaign
from tests.report.serving import TOKEN, served

NOWHERE = "0" * 64


def told(base: str, key: str, query: str = "") -> Iterator[tuple[str, str]]:
    """The events of a campaign as they come: (name, data)."""
    with (
        httpx.Client(timeout=60) as client,
        client.stream("GET", f"{base}/campaign/{key}/events{query}") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, value


def live(folder: Path, variant: str, points: int = 3) -> Monitor:
    """A campaign's own words of one run under way."""
    board = Monitor(["cpu0", "cpu1"])
    board.set_phase("searching")
    board.slot_takes("cpu0", RunRequest(variant, "proxy", 4, 0, Purpose.SCREEN))
    for at in range(points):
        board.slot_progress("cpu0", CurvePoint(at / points, 3.0 - at / points, 10 * at))
    LiveFile(folder, board).write()
    return board


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """As if a process ran the campaign: it holds the lock."""
    with hold(folder / "lock"):
        yield


def steer(base: str, said: Mapping[str, str], **headers: str) -> httpx.Response:
    sent = {"origin": base, **headers}
    return httpx.post(f"{base}/campaign/c/steer", json=dict(said), headers=sent)


def test_the_first_page_lists_every_campaign_and_compares_those_that_are_ticked(
    tmp_path: Path,
) -> None:
    for name in ("one", "group/two"):
        finished(tmp_path / name)[0].store.close()
    with served(tmp_path) as base:
        page = httpx.get(f"{base}/").text
        assert 'href="/campaign/one/"' in page and 'href="/campaign/group~two/"' in page
        assert "compared" not in page
        compared = httpx.get(f"{base}/?with=one&with=group~two").text
        assert httpx.get(f"{base}/campaign/group~two/").status_code == 200
    figure = json.loads(compared.split('id="figures">')[1].split("</script>")[0])["compared"]
    assert {trace["name"] for trace in figure["data"]} >= {"one", "group~two"}


@pytest.mark.parametrize("key", ["none", "..~..~etc", "%2e%2e%2fc", "c%2f..%2fc"])
def test_a_key_that_is_not_in_the_list_opens_nothing(tmp_path: Path, key: str) -> None:
    finished(tmp_path / "inside" / "c")[0].store.close()
    finished(tmp_path / "c")[0].store.close()
    with served(tmp_path / "inside") as base:
        assert httpx.get(f"{base}/campaign/{key}/").status_code == 404


def test_the_live_page_holds_what_the_report_holds(tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path / "c")
    built.store.close()
    with served(tmp_path / "c") as base:
        page = httpx.get(f"{base}/campaign/c/")
        parts = httpx.get(f"{base}/campaign/c/parts").json()
        one = httpx.get(f"{base}/campaign/c/variant/{leader}").json()
    assert f"{leader[:8]} is better than the seed" in page.text
    assert parts["content"].strip() in page.text
    with served(tmp_path / "c") as base:
        for name in ("progress", "family"):
            assert leader in httpx.get(f"{base}/campaign/c/figure/{name}").text
        assert httpx.get(f"{base}/campaign/c/figure/none").status_code == 404
    assert "+LR = 0.3  # knob: log 1e-3 1" in one["diff"].splitlines()
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "<script>" not in page.text


def test_a_run_under_way_is_shown_with_its_idea_its_diff_and_its_parents_curve(
    tmp_path: Path,
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    child = built.child(SEED.replace("0.1", "0.7"), leader, idea="a higher rate")
    again = RunRequest(leader, "proxy", 50, 0, Purpose.REMEASURE)
    told_by_it = (CurvePoint(0.5, 2.5, 10), CurvePoint(1.0, 2.25, 20))
    built.store.add_measurement(
        Measurement(again, Status.OK, "", {"val_bpb": 2.2}, curve=told_by_it)
    )
    built.store.close()
    live(tmp_path / "c", child)
    with running(tmp_path / "c"), served(tmp_path / "c") as base:
        name, data = next(told(base, "c"))
    state = json.loads(data)
    assert name == "now" and state["phase"] == "searching"
    slot, free = state["slots"]
    assert free == {"name": "cpu1"}
    assert (slot["who"], slot["idea"], slot["operator"]) == (child[:8], "a higher rate", "nudge")
    assert "+LR = 0.7  # knob: log 1e-3 1" in slot["diff"].splitlines()
    assert slot["parent_curve"] == [[0.5, 2.5], [1.0, 2.25]]
    assert slot["curve"][0] == [0.0, 3.0]


def test_a_new_measurement_is_told_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(watching, "CPU_SHARE", 1e9)
    built, _, _ = finished(tmp_path / "c")
    with served(tmp_path / "c") as base:
        events = told(base, "c")
        assert next(events)[0] == "now"
        young = built.child(SEED.replace("0.1", "0.9"), built.seed, idea="younger than the page")
        built.run(young, 1.2345)
        assert "page" in (name for name, _ in events)
        after = httpx.get(f"{base}/campaign/c/parts").json()
        events.close()
    built.store.close()
    assert "younger than the page" in after["content"]


def test_reading_a_campaign_reads_its_rows_once_and_orders_its_variants_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path / "campaigns" / "built-1")
    counts: Counter[str] = Counter()

    def counted(where: str, name: str) -> None:
        module = importlib.import_module(where)
        real = getattr(module, name)

        def call(*given: Any, **more: Any) -> Any:
            counts[name] += 1
            return real(*given, **more)

        monkeypatch.setattr(module, name, call)

    counted("evo.analysis.campaign_view", "measurements")
    counted("evo.analysis.campaign_view", "births")
    counted("evo.analysis.ranking", "_ranking")
    watching.Watched(tmp_path / "campaigns" / "built-1").reading()
    assert counts == {"measurements": 1, "births": 1, "_ranking": 1}


def test_a_campaign_that_was_just_read_is_not_read_again_for_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, _, _ = finished(tmp_path / "c")
    watched = watching.Watched(tmp_path / "c")
    monkeypatch.setattr(watching, "LEAST_SECONDS", 3600.0)
    first = watched.reading()
    built.run(built.seed, 1.5, block=77)
    built.store.close()
    assert watched.reading() is first  # not yet due
    watched._next = 0.0
    assert watched.reading().number == 2


def test_an_update_reads_the_new_rows_alone_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "CPU_SHARE", 1e9)
    read: list[int] = []
    real = Store.query

    def query(store: Store, *asked: Any) -> Any:
        found = list(real(store, *asked))
        read.append(len(found))
        return found

    monkeypatch.setattr(Store, "query", query)
    rows = []
    for size in (30, 150):
        folder = campaign_of(tmp_path / str(size), size)
        watched = watching.Watched(folder)
        reading, new = watched.new_runs()
        watched._next = float("inf")  # the whole is not due
        assert not new
        with Store.open(folder / "campaign.db") as store:
            child = grow(store, size + 1, reading.record.seed_id, 1.5)
        read.clear()
        again, new = watched.new_runs()
        rows.append(sum(read))
        assert again is reading and [one.variant_id for one in new] == [child]
        assert (new[0].place, new[0].score, new[0].operator) == (size + 1, 1.5, "nudge")
        read.clear()
        assert watched.new_runs()[1] == new and not read  # nothing was written: nothing is read
    assert rows[0] == rows[1] <= 10


def test_a_page_is_told_of_each_new_run_once_and_what_they_come_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "CPU_SHARE", 1e9)
    monkeypatch.setattr(watching, "LEAST_SECONDS", 3600.0)
    built, leader, _ = finished(tmp_path / "c")
    with served(tmp_path / "c") as base:
        assert httpx.get(f"{base}/campaign/c/").status_code == 200
        events = told(base, "c", "?reading=1")
        assert next(events)[0] == "now"
        heard = []
        for block, bpb in ((60, 2.2), (61, None), (62, 2.1)):
            built.run(leader, bpb, block, status=Status.OK if bpb else Status.CRASHED)
            name, data = next(events)
            assert name == "runs"
            heard.append(json.loads(data))
        events.close()
    built.store.close()
    assert [[one[2] for one in said["runs"]] for said in heard] == [[2.2], [None], [2.1]]
    assert heard[-1]["said"] == (
        f"3 runs since this page was put together; best of these runs: {leader[:8]}, val_bpb 2.1000"
    )


def test_a_page_that_shows_an_older_reading_is_told_so_at_once(tmp_path: Path) -> None:
    finished(tmp_path / "c")[0].store.close()
    with served(tmp_path / "c") as base:
        events = told(base, "c", "?reading=7")  # of a server that was started before this one
        assert [next(events) for _ in range(2)][1] == ("page", "1")


def test_what_comes_first_is_as_small_in_a_large_campaign_as_in_a_small_one(tmp_path: Path) -> None:
    sizes = []
    for size in (40, 400):
        campaign_of(tmp_path / str(size), size)
        with served(tmp_path / str(size)) as base:
            sizes.append(len(httpx.get(f"{base}/campaign/{size}/", timeout=60).content))
    assert sizes[1] < 2 * sizes[0] < 50_000, sizes  # the way to the leader may be longer


def test_a_figure_is_drawn_when_it_is_looked_at_and_once_a_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    real = watching.render_figure
    monkeypatch.setattr(
        watching, "render_figure", lambda page, name: [drawn.append(name), real(page, name)][1]
    )
    finished(tmp_path / "c")[0].store.close()
    with served(tmp_path / "c") as base:
        httpx.get(f"{base}/campaign/c/")
        assert drawn == []
        for _ in range(3):
            assert httpx.get(f"{base}/campaign/c/figure/family").status_code == 200
    assert drawn == ["family"]


def test_a_variant_younger_than_the_page_opens_without_another_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LEAST_SECONDS", 3600.0)
    built, _, _ = finished(tmp_path / "c")
    watched = watching.Watched(tmp_path / "c")
    reading = watched.reading()
    young = built.child(SEED.replace("0.1", "0.9"), built.seed, idea="younger than the page")
    built.run(young, 1.2345)
    built.store.close()
    found = watched.dossier(young[:8])
    assert found is not None and found["idea"] == "younger than the page"
    assert found["runs"][0][4] == "val_bpb 1.2345"
    assert watched.reading() is reading


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_page_elsewhere_that_names_this_machine_reads_nothing(tmp_path: Path, host: str) -> None:
    finished(tmp_path / "c")[0].store.close()
    with served(tmp_path / "c") as base:
        for path in ("/", "/campaign/c/", "/campaign/c/events", "/campaign/c/parts"):
            assert httpx.get(f"{base}{path}", headers={"host": host}).status_code in (400, 403)


def test_beyond_this_machine_the_token_is_asked_for_once(tmp_path: Path) -> None:
    finished(tmp_path / "c")[0].store.close()
    with served(tmp_path / "c", host="0.0.0.0") as base, httpx.Client(base_url=base) as client:
        assert client.get("/").status_code == 403
        assert client.get("/?token=wrong").status_code == 403
        opened = client.get(f"/?token={TOKEN}", follow_redirects=True)
        assert opened.status_code == 200 and "token" not in str(opened.url)
        assert client.get("/campaign/c/").status_code == 200


def test_steering_becomes_a_row_with_its_author(tmp_path: Path) -> None:
    built, leader, _ = waiting(tmp_path / "c")
    built.store.close()
    with served(tmp_path / "c", steer=True) as base:
        for said in (
            {"kind": "idea", "text": "tie  the\nembeddings", "author": "ada"},
            {"kind": "note", "text": "warm up longer"},
            {"kind": "veto", "variant": leader[:8], "text": "it looks ahead"},
            {"kind": "stop"},
        ):
            answer = steer(base, {"token": TOKEN, **said})
            assert answer.status_code == 200, answer.text
        broken = {"token": TOKEN, "kind": "inject", "source": "LR = ("}
        assert "does not parse" in steer(base, broken).json()["said"]
    with Store.open(tmp_path / "c" / "campaign.db") as store:
        asked = pending(store)
    assert [one.kind for one in asked] == ["idea", "note", "veto", "stop"]
    assert asked[0].author == "ada" and asked[0].detail["text"] == "tie the embeddings"
    assert asked[2].detail == {"variant_id": leader, "reason": "it looks ahead"}


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ({"kind": "idea", "text": "x"}, 403, "token"),
        ({"kind": "idea", "text": "x", "token": "wrong"}, 403, "token"),
        ({"kind": "idea", "text": " ", "token": TOKEN}, 400, "no text"),
        ({"kind": "rm", "text": "x", "token": TOKEN}, 400, "one of idea"),
        ({"kind": "veto", "variant": "seed", "token": TOKEN}, 400, "the seed cannot be vetoed"),
        ({"kind": "veto", "variant": "nobody", "token": TOKEN}, 400, "nobody"),
        ({"kind": "idea", "text": "x" * 300_000, "token": TOKEN}, 413, "bytes"),
    ],
)
def test_what_cannot_be_asked_says_why_and_leaves_no_row(
    tmp_path: Path, said: dict[str, str], status: int, words: str
) -> None:
    finished(tmp_path / "c")[0].store.close()
    with served(tmp_path / "c", steer=True) as base:
        answer = steer(base, said)
    assert (answer.status_code, words in answer.json()["said"]) == (status, True), answer.text
    with Store.open(tmp_path / "c" / "campaign.db") as store:
        assert pending(store) == []


def test_another_page_cannot_steer_even_with_the_token(tmp_path: Path) -> None:
    finished(tmp_path / "c")[0].store.close()
    said = {"kind": "stop", "token": TOKEN}
    with served(tmp_path / "c", steer=True) as base:
        assert steer(base, said, origin="http://evil.example").status_code == 403
        plain = {"origin": base, "content-type": "text/plain"}
        form = httpx.post(f"{base}/campaign/c/steer", content=json.dumps(said), headers=plain)
        assert form.status_code == 415
        assert httpx.post(f"{base}/campaign/c/steer", json=said).status_code == 403  # no origin
        assert httpx.get(f"{base}/campaign/c/steer").status_code == 405
    with served(tmp_path / "c") as base:
        assert steer(base, said).status_code == 403
        assert 'id="steering"' not in httpx.get(f"{base}/campaign/c/").text


def test_what_a_killed_campaign_left_is_not_shown_as_running(tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path / "c")
    built.store.close()
    live(tmp_path / "c", leader)
    watched = watching.Watched(tmp_path / "c")
    with running(tmp_path / "c"):
        assert len(watched.now()["slots"]) == 2
    assert watched.now() == {"phase": "", "slots": []}


def test_only_campaigns_that_changed_are_read_again_for_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = watching.look_into
    monkeypatch.setattr(watching, "look_into", lambda one: [read.append(one.name), real(one)][1])
    monkeypatch.setattr(watching, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(watching, "CPU_SHARE", 1e9)
    for name in ("still", "moves"):
        finished(tmp_path / name)[0].store.close()
    listing = watching.Listing(tmp_path)
    assert len(listing.read()) == 2 and sorted(read) == ["moves", "still"]
    os.utime(tmp_path / "moves" / "campaign.db", (4e9, 4e9))
    listing.read()
    with running(tmp_path / "still"):
        state = {one.folder.name: one.state for one in listing.read()}
    assert read[2:] == ["moves", "still"] and state["still"].startswith("running")


def test_watching_writes_nothing(tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path / "c")
    built.store.close()
    folder = tmp_path / "c"

    def content() -> dict[str, str]:
        return {
            one.name: hashlib.sha256(one.read_bytes()).hexdigest()
            for one in sorted(folder.iterdir())
            if not one.name.endswith(("-shm", "-wal"))
        }

    before = content()
    with served(folder) as base:
        for path in ("", "parts", f"variant/{leader}", f"variant/{NOWHERE}"):
            httpx.get(f"{base}/campaign/c/{path}")
        next(told(base, "c"))
    assert content() == before


def test_nothing_foreign_is_markup(tmp_path: Path) -> None:
    child = hostile_campaign(tmp_path / "c")
    live(tmp_path / "c", child)
    with served(tmp_path) as base:
        for path in ("/", "/rows", "/campaign/c/", "/?with=c"):
            text = httpx.get(f"{base}{path}").text
            assert HOSTILE not in text and "<img" not in text, path
        content = httpx.get(f"{base}/campaign/c/parts").json()["content"]
        assert HOSTILE not in content and "<img" not in content
        dossier = httpx.get(f"{base}/campaign/c/variant/{child}")
    assert dossier.headers["content-type"] == "application/json"
    assert dossier.headers["x-content-type-options"] == "nosniff"


def test_a_campaign_without_measurements_and_a_broken_live_file_are_shown(tmp_path: Path) -> None:
    Built(tmp_path / "c").store.close()
    for text in ("", "{", "[]", '{"phase": 3}', '{"phase": "x", "slots": [{}]}', "\0"):
        (tmp_path / "c" / "live.json").write_text(text)
        with running(tmp_path / "c"):
            assert watching.Watched(tmp_path / "c").now()["slots"] == []
    with served(tmp_path / "c") as base:
        assert "Nothing has been measured yet." in httpx.get(f"{base}/campaign/c/").text
        assert next(told(base, "c")) == ("now", '{"phase": "", "slots": []}')


def test_a_database_that_cannot_be_read_is_listed_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "campaign.db").write_bytes(b"no database" * 1000)
    with served(tmp_path) as base:
        page = httpx.get(f"{base}/").text
    assert "cannot be read" in page and "/campaign/" not in page


def test_the_live_file_spreads_its_points_over_the_whole_run_and_goes_with_the_campaign(
    tmp_path: Path,
) -> None:
    board = live(tmp_path, "a" * 64, points=5000)
    slot: dict[str, Any] = json.loads((tmp_path / "live.json").read_text())["slots"][0]
    at = [point[0] for point in slot["curve"]]
    assert len(at) <= POINTS_KEPT + 2 and at[0] == 0.0 and at[-1] == 0.9998
    assert max(b - a for a, b in itertools.pairwise(at)) < 2.1 / POINTS_KEPT
    LiveFile(tmp_path, board).remove()
    assert not (tmp_path / "live.json").exists()


def test_a_full_disk_costs_the_picture_alone(tmp_path: Path) -> None:
    board = Monitor(["cpu0"])
    writer = LiveFile(tmp_path / "file" / "below", board)
    (tmp_path / "file").write_text("")  # no folder can be made here
    writer.write()
    writer.remove()


def test_the_command_prints_the_address_and_ctrl_c_ends_it_with_a_viewer_connected(
    tmp_path: Path,
) -> None:
    finished(tmp_path / "c")[0].store.close()
    command = [sys.executable, "-c", "from evo.cli import main; main()", "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path / "c", env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        base = running.stdout.readline().decode().split("/ ")[0]
        seen = threading.Event()

        def watch() -> None:
            try:
                for _ in told(base, "c"):
                    seen.set()
            except httpx.HTTPError:
                pass

        viewer = threading.Thread(target=watch, daemon=True)
        viewer.start()
        assert seen.wait(60)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) in (0, 130)
        assert b"Traceback" not in running.stderr.read()
        viewer.join(20)
