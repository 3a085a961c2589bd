"""Groups push to one place and pull from it: nothing is lost, and nobody's word is taken for a proof."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evo.sharing.bundles import bundle_name, bundles_of
from evo.sharing.exchange import Pulled, Pushed, pull, push
from evo.sharing.merging import SharingError, read_campaign
from population.sharing.shared_rows import Kind, SharedRow, SharedRows, Vouched
from population.store import Store
from population.types import variant_id
from tests.cli.driving import ROOT, Evo
from tests.sharing.groups import (
    CONFIG,
    RUNG,
    Child,
    Group,
    column,
    content,
    merge_folders,
    source,
    write_group,
)

GOOD = Child(20, (0, 1, 2, 3), gain=0.05, pairs=8)
git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def groups(tmp_path: Path) -> tuple[Path, Path]:
    a = write_group(tmp_path / "a", Group("a", (GOOD,), ("n",)))
    return a, write_group(
        tmp_path / "b", Group("b", (Child(30), Child(40, parent=30)), ideas=("i",))
    )


def bare(path: Path) -> str:
    subprocess.run(["git", "init", "-q", "--bare", str(path)], check=True)
    return str(path)


def send(remote: object, folder: Path, key: Path | None = None) -> Pushed:
    return push(str(remote), folder, key, False)


def take(remote: object, folder: Path | None, new: Path | None, *trust: str) -> Pulled:
    return pull(str(remote), folder, trust, new)


@pytest.fixture(params=["folder", pytest.param("git", marks=git)])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    where = tmp_path / "remote"
    return bare(where) if request.param == "git" else str(where)


def test_what_is_pushed_is_pulled_and_twice_is_once(
    groups: tuple[Path, Path], remote: str, tmp_path: Path
) -> None:
    a, b = groups
    first = send(remote, a)
    assert first.rows and len(first.bundles) == 1 and not first.left_out
    assert send(remote, a).rows == 0, "it is all there"
    send(remote, b)
    got = take(remote, a, tmp_path / "ours")
    assert (got.bundles, got.trusted, got.refused) == (2, 0, ())
    assert got.merger.new["measurement"] == 7
    assert content_rows(tmp_path / "ours") == {
        row.key for folder in groups for row in read_campaign(folder).rows
    }
    again = take(remote, tmp_path / "ours", tmp_path / "again")
    assert content(tmp_path / "again") == content(tmp_path / "ours")
    assert again.merger.new["measurement"] == 0


def content_rows(folder: Path) -> set[str]:
    return {row.key for row in read_campaign(folder).rows}


def test_a_later_push_adds_what_is_new_and_leaves_the_rest(
    groups: tuple[Path, Path], remote: str
) -> None:
    a, _ = groups
    first = send(remote, a)
    with Store.open(a / "campaign.db") as store:
        store.add_note("learned since", "ann")
    second = send(remote, a)
    assert second.rows == 1 and second.bundles != first.bundles


def test_what_came_from_others_is_not_passed_on(groups: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = groups
    send(tmp_path / "one", b)
    take(tmp_path / "one", a, tmp_path / "ours")
    send(tmp_path / "two", tmp_path / "ours")
    got = take(tmp_path / "two", None, None)
    assert [one.name for one in got.merger.sites] == ["a"]


def test_others_are_evidence_and_certify_nobody(groups: tuple[Path, Path], tmp_path: Path) -> None:
    """The same rows prove it where the group itself holds them."""
    a, b = groups
    assert merge_folders(tmp_path / "merged", a, b).certified == (variant_id(source(20)),)
    send(tmp_path / "remote", a)
    assert take(tmp_path / "remote", b, tmp_path / "ours").merger.certified == ()
    purposes = "SELECT DISTINCT purpose FROM measurements WHERE host = 'host of a'"
    assert column(tmp_path / "ours", purposes) == ["shared"]
    front = dict(
        column(tmp_path / "ours", "SELECT variant_id, standing FROM front WHERE rung = 'proxy'")
    )
    assert front[variant_id(source(20))] == "candidate", "twelve blocks of others replicate nothing"
    believed = dict(column(tmp_path / "ours", "SELECT variant_id, mean FROM beliefs"))
    assert min(believed, key=lambda one: believed[one]) == variant_id(source(20))


def test_a_trusted_signature_makes_rows_count_as_our_own(
    groups: tuple[Path, Path], remote: str, tmp_path: Path
) -> None:
    a, b = groups
    key, other = tmp_path / "keys" / "a.pem", tmp_path / "keys" / "other.pem"
    made = send(remote, a, key)
    assert made.key_is_new and made.public_key.startswith("ed25519:")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not send(remote, a, key).key_is_new
    stranger = send(tmp_path / "elsewhere", b, other).public_key
    assert take(remote, b, None, stranger).merger.certified == ()
    (tmp_path / "a.pub").write_text(made.public_key + "\n")
    for trusted in (made.public_key, str(tmp_path / "a.pub")):
        got = take(remote, b, None, stranger, trusted)
        assert got.trusted == 1 and got.merger.certified == (variant_id(source(20)),)
    assert key.read_bytes().splitlines()[1] not in whole(tmp_path, Path(remote))


def whole(base: Path, remote: Path) -> bytes:
    """Everything at a remote, the objects of a repository unpacked."""
    if not (remote / "objects").exists():
        return b"".join(one.read_bytes() for one in sorted(remote.iterdir()))
    words = ["git", "-C", str(remote), "cat-file", "--batch-all-objects", "--batch"]
    return subprocess.run(words, check=True, capture_output=True).stdout


def test_a_signature_added_later_is_for_the_same_bundle(
    groups: tuple[Path, Path], remote: str, tmp_path: Path
) -> None:
    a, b = groups
    plain = send(remote, a)
    signed = send(remote, a, tmp_path / "key")
    assert signed.bundles == plain.bundles
    assert take(remote, b, None, signed.public_key).merger.certified


def test_tampering_shows_by_the_name_of_the_bundle(
    groups: tuple[Path, Path], tmp_path: Path
) -> None:
    a, b = groups
    remote = tmp_path / "remote"
    sent = send(remote, a, tmp_path / "key")
    ((name, signature),) = zip(
        sent.bundles, [one.name for one in remote.glob("*.sig")], strict=True
    )
    text = gzip.decompress((remote / name).read_bytes())
    assert text.count(b"LR = 0.02") == 1
    changed = gzip.compress(text.replace(b"LR = 0.02", b"LR = 0.03"), mtime=0)
    (remote / name).write_bytes(changed)
    got = take(remote, b, None, sent.public_key)
    assert [(one.bundle, "not what its name says" in one.reason) for one in got.refused] == [
        (name, True)
    ]
    assert got.bundles == 0 and got.merger.certified == ()
    renamed = bundle_name(changed)
    (remote / name).rename(remote / renamed)
    (remote / signature).rename(remote / signature.replace(name[:64], renamed[:64]))
    got = take(remote, b, None, sent.public_key)
    assert [one.bundle for one in got.refused] == [renamed], "the source is not that variant's"
    other = text.replace(b'"host":"host of a"', b'"host":"host of x"')
    assert other != text
    forged = gzip.compress(other, mtime=0)
    (remote / bundle_name(forged)).write_bytes(forged)
    old = next(remote.glob("*.sig"))
    old.rename(remote / f"{bundle_name(forged)[:64]}.{old.name.split('.')[1]}.sig")
    got = take(remote, b, None, sent.public_key)
    assert any(one.bundle.endswith(".sig") and "does not hold" in one.reason for one in got.refused)
    assert got.trusted == 0 and got.merger.certified == ()


def test_another_task_is_refused_by_name_and_the_others_come_in(
    groups: tuple[Path, Path], remote: str, tmp_path: Path
) -> None:
    a, b = groups
    other = write_group(tmp_path / "c", Group("c"), rungs={"proxy": {**RUNG, "budget": 9.0}})
    (wrong,) = send(remote, other).bundles
    send(remote, b)
    got = take(remote, a, tmp_path / "ours")
    assert [one.bundle for one in got.refused] == [wrong]
    assert "rungs.proxy.budget (8.0 against 9.0)" in got.refused[0].reason
    assert [one.name for one in got.merger.sites] == ["a", "b"]


def test_a_stranger_cannot_speak_for_our_campaign(
    groups: tuple[Path, Path], tmp_path: Path
) -> None:
    """Rows under our campaign's id, a campaign older than ours, a rung of its own, and circles of parents."""
    a, _ = groups
    rows = read_campaign(a).rows
    bodies = [json.loads(json.dumps(row.body)) for row in rows]
    forged: list[dict[str, Any]] = []
    for body in bodies:
        kind = body["kind"]
        if kind == Kind.CAMPAIGN:
            config = {
                **body["config"],
                "rungs": [*body["config"]["rungs"], ["huge", {**RUNG, "budget": 1e9}]],
            }
            forged.append(
                {**body, "campaign": "0" * 16, "created": 1.0, "seconds": 1e12, "config": config}
            )
            forged.append({**body, "seconds": 1e12, "name": "mine now"})
        elif kind == Kind.MEASUREMENT:
            forged.append({**body, "scores": {"val_bpb": 0.001}})
        elif kind == Kind.PROPOSAL and body["parents"]:
            forged.append({**body, "parents": [[body["variant"], "parent"]], "created": 1.0})
        elif kind == Kind.DECISION:
            forged.append({**body, "what": "vetoed"})
        elif kind == Kind.NOTE:
            forged.append({**body, "deleted": 9e9})
    remote = tmp_path / "remote"
    remote.mkdir()
    for name, held in bundles_of(SharedRow.of(one, Vouched.OTHERS) for one in forged).items():
        (remote / name).write_bytes(held)
    got = take(remote, a, tmp_path / "ours")
    assert not got.refused
    ours = tmp_path / "ours"
    assert got.merger.certified == (variant_id(source(20)),)
    assert got.merger.sites[0].name == "a"
    with Store.open(ours / "campaign.db", read_only=True) as store:
        assert list(store.setting("config")["rungs"]) == ["proxy", "larger"]
    assert column(ours, "SELECT text FROM notes WHERE deleted IS NULL") == ["n"]
    assert column(ours, "SELECT count(*) FROM decisions WHERE kind = 'vetoed'") == [0]
    assert column(
        ours, "SELECT parent FROM v_lineage WHERE child = ?", [variant_id(source(20))]
    ) == [variant_id("LR = 0.5\n")]
    forged_ones = "SELECT DISTINCT purpose FROM measurements, scores WHERE measurement_id = id AND value = .001"
    assert column(ours, forged_ones) == ["shared"]
    kept = "SELECT count(*) FROM measurements WHERE purpose = 'race'"
    assert column(ours, kept) == column(a, kept)


def test_strangers_who_are_each_others_parents_are_children_of_the_seed(
    groups: tuple[Path, Path], tmp_path: Path
) -> None:
    a, b = groups
    rows = SharedRows(read_campaign(b).rows)
    circle = {
        variant_id(source(30)): variant_id(source(40)),
        variant_id(source(40)): variant_id(source(30)),
    }
    bodies = [
        {**row.body, "parents": [[circle[row.body["variant"]], "parent"]]}
        if row.kind is Kind.PROPOSAL and row.body["variant"] in circle
        else row.body
        for row in rows
    ]
    remote = tmp_path / "remote"
    remote.mkdir()
    for name, held in bundles_of(SharedRow.of(one, Vouched.OTHERS) for one in bodies).items():
        (remote / name).write_bytes(held)
    take(remote, a, tmp_path / "ours")
    parents = dict(
        column(tmp_path / "ours", "SELECT child, parent FROM v_lineage WHERE parent NOT NULL")
    )
    assert {parents[one] for one in circle} & {variant_id("LR = 0.5\n")}


def test_names_and_links_at_a_remote_are_no_paths(
    groups: tuple[Path, Path], tmp_path: Path
) -> None:
    a, b = groups
    remote = tmp_path / "remote"
    send(remote, b)
    (remote / "..evil.jsonl.gz").write_text("x")
    (remote / ("f" * 64 + ".jsonl.gz")).symlink_to("/etc/passwd")
    (remote / ("e" * 64 + ".jsonl.gz")).mkdir()
    got = take(remote, a, None)
    assert got.bundles == 1 and not got.refused


def test_a_campaign_of_a_command_is_not_taken_from_bundles_alone(tmp_path: Path) -> None:
    task = {"kind": "command", "command": "python t.py", "folder": "/home/ann/secret"}
    a = write_group(tmp_path / "a", Group("a"), task=task)
    send(tmp_path / "remote", a)
    with pytest.raises(SharingError, match="would run here"):
        take(tmp_path / "remote", None, tmp_path / "new")
    assert b"secret" not in gzip.decompress(next((tmp_path / "remote").iterdir()).read_bytes())


def test_nothing_of_a_config_but_how_it_measured_is_sent(
    groups: tuple[Path, Path], tmp_path: Path
) -> None:
    a, _ = groups
    send(tmp_path / "remote", a)
    sent = gzip.decompress(next((tmp_path / "remote").iterdir()).read_bytes())
    assert b"val_bpb" in sent and b"example.org" not in sent
    assert CONFIG["notify"]["url"].startswith("https://example.org")


PUSH = """
import sys
from pathlib import Path
from evo.sharing.exchange import push
push(sys.argv[1], Path(sys.argv[2]), None, False)
"""


def test_groups_that_push_at_once_lose_nothing(remote: str, tmp_path: Path) -> None:
    folders = [write_group(tmp_path / f"g{k}", Group("abc"[k], (Child(10 + k),))) for k in range(3)]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PUSH, remote, str(one)], cwd=ROOT, stderr=subprocess.PIPE
        )
        for one in folders
    ]
    for one in running:
        _, said = one.communicate(timeout=300)
        assert one.returncode == 0, said
    got = take(remote, None, tmp_path / "all")
    assert got.bundles == len(folders) and not got.refused
    assert content_rows(tmp_path / "all") == {
        row.key for folder in folders for row in read_campaign(folder).rows
    }
    assert all(send(remote, one).rows == 0 for one in folders)


@git
def test_a_repository_keeps_its_other_files_and_its_branch(
    groups: tuple[Path, Path], tmp_path: Path
) -> None:
    a, b = groups
    remote = bare(tmp_path / "r.git")
    subprocess.run(["git", "-C", remote, "symbolic-ref", "HEAD", "refs/heads/rows"], check=True)
    send(remote, a)
    work = tmp_path / "work"
    subprocess.run(["git", "clone", "-q", remote, str(work)], check=True)
    (work / "README.md").write_text("ours")
    name = ["-c", "user.name=x", "-c", "user.email=x@y"]
    for words in (["add", "."], [*name, "commit", "-qm", "A readme"], ["push", "-q"]):
        where = ["git", "-C", str(work), *words]
        subprocess.run(where, check=True)
    send(remote, b)
    listed = subprocess.run(
        ["git", "-C", remote, "ls-tree", "--name-only", "rows"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "README.md" in listed.stdout.split() and len(listed.stdout.split()) == 3


@git
@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("nowhere.git", "git: "),
        ("ext::sh -c touch% gone", "is no remote|git: |rsync"),
        ("-upload-pack=x", "is no remote"),
        ("", "is no remote"),
    ],
)
def test_a_remote_that_cannot_be_reached_is_said_in_a_line(
    groups: tuple[Path, Path],
    tmp_path: Path,
    where: str,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SharingError, match=named):
        take(where, groups[0], None)
    assert not (tmp_path / "gone").exists()


def test_without_rsync_a_far_path_says_what_is_missing(
    groups: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SharingError, match="reached with rsync, which is not installed"):
        take("host:rows", groups[0], None)


FAKE_RSYNC = """#!/bin/sh
# a fake: copies files between folders as the real one would, the host's name taken off
for one; do from=$to; to=$one; done
from=${from#*:}; to=${to#*:}
mkdir -p "$to"
for one in "$from"*; do [ -e "$to/${one##*/}" ] || [ ! -f "$one" ] || cp "$one" "$to"; done
"""


def test_rsync_is_given_what_is_new_and_brings_what_is_there(
    groups: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = groups
    fake = tmp_path / "bin" / "rsync"
    fake.parent.mkdir()
    fake.write_text(FAKE_RSYNC)
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    where = f"host:{tmp_path}/far"
    assert send(where, a).rows and send(where, b).rows and not send(where, a).rows
    assert take(where, a, None).bundles == 2


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
def test_the_real_rsync_carries_bundles_both_ways_and_leaves_what_is_there(
    groups: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = groups
    shell = tmp_path / "shell"  # reaches this machine in place of another one
    shell.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    shell.chmod(0o755)
    monkeypatch.setenv("RSYNC_RSH", str(shell))
    far = tmp_path / "far away"
    where = f"host:{far}"
    assert send(where, a).rows and not send(where, a).rows
    first = {one.name: one.read_bytes() for one in far.iterdir()}
    (far / "README").write_text("not a bundle")
    (far / "deeper").mkdir()
    assert send(where, b, tmp_path / "key").rows
    assert {name: (far / name).read_bytes() for name in first} == first
    assert take(where, a, None).bundles == 2
    assert take(where, None, tmp_path / "both").bundles == 2
    assert content(tmp_path / "both") == content(pulled(far, tmp_path / "by folder"))
    with pytest.raises(SharingError, match="rsync"):
        send(f"host:{tmp_path}/nowhere/at/all", a)
    with pytest.raises(SharingError, match="there is no such folder"):
        take(f"{where}r", a, tmp_path / "mistyped")
    assert not (tmp_path / "mistyped").exists()


def pulled(remote: Path, new: Path) -> Path:
    take(remote, None, new)
    return new


def test_the_key_of_another_kind_or_open_to_others_is_refused(
    groups: tuple[Path, Path], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("no key")
    key.chmod(0o600)
    with pytest.raises(SharingError, match="holds no Ed25519 key"):
        send(tmp_path / "remote", groups[0], key)
    key.chmod(0o644)
    with pytest.raises(SharingError, match="others may read it; `chmod 600"):
        send(tmp_path / "remote", groups[0], key)
    with pytest.raises(SharingError, match="--trust nonsense: give a public key"):
        take(tmp_path, groups[0], None, "nonsense")


# -- The commands.


def test_what_is_pulled_alone_names_a_command_that_goes_on_although_it_has_no_budget(
    evo: Evo, groups: tuple[Path, Path]
) -> None:
    send("remote", groups[0])
    said = evo("pull", "remote", "-o", "theirs")
    status = evo("status", "--dir", "theirs").out
    assert status.count("evo resume") == 2
    for text in (said.out, *status.split("evo resume")[1:]):
        command = re.search(r"--dir theirs --set budget\.variants=\d+", " ".join(text.split()))
        assert command is not None, text
        assert evo("resume", *command[0].split(), "--dry-run").code == 0


def test_the_commands_say_what_they_did_and_read_what_they_made(
    evo: Evo, groups: tuple[Path, Path], tmp_path: Path
) -> None:
    said = evo("push", "remote", "a", "--dry-run")
    assert said.code == 0 and "would be sent" in said.out and not (tmp_path / "remote").exists()
    said = evo("push", "remote", "a", "--key", "key", "--json")
    assert said.code == 0 and said.json()["public_key"].startswith("ed25519:")
    assert "PRIVATE" not in said.out + said.err and "made the key" in said.err
    public = said.json()["public_key"]
    assert evo("pull", "remote", "b", "--dry-run").out.count("others") == 1
    assert evo("pull", "remote", "b").code == 2, "-o is needed"
    said = evo("pull", "remote", "b", "-o", "ours", "--trust", public)
    assert said.code == 0 and "1 signed by a key that you trust" in said.out
    said = evo("merge", "a", "b", "-o", "both", "--json")
    assert said.json()["certified"] == [variant_id(source(20))]
    for words in (
        ("status",), ("top",), ("tree",), ("show", "leader"), ("history", "leader"), ("log",), ("idea",),
        ("note",), ("ladder",), ("diff", "seed", "leader"), ("report", "-o", "both.html"),
        ("export", "leader", "-o", "t.py"), ("export-table", "-o", "t.csv"), ("status", "--json"),
    ):  # fmt: skip
        said = evo(*words, "--dir", "both")
        assert said.code == 0, (words, said.err)
    assert evo("status", "--dir", "ours").code == 0
    assert evo("compare", "a", "both").code == 0
    assert "certified" in evo("top", "--dir", "both").out
    said = evo("merge", "a", "b", "-o", "both")
    assert said.code == 2 and "holds a campaign already" in said.err
