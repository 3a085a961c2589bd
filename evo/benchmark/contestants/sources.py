"""Settings as real sources, proposed as `evo run` proposes them: for contestants that change source code.

Lineage, run history, operators and proposer are the campaign's own; the knobs of a source are the
landscape's dials, and the store lies in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from evo.benchmark.contestants.contract import Model, Problem
from evo.benchmark.landscapes.table import Dial, Setting, Shown
from evo.benchmark.racing import RUNG
from evo.proposals.context import CampaignInfo
from evo.proposals.proposer import Proposer
from evo.proposals.repeats import Repeats
from operators.llm.settings import PromptSettings
from operators.operator import Left
from operators.portfolio import Portfolio
from operators.registry import OperatorSettings, build_operators
from operators.source.knobs import read_knobs
from operators.tune import PRIMARY_SHARE, TuneSettings
from population.archive import Objective
from population.fingerprint import fingerprint
from population.lineage import Lineage
from population.reading import first_proposal, variant_by_fingerprint
from population.run_history import RunHistory
from population.selection import Candidate, SelectionSettings
from population.store import Store
from population.types import (
    Measurement,
    MeasurementRow,
    Outcome,
    Proposal,
    RunRequest,
    Status,
    Variant,
    variant_id,
)

MAX_FAILED = 50  # proposals in a row without a new child, before the search is over
BRIEF = (
    "Recorded trainings stand in for training: a script is looked up by its knobs. Change the values of "
    "knobs alone, each within its comment; nothing else can be looked up. Of every objective, lower is better."
)


class Sources:
    """The variants of one contestant. `people`: who may be a parent, instead of selection's population."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        weights: Mapping[str, float],
        selection: SelectionSettings | None = None,
        model: Model | None = None,
        candidates: Callable[[], list[Candidate]] | None = None,
        tune: TuneSettings | None = None,
        tune_share: float = PRIMARY_SHARE,
        budget: Left | None = None,
    ) -> None:
        self._problem = problem
        edits = problem.edits
        source = self._source_of(problem.start)
        root = Variant(variant_id(source), source, fingerprint(source))
        self._store, self.lineage = _Kept.in_memory(), Lineage()
        self.settings = {root.id: problem.start}
        self._enter(Proposal(1, "seed", (), Outcome.VARIANT, variant=root, idea="the seed"))
        objectives = [Objective(name=one) for one in problem.objectives]
        self.history = RunHistory(objectives, root.id, family=self.lineage)
        told = OperatorSettings(
            tune or TuneSettings(), tune_share, ideas=edits.ideas if edits else ()
        )
        operators = build_operators(weights, None, told, model.ask if model else None)
        brief, prompt = "", PromptSettings()
        if model:
            brief, prompt = f"{BRIEF} This is search {model.search}.", model.prompt
        campaign_info = CampaignInfo(seed, brief, RUNG, "a recorded table", prompt, budget=budget)
        self.repeats = Repeats(self.history, self.lineage, lambda: self._store, campaign_info)
        self._proposer = Proposer(
            Portfolio(operators, weights, endpoints=model.endpoints if model else ()),
            self.history,
            self.lineage,
            selection or SelectionSettings(),
            lambda: self._store,
            self._mistake if model else lambda source: None,
            campaign_info,
            candidates=None if candidates is None else lambda as_of: candidates(),
        )
        self._proposals = 1

    def propose(self) -> str | None:
        """The id of a new child; None when the operators find none."""
        for _ in range(MAX_FAILED):
            self._proposals += 1
            proposal = self._proposer.propose(self._proposals, None)
            variant = proposal.variant
            if variant is not None and proposal.outcome is Outcome.VARIANT:
                setting = self._setting_of(variant.source)
                if variant_by_fingerprint(self._store, variant.fingerprint) is None:
                    self.settings[variant.id] = setting
                    self._enter(proposal)
                    return variant.id
        return None

    def record(self, request: RunRequest, shown: Shown) -> None:
        """Record a run."""
        metrics = dict(zip(self._problem.objectives, shown.values, strict=True))
        measurement = Measurement(request, Status.OK, metrics=metrics, wall_seconds=shown.seconds)
        self.history.add(MeasurementRow(self._store.add_measurement(measurement), measurement))

    def way(self, setting: Setting) -> list[str]:
        """How a setting came about from the seed: each step's idea, else its operator."""
        (variant,) = [one for one, known in self.settings.items() if known == setting][:1]
        steps = list[str]()
        while made := first_proposal(self._store, variant):
            if not made.parents:
                break
            steps.append(made.idea or made.operator)
            variant = made.parents[0].variant_id
        return steps[::-1]

    def _source_of(self, setting: Setting) -> str:
        edits = self._problem.edits
        return edits.source_of(setting) if edits else source_of(self._problem.dials, setting)

    def _setting_of(self, source: str) -> Setting:
        edits = self._problem.edits
        return edits.setting_of(source) if edits else setting_of(self._problem.dials, source)

    def _enter(self, proposal: Proposal) -> None:
        assert proposal.variant is not None
        self._store.add_proposal(proposal)
        self.lineage.add(proposal.variant.id, proposal.parents, proposal.operator)

    def _mistake(self, source: str) -> str | None:
        """Why a model's source cannot be looked up; None when it can."""
        dials = self._problem.dials
        try:
            setting = setting_of(dials, source)
            inside = all(
                0 <= at < len(dial.choices) for at, dial in zip(setting, dials, strict=True)
            )
            same = inside and fingerprint(source_of(dials, setting)) == fingerprint(source)
        except (SyntaxError, KeyError, ValueError, IndexError):
            same = False
        return None if same else "only the values of knobs may change, each within its comment"


class _Kept(Store):
    """A store that stays open when a proposal is done with it."""

    def close(self) -> None:
        """Nothing: it lives as long as its contestant."""


def source_of(dials: tuple[Dial, ...], setting: Setting) -> str:
    """A source whose knobs are these dials: numbers by their place, names as choices."""
    lines = []
    for dial, at in zip(dials, setting, strict=True):
        if dial.ordered:
            lines.append(f"{_name(dial)} = {at}  # knob: int 0 {len(dial.choices) - 1}")
        else:
            lines.append(f'{_name(dial)} = "{dial.choices[at]}"  # knob: choice {_words(dial)}')
    return "\n".join([*lines, ""])


def setting_of(dials: tuple[Dial, ...], source: str) -> Setting:
    """The setting that a source's knobs stand for."""
    values = {knob.name: knob.value for knob in read_knobs(source)}
    return tuple(
        int(values[_name(dial)]) if dial.ordered else dial.choices.index(values[_name(dial)])
        for dial in dials
    )


def _name(dial: Dial) -> str:
    return dial.name.upper()


def _words(dial: Dial) -> str:
    return " ".join(map(str, dial.choices))
