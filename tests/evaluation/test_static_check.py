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
        (HONEST + "class A:\n    from nowhere.at import all\n", "nowhere.at"),
        (HONEST + "from . import other\n", "relative import"),
        (HONEST + "def broken(:\n", "does not parse"),
        (HONEST + "\0", "does not parse"),
        (HONEST + "((" * 3000, "does not parse"),
        (HONEST + f"TEXT = {'x' * 9000!r}\n", "a literal is longer"),
        (HONEST + f"TEXT = 0x{'f' * 9000}\n", "a literal is longer"),
        (HONEST + "".join(f"T{n} = {'x' * 4000!r}\n" for n in range(9)), "together"),
        (HONEST + "# " + "x" * 200_000, "larger than"),
        (HONEST + "\n" * 9_000, "lines together"),
        (HONEST + "x;" * 16_000, "nodes together"),
        (HONEST + "\n".join(" " * 200 for _ in range(300)), "bytes of blanks"),
        (HONEST + f"X = 0.{'9' * 33_000}\n", "bytes of literals"),
        (HONEST + "# " + "\u4e2d" * 12_000, "bytes of comments"),
        (HONEST + "x" + ".a" * 450, "nested more than 100 levels"),
        ("# coding: utf-7\n" + HONEST, "the encoding utf-7"),
        ("#!/usr/bin/python\n \t\f# vim: fileencoding=latin-1\n" + HONEST, "latin-1"),
        ("# a\r# coding=koi8-r\n" + HONEST, "koi8-r"),
        ("# coding: utf-8, coding: rot13\n" + HONEST, "rot13"),
        ("\ufeff# coding: utf-8\n" + HONEST, "does not parse"),
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
        "def load():\n    from transformers_9 import GPT2\n    from . import other\n",
        "class A:\n    async def f(self):\n        import transformers_9\n",
    ],
)
def test_an_import_that_is_tried_conditional_or_left_for_later_is_allowed(guarded: str) -> None:
    assert check_source(HONEST + guarded) is None


@pytest.mark.parametrize(
    "head",
    [
        "# -*- coding: utf-8 -*-\n",
        "#!/usr/bin/env python3\n# vim: set fileencoding=UTF_8 :\n",
        "# byte coding\n",
        "\n\n# coding: utf-7 is read in the first two lines only\n",
        '"""coding: bytes"""\n',
    ],
)
def test_a_declared_utf8_and_words_that_declare_nothing_are_allowed(head: str) -> None:
    assert check_source(head + HONEST) is None


@pytest.mark.parametrize(
    "much",
    ["# " + "x" * 99 + "\n", "X = 'abcdefgh'\n", "x;\n", "\n", "X = 1" + " " * 90 + "\n"],
)
def test_what_the_seed_holds_does_not_count(much: str) -> None:
    seed = HONEST + much * (120_000 // len(much)) if len(much) > 3 else HONEST + much * 15_000
    assert check_source(seed) is not None
    assert check_source(seed, seed) is None
    assert check_source(seed + "Y = 2\n", seed) is None
    assert check_source(seed + "# " + "x" * 150_000, seed) is not None
    assert check_source(seed + "X = 0." + "9" * 40_000 + "\n", seed) is not None
