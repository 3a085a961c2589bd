"""Gives a script with literal seeds another stream on every block, without a line of it changed.

Python imports this before a script. A literal integer that a file that evolves hands to `random`, numpy or
torch becomes one that the block decides, too; what a fixed file seeds, such as a split of the data, stays.
Block 0 changes nothing: it gives the script's own numbers.
"""

import importlib.abc
import importlib.util
import os
import random
import sys

BLOCK = int(os.environ.get("EVO_BLOCK", "0"))
FILES = set(filter(None, os.environ.get("EVO_FILES", "").split(":")))


def mixed(seed):
    """The seed that a call from a file that evolves gets in the place of its literal."""
    if not isinstance(seed, int) or isinstance(seed, bool):
        return seed
    frame = sys._getframe(2)
    while frame and _is_of_a_library(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None or os.path.basename(frame.f_code.co_filename) not in FILES:
        return seed
    return (seed * 1_000_003 + BLOCK * 7_919 + 1) % 2**32


def _is_of_a_library(file):
    return file == __file__ or file.startswith("<") or f"{os.sep}lib{os.sep}python" in file


def _wrap(module, *names):
    for name in names:
        if known := getattr(module, name, None):
            setattr(module, name, _mixing(known))


def _mixing(call):
    def seeded(seed=None, *more, **named):
        return call(mixed(seed), *more, **named)

    return seeded


def _in_numpy(module):
    class RandomState(module.RandomState):
        """numpy's own, with a seed that the block decides, too."""

        def __init__(self, seed=None):
            super().__init__(mixed(seed))

    module.RandomState = module.mtrand.RandomState = RandomState
    _wrap(module, "seed", "default_rng")


def _in_torch(module):
    _wrap(module, "manual_seed")


LATER = {"numpy.random": _in_numpy, "torch": _in_torch}


class _Finder(importlib.abc.MetaPathFinder):
    """Wraps the seeding of a library once the library is imported: importing it here would cost its time."""

    def find_spec(self, name, path=None, target=None):
        if name not in LATER:
            return None
        wrap = LATER.pop(name)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            wrap(module)

        spec.loader.exec_module = exec_module
        return spec


if BLOCK:
    _wrap(random, "seed")
    sys.meta_path.insert(0, _Finder())
