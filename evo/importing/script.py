"""What a training script of someone's holds, and which calls of the contract it lacks: read, never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from operators.source.constants import tunable
from population.fingerprint import find_settings
from population.parsing import parse

MAX_SHOWN = 60  # characters of code in one cell
_METRIC = re.compile(
    r"loss|acc|auc|f1|bpb|perplexity|ppl|rmse|mse|mae|error|score|r2|reward|bleu|rouge|iou", re.I
)
_HELD_OUT = re.compile(r"val|test|eval|dev|held", re.I)
_SPREAD = re.compile(r"(?<![a-z])(?:std|stdev|stderr|sd|var|variance)(?![a-z])", re.I)
_COMPLAINT = re.compile(r"\W*(?:ERROR|Error|WARNING|Warning)\s*:")
_LAST = re.compile(r"(?<![a-z])test", re.I)  # of what a search should not choose by, where it can
_PROGRESS = re.compile(r"\b(step|iter|epoch)", re.I)
_BATCH = re.compile(r"batch|loader|\bnext\b|sample|dataset", re.I)
_EVALUATES = re.compile(r"eval|valid|estimate|checkpoint|save|test", re.I)
_SCHEDULE = re.compile(r"(^|_)(lr|learning_rate|schedule\w*|warmup)(_|$)", re.I)
_TEXT = re.compile(r"vocab|block_size|context|n_embd|tokeni[sz]er|seq_len", re.I)
_SEEDING = {"seed", "manual_seed", "manual_seed_all", "set_seed", "PRNGKey", "default_rng"}


@dataclass(frozen=True, slots=True)
class Part:
    """One thing the contract asks for: where the script does it its own way, and what to write.

    `line` 0: nowhere; `write` "": it does so as the contract has it.
    """

    name: str
    line: int
    found: str
    write: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A number that could be a knob. `where`: constant, argument, field (of a dataclass) or call."""

    name: str
    line: int
    value: float
    where: str


@dataclass(frozen=True, slots=True)
class Script:
    """What was found. `metrics`: printed lines as templates, those of held-out data first."""

    lines: int
    trains: bool  # there is a loop with a backward pass
    predicts_tokens: bool
    parts: tuple[Part, ...]
    metrics: tuple[tuple[int, str], ...]
    seed: str
    settings: tuple[Setting, ...]

    @property
    def score(self) -> tuple[int, str] | None:
        """The printed figure that most reads as a score, as its line and a template for it alone; None: none.

        One of held-out data before others and the test set's after them, a line of its own before one of the
        progress, a later one before.
        """
        found = list[tuple[int, bool, int, str]]()
        for line, template in self.metrics:
            parts = template.split("{}")
            for at, part in enumerate(parts[:-1]):
                words = re.split(r"[,;|]", part)[-1].lstrip(" :-").strip()
                if _METRIC.search(words) and not _SPREAD.search(words):
                    figure = f"{words} {{}}/{{}}" if parts[at + 1] == "/" else f"{words} {{}}"
                    rank = 1 if _LAST.search(words) else 0 if _HELD_OUT.search(words) else 2
                    found.append((rank, _PROGRESS.search(template) is not None, -line, figure))
        return (-min(found)[2], min(found)[3]) if found else None

    @property
    def missing(self) -> tuple[Part, ...]:
        """What has to be written."""
        return tuple(one for one in self.parts if one.write)


def read_script(source: str) -> Script:
    """What a script holds. SyntaxError for what does not parse."""
    tree = parse(source)
    nodes = list(ast.walk(tree))
    calls = [one for one in nodes if isinstance(one, ast.Call)]
    loop, loss = find_loop(nodes)
    seed = _seed(nodes, calls)
    made = {_last_name(one.func) for one in calls if _base(one.func) in ("run", "harness")}
    return Script(
        lines=source.count("\n") + (not source.endswith("\n")),
        trains=loop is not None,
        predicts_tokens=len(set(map(str.lower, _TEXT.findall(source)))) > 1,
        parts=tuple(_parts(tree, nodes, loop, loss, made)),
        metrics=tuple(_metrics(calls)),
        seed=seed,
        # what draws the luck of a run is no setting
        settings=tuple(
            one
            for one in (*_settings(tree, nodes), *_passed(tree, source))
            if one.name not in seed.split()
        ),
    )


def imported_by(source: str) -> set[str]:
    """The names of the modules that a script imports. SyntaxError."""
    found = set[str]()
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def _parts(
    tree: ast.Module,
    nodes: list[ast.AST],
    loop: ast.For | ast.While | None,
    loss: str,
    made: set[str],
) -> Iterator[Part]:
    last_import = max(
        (one.lineno for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)), default=0
    )
    yield _part(
        "start",
        "start" in made,
        last_import,
        "the last import",
        "import harness, run = harness.start()",
    )
    inside = list(ast.walk(loop)) if loop else []
    batch = next(
        (
            one
            for one in [*_iterated(inside), *(n for n in inside if isinstance(n, ast.Call))]
            if _BATCH.search(ast.unparse(one.func if isinstance(one, ast.Call) else one))
        ),
        None,
    )
    yield _part("data", "batch" in made or "data" in made, *_at(batch), "x, y = run.batch(rows)")
    schedule = next(
        (one for one in nodes if isinstance(one, ast.FunctionDef) and _SCHEDULE.search(one.name)),
        None,
    )
    name = f"{schedule.name}({ast.unparse(schedule.args)})" if schedule else ""
    yield _part(
        "clock", "progress" in made, schedule.lineno if schedule else 0, name,
        "steps done = int(run.progress() * all steps)",
    )  # fmt: skip
    head = ast.unparse(loop).splitlines()[0] if loop else ""
    said = f"{head} (to line {loop.end_lineno})" if loop else ""
    yield _part(
        "loop", "progress" in made, loop.lineno if loop else 0, said, "while run.progress() < 1:"
    )
    yield _part(
        "report", "report" in made, loop.lineno if loop and loss else 0, loss and f"{loss}.backward()",
        f"run.report({loss or 'loss'}, tokens of the step)",
    )  # fmt: skip
    model = model_name(nodes)
    end = loop.end_lineno or 0 if loop else 0
    yield _part("hand-over", "finish" in made, end, "the end of the loop", f"run.finish({model})")
    for one in _tuples_returned(nodes):
        yield Part(
            "logits",
            one.lineno,
            ast.unparse(one),
            "without targets: return the logits alone, [B, t, vocab]",
        )
    for branch in inside:
        tested = isinstance(branch, ast.If) and _EVALUATES.search(ast.unparse(branch.test))
        called = isinstance(branch, ast.If) and any(
            isinstance(one, ast.Call) and _EVALUATES.search(_last_name(one.func))
            for one in ast.walk(branch)
        )
        if isinstance(branch, ast.If) and (tested or called):
            found = f"if {ast.unparse(branch.test)}: (to line {branch.end_lineno})"
            yield Part(
                "evaluation", branch.lineno, found, "leave it out: the score is measured outside"
            )
            break


def _part(name: str, is_made: bool, line: int, found: str, write: str) -> Part:
    return Part(name, line, found if line else "", "" if is_made else write)


def _at(node: ast.expr | None) -> tuple[int, str]:
    return (node.lineno, ast.unparse(node)) if node is not None else (0, "")


def find_loop(nodes: list[ast.AST]) -> tuple[ast.For | ast.While | None, str]:
    """The outermost loop with a backward pass, and the name of what it is taken of."""
    for node in nodes:  # breadth first: the outermost comes first
        if not isinstance(node, ast.For | ast.While):
            continue
        for one in ast.walk(node):
            func = one.func if isinstance(one, ast.Call) else None
            if isinstance(func, ast.Attribute) and func.attr == "backward":
                names = [n.id for n in ast.walk(func.value) if isinstance(n, ast.Name)]
                return node, next((n for n in reversed(names) if "loss" in n), "loss")
    return None, ""


def _iterated(inside: list[ast.AST]) -> list[ast.expr]:
    return [one.iter for one in inside if isinstance(one, ast.For)]


def model_name(nodes: list[ast.AST]) -> str:
    """The name of the model: what is trained, or whose parameters are."""
    for node in nodes:
        if not isinstance(node, ast.Attribute) or node.attr not in ("parameters", "train"):
            continue
        if isinstance(node.value, ast.Name) and node.value.id != "self":
            return node.value.id
    return "model"


def _tuples_returned(nodes: list[ast.AST]) -> list[ast.Return]:
    """What the outermost model's forward returns as a tuple; the last class with one counts."""
    found: list[ast.Return] = []
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and node.name in ("forward", "__call__"):
            returned = [one for one in ast.walk(node) if isinstance(one, ast.Return)]
            found = [one for one in returned if isinstance(one.value, ast.Tuple)] or found
    return found[:1]


def _metrics(calls: list[ast.Call]) -> list[tuple[int, str]]:
    """Printed lines that name a metric, as templates with {} for each value."""
    found = []
    for call in calls:
        if _last_name(call.func) not in ("print", "info", "write", "log", "print0"):
            continue
        text = " ".join(map(_template, call.args))
        parts = re.split(r"\{\}", text)
        named = [at for at, part in enumerate(parts[:-1]) if _METRIC.search(part)]
        if named and not _COMPLAINT.match(text):
            found.append((call.lineno, " ".join(text.split())[:MAX_SHOWN]))
    return sorted(found, key=lambda one: (not _HELD_OUT.search(one[1]), one[0]))


def _template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-+ #0]*\d*(?:\.\d+)?[sdfge]|\{[^}]*\}", "{}", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_template, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return _template(node.left)
    if isinstance(node, ast.Call) and _last_name(node.func) == "format":
        return _template(node.func.value) if isinstance(node.func, ast.Attribute) else "{}"
    return "{}"


def _seed(nodes: list[ast.AST], calls: list[ast.Call]) -> str:
    """How the script takes its seed, in words."""
    for call in calls:
        if _last_name(call.func) == "add_argument" and call.args:
            name = ast.unparse(call.args[0]).strip("'\"")
            if name.lstrip("-").endswith("seed"):
                return f"argument {name} (line {call.lineno})"
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.lower() == "seed" and isinstance(node.value, ast.Constant):
                return f"constant {name} (line {node.lineno})"
    for call in calls:
        literal = any(isinstance(one, ast.Constant) for one in call.args)
        if _last_name(call.func) in _SEEDING and literal:
            return f"a literal in {ast.unparse(call)[:MAX_SHOWN]} (line {call.lineno})"
        if any(one.arg == "random_state" for one in call.keywords):
            return f"random_state= (line {call.lineno})"
    return "none found"


def _settings(tree: ast.Module, nodes: list[ast.AST]) -> Iterator[Setting]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            value = _number(statement.value)
            if value is not None:
                yield Setting(statement.targets[0].id, statement.lineno, value, "constant")
    for node in nodes:
        if isinstance(node, ast.Call) and _last_name(node.func) == "add_argument" and node.args:
            given = [_number(one.value) for one in node.keywords if one.arg == "default"]
            if given and given[0] is not None:
                name = ast.unparse(node.args[-1] if len(node.args) > 1 else node.args[0])
                yield Setting(name.strip("'\""), node.lineno, given[0], "argument")
        if isinstance(node, ast.ClassDef) and "dataclass" in "".join(
            map(ast.unparse, node.decorator_list)
        ):
            for one in node.body:
                value = _number(one.value) if isinstance(one, ast.AnnAssign) else None
                if isinstance(one, ast.AnnAssign) and value is not None:
                    yield Setting(
                        f"{node.name}.{ast.unparse(one.target)}", one.lineno, value, "field"
                    )


def _passed(tree: ast.Module, source: str) -> Iterator[Setting]:
    """Numbers that a call is given by name, and that optimisers would turn."""
    declared = find_settings(tree, passed=False)
    for knob in tunable(source, (), {}):
        if knob.name not in declared and isinstance(knob.value, int | float):
            yield Setting(knob.name, knob.line, float(knob.value), "call")


def _number(node: ast.expr | None) -> float | None:
    """A number that is written out, also as an expression of numbers such as 2**19."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return None if isinstance(node.value, bool) else float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.BinOp):
        left, right = _number(node.left), _number(node.right)
        if left is None or right is None:
            return None
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Pow) and 0 <= right <= 64 and abs(left) <= 1024:
            return float(left**right)
    return None


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _base(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
