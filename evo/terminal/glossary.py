"""The dozen words that a newcomer needs, each in a sentence; README has the same."""

from __future__ import annotations

GLOSSARY = {
    "rung": "a scale to train at: depth, budget, clock, context; the rungs of a campaign are its ladder",
    "proxy": "the first and smallest rung, where the search happens",
    "block": "a seed of initialisation and data order with a tenth of the training text left out, the same for "
    "everyone, so that two variants are compared in pairs; a fresh block played no part in choosing",
    "slot": "what does one run at a time: a GPU, or a core",
    "operator": "what turns parents into a child: an optimiser, a merge, a language model",
    "knob": "a constant of train.py that optimisers may turn: `LR = 0.02 # knob: log 1e-3 1e-1`",
    "standing": "how sure a member of the Pareto front is: candidate (believed), replicated (on 4 blocks or "
    "more), certified",
    "certified": "proven better on fresh blocks, by an e-value",
    "e-value": "evidence that may be looked at after every pair: under chance alone it reaches 20 at most once "
    "in 20 times",
    "champion": "the last variant that was certified; the seed before any",
    "leader": "whom the findings are about: the child of the final comparison, before it the front's best "
    "child (`best` is the front's first, which may be the seed)",
    "selection bias": "by how much the figure of the runs that chose a variant flatters it",
}
NOTE = "A score is a mean over blocks, and ± is its standard error."
