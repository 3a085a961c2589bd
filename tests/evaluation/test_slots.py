"""Which GPUs and cores become slots on odd machines, and that no campaign goes to the CPU without a word."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from evo.evaluation import slots as finding
from evo.evaluation.cluster.settings import read_slots
from evo.evaluation.sandbox.sandbox import View, gpu_devices, role_environment
from evo.evaluation.slots import (
    SlotSettings,
    cpu_quota,
    find_slots,
    host_class,
    memory_limit,
    survey_slots,
)

QUERY = "0, GPU-1111-aa\n1, GPU-2222-bb\n2, GPU-2233-cc\n"
LISTED = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1111-aa)
  MIG 1g.10gb     Device  0: (UUID: MIG-5555-xx)
  MIG 1g.10gb     Device  1: (UUID: MIG-6666-yy)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2222-bb)
"""
Smi = Callable[..., None]


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smi:
    """smi(what nvidia-smi answers to the query, to -L, its exit code)."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(finding, "DRIVER", tmp_path / "driver")

    def write(query: str = QUERY, listed: str = LISTED, code: int = 0) -> None:
        (tmp_path / "query").write_text(query)
        (tmp_path / "listed").write_text(listed)
        script = tmp_path / "nvidia-smi"
        script.write_text(
            f'#!/bin/sh\ncase "$1" in -L) cat {tmp_path}/listed;; *) cat {tmp_path}/query;; esac\n'
            f"exit {code}\n"
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return write


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("1,0", ["GPU-2222-bb", "GPU-1111-aa"]),
        ("GPU-2222", ["GPU-2222-bb"]),
        ("GPU-2233-cc, 0", ["GPU-2233-cc", "GPU-1111-aa"]),
        ("0,-1,1", ["GPU-1111-aa"]),
        ("0,GPU-9,1", ["GPU-1111-aa"]),
        ("0,0", ["GPU-1111-aa"]),
        ("MIG-6666-yy,1", ["MIG-6666-yy", "GPU-2222-bb"]),
    ],
)
def test_the_variable_names_gpus_by_index_uuid_beginning_and_instance_in_its_order(
    smi: Smi, monkeypatch: pytest.MonkeyPatch, visible: str, uuids: list[str]
) -> None:
    smi()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = find_slots()
    assert [one.gpu_uuid for one in found] == uuids
    assert {one.device for one in found} == {"cuda"}
    assert len({one.name for one in found}) == len(found)


@pytest.mark.parametrize(
    "visible", ["7", "GPU-9999", "GPU-", "GPU-22", "MIG-7", "all", ",0", "0x1"]
)
def test_a_variable_that_names_nothing_found_is_an_error_and_no_campaign_on_cores(
    smi: Smi, monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    smi()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if visible == ",0":  # begins empty: no GPU, said on purpose
        assert {one.device for one in find_slots()} == {"cpu"}
        return
    with pytest.raises(ValueError, match=r"CUDA_VISIBLE_DEVICES=.* names no GPU") as error:
        find_slots()
    assert "\n" not in str(error.value) and "GPU-1111-aa" in str(error.value)


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles"])
def test_a_variable_that_says_none_leaves_the_cores(
    smi: Smi, monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    smi()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert {one.device for one in find_slots()} == {"cpu"}
    with pytest.raises(ValueError, match="no GPU"):
        find_slots(device="cuda")


def test_a_variable_is_an_error_where_no_gpu_is_found_at_all(
    smi: Smi, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi(query="", code=9)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ValueError, match="found: none"):
        find_slots()


SICK = "Unable to determine the device handle for GPU1: 0000:4A:00.0: GPU is lost"


def test_a_sick_gpu_is_left_out_with_its_reason_and_the_others_are_taken(smi: Smi) -> None:
    smi(query=f"0, GPU-1111-aa\n{SICK}\n", code=15)
    found = survey_slots()
    assert [one.gpu_uuid for one in found.slots] == ["GPU-1111-aa"]
    assert found.left_out == (("nvidia-smi", SICK),)


def test_where_every_gpu_is_sick_nothing_trains_on_cores_instead(smi: Smi, tmp_path: Path) -> None:
    smi(query=f"{SICK}\n", code=15)
    assert survey_slots().slots[0].device == "cpu", "a driver without a GPU: a machine of cores"
    (tmp_path / "driver" / "0000:4a:00.0").mkdir(parents=True)
    with pytest.raises(ValueError, match="GPU is lost"):
        find_slots()


def test_the_device_node_is_the_drivers_number_where_it_says_one(smi: Smi, tmp_path: Path) -> None:
    smi()
    folder = tmp_path / "driver" / "0000:4a:00.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Model: H100\nGPU UUID:  GPU-1111-aa\nDevice Minor: \t 3\n")
    assert [(one.name, one.gpu) for one in find_slots()][:2] == [("gpu0", 3), ("gpu1", 1)]


def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, **files: str) -> None:
    monkeypatch.setattr(finding, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(finding, "OWN_CGROUPS", tmp_path / "own")
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        (
            "0::/a/b\n",
            {"a__cpu_dot_max": "200000 100000\n", "a__b__cpu_dot_max": "max 100000\n"},
            2,
        ),
        ("0::/not/seen\n", {"cpu_dot_max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu_dot_max": "max 100000\n"}, None),
        (
            "3:cpu,cpuacct:/docker/x\n",
            {"cpu__cpu_dot_cfs_quota_us": "50000\n", "cpu__cpu_dot_cfs_period_us": "100000\n"},
            0.5,
        ),
        (
            "3:cpu:/x\n",
            {"cpu__x__cpu_dot_cfs_quota_us": "-1\n", "cpu__x__cpu_dot_cfs_period_us": "100000\n"},
            None,
        ),
        ("nothing", {}, None),
    ],
)
def test_a_quota_of_the_control_group_is_read_in_both_versions(
    tmp_path, monkeypatch, own, files, quota
) -> None:
    groups(tmp_path, monkeypatch, own, **files)
    assert cpu_quota() == quota


def test_auto_takes_no_more_slots_than_quota_and_memory_allow_and_says_so(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    limit = {"memory_dot_max": f"{10 << 30}"}
    groups(tmp_path, monkeypatch, "0::/\n", cpu_dot_max="800000 100000", **limit)
    assert memory_limit() <= 10 << 30
    assert len(find_slots()) == 8
    assert len(find_slots(memory_mb=4096)) == memory_limit() // (4096 << 20)
    assert len(find_slots(16)) == 16, "who says a number means it"
    left_out = dict(survey_slots().left_out)
    assert left_out["cpu63"] == "the control group allows 8 CPUs" and len(left_out) == 57
    groups(tmp_path, monkeypatch, "0::/\n", cpu_dot_max="20000 100000", **limit)
    assert len(find_slots()) == 1, "a slot at least"


def test_a_host_class_names_device_driver_and_torch(smi: Smi) -> None:
    smi(query="NVIDIA H200, 580.65.06\n")
    one = finding.Slot("gpu0", "cuda", (0,), 0, "GPU-1111-aa")
    assert host_class(one).startswith("NVIDIA H200, driver 580.65.06, torch ")
    assert host_class(finding.Slot("cpu0", "cpu", (0,))).count(", torch ") == 1


PAIRS = SlotSettings(gpus_per_slot=2)


@pytest.mark.parametrize(
    ("visible", "slots", "left_out"),
    [
        (None, [("gpu0+1", "GPU-1111-aa,GPU-2222-bb", (0, 1))], ["gpu2"]),
        ("2,0", [("gpu2+0", "GPU-2233-cc,GPU-1111-aa", (2, 0))], ["gpu1"]),
        ("1,2,0", [("gpu1+2", "GPU-2222-bb,GPU-2233-cc", (1, 2))], ["gpu0"]),
    ],
)
def test_neighbours_in_the_variables_order_are_one_slot_and_the_rest_is_left_out(
    smi: Smi, monkeypatch: pytest.MonkeyPatch, visible, slots, left_out
) -> None:
    smi()
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = survey_slots(settings=PAIRS)
    assert [(s.name, s.gpu_uuid, (s.gpu, *s.other_gpus)) for s in found.slots] == slots
    assert [name for name, _ in found.left_out] == left_out
    (one,) = find_slots(SlotSettings(1, gpus_per_slot=2))
    assert one.gpu_uuids == tuple(one.gpu_uuid.split(",")) and one.gpus == 2


@pytest.mark.parametrize(
    ("query", "visible", "wanted", "why"),
    [
        (QUERY, None, SlotSettings(gpus_per_slot=4), "gpus_per_slot: 4, but 3 GPUs can be used"),
        (QUERY, None, SlotSettings(2, gpus_per_slot=2), "2 asked, but 1 slots of 2 GPUs"),
        (QUERY, "MIG-5555-xx,MIG-6666-yy", PAIRS, "one MIG instance"),
        ("", None, PAIRS, "no GPU can be used here"),
        (QUERY, "-1", PAIRS, "no GPU can be used here"),
    ],
)
def test_several_gpus_a_slot_where_there_are_too_few_are_an_error_and_never_cores(
    smi: Smi, monkeypatch: pytest.MonkeyPatch, query, visible, wanted, why
) -> None:
    smi(query=query)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(ValueError, match=why):
        find_slots(wanted)


def test_a_run_is_shown_the_nodes_of_all_its_gpus_and_of_no_other(smi: Smi, tmp_path: Path) -> None:
    smi()
    (one,) = find_slots(PAIRS)
    view = View(
        tmp_path,
        (),
        tmp_path,
        tmp_path / "w",
        True,
        100,
        1,
        gpu=one.gpu,
        gpu_uuid=one.gpu_uuid,
        other_gpus=one.other_gpus,
    )
    nodes = {path for path in gpu_devices(view) if path.removeprefix("/dev/nvidia").isdigit()}
    assert nodes == {"/dev/nvidia0", "/dev/nvidia1"}
    assert role_environment("/box", view)["CUDA_VISIBLE_DEVICES"] == "GPU-1111-aa,GPU-2222-bb"


def test_one_slot_a_physical_core_takes_its_first_thread_that_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 4, 5, 6})
    monkeypatch.setattr(finding, "TOPOLOGY", tmp_path)
    groups(tmp_path, monkeypatch, "0::/\n", cpu_dot_max="max 100000\n")
    for core, said in {0: "0,4", 4: "0,4", 1: "1,5", 5: "1,5", 2: "2-3"}.items():
        folder = tmp_path / f"cpu{core}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{said}\n")
    found = survey_slots(settings=SlotSettings(cores="physical"))
    assert [one.cpus for one in found.slots] == [(0,), (1,), (2,), (6,)]
    assert dict(found.left_out)["cpu4"] == "a second thread of the core of cpu0"
    assert len(survey_slots().slots) == 6
    with pytest.raises(ValueError, match="5 asked, but 4 cores"):
        find_slots(SlotSettings(5, cores="physical"))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"gpus_per_slot": 0}, "gpus_per_slot: 0"),
        ({"gpus_per_slot": "two"}, "gpus_per_slot: 'two'"),
        ({"count": 1.5}, "count: 1.5"),
        ({"cores": "some"}, "neither 'each' nor 'physical'"),
        ({"gpus_per_slot": 2, "dask_local": 2}, "dask_local: not beside gpus_per_slot"),
        ({"gpus": 2}, "no key 'gpus'.*gpus_per_slot"),
    ],
)
def test_what_a_slot_is_not_is_refused_in_one_line(given, why) -> None:
    with pytest.raises(ValueError, match=why) as error:
        read_slots(given)
    assert "\n" not in str(error.value)


def test_what_a_slot_is_is_read_and_a_number_alone_stays_one() -> None:
    assert read_slots({"gpus_per_slot": 2}) == PAIRS
    assert read_slots({"count": 3, "cores": "each"}) == 3
    assert read_slots({"count": 3, "cores": "physical"}) == SlotSettings(3, 1, "physical")
