"""The populations of a campaign: who belongs to each, and who proposes for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from evo.assembly.bench import Bench
from evo.assembly.proposers import build_portfolio, open_banks, open_models, open_papers
from evo.config import Config
from evo.folder import Folder
from evo.proposals.context import CampaignInfo
from evo.proposals.islands import IslandProposers
from evo.proposals.proposer import Proposer, Proposes
from evo.proposals.repeats import Repeats
from evo.proposals.reviews import ModelReviews
from evo.runtime.budget import Budget
from evo.runtime.recorder import Recorder
from operators.agent import Desk
from operators.llm.response_formats import Forms
from operators.llm.settings import LlmSettings
from operators.llm_operators import Ask
from operators.optimisers.optimiser import Method
from operators.registry import names_with_llm
from population.islands import Island, IslandRole, Islands, Members
from population.lineage import Lineage
from population.reading import proposals
from population.run_history import RunHistory
from population.selection import SelectionSettings


def open_islands(config: Config, history: RunHistory, lineage: Lineage) -> Islands | None:
    """The islands of a config, before the history's first row; None for a campaign of one population."""
    if len(config.islands) < 2:
        return None
    found = []
    find = {name for name, one in config.islands.items() if one.role is IslandRole.EXPLORER}
    for name, own in config.populations().items():
        island = config.islands[name]
        members = Members(history.seed_id, lineage, find - {name})
        finds = island.role is IslandRole.EXPLORER
        known = history.part(own.objectives, members) if finds else history
        found.append(Island(name, island.share, known, members, island.role))
    return Islands(found, lineage)


@dataclass(frozen=True, slots=True)
class ProposerBuilder:
    """Builds the proposer of one population; models that several share are opened once.

    `say` hears of models now, `tell` while the campaign runs.
    """

    folder: Folder
    bench: Bench
    lineage: Lineage
    campaign_info: CampaignInfo
    budget: Budget
    recorder: Recorder
    stopping: threading.Event
    forms: Forms
    desk: Desk | None
    say: Callable[[str], None]
    tell: Callable[..., None]
    exact: bool
    turn: threading.Lock = field(default_factory=threading.Lock)
    clients: list[tuple[LlmSettings | None, Ask | None]] = field(default_factory=list)

    def all_proposers(
        self, config: Config, history: RunHistory, islands: Islands | None
    ) -> Proposes:
        """What proposes for a campaign: by turns, where it has several islands."""
        own = config.populations()
        if islands is None:
            return self.proposer(own[""], history)
        found = {
            one.name: self.proposer(own[one.name], one.history, one.name) for one in islands.all
        }
        with self.folder.open_store() as store:
            return IslandProposers(found, islands.all, proposals(store))

    def all_repeats(
        self, config: Config, history: RunHistory, islands: Islands | None
    ) -> dict[str, Repeats]:
        """What weighs repeats against new settings, by population; nobody where no surrogate tunes."""
        known = {"": history} if islands is None else {one.name: one.history for one in islands.all}
        found = {
            name: self.repeats(own, known[name], name) for name, own in config.populations().items()
        }
        return {name: one for name, one in found.items() if one is not None}

    def model_reviews(self, config: Config) -> ModelReviews | None:
        """The models among the reviewers of a campaign; None where there are none, or none can answer."""
        named = {one.name for one in config.llm.endpoints} if config.llm else set[str]()
        names = [one for one in config.graduation.reviewers if one in named]
        if not names:
            return None
        client = next((client for llm, client in self.clients if llm == config.llm), None)
        client = client or open_models(
            config, self.budget, self.recorder, self.stopping, self.say, self.tell, self.forms, True
        )
        if client is None:
            return None
        return ModelReviews(
            client,
            names,
            self.folder.open_store,
            config.random_seed,
            partial(self.tell, kind="review"),
        )

    def first_client(self) -> tuple[LlmSettings, Ask] | tuple[None, None]:
        """What writes research notes, with its settings: the models of the first population that asks any."""
        for llm, client in self.clients:
            if llm is not None and client is not None:
                return llm, client
        return None, None

    def proposer(self, config: Config, history: RunHistory, island: str = "") -> Proposer:
        """What proposes by a population's own config and history."""
        client = self._client(config)
        ideas = open_banks(config, self.folder.config, lambda text: self.tell(text, "bank"))
        return Proposer(
            build_portfolio(config, client, self.desk, ideas),
            history,
            self.lineage,
            SelectionSettings(),
            self.folder.open_store,
            partial(config.objection_to, seed=self.bench.evaluator.seed_source),
            self._info(config, island),
            self.exact,
            turn=self.turn,
        )

    def repeats(self, config: Config, history: RunHistory, island: str = "") -> Repeats | None:
        """What weighs repeats against new settings in a population; None where no surrogate tunes."""
        if config.tune.method is not Method.GP or not config.operators.get("tune"):
            return None
        info = self._info(config, island)
        return Repeats(history, self.lineage, self.folder.open_store, info)

    def _info(self, config: Config, island: str) -> CampaignInfo:
        if not island:
            return self.campaign_info
        brief = config.brief.read_text("utf-8")
        find = open_papers(self.folder, config, self.tell, island)
        return replace(self.campaign_info, brief=brief, find=find)

    def _client(self, config: Config) -> Ask | None:
        if self.clients and not names_with_llm(config.operators):
            return None
        known = next((one for one in self.clients if one[0] == config.llm), None)
        if known is not None:
            return known[1]
        client = open_models(
            config, self.budget, self.recorder, self.stopping, self.say, self.tell, self.forms
        )
        if names_with_llm(config.operators):
            self.clients.append((config.llm, client))
        return client
