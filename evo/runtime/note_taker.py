"""Research notes by a model, one after every N measurements, as proposals come and go."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from evo.proposals.context import CampaignInfo, constraints_in_words
from evo.proposals.ideas import tried_by
from evo.proposals.proposer import Proposes
from evo.runtime.recorder import Recorder
from operators.llm.answer import one_line
from operators.llm.research_notes import Finding, NoteDraft, NoteWriter
from operators.operator import Draft, ProposalContext, ProposalFailed
from population.lineage import Lineage
from population.reading import first_proposal
from population.reading.memory import notes
from population.run_history import RunHistory
from population.store import Store
from population.types import Parent, Proposal

SAID = 400  # characters of a note in the event that tells of it
SHOWN = 60  # children that a note can rest on, the newest
NOTED_AT = "noted_at"  # the setting that holds the number of measurements at the last turn
_NOTES_STREAM = 1  # the random stream of a proposal number that notes draw from


class NoteTaker:
    """Knows when a note's turn has come, has it written, and keeps it. Thread-safe."""

    def __init__(
        self,
        writer: NoteWriter,
        every: int,
        history: RunHistory,
        lineage: Lineage,
        campaign_info: CampaignInfo,
        recorder: Recorder,
        say: Callable[[str], None],
    ) -> None:
        self._writer, self._every = writer, every
        self._history, self._lineage, self._at = history, lineage, campaign_info
        self._recorder, self._say = recorder, say
        self._lock = threading.Lock()
        self._noted_at: int | None = None  # None: not read from the store yet

    def note_if_due(self, store: Store, number: int, as_of: int | None) -> None:
        """Write a note before proposal `number` if its turn has come, from rows with ids up to `as_of`."""
        count = self._turn(store, as_of)
        if count is not None:
            self._note(store, number, as_of, count)

    def _turn(self, store: Store, as_of: int | None) -> int | None:
        """The number of measurements if a note's turn has come, for one caller alone."""
        count = len(self._history.rows(self._at.rung, as_of))
        with self._lock:
            if self._noted_at is None:
                self._noted_at = int(store.setting(NOTED_AT, 0))
            if count - self._noted_at < self._every or self._writer.is_unavailable():
                return None
            self._noted_at = count
            return count

    def _note(self, store: Store, number: int, as_of: int | None, count: int) -> None:
        """Ask for a note; whatever its outcome, the next one is `every` measurements away."""
        seed = np.random.SeedSequence([self._at.campaign_seed, number], spawn_key=(_NOTES_STREAM,))
        draft = None
        try:
            seen = self._history.last_id() if as_of is None else as_of  # one number of each edit
            draft = self._writer.write(
                self._context(store, seen), self._findings(store, seen), np.random.default_rng(seed)
            )
            said = (
                f"{draft.author} notes: {one_line(draft.text, SAID)}"
                if draft
                else "nothing new to note"
            )
        except ProposalFailed as failed:
            said = f"no research note: {failed.reason}"
        self._recorder.write(lambda store: self._keep(store, draft, as_of, count))
        self._say(said)

    def _keep(self, store: Store, draft: NoteDraft | None, as_of: int | None, count: int) -> None:
        with store.transaction():
            if draft is not None:
                seen = as_of if as_of is not None else self._history.last_id()
                store.add_note(draft.text, draft.author, draft.evidence, seen)
            store.set_setting(NOTED_AT, count)

    def _context(self, store: Store, as_of: int | None) -> ProposalContext:
        objective = self._history.objectives[0].name
        return ProposalContext(
            brief=self._at.brief,
            objectives=tuple(one.in_words for one in self._history.objectives),
            constraints=constraints_in_words(self._history, self._at.rung, as_of),
            noise_sd=self._history.noise_sd(self._at.rung, objective, as_of),
            rung=self._at.rung_words,
            notes=tuple(notes(store)),
            prompt=self._at.prompt,
        )

    def _findings(self, store: Store, as_of: int | None) -> tuple[Finding, ...]:
        """The children measured last, the newest first."""
        rows = self._history.rows(self._at.rung, as_of)
        last = dict.fromkeys(row.measurement.request.variant_id for row in rows)
        found = []
        for variant_id in list(last)[::-1]:
            parents = self._lineage.parents_of(variant_id) if variant_id in self._lineage else ()
            made = first_proposal(store, variant_id)
            if not parents or made is None:
                continue
            own = self._history.rows(self._at.rung, as_of, variant_id=variant_id)
            made_of = (variant_id, parents[0], made.idea, made.operator)
            found.append(
                Finding(variant_id, tried_by(self._history, self._at.rung, *made_of, own, as_of))
            )
            if len(found) == SHOWN:
                break
        return tuple(found)


class NotingProposer:
    """Proposes as another does; when a note's turn has come, it is written before the proposal.

    In an exact campaign proposals come one at a time, so the note is in the same prompts again.
    """

    def __init__(
        self, inner: Proposes, note_taker: NoteTaker, open_store: Callable[[], Store]
    ) -> None:
        self._inner, self._note_taker, self._open_store = inner, note_taker, open_store

    def propose(self, number: int, as_of: int | None, may_ask: bool = True) -> Proposal:
        """A note if its turn has come, then the proposal; a proposal that asks nobody waits for no note."""
        if may_ask:
            with self._open_store() as store:
                self._note_taker.note_if_due(store, number, as_of)
        return self._inner.propose(number, as_of, may_ask)

    def judge(
        self, number: int, operator: str, parents: tuple[Parent, ...], draft: Draft
    ) -> Proposal:
        """The outcome of a draft that is there already."""
        return self._inner.judge(number, operator, parents, draft)

    def is_unavailable(self, may_ask: bool = True) -> bool:
        """Whether nothing can be proposed now."""
        return self._inner.is_unavailable(may_ask)

    def answers_awaited(self) -> list[float]:
        """For how many seconds each model that was asked has not answered yet."""
        return self._inner.answers_awaited()
