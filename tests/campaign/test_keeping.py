"""What a long campaign keeps: weights of the front alone, a disk budget, and whom it tells."""

from __future__ import annotations

import json
import os
import sys
import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from evo.config import ConfigError, read_config
from evo.folder import Folder, change_config
from evo.runtime.budget import BudgetSettings
from evo.runtime.monitor import Notice
from evo.runtime.notifier import Notifier, NotifySettings
from evo.runtime.retention import DiskBudget, KeptWeights, used_mb
from population.reading import events, front, measurements
from population.types import Purpose, RunRequest
from tests.campaign.fakes import LARGER, PROXY, FakeEvaluator, make_campaign, make_store
from tests.campaign.real import run_here, write_config

KEY = "sk-notify-0123456789"


def told_by(tmp_path: Path) -> tuple[str, ...]:
    """A command that appends what it is told, and its environment, to a file."""
    script = (
        "import json, os, sys; told = json.load(sys.stdin); told['env'] = dict(os.environ); "
        f"open({str(tmp_path / 'told')!r}, 'a').write(json.dumps(told) + chr(10))"
    )
    return (sys.executable, "-c", script)


def lines(tmp_path: Path) -> list[dict[str, object]]:
    path = tmp_path / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def notifier(said: list[str], seconds: float = 10.0, **settings: object) -> Notifier:
    chosen = NotifySettings.model_validate(settings)
    environ = {"THE_KEY": KEY, "HOME": "/h"}
    return Notifier(chosen, "/c", {"THE_KEY"}, said.append, environ, seconds)


def test_a_command_hears_of_what_matters_without_a_key(tmp_path):
    said: list[str] = []
    one = notifier(said, command=told_by(tmp_path))
    one.hear(Notice("measured", "screen", 1.0))
    one.hear(Notice("promotion", f"abc goes up, {KEY}", 2.0))
    one.close()
    (told,) = lines(tmp_path)
    assert told["event"] == "promotion" and told["campaign"] == "/c" and told["at"] == 2.0
    assert told["text"] == "abc goes up, [key]"
    assert told["env"]["HOME"] == "/h" and KEY not in json.dumps(told)  # type: ignore[index]
    assert not said


@pytest.mark.parametrize(
    ("command", "seconds", "words"),
    [
        ((sys.executable, "-c", "raise SystemExit(3)"), 60, "exit code 3"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), 0.5, "TimeoutExpired"),
        (("/no/such/command",), 60, "FileNotFoundError"),
    ],
)
def test_a_command_that_fails_or_hangs_is_an_event(command, seconds, words):
    said: list[str] = []
    one = notifier(said, command=command, seconds=seconds)
    one.hear(Notice("end", "done", 1.0))
    (telling,) = one._threads
    telling.join(60)
    assert len(said) == 1 and words in said[0]


def test_a_command_that_takes_its_time_holds_nothing_up(tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    said: list[str] = []
    patient = f"open({str(gate)!r}).read(); open({str(tmp_path / 'done')!r}, 'w')"
    one = notifier(said, command=(sys.executable, "-c", patient), seconds=60)
    one.hear(Notice("end", "done", 1.0))
    assert one._threads[0].is_alive() and not (tmp_path / "done").exists()
    gate.open("w").close()  # it is told only after `hear` came back
    one.close()
    assert not said and (tmp_path / "done").exists()


@pytest.fixture
def posted():
    """A real server that keeps what is posted to it: (url, requests, the status it answers)."""
    got: list[tuple[Message, bytes]] = []
    status = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.headers, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook", got, status
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_gets_json_and_its_faults_are_events(posted):
    url, got, status = posted
    said: list[str] = []
    one = notifier(said, url=url, seconds=60)
    one.hear(Notice("failure", "StoreError: gone", 1.0))
    one.close()
    assert json.loads(got[0][1])["event"] == "failure" and not said
    status[0] = 500
    one.hear(Notice("end", "done", 1.0))
    one.close()
    assert len(got) == 2 and [text.split(":")[0] for text in said] == ["notify.url failed"]
    closed = notifier(said, url="http://127.0.0.1:9/hook", seconds=60)
    closed.hear(Notice("end", "done", 1.0))
    closed.close()
    assert [text.split(":")[0] for text in said] == ["notify.url failed"] * 2


NEWS = Notice("end", 'budget "spent" <!channel> at 3 & more: é', 1.0)


def told_to(posted, **settings):
    url, got, _ = posted
    said: list[str] = []
    one = notifier(said, url=url, seconds=60, **settings)
    one.hear(NEWS)
    one.close()
    assert not said
    return got[-1]


def test_slack_reads_text_in_which_nothing_calls_a_channel(posted):
    headers, body = told_to(posted, format="slack")
    (key,), text = json.loads(body), json.loads(body)["text"]
    assert (key, headers["content-type"]) == ("text", "application/json")
    assert 'stop: budget "spent" &lt;!channel&gt; at 3 &amp; more: é' in text


def test_discord_reads_content_of_a_length_that_it_takes(posted):
    _, body = told_to(posted, format="discord")
    message = json.loads(body)
    assert NEWS.text in message["content"] and message["allowed_mentions"] == {"parse": []}
    url, got, _ = posted
    one = notifier([], url=url, seconds=60, format="discord")
    one.hear(Notice("end", "x" * 5000, 1.0))
    one.close()
    assert len(json.loads(got[-1][1])["content"]) == 2000


def test_ntfy_reads_a_plain_body_and_a_title(posted):
    headers, body = told_to(posted, format="ntfy")
    assert body.decode() == NEWS.text
    assert headers["title"].startswith("stop in ") and headers["title"].isascii()
    assert headers["content-type"] == "text/plain; charset=utf-8"


def test_a_body_of_your_own_is_filled_in_and_stays_json(posted):
    body = '{"body": "$event|$text|$at", "price": "$$5"}'
    _, body = told_to(posted, format=body)
    assert json.loads(body) == {"body": f"stop|{NEWS.text}|1.0", "price": "$5"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": "http://x", "format": "$text $nmae"}, r"there is no \$nmae; known: \$event"),
        ({"url": "http://x", "format": "{5 $"}, r"a lone \$ is written"),
        ({"url": "http://x", "format": "slak"}, "slack, discord, ntfy, or your own body"),
        ({"format": "slack"}, "belongs to a url"),
        ({"format": "{}"}, "belongs to a url"),
    ],
)
def test_a_format_that_cannot_be_meant_is_refused(settings, told):
    with pytest.raises(ValidationError, match=told):
        NotifySettings(**settings)


def test_wrong_settings_name_their_key(tmp_path):
    for changes in (
        {"notify": {"url": "ftp://x"}},
        {"notify": {"comand": ["x"]}},
        {"keep": {"disk_mb": 0}},
    ):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            read_config(write_config(tmp_path, **changes))


def test_a_promotion_and_an_end_are_events_that_can_be_told(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    campaign = make_campaign(open_store, rungs=(PROXY, LARGER))
    campaign.run()
    with open_store() as store:
        kinds = [event.kind for event in events(store, limit=1000)]
    assert kinds.count("promotion") == 1 and kinds[-1] == "end"


def test_a_folder_beyond_its_disk_budget_stops_the_campaign_cleanly(tmp_path, monkeypatch):
    monkeypatch.setattr("evo.runtime.campaign.LOOK_SECONDS", 0.1)
    open_store = make_store(tmp_path / "campaign.db")
    big = tmp_path / "big"
    campaign = make_campaign(
        open_store,
        evaluator=FakeEvaluator(seconds=0.05, at={6: lambda: big.write_bytes(bytes(6_000_000))}),
        budget=BudgetSettings(variants=10_000),
        guards=[DiskBudget(tmp_path, used_mb(tmp_path) + 5.0)],
    )
    ending = campaign.run()
    assert not ending.complete and "more than keep.disk_mb" in ending.reason
    assert ending.reason.endswith("`evo resume` goes on from here")
    with open_store() as store:
        assert measurements(store) and not store.query("SELECT * FROM runs")


def test_weights_are_copied_whole_and_pruned_to_the_front(tmp_path):
    kept = KeptWeights(tmp_path / "weights")
    file = tmp_path / "w"
    file.write_bytes(b"numbers")
    for name in ("a", "b", "unrecorded"):
        kept.take(RunRequest(name, "proxy", 0, 0, Purpose.SCREEN), file)
    kept.take(RunRequest("a", "proxy/one-step", 0, 0, Purpose.GRADUATE), file)
    kept.take(RunRequest("a", "proxy", 1, 0, Purpose.REMEASURE), tmp_path / "missing")
    kept.take(RunRequest("c", "proxy", 1, 0, Purpose.REMEASURE), tmp_path / "missing")
    kept.prune("proxy", {"a"}, lambda variant_id: variant_id != "unrecorded")
    left = {path.name for path in (tmp_path / "weights").rglob("*") if path.is_file()}
    assert left == {"a.safetensors", "unrecorded.safetensors"}
    assert kept.path("proxy", "a").read_bytes() == b"numbers"


@pytest.mark.sandbox
def test_a_real_campaign_keeps_the_weights_of_its_front_and_tells_its_end(tmp_path):
    config = write_config(
        tmp_path,
        keep={"weights": True},
        notify={"command": list(told_by(tmp_path))},
        budget={"variants": 4},
    )
    run_here(config, tmp_path / "c")
    folder = Folder(tmp_path / "c")
    with folder.open_store() as store:
        members = set(front(store, "proxy"))
    kept = {path.stem for path in (tmp_path / "c" / "weights" / "proxy").iterdir()}
    assert kept == members
    told = lines(tmp_path)
    assert [one["event"] for one in told] == ["stop"] and "variants" in str(told[0]["text"])
    again = change_config(folder, ["keep.weights=false", "keep.disk_mb=0.001"])
    assert again.keep.disk_mb == 0.001
    assert yaml.safe_load(folder.config.read_text())["keep"] == {"disk_mb": 0.001}
