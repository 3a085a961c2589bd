"""Models as reviewers: each reads the patch of whatever waits to go up, once, and its word is a decision."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from operators.llm_operators import Ask
from operators.operator import ProposalFailed
from operators.reviewing import review_patch
from operators.source.compare import source_diff
from population.ladder import REVIEWED, Ladder, LadderEntry
from population.reading import seed, source_of
from population.store import Store
from population.types import Decision

_REVIEWS_STREAM = 2  # the random stream that reviews draw from


class ModelReviews:
    """Asks the models among the reviewers of a campaign. `say` hears of answers that cannot be used."""

    def __init__(
        self,
        client: Ask,
        names: Collection[str],
        open_store: Callable[[], Store],
        campaign_seed: int,
        say: Callable[[str], None],
    ) -> None:
        self._client, self._names, self._open_store = client, tuple(names), open_store
        self._campaign_seed, self._say = campaign_seed, say
        self._asked: set[tuple[str, str]] = set()  # variant and name

    def __call__(self, waiting: Sequence[LadderEntry], ladder: Ladder) -> list[Decision]:
        """What the models that were not asked yet say of those who wait; empty when nobody says more."""
        found = []
        with self._open_store() as store:
            for one in waiting:
                for name in self._names:
                    known = name in ladder.reviews.get(one.variant_id, {})
                    if not known and (one.variant_id, name) not in self._asked:
                        self._asked.add((one.variant_id, name))
                        found += self._review(store, one, name)
        return found

    def _review(self, store: Store, one: LadderEntry, name: str) -> list[Decision]:
        root = seed(store)
        before = source_of(store, root) if root is not None else ""
        names = ("seed", one.variant_id[:8])
        patch = "\n".join(source_diff(before, source_of(store, one.variant_id), names))
        number = int(one.variant_id[:8], 16)
        rng = np.random.default_rng([self._campaign_seed, number, _REVIEWS_STREAM])
        try:
            said = review_patch(self._client, name, patch, one.rung, rng)
        except ProposalFailed as failed:
            self._say(
                f"{name} reviewed {one.variant_id[:8]} in no way that can be used: {failed.reason}"
            )
            return []
        detail = {"author": name, "approves": said.approves, "reason": said.reason, "by": name}
        return [Decision(REVIEWED, one.variant_id, detail)]
