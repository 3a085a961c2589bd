from __future__ import annotations

from pathlib import Path

import pytest

from evo.evaluation.static_check import check_source

from .variants import HONEST

SEED = Path(__file__).parents[2] / "seed" / "train.py"


def test_the_seed_and_the_stand_in_pass(quick: str) -> None:
    assert check_source(SEED.read_text()) is None
    assert check_source(quick) is None
    assert check_source(HONEST) is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (HONEST.replace("import harness\n", ""), "does not import harness"),
        (HONEST.replace("harness.start()", "harness"), "harness.start() is missing"),
        (HONEST.replace("run.progress()", "0"), "run.progress() is missing"),
        (HONEST.replace("run.finish(model)", ""), "run.finish(model) is missing"),
        (HONEST + "import flash_attention_9\n", "flash_attention_9, which is not installed"),
        (HONEST + "def f():\n    from nowhere.at import all\n", "nowhere.at"),
        (HONEST + "from . import other\n", "relative import"),
        (HONEST + "def broken(:\n", "does not parse"),
        (HONEST + "\0", "does not parse"),
        (HONEST + "((" * 3000, "does not parse"),
        (HONEST + f"TEXT = {'x' * 9000!r}\n", "a literal is longer"),
        (HONEST + f"TEXT = 0x{'f' * 9000}\n", "a literal is longer"),
        (HONEST + "".join(f"T{n} = {'x' * 4000!r}\n" for n in range(9)), "together"),
        (HONEST + "# " + "x" * 200_000, "larger than"),
    ],
)
def test_what_cannot_run_is_named(source: str, said: str) -> None:
    problem = check_source(source)
    assert problem is not None and said in problem and "\n" not in problem


@pytest.mark.parametrize(
    "guarded",
    [
        "try:\n    import flash_attention_9\nexcept ImportError:\n    flash = None\n",
        "if run.device == 'cuda':\n    import flash_attention_9\n",
    ],
)
def test_an_import_that_is_tried_or_conditional_is_allowed(guarded: str) -> None:
    assert check_source(HONEST + guarded) is None
