"""A typical training loop brought under the contract: edits of lines that a parser finds, none of them run."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo.config import SHIPPED
from evo.evaluation.static_check import check_source, modules_beside
from evo.importing.guess import guess
from evo.importing.script import Script, find_loop, model_name
from evo.tasks.starting import name_of
from population.parsing import parse

_BATCH_FUNCTION = re.compile(r"(get|load|next|sample|make)_?batch", re.I)
_BATCH_SIZE = re.compile(r"(^|_)batch_?size$|^B$|^bs$", re.I)
_CONTEXT = re.compile(
    r"^(block_size|context(_length|_size)?|ctx_len|(max_)?seq(uence)?_len(gth)?)$", re.I
)
_DEPTH = re.compile(r"^(n_layers?|num_layers|depth|layers)$", re.I)
_HEADS = re.compile(r"^(n_heads?|num_heads)$", re.I)
_WIDTH = re.compile(r"^(n_embd|d_model|dim|width|hidden(_size|_dim)?|embed_dim)$", re.I)
_VOCAB = re.compile(r"(^|_)(vocab_size|n_vocab)$", re.I)
_ACCUMULATION = re.compile(r"accum", re.I)
_READS = re.compile(
    r"^((io\.)?open|(np|numpy)\.(load|loadtxt|genfromtxt|memmap|fromfile)|torch\.load|.*\.read_(text|bytes))$"
)
_WRITES = re.compile(r"[wax]")  # in the mode of a file
_MAY_BE_MISSING = re.compile(r"\b(exists|isfile|is_file)\b|^False$")
CONFIG = """\
# {file} under the contract (docs/contract.md): its score is measured by us, on text it never saw.
name: {name}
train: train.py
brief: brief.md                  # what every language model is told
# data: {{path: "texts/*.txt"}}    # without: the embedded text; shards of tokens: docs/configuration.md
rungs:                           # the ladder; the search runs on the first
  proxy: {{depth: 2, context: 128, budget: 20}}
  target: {{depth: 4, context: 128, budget: 100}}
# Without a model constants are turned: with a knob comment (docs/operators.md), else by a guess.
# llm: {{endpoints: [{{name: main, model: MODEL}}]}}
# operators: {{llm_mutate: 3, llm_rewrite: 1, merge: 1, revert: 0.5}}
budget: {{variants: 60}}
"""
MAX_SETTINGS_LINE = 100  # characters


class NotTypical(ValueError):
    """A loop that no patch is written for; the message says what was not found."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A script under the contract. `before`: the script with the modules in it that went into it, `joined`."""

    before: str
    after: str
    joined: tuple[str, ...]
    guessed: tuple[str, ...]  # what a person should look at
    undone: tuple[str, ...]  # what a person has to change before it can run

    @property
    def counts(self) -> tuple[int, int]:
        """Lines in and lines out."""
        diff = list(difflib.ndiff(self.before.splitlines(), self.after.splitlines()))
        return sum(one[:2] == "+ " for one in diff), sum(one[:2] == "- " for one in diff)


@dataclass(frozen=True, slots=True)
class _Edit:
    """Lines `first` to `last` give way to others; with `last` below `first` they are put before it."""

    first: int
    last: int
    lines: tuple[str, ...]


def files_of_script(
    folder: Path, file: Path, found: Script, as_command: bool
) -> tuple[dict[str, bytes], Adopted | None, list[str]]:
    """The files to write for a script, what was changed in it (None: it runs as it is), and what to say.

    `folder`: where they will lie. ImportFailure where not even a config can be guessed.
    """
    source = file.read_text(encoding="utf-8-sig")
    why = ""
    if not as_command and not (found.trains and found.predicts_tokens):
        why = "no patch: it trains no model that predicts the next token, as far as seen"
    elif not as_command:
        modules = {path.stem: path.read_text(encoding="utf-8-sig") for path in modules_beside(file)}
        try:
            adopted = adopt_script(source, modules, file.name)
            beside = [name for name in modules if name not in adopted.joined]
            if problem := check_source(adopted.after, adopted.after, beside=beside):
                raise NotTypical(problem)
        except (NotTypical, SyntaxError) as error:
            why = f"no patch: {error}"
        else:
            of = " with ".join((file.name, *(f"{name}.py" for name in adopted.joined)))
            patch = difflib.unified_diff(
                adopted.before.splitlines(keepends=True),
                adopted.after.splitlines(keepends=True),
                of,
                "train.py",
            )
            files = {
                "train.py": adopted.after.encode(),
                **{f"{name}.py": modules[name].encode() for name in beside},
                "adopt.patch": "".join(patch).encode(),
                "campaign.yaml": CONFIG.format(file=file.name, name=name_of(folder)).encode(),
                "brief.md": (SHIPPED / "configs" / "brief.md").read_bytes(),
            }
            return files, adopted, []
    files, said, _ = guess(folder, file.parent, file.name)
    return files, None, [why, *said] if why else said


def adopt_script(source: str, modules: Mapping[str, str], name: str = "train.py") -> Adopted:
    """The script `name` with the calls of the contract written in. `modules`: what stands beside it, by name.

    A module that the script takes names from goes into it, so that it evolves as well, where no two names
    meet. SyntaxError for what does not parse; NotTypical where the loop, its batches or its model are not
    found.
    """
    before, joined, origins = _joined(source, modules, name)
    edits, guessed = _edits(parse(before), before.splitlines(), origins)
    lines = before.splitlines()
    for one in sorted(edits, key=lambda edit: (edit.first, edit.last), reverse=True):
        lines[one.first - 1 : one.last] = one.lines
        origins[one.first - 1 : one.last] = [origins[min(one.first, len(origins)) - 1]] * len(
            one.lines
        )
    after = "\n".join(lines) + "\n"
    undone = tuple(_undone(parse(after), origins))
    return Adopted(before, after, joined, tuple(guessed), undone)


Origin = tuple[str, int]  # the file and the line in it that a line of the joined text is from


def _place(origins: Sequence[Origin], first: int, last: int = 0) -> str:
    """Where lines of the joined text stand in the user's own files."""
    file, line = origins[first - 1]
    end = origins[max(first, last) - 1][1]
    return f"line{f's {line} to {end}' if end > line else f' {line}'} of {file}"


def _joined(
    source: str, modules: Mapping[str, str], script: str
) -> tuple[str, tuple[str, ...], list[Origin]]:
    """The script with each module that it imports from in the place of that import; where each line is from."""
    joined = []
    origins = _numbered(script, source)
    for name, text in modules.items():
        tree = parse(source)
        imports = [
            one for one in tree.body if isinstance(one, ast.ImportFrom) and one.module == name
        ]
        plain = all(
            one.name != "*" and one.asname is None for found in imports for one in found.names
        )
        own = _bound(tree, definitions=False) - {
            one.name for found in imports for one in found.names
        }
        if not imports or not plain or "__future__" in text or own & _bound(parse(text), True):
            continue
        lines = source.splitlines()
        for number, one in reversed(list(enumerate(imports))):
            put = text if number == 0 else ""
            lines[one.lineno - 1 : one.end_lineno] = put.splitlines()
            origins[one.lineno - 1 : one.end_lineno] = _numbered(f"{name}.py", put)
        source = "\n".join(lines) + "\n"
        joined.append(name)
    return source, tuple(joined), origins


def _numbered(file: str, text: str) -> list[Origin]:
    return [(file, number) for number, _ in enumerate(text.splitlines(), 1)]


def _bound(tree: ast.Module, definitions: bool) -> set[str]:
    """Names that the top level defines or assigns; what it imports only without `definitions`."""
    found = set()
    for one in tree.body:
        if isinstance(one, ast.FunctionDef | ast.ClassDef):
            found.add(one.name)
        elif isinstance(one, ast.Assign | ast.AnnAssign | ast.AugAssign):
            found |= {
                n.id
                for n in ast.walk(one)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
        elif isinstance(one, ast.Import | ast.ImportFrom) and not definitions:
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in one.names}
    return found


def _edits(
    tree: ast.Module, lines: Sequence[str], origins: Sequence[Origin]
) -> tuple[list[_Edit], list[str]]:
    nodes = list(ast.walk(tree))
    loop, _ = find_loop(nodes)
    if loop is None:
        raise NotTypical("no loop with a backward pass")
    if loop not in tree.body:
        where = _place(origins, loop.lineno)
        raise NotTypical(f"its loop ({where}) does not stand at the top level")
    guessed: list[str] = []
    last_import = max(
        (one.end_lineno or 0 for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)),
        default=0,
    )
    edits = [_Edit(last_import + 1, last_import, ("import harness", "run = harness.start()"))]
    edits += _settings(tree, lines, last_import, guessed)
    edits += _seeds(nodes, lines)
    x, batches = _batches(tree, loop, lines)
    edits += batches
    edits += _clock(loop, lines, origins, guessed)
    edits += _evaluations(tree, loop, lines, origins, guessed)
    edits += _reports(loop, x, model_name(nodes), lines)
    edits += _logits(nodes, lines)
    return edits, guessed


def _settings(
    tree: ast.Module, lines: Sequence[str], last_import: int, guessed: list[str]
) -> Iterator[_Edit]:
    """Sizes and device from the run: in one place after the constants, or where they are set later."""
    constants: dict[str, tuple[ast.expr, ast.Assign]] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            for name, value in _pairs(statement):
                constants.setdefault(name, (value, statement))
    taken = dict(_from_the_run({name: one for name, (one, _) in constants.items()}, guessed))
    ends = {name: constants[name][1].end_lineno or 0 for name in taken}
    read = next(  # values of a file that a run does not see
        (
            one
            for one in tree.body
            if isinstance(one, ast.Expr) and "exec(open(" in ast.unparse(one)
        ),
        None,
    )
    end = max(ends.values(), default=last_import) if read is None else read.lineno
    early = {name: text for name, text in taken.items() if ends[name] <= end}
    if early or read is not None:
        yield _Edit(end + (read is None), end, tuple(_assignments(early)))
    for name, text in taken.items():
        one = constants[name][1]
        if name not in early and len(_pairs(one)) == 1:
            yield _Edit(one.lineno, one.end_lineno or one.lineno, (f"{name} = {text}",))


def _pairs(statement: ast.Assign) -> list[tuple[str, ast.expr]]:
    """Each name that an assignment binds to a value of its own."""
    target, value = statement.targets[0], statement.value
    if len(statement.targets) > 1:
        return []
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        both = zip(target.elts, value.elts, strict=False)
        return [(name.id, one) for name, one in both if isinstance(name, ast.Name)]
    return [(target.id, value)] if isinstance(target, ast.Name) else []


def _assignments(values: Mapping[str, str]) -> Iterator[str]:
    """`a, b = x, y` for all of them, in as many lines as they take."""
    names: list[str] = []
    for name in values:
        line = ", ".join([*names, name]) + " = " + ", ".join(values[one] for one in (*names, name))
        if names and len(line) > MAX_SETTINGS_LINE:
            yield f"{', '.join(names)} = {', '.join(values[one] for one in names)}"
            names = []
        names.append(name)
    if names:
        yield f"{', '.join(names)} = {', '.join(values[one] for one in names)}"


def _from_the_run(
    constants: Mapping[str, ast.expr], guessed: list[str]
) -> Iterator[tuple[str, str]]:
    """Each constant that the run decides, and what to write for it."""
    numbers = {name: _whole(value) for name, value in constants.items()}
    depth = next((name for name in constants if _DEPTH.match(name) and numbers[name]), "")
    layers = numbers.get(depth) or 0
    heads = next((name for name in constants if _HEADS.match(name) and numbers[name]), "")
    for name, value in constants.items():
        if name.lower() == "device":
            yield name, "run.device"
        elif _CONTEXT.match(name):
            yield name, "run.context"
        elif name == depth or (name == heads and layers and numbers[heads] == layers):
            yield name, "run.depth"
        elif _WIDTH.match(name) and layers and (numbers[name] or 1) % layers == 0:
            if not heads or numbers[heads] == layers:
                each = (numbers[name] or 0) // layers
                guessed.append(f"{name} = {numbers[name]} with {layers} layers: {each} x depth")
                yield name, f"{each} * run.depth"
        elif _VOCAB.search(name) and (
            numbers[name] or (isinstance(value, ast.Constant) and value.value is None)
        ):
            yield name, "run.vocab"
        elif name == "compile" and isinstance(value, ast.Constant) and value.value is True:
            yield name, 'run.device != "cpu"'
        elif _ACCUMULATION.search(name) and (numbers[name] or 0) > 1:
            guessed.append(
                f"{name} = {numbers[name]}: 1 for a small proxy; raise it with the budget"
            )
            yield name, "1"


def _whole(node: ast.expr) -> int | None:
    """A whole number that is written out, also as a product of such."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _whole(node.left), _whole(node.right)
        return None if left is None or right is None else left * right
    return None


def _seeds(nodes: Sequence[ast.AST], lines: Sequence[str]) -> Iterator[_Edit]:
    for one in nodes:
        if (
            isinstance(one, ast.Expr)
            and isinstance(one.value, ast.Call)
            and one.lineno == one.end_lineno
        ):
            call = ast.unparse(one.value.func)
            if call in (
                "torch.manual_seed",
                "torch.cuda.manual_seed",
                "np.random.seed",
                "random.seed",
            ):
                seeded = "run.seed" + " % 2**32" * call.startswith("np.")
                yield _Edit(one.lineno, one.lineno, (f"{_indent(lines, one)}{call}({seeded})",))


def _batches(
    tree: ast.Module, loop: ast.For | ast.While, lines: Sequence[str]
) -> tuple[str, list[_Edit]]:
    """The name of a batch's tokens, and the edits by which batches are the run's."""
    found = [
        one
        for one in ast.walk(loop)
        if isinstance(one, ast.Assign)
        and isinstance(one.value, ast.Call)
        and isinstance(one.targets[0], ast.Tuple)
        and len(one.targets[0].elts) == 2
        and all(isinstance(name, ast.Name) for name in one.targets[0].elts)
        and "batch" in ast.unparse(one.value.func).lower()
    ]
    if not found:
        raise NotTypical("no `x, y = ...batch...()` in its loop")
    target = found[0].targets[0]
    assert isinstance(target, ast.Tuple) and isinstance(target.elts[0], ast.Name)
    called = ast.unparse(found[0].value.func) if isinstance(found[0].value, ast.Call) else ""
    rows = next((one for one in sorted(_bound(tree, True)) if _BATCH_SIZE.search(one)), "")
    if not rows:
        raise NotTypical("no constant that reads as the rows of a batch")
    for one in tree.body:
        if isinstance(one, ast.FunctionDef) and one.name == called:
            first, last = one.body[0].lineno, one.end_lineno or one.lineno
            first = min(first, one.lineno + 1)  # with the remarks above its first statement
            return target.elts[0].id, [
                _Edit(first, last, (f"{_indent(lines, one)}    return run.batch({rows})",))
            ]
    edits = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == called
            and node.lineno == node.end_lineno
        ):
            line = lines[node.lineno - 1].encode()
            new = (
                line[: node.col_offset]
                + f"run.batch({rows})".encode()
                + line[node.end_col_offset :]
            )
            edits.append(_Edit(node.lineno, node.lineno, (new.decode(),)))
    return target.elts[0].id, edits


def _clock(
    loop: ast.For | ast.While, lines: Sequence[str], origins: Sequence[Origin], guessed: list[str]
) -> Iterator[_Edit]:
    """The loop to the end of the budget, and its count of steps as a share of all that it would make."""
    indent, inside = _indent(lines, loop), _indent(lines, loop.body[0])
    count, most, where = "", "", _place(origins, loop.lineno)
    if isinstance(loop, ast.For):
        called = loop.iter
        if not (isinstance(loop.target, ast.Name) and isinstance(called, ast.Call) and called.args):
            raise NotTypical(f"its loop ({where}) counts no steps")
        if ast.unparse(called.func) != "range" or len(called.args) != 1:
            raise NotTypical(f"its loop ({where}) counts no steps from 0")
        count, most = loop.target.id, ast.unparse(called.args[0])
    else:
        tests = [loop.test]
        tests += [one.test for one in loop.body if isinstance(one, ast.If) and _breaks(one)]
        for test in tests:
            if (
                isinstance(test, ast.Compare)
                and isinstance(test.left, ast.Name)
                and len(test.ops) == 1
                and isinstance(test.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE)
            ):
                count, most = test.left.id, ast.unparse(test.comparators[0])
    steps = (f"{inside}{count} = int(run.progress() * {most})",) if count else ()
    if not count:
        guessed.append("no count of steps was found: schedules have to follow run.progress()")
    yield _Edit(
        loop.lineno, loop.body[0].lineno - 1 if _one_line_head(loop, lines) else loop.lineno,
        (f"{indent}while run.progress() < 1:", *steps, *lines[loop.lineno : loop.body[0].lineno - 1]),
    )  # fmt: skip


def _one_line_head(loop: ast.For | ast.While, lines: Sequence[str]) -> bool:
    return lines[loop.lineno - 1].split("#")[0].rstrip().endswith(":")


def _breaks(one: ast.If) -> bool:
    return any(isinstance(inner, ast.Break) for inner in one.body)


def _evaluations(
    tree: ast.Module,
    loop: ast.For | ast.While,
    lines: Sequence[str],
    origins: Sequence[Origin],
    guessed: list[str],
) -> Iterator[_Edit]:
    """What evaluates or saves in the loop is left out: the score is measured outside."""
    evaluating = {
        one.name
        for one in tree.body
        if isinstance(one, ast.FunctionDef) and ".eval()" in ast.unparse(one)
    }
    for one in loop.body:
        if not isinstance(one, ast.If) or ".backward(" in ast.unparse(one):
            continue
        called = {ast.unparse(n.func) for n in ast.walk(one) if isinstance(n, ast.Call)}
        if (
            called & (evaluating | {"torch.save", "model.eval"})
            and one.test.end_lineno == one.lineno
        ):
            where = _place(origins, one.lineno, one.end_lineno or 0)
            guessed.append(f"{where}: evaluates or saves, left out")
            yield _Edit(
                one.lineno, one.lineno, (f"{_indent(lines, one)}if False:  # it is scored outside",)
            )


def _reports(
    loop: ast.For | ast.While, x: str, model: str, lines: Sequence[str]
) -> Iterator[_Edit]:
    """The loss and the tokens of a step at the end of the loop, and the model handed over after it."""
    _, loss = find_loop([loop])
    times = ""
    for one in ast.walk(loop):
        if isinstance(one, ast.For) and one is not loop and ".backward(" in ast.unparse(one):
            called = one.iter
            if isinstance(called, ast.Call) and ast.unparse(called.func) == "range" and called.args:
                times = f" * {ast.unparse(called.args[-1])}"
    divided = [
        ast.unparse(one.value.right)
        for one in ast.walk(loop)
        if isinstance(one, ast.Assign)
        and isinstance(one.value, ast.BinOp)
        and isinstance(one.value.op, ast.Div)
        and ast.unparse(one.targets[0]) == ast.unparse(one.value.left) == loss
    ]
    divided += [
        ast.unparse(one.value)
        for one in ast.walk(loop)
        if isinstance(one, ast.AugAssign)
        and isinstance(one.op, ast.Div)
        and ast.unparse(one.target) == loss
    ]
    whole = f"{loss} * {divided[0]}" if divided else loss
    end = loop.end_lineno or loop.lineno
    inside = _indent(lines, loop.body[0])
    told = f"{inside}run.report({whole}, {x}.numel(){times})"
    yield _Edit(end + 1, end, (told, f"{_indent(lines, loop)}run.finish({model})"))


def _logits(nodes: Sequence[ast.AST], lines: Sequence[str]) -> Iterator[_Edit]:
    """Of a model that answers logits and loss: logits of all positions alone where there are no targets."""
    forward = next(
        (
            one
            for one in reversed(list(nodes))
            if isinstance(one, ast.FunctionDef)
            and one.name == "forward"
            and one.args.defaults
            and any(
                isinstance(r, ast.Return) and isinstance(r.value, ast.Tuple) for r in ast.walk(one)
            )
        ),
        None,
    )
    if forward is None:
        return
    targets = forward.args.args[-1].arg
    for one in ast.walk(forward):
        if (
            isinstance(one, ast.Return)
            and isinstance(one.value, ast.Tuple)
            and len(one.value.elts) >= 2
        ):
            logits, whole = ast.unparse(one.value.elts[0]), ast.unparse(one.value)
            told = f"{_indent(lines, one)}return {logits} if {targets} is None else ({whole.strip('()')})"
            yield _Edit(one.lineno, one.end_lineno or one.lineno, (told,))
        if isinstance(one, ast.Subscript) and re.search(
            r"\[:, (\[-1\]|-1:), :\]$", ast.unparse(one)
        ):
            line = lines[one.lineno - 1].encode()
            inner = ast.unparse(one.value).encode()
            new = line[: one.col_offset] + inner + line[one.end_col_offset :]
            yield _Edit(one.lineno, one.lineno, (new.decode(),))


def _undone(tree: ast.Module, origins: Sequence[Origin]) -> Iterator[str]:
    """What is left of a script that cannot work in a run: files that it reads, and a vocabulary of its own.

    `tree`: with all calls written in.
    """
    reached = sorted(_reached(tree), key=lambda one: (getattr(one, "lineno", 0), ast.dump(one)))
    for node in reached:
        if isinstance(node, ast.Call) and _READS.match(ast.unparse(node.func)):
            given = [*node.args[1:2], *(one.value for one in node.keywords if one.arg == "mode")]
            if not any(isinstance(one, ast.Constant) and _writes(one.value) for one in given):
                told = f"a run sees no such file as in {ast.unparse(node)}; tokens are run.batch's"
                yield f"{_place(origins, node.lineno)}: {told}"
        for name, value in _named_values(node):
            if _VOCAB.search(name) and not _is_of_the_run(value):
                told = (
                    f"{name} = {ast.unparse(value)}; the tokens of a run are as many as run.vocab"
                )
                yield f"{_place(origins, value.lineno)}: {told}"


def _writes(mode: object) -> bool:
    return isinstance(mode, str) and _WRITES.search(mode) is not None


def _reached(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only run where a file is there, or never."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and _MAY_BE_MISSING.search(ast.unparse(node.test)):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _named_values(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """What a node calls by a name: an assigned value, an entry of a dict, an argument of a call."""
    if isinstance(node, ast.Assign):
        yield from _pairs(node)
        target = node.targets[0]
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            yield str(target.slice.value), node.value
    elif isinstance(node, ast.Call):
        yield from ((one.arg, one.value) for one in node.keywords if one.arg)


def _is_of_the_run(value: ast.expr) -> bool:
    """Whether a size of a vocabulary is the run's, or is handed on from where it was set, or set later."""
    if isinstance(value, ast.Constant) and value.value is None:
        return True
    names = {one.id for one in ast.walk(value) if isinstance(one, ast.Name)}
    fields = {ast.unparse(one) for one in ast.walk(value) if isinstance(one, ast.Attribute)}
    settings = re.compile(r"\b(self|args|\w*(config|cfg|settings))\.\w*vocab", re.I)
    return (
        any(map(_VOCAB.search, names)) or "run.vocab" in fields or any(map(settings.search, fields))
    )


def _indent(lines: Sequence[str], node: ast.stmt) -> str:
    line = lines[node.lineno - 1]
    return line[: len(line) - len(line.lstrip())]
