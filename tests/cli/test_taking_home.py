"""What a campaign found goes to other tools: tables, an Optuna study, experiment trackers."""

from __future__ import annotations

import csv
import importlib.util
import io
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from population.types import (
    CurvePoint,
    Measurement,
    Purpose,
    RunRequest,
    Status,
)
from tests.analysis.built import SEED, Built, finished

from .driving import Evo

FORMULA = '=HYPERLINK("http://x")'


@pytest.fixture
def campaign(tmp_path: Path) -> tuple[Built, str, str]:
    """A finished one, with a child that reads like a formula, one that waits and one that was stopped."""
    built, leader, crashed = finished(tmp_path / "campaigns" / "built-1")
    built.child(SEED.replace("32", "48"), leader, "llm_mutate", FORMULA)
    stopped = built.child(SEED.replace("32", "40"), built.seed, "nudge", "WIDTH 32 -> 40")
    curve = (CurvePoint(0.25, 4.0, 10), CurvePoint(0.5, 3.5, 20))
    request = RunRequest(stopped, "proxy", 0, 0, Purpose.SCREEN)
    built.store.add_measurement(
        Measurement(request, Status.STOPPED, "hopeless", curve=curve, started_at=2000.0)
    )
    return built, leader, crashed


def test_a_table_has_a_row_a_run_and_its_columns_say_who_made_what(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    built, leader, crashed = campaign
    told = evo("export-table", "-o", "-")
    assert told.code == 0, told.err
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert len(rows) == len(built.store.query("SELECT id FROM measurements"))
    ours = [one for one in rows if one["variant"] == leader]
    assert {one["operator"] for one in ours} == {"nudge"}
    assert "2.38" in {one["val_bpb"] for one in ours}
    (failed,) = (one for one in rows if one["variant"] == crashed)
    assert (failed["status"], failed["val_bpb"], failed["reason"]) == (
        "crashed",
        "",
        "NameError: boom",
    )


def test_text_in_a_table_is_no_formula_of_a_spreadsheet(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    assert evo("export-table", "--of", "variants", "-o", "v.csv").code == 0
    rows = list(csv.DictReader(io.StringIO(Path("v.csv").read_text())))
    assert f"'{FORMULA}" in {one["idea"] for one in rows}
    assert not [cell for one in rows for cell in one.values() if cell.startswith(("=", "@", "+"))]
    assert len(rows) == 6
    again = evo("export-table", "--of", "variants", "-o", "v.csv", "--of", "runs")
    assert again.code == 2 and "--force" in again.err


def test_parquet_holds_the_same_as_csv(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    assert evo("export-table", "-o", "a.parquet").code == 0
    found = parquet.read_table("a.parquet").to_pylist()
    rows = list(csv.DictReader(io.StringIO(evo("export-table", "-o", "-").out)))
    assert [one["variant"] for one in found] == [one["variant"] for one in rows]
    assert [one["val_bpb"] for one in found] == [
        float(one["val_bpb"]) if one["val_bpb"] else None for one in rows
    ]


def test_a_study_opens_in_optuna_with_values_curves_attributes_and_states(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    import optuna
    from optuna.trial import TrialState

    built, leader, crashed = campaign
    said = evo("export", "--optuna", "study.db")
    assert said.code == 0, said.err
    (name,) = optuna.get_all_study_names("sqlite:///study.db")
    study = optuna.load_study(study_name=name, storage="sqlite:///study.db")
    assert study.metric_names == ["val_bpb"]
    trials = {one.user_attrs["variant"]: one for one in study.trials}
    assert list(trials) == [
        row[0] for row in built.store.query("SELECT variant_id FROM proposals ORDER BY number")
    ]
    states = {one.state for one in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING, TrialState.PRUNED}
    best = trials[leader]
    assert study.best_trial.number == best.number and best.params == {"LR": 0.3, "WIDTH": 32}
    assert best.user_attrs["idea"] == "LR 0.2 -> 0.3" and best.user_attrs["standing"]
    assert trials[crashed].user_attrs["reason"] == "NameError: boom"
    (stopped,) = (one for one in study.trials if one.state is TrialState.PRUNED)
    assert stopped.intermediate_values == {25: 4.0, 50: 3.5}
    again = evo("export", "--optuna", "study.db")
    assert again.code == 2 and "--force" in again.err
    assert evo("export", "--optuna", "study.db", "--force").code == 0


@pytest.mark.filterwarnings("ignore")  # of its own libraries
@pytest.mark.skipif(
    importlib.util.find_spec("optuna_dashboard") is None, reason="optuna-dashboard is not installed"
)
def test_optuna_dashboard_opens_the_study_as_it_is(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    import httpx
    from optuna_dashboard import wsgi

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *given: object) -> None:
            pass

    _, leader, crashed = campaign
    assert evo("export", "--optuna", "study.db").code == 0
    with make_server("127.0.0.1", 0, wsgi("sqlite:///study.db"), handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        assert httpx.get(f"{base}/dashboard/").status_code == 200
        (listed,) = httpx.get(f"{base}/api/studies").json()["study_summaries"]
        study = httpx.get(f"{base}/api/studies/{listed['study_id']}?after=0").json()
        server.shutdown()
    found = {}
    for one in study["trials"]:
        told = {each["key"]: each["value"] for each in one["user_attrs"]}
        found[told["variant"]] = (one, told)
    assert {one["state"] for one, _ in found.values()} == {"Complete", "Fail", "Waiting", "Pruned"}
    best, told = found[leader]
    assert told["idea"] == "LR 0.2 -> 0.3" and best["params"][0]["param_external_value"] == "0.3"
    assert found[crashed][1]["reason"] == "NameError: boom"
    curves = [one["intermediate_values"] for one, _ in found.values() if one["state"] == "Pruned"]
    assert [[point["value"] for point in one] for one in curves] == [[4.0, 3.5]]


def test_an_export_without_a_variant_says_what_to_name(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    assert "name a variant" in evo("export").err
    assert "leave out the ID" in evo("export", "leader", "--optuna", "x.db").err


def test_an_unknown_tracker_and_one_that_is_not_installed_are_a_line(
    evo: Evo, campaign: tuple[Built, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "give one of tensorboard, mlflow, wandb" in evo("track", "clearml").err
    for name, module in (("tensorboard", "tensorboardX"), ("mlflow", "mlflow"), ("wandb", "wandb")):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        said = evo("track", name)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert f"pip install 'evotrain[{name}]'" in said.err


def test_a_tracker_hears_every_run_in_order_and_the_best_until_then(
    evo: Evo, campaign: tuple[Built, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    heard = []

    @contextmanager
    def fake_tracker(folder, name, config):
        yield heard.append

    monkeypatch.setattr("evo.exporting.trackers.TRACKERS", {"fake": fake_tracker})
    assert evo("track", "fake", "--json").json()["runs"] == len(heard)
    assert [one.step for one in heard] == list(range(1, len(heard) + 1))
    best = [
        one.values["proxy/lowest single val_bpb"]
        for one in heard
        if one.values.get("proxy/val_bpb")
    ]
    assert best == sorted(best, reverse=True) and best[0] == 2.50
    assert heard[-1].values["runs/failed"] == 2


def events_in(path: Path) -> list[bytes]:
    """The records of a TensorBoard event file."""
    raw, found = path.read_bytes(), []
    while raw:
        (length,) = struct.unpack("<Q", raw[:8])
        found.append(raw[12 : 12 + length])
        raw = raw[16 + length :]
    return found


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboardX") is None, reason="tensorboardX is not installed"
)
def test_tensorboard_shows_the_scores_of_a_campaign(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    from tensorboardX.proto.event_pb2 import Event

    assert evo("track", "tensorboard", "-o", "tb").code == 0
    (path,) = Path("tb/built-1").glob("events*")
    scalars = [
        (value.tag, event.step, round(value.simple_value, 4))
        for event in map(Event.FromString, events_in(path))
        for value in event.summary.value
    ]
    assert ("proxy/val_bpb", 1, 2.5) in scalars
    assert ("proxy/lowest_single_val_bpb", 4, 2.45) in scalars


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its own use of SQLAlchemy
def test_mlflow_shows_the_scores_of_a_campaign(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    from mlflow.tracking import MlflowClient

    assert evo("track", "mlflow", "-o", "ml").code == 0
    client = MlflowClient(tracking_uri="sqlite:///ml/mlflow.db")
    experiment = client.get_experiment_by_name("evotrain")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "proxy/val_bpb")
    assert [one.value for one in history][:1] == [2.5] and run.info.status == "FINISHED"
    assert (history[0].step, run.data.params["name"]) == (1, "built")
    assert evo("track", "mlflow", "-o", "ml").code == 0  # a second replay is a run of its own
    assert len(client.search_runs([experiment.experiment_id])) == 2


def records_in(path: Path) -> Iterator[bytes]:
    """The records of a W&B file: seven bytes, then LevelDB's log, a record in one piece or in several."""
    raw, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(raw):
        if 32768 - at % 32768 < 7:  # the rest of a block is padding
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", raw[at + 4 : at + 7])
        whole += raw[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield whole
            whole = b""


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_writes_an_offline_run_with_the_scores_of_a_campaign(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    from wandb import teardown
    from wandb.proto.wandb_internal_pb2 import Record as Written

    assert evo("track", "wandb", "-o", "wb").code == 0
    teardown()  # as at the end of the process: what is still on its way is written
    (path,) = Path("wb/wandb").glob("offline-run-*/run-*.wandb")
    steps = [
        {item.key or "/".join(item.nested_key): item.value_json for item in one.history.item}
        for one in map(Written.FromString, records_in(path))
        if one.WhichOneof("record_type") == "history"
    ]
    assert float(steps[0]["proxy/val_bpb"]) == 2.5
    assert len(steps) == evo("export-table", "-o", "-").out.count("\n") - 1
