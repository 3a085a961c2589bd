"""The schema of a campaign's store, as numbered migrations, and what each table and view holds."""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x45564F54  # "EVOT": tells a campaign store from any other SQLite file

DESCRIPTIONS = {
    "about": "This list: what each table and view holds.",
    "settings": "Values the campaign keeps across runs, as JSON.",
    "variants": "Every source of train.py. id is the sha256 of the source.",
    "proposals": "Every attempt to make a child, also those that failed, and what it cost.",
    "parents": "The parents of each proposal with their roles, in order.",
    "ideas": "Ideas in words, by whom; several children can try one (`idea_id` of their proposals). "
    "`origin`: the line of the idea bank that one was taken from.",
    "notes": "Research notes, by whom, with the variants they rest on; `deleted` ones no longer count.",
    "measurements": "What each run showed. Rows are never changed; `lost` rows are attempts.",
    "scores": "The numbers of a measurement that ended `ok`, one row a metric.",
    "document_scores": "Bits that each hidden document cost the model of a measurement.",
    "voids": "Measurements that no longer count, and why.",
    "runs": "Runs in flight: what a killed campaign has to end and to do again.",
    "llm_calls": "Every request to a model and what came back.",
    "decisions": "What the campaign decided about variants, with the evidence as JSON.",
    "requests": "What other processes ask of the running campaign; done is the time it took them.",
    "events": "What happened, in plain words, in order.",
    "front": "The Pareto front of each rung as it stands, with each member's standing.",
    "shared_rows": "Rows of campaigns that were merged into this one, as they were there.",
    "v_measurements": "Measurements with their main scores; without voided and lost ones.",
    "beliefs": "What is believed of each variant in each objective: its mean with what blocks do taken "
    "off, shrunk to its parent's. It ranks; what is claimed is a paired difference on fresh blocks.",
    "v_beliefs": "The same, the lowest first.",
    "v_front": "The front, the proxy's first, by what is believed in the first objective.",
    "v_lineage": "Child, parent, role and operator, by each variant's first proposal.",
    "v_ideas": "Each idea judged by its children: how many, how they ended, effect on val_bpb and its SE.",
    "v_prompts": "How many tokens of prompts went to which part, by model.",
    "v_operators": "What each operator proposed, what came of it and what it cost.",
}

_TABLES = (
    """CREATE TABLE about (name TEXT PRIMARY KEY, description TEXT NOT NULL)""",
    """CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL)""",
    # the source comes last: scanning the other columns must not walk its overflow pages
    """CREATE TABLE variants (
        id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, created REAL NOT NULL, source TEXT NOT NULL
    )""",
    """CREATE INDEX variants_by_fingerprint ON variants (fingerprint)""",
    """CREATE TABLE proposals (
        number INTEGER PRIMARY KEY,
        operator TEXT NOT NULL, author TEXT NOT NULL, model TEXT NOT NULL, idea TEXT NOT NULL,
        outcome TEXT NOT NULL, reason TEXT NOT NULL,
        variant_id TEXT REFERENCES variants (id),
        seconds REAL NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL,
        dollars REAL, -- null: price unknown
        seen INTEGER NOT NULL, -- the last measurement it was shown
        created REAL NOT NULL
    )""",
    """CREATE INDEX proposals_by_variant ON proposals (variant_id, outcome, number)""",
    """CREATE TABLE parents (
        proposal_number INTEGER NOT NULL REFERENCES proposals (number),
        variant_id TEXT NOT NULL REFERENCES variants (id),
        role TEXT NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (proposal_number, position)
    )""",
    """CREATE INDEX parents_by_variant ON parents (variant_id)""",
    """CREATE TABLE ideas (
        id INTEGER PRIMARY KEY, text TEXT NOT NULL, author TEXT NOT NULL, created REAL NOT NULL
    )""",
    """CREATE TABLE measurements (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        variant_id TEXT NOT NULL REFERENCES variants (id),
        rung TEXT NOT NULL, block INTEGER NOT NULL, repeat INTEGER NOT NULL,
        purpose TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
        slot TEXT NOT NULL, host TEXT NOT NULL, device TEXT NOT NULL,
        started_at REAL NOT NULL, wall_seconds REAL NOT NULL, cpu_seconds REAL NOT NULL,
        train_wall_seconds REAL NOT NULL,
        self_reported_steps INTEGER NOT NULL, self_reported_tokens INTEGER NOT NULL,
        recorded REAL NOT NULL,
        facts TEXT NOT NULL, -- JSON object
        curve TEXT NOT NULL, -- JSON list of [progress, loss in nats, tokens]
        log_tail TEXT NOT NULL
    )""",
    """CREATE UNIQUE INDEX measurements_once ON measurements (variant_id, rung, block, repeat)
        WHERE status != 'lost'""",
    """CREATE INDEX measurements_by_variant ON measurements (variant_id, rung)""",
    """CREATE INDEX measurements_by_rung ON measurements (rung, status)""",
    """CREATE TABLE scores (
        measurement_id INTEGER NOT NULL REFERENCES measurements (id),
        name TEXT NOT NULL, value REAL NOT NULL,
        PRIMARY KEY (measurement_id, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE document_scores (
        measurement_id INTEGER NOT NULL REFERENCES measurements (id),
        document TEXT NOT NULL, bits REAL NOT NULL, bytes INTEGER NOT NULL,
        PRIMARY KEY (measurement_id, document)
    )""",
    """CREATE TABLE voids (
        measurement_id INTEGER PRIMARY KEY REFERENCES measurements (id),
        reason TEXT NOT NULL, created REAL NOT NULL
    )""",
    """CREATE TABLE runs (
        variant_id TEXT NOT NULL REFERENCES variants (id),
        rung TEXT NOT NULL, block INTEGER NOT NULL, repeat INTEGER NOT NULL,
        purpose TEXT NOT NULL, slot TEXT NOT NULL,
        pid INTEGER, pid_started_at REAL, started REAL NOT NULL,
        PRIMARY KEY (variant_id, rung, block, repeat)
    )""",
    """CREATE TABLE llm_calls (
        id INTEGER PRIMARY KEY,
        proposal_number INTEGER NOT NULL, -- 0: for no proposal
        endpoint TEXT NOT NULL, model TEXT NOT NULL, outcome TEXT NOT NULL,
        tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, dollars REAL,
        seconds REAL NOT NULL, created REAL NOT NULL,
        prompt TEXT NOT NULL, reply TEXT NOT NULL
    )""",
    """CREATE INDEX llm_calls_by_proposal ON llm_calls (proposal_number)""",
    """CREATE TABLE decisions (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, variant_id TEXT REFERENCES variants (id),
        detail TEXT NOT NULL, created REAL NOT NULL
    )""",
    """CREATE TABLE requests (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, detail TEXT NOT NULL, author TEXT NOT NULL,
        created REAL NOT NULL, done REAL
    )""",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, text TEXT NOT NULL, created REAL NOT NULL
    )""",
    """CREATE TABLE front (
        rung TEXT NOT NULL, variant_id TEXT NOT NULL REFERENCES variants (id),
        place INTEGER NOT NULL, -- 0 is the best by the first objective
        standing TEXT NOT NULL,
        estimate REAL NOT NULL, -- of the first objective, free of block effects
        estimate_sd REAL, -- of that mean; null while no noise is known
        PRIMARY KEY (rung, variant_id)
    )""",
)

_FINAL = tuple(
    f"""CREATE TRIGGER {table}_are_final_{verb} BEFORE {verb} ON {table}
        BEGIN SELECT RAISE(ABORT, '{table} are never changed'); END"""
    for table in ("measurements", "scores", "document_scores", "voids")
    for verb in ("UPDATE", "DELETE")
)


def _score(name: str) -> str:
    return f"(SELECT value FROM scores WHERE measurement_id = m.id AND name = '{name}') AS {name}"


_VIEWS = (
    f"""CREATE VIEW v_measurements AS
        SELECT m.id, m.variant_id AS variant, m.rung, m.block, m.repeat, m.purpose, m.status,
            m.reason, {_score("val_bpb")}, {_score("parameters")}, {_score("added_nodes")},
            {_score("peak_memory_mb")}, {_score("epochs")}, {_score("tokens_per_parameter")},
            {_score("serve_tokens_per_second")}, m.wall_seconds, m.cpu_seconds,
            m.train_wall_seconds, m.self_reported_steps, m.self_reported_tokens,
            m.slot, m.host, m.device, datetime(m.started_at, 'unixepoch') AS started
        FROM measurements AS m
        WHERE m.status != 'lost' AND m.id NOT IN (SELECT measurement_id FROM voids)""",
    # repeats of a block are averaged first: each block counts once
    """CREATE VIEW v_estimates AS
        WITH by_block AS (
            SELECT variant, rung, block, count(*) AS runs, avg(val_bpb) AS val_bpb,
                avg(parameters) AS parameters, avg(added_nodes) AS added_nodes,
                avg(peak_memory_mb) AS peak_memory_mb
            FROM v_measurements WHERE status = 'ok' GROUP BY variant, rung, block
        )
        SELECT variant, rung, count(*) AS blocks, sum(runs) AS measurements,
            avg(val_bpb) AS val_bpb, min(val_bpb) AS val_bpb_lowest,
            max(val_bpb) AS val_bpb_highest, avg(parameters) AS parameters,
            avg(added_nodes) AS added_nodes, avg(peak_memory_mb) AS peak_memory_mb
        FROM by_block GROUP BY variant, rung""",
    """CREATE VIEW v_front AS
        SELECT f.variant_id AS variant, f.rung, f.place, f.standing, f.estimate,
            f.estimate_sd, e.blocks, e.measurements, e.val_bpb,
            e.val_bpb_lowest, e.val_bpb_highest, e.parameters, e.added_nodes, e.peak_memory_mb
        FROM front AS f
        LEFT JOIN v_estimates AS e ON e.variant = f.variant_id AND e.rung = f.rung
        ORDER BY f.rung, f.place""",
    """CREATE VIEW v_lineage AS
        SELECT p.variant_id AS child, parents.variant_id AS parent, parents.role, p.operator,
            p.idea, p.author, p.number AS proposal
        FROM proposals AS p LEFT JOIN parents ON parents.proposal_number = p.number
        WHERE p.outcome = 'variant' AND p.number = (
            SELECT min(number) FROM proposals
            WHERE variant_id = p.variant_id AND outcome = 'variant')""",
    """CREATE VIEW v_operators AS
        WITH ok AS (
            SELECT variant_id, count(*) AS measurements FROM measurements
            WHERE status = 'ok' AND id NOT IN (SELECT measurement_id FROM voids)
            GROUP BY variant_id
        ), firsts AS (
            SELECT min(number) AS number FROM proposals WHERE outcome = 'variant'
            GROUP BY variant_id
        )
        SELECT p.operator, count(*) AS proposals, sum(p.outcome = 'variant') AS variants,
            sum(p.outcome = 'duplicate') AS duplicates, sum(p.outcome = 'invalid') AS invalid,
            sum(p.outcome = 'failed') AS failed,
            coalesce(sum(CASE WHEN p.number IN firsts THEN ok.measurements END), 0)
                AS ok_measurements,
            sum(p.tokens_in) AS tokens_in, sum(p.tokens_out) AS tokens_out,
            total(p.dollars) AS dollars, sum(p.dollars IS NULL) AS price_unknown,
            total(p.seconds) AS seconds
        FROM proposals AS p LEFT JOIN ok ON ok.variant_id = p.variant_id
        GROUP BY p.operator""",
)

_IDEAS = (
    """ALTER TABLE proposals ADD COLUMN idea_id INTEGER REFERENCES ideas (id)""",
    """CREATE INDEX proposals_by_idea ON proposals (idea_id)""",
    # JSON: about how many tokens of the prompt went to which part
    """ALTER TABLE llm_calls ADD COLUMN parts TEXT NOT NULL DEFAULT '{}'""",
    """CREATE TABLE notes (
        id INTEGER PRIMARY KEY, text TEXT NOT NULL, author TEXT NOT NULL,
        evidence TEXT NOT NULL, -- JSON list of variant ids
        seen INTEGER NOT NULL, -- the last measurement its author knew
        created REAL NOT NULL, edited REAL, deleted REAL
    )""",
    # a repaired child is held against what its failed parent was made from
    """CREATE VIEW v_ideas AS
        WITH made AS (
            SELECT DISTINCT idea_id, variant_id FROM proposals
            WHERE idea_id IS NOT NULL AND outcome = 'variant'
        ), proxy AS (
            SELECT rung FROM measurements WHERE status = 'ok' ORDER BY id LIMIT 1
        ), by_block AS (
            SELECT variant, block, avg(val_bpb) AS val_bpb FROM v_measurements
            WHERE status = 'ok' AND rung = (SELECT rung FROM proxy) GROUP BY variant, block
        ), effects AS (
            SELECT made.idea_id, made.variant_id, avg(c.val_bpb - p.val_bpb) AS effect
            FROM made
            JOIN v_lineage AS l ON l.child = made.variant_id
                AND (l.role != 'ancestor' OR l.operator = 'llm_repair')
            JOIN by_block AS c ON c.variant = made.variant_id
            JOIN by_block AS p ON p.variant = l.parent AND p.block = c.block
            GROUP BY made.idea_id, made.variant_id
        ), ends AS (
            SELECT made.idea_id, made.variant_id,
                coalesce(max(m.status = 'ok'), 0) AS ok, count(m.id) AS runs
            FROM made LEFT JOIN v_measurements AS m ON m.variant = made.variant_id
            GROUP BY made.idea_id, made.variant_id
        )
        SELECT i.id, i.text, i.author, i.created, count(ends.variant_id) AS children,
            coalesce(sum(ends.ok), 0) AS ok,
            coalesce(sum(ends.runs > 0 AND NOT ends.ok), 0) AS failed,
            coalesce(sum(ends.runs = 0), 0) AS waiting,
            count(effects.effect) AS n, avg(effects.effect) AS effect,
            CASE WHEN count(effects.effect) > 1 THEN
                sqrt(max(avg(effects.effect * effects.effect)
                    - avg(effects.effect) * avg(effects.effect), 0)
                    / (count(effects.effect) - 1)) END AS effect_se
        FROM ideas AS i
        LEFT JOIN ends ON ends.idea_id = i.id
        LEFT JOIN effects ON effects.idea_id = i.id AND effects.variant_id = ends.variant_id
        GROUP BY i.id ORDER BY i.id""",
    """CREATE VIEW v_prompts AS
        SELECT c.endpoint, c.model, part.key AS part, count(*) AS calls, sum(part.value) AS tokens
        FROM llm_calls AS c, json_each(c.parts) AS part
        GROUP BY c.endpoint, c.model, part.key ORDER BY c.endpoint, c.model, tokens DESC""",
)

# the number that every screen shows beside the one that orders the front, each under its own name
_MEANS = (
    "ALTER TABLE front ADD COLUMN mean REAL",  # over blocks, of the first objective, what blocks do taken off
    "ALTER TABLE front ADD COLUMN mean_se REAL",
    "ALTER TABLE front ADD COLUMN blocks INTEGER",
    "DROP VIEW v_front",
    """CREATE VIEW v_front AS
        SELECT f.variant_id AS variant, f.rung, f.place, f.standing, f.mean, f.mean_se,
            coalesce(f.blocks, e.blocks) AS blocks, f.estimate AS believed,
            f.estimate_sd AS believed_sd, e.measurements, e.val_bpb AS val_bpb_plain_mean,
            e.val_bpb_lowest, e.val_bpb_highest, e.parameters, e.added_nodes, e.peak_memory_mb
        FROM front AS f
        LEFT JOIN v_estimates AS e ON e.variant = f.variant_id AND e.rung = f.rung
        ORDER BY (SELECT min(id) FROM measurements AS m WHERE m.rung = f.rung), f.place""",
)

# one number of a variant: what is believed of it, written by the campaign whenever it moves
_BELIEFS = (
    """CREATE TABLE beliefs (
        rung TEXT NOT NULL, variant_id TEXT NOT NULL REFERENCES variants (id),
        metric TEXT NOT NULL, mean REAL NOT NULL,
        sd REAL, -- of what is believed; null while no noise is known
        n INTEGER NOT NULL, -- blocks that it rests on
        PRIMARY KEY (rung, variant_id, metric)
    ) WITHOUT ROWID""",
    "DROP VIEW v_front",
    "DROP VIEW v_estimates",
    """CREATE VIEW v_front AS
        SELECT f.variant_id AS variant, f.rung, f.place, f.standing, f.estimate AS believed,
            f.estimate_sd AS believed_sd, count(DISTINCT m.block) AS blocks,
            count(m.id) AS measurements, max(m.parameters) AS parameters,
            max(m.added_nodes) AS added_nodes
        FROM front AS f
        LEFT JOIN v_measurements AS m
            ON m.variant = f.variant_id AND m.rung = f.rung AND m.status = 'ok'
        GROUP BY f.rung, f.variant_id
        ORDER BY (SELECT min(id) FROM measurements AS m WHERE m.rung = f.rung), f.place""",
    """CREATE VIEW v_beliefs AS
        SELECT variant_id AS variant, rung, metric, mean AS believed, sd AS believed_sd, n AS blocks
        FROM beliefs ORDER BY rung, metric, mean""",
)

# JSON: the line of an idea bank that an idea was taken from, and `bank`, its name; null: it was had here
_BANKS = ("ALTER TABLE ideas ADD COLUMN origin TEXT",)

# which answers had to be asked for again, and which tokens no server told
_SECOND_QUESTIONS = (
    "ALTER TABLE llm_calls ADD COLUMN again_because TEXT NOT NULL DEFAULT ''",  # why no answer would do
    "ALTER TABLE llm_calls ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0",  # its tokens
)

# rows of other campaigns, as they were there: what stands in the other tables was made of them
_SHARED = (
    """CREATE TABLE shared_rows (
        key TEXT PRIMARY KEY, -- what it is known by, wherever it lies
        vouched INTEGER NOT NULL, -- 0: another's word, 1: signed with a trusted key, 2: our own
        body BLOB NOT NULL -- JSON, packed with zlib
    )""",
)

# whose proposal it is, where a campaign has several populations
_ISLANDS = ("ALTER TABLE proposals ADD COLUMN island TEXT NOT NULL DEFAULT ''",)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (*_TABLES, *_FINAL, *_VIEWS),
    _IDEAS,
    _MEANS,
    _BELIEFS,
    _BANKS,
    _SECOND_QUESTIONS,
    _SHARED,
    _ISLANDS,
)


def schema_version(db: sqlite3.Connection) -> int:
    """How many migrations the file has seen; 0 for an empty one."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection) -> None:
    """Bring the file to the newest schema, each migration in one transaction."""
    for number, statements in enumerate(MIGRATIONS, start=1):
        if schema_version(db) >= number:
            continue
        db.execute("BEGIN IMMEDIATE")
        try:
            if schema_version(db) < number:  # another process may have been first
                for statement in statements:
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute("DELETE FROM about")
                for item in DESCRIPTIONS.items():
                    db.execute("INSERT INTO about VALUES (?, ?)", item)
                db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        except BaseException:
            db.rollback()
            raise
