"""Research notes by a model in real campaigns: as often as was said, on record, in the prompts after them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evo.runtime.note_taker import NOTED_AT
from population.reading import spent
from population.reading.memory import notes
from population.store import Store
from tests.campaign.real import lone_edits, run_here, write_config
from tests.operators.fake_openai import Answer, FakeOpenAI, RequestRow

pytestmark = pytest.mark.sandbox


def test_a_note_every_few_measurements_is_a_row_with_evidence_that_later_prompts_carry(
    tmp_path: Path,
) -> None:
    edits, prompts = lone_edits(delay=0), list[str]()

    def script(asked: RequestRow) -> Answer:
        prompts.append(asked.prompt)
        if "one research note" not in asked.prompt:
            return edits(asked)
        shown = re.findall(r"^- ([0-9a-f]{8}): ", asked.prompt, re.MULTILINE)
        return Answer(f"NOTE: insight {len(shown)}\nEVIDENCE: {', '.join(shown)}")

    with FakeOpenAI(script) as server:
        endpoint = {"name": "fake", "model": "m", "base_url": server.base_url, "key_env": ""}
        config = write_config(
            tmp_path,
            operators={"llm_mutate": 1},
            llm={"endpoints": [endpoint], "notes_every": 3},
            budget={"variants": 8},
            rungs={"proxy": {"depth": 1, "context": 64, "budget": 50_000, "rows": 64}},
            clock="tokens",
            slots=1,
            exact=True,
        )
        run_here(config, tmp_path / "c")
    asked = [at for at, prompt in enumerate(prompts) if "one research note" in prompt]
    with Store.open(tmp_path / "c" / "campaign.db", read_only=True) as store:
        kept = notes(store)
        ((calls, tokens),) = store.query(
            "SELECT count(*), sum(tokens_in + tokens_out) FROM llm_calls WHERE proposal_number = 0"
        )
        ((measured,),) = store.query("SELECT count(*) FROM measurements")
        known = {row[0] for row in store.query("SELECT id FROM variants")}
        ((every_token,),) = store.query("SELECT sum(tokens_in + tokens_out) FROM llm_calls")
        used, noted_at = spent(store), store.setting(NOTED_AT)
    assert len(kept) == calls == len(asked) >= 2, (kept, asked)
    assert calls <= measured / 3 and noted_at <= measured
    assert all(one.author == "fake" and set(one.evidence) <= known for one in kept)
    assert kept[-1].evidence and tokens > 0
    assert used.tokens_in + used.tokens_out == every_token, "a note costs what it costs"
    assert all(f"note 1, fake: {kept[0].text}" in one for one in prompts[asked[0] + 1 : asked[1]])
