"""The tables of a brain and the numbered steps that lead to them; a step that was released is never edited."""

from __future__ import annotations

from pathlib import Path

import apsw

from ruvllm.errors import BrainDamaged, BrainTooNew

__all__ = ["APPLICATION_ID", "MIGRATIONS", "migrate", "require_known"]

APPLICATION_ID = 0x7275766C  # "ruvl", in the header of every brain.db

MIGRATIONS: tuple[str, ...] = (
    # 1: the first floor
    """
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE documents (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        source TEXT NOT NULL,
        title TEXT,
        sha256 TEXT NOT NULL,
        chunks INTEGER NOT NULL,
        ingested REAL NOT NULL,
        UNIQUE (namespace, source)
    ) STRICT;

    CREATE TABLE nodes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        type TEXT NOT NULL,
        text TEXT NOT NULL,
        source TEXT,
        metadata TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
        created REAL NOT NULL,
        last_used REAL NOT NULL,
        use_count INTEGER NOT NULL DEFAULT 0,
        tier TEXT NOT NULL DEFAULT 'hot' CHECK (tier IN ('hot', 'cold')),
        trust REAL NOT NULL DEFAULT 1.0,
        session TEXT,
        probation INTEGER NOT NULL DEFAULT 0 CHECK (probation IN (0, 1)),
        document INTEGER REFERENCES documents (id)
    ) STRICT;
    CREATE INDEX nodes_by_source ON nodes (namespace, source);
    CREATE INDEX nodes_by_document ON nodes (document) WHERE document IS NOT NULL;
    CREATE INDEX nodes_by_session ON nodes (namespace, session) WHERE session IS NOT NULL;
    CREATE INDEX nodes_by_time ON nodes (created);
    CREATE INDEX nodes_searched ON nodes (namespace, id) WHERE probation = 0 AND tier = 'hot';

    CREATE TABLE vectors (
        node INTEGER PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
        vector BLOB NOT NULL
    ) STRICT;

    CREATE TABLE edges (
        src INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
        dst INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
        type TEXT NOT NULL,
        weight REAL NOT NULL CHECK (weight BETWEEN 0.0 AND 1.0),
        success INTEGER NOT NULL DEFAULT 0,
        failure INTEGER NOT NULL DEFAULT 0,
        last_used REAL NOT NULL,
        created_by TEXT NOT NULL,
        PRIMARY KEY (src, dst, type)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX edges_by_dst ON edges (dst);

    CREATE VIRTUAL TABLE keywords USING fts5 (
        title, body, content = '', contentless_delete = 1, tokenize = 'porter unicode61 remove_diacritics 2'
    );

    CREATE TABLE interactions (
        id TEXT PRIMARY KEY,
        namespace TEXT NOT NULL,
        session TEXT,
        created REAL NOT NULL,
        query_node INTEGER REFERENCES nodes (id) ON DELETE SET NULL,
        answer_node INTEGER REFERENCES nodes (id) ON DELETE SET NULL,
        source_ids TEXT NOT NULL CHECK (json_valid(source_ids)),
        used_ids TEXT NOT NULL CHECK (json_valid(used_ids)),
        route TEXT NOT NULL CHECK (json_valid(route)),
        timings_ms TEXT NOT NULL CHECK (json_valid(timings_ms)),
        confidence REAL,
        finish_reason TEXT NOT NULL
    ) STRICT;
    CREATE INDEX interactions_by_session ON interactions (namespace, session, created) WHERE session IS NOT NULL;
    CREATE INDEX interactions_by_query ON interactions (query_node);
    CREATE INDEX interactions_by_answer ON interactions (answer_node);

    CREATE TABLE feedback (
        interaction TEXT PRIMARY KEY REFERENCES interactions (id),
        rating INTEGER,
        quality REAL,
        task_success INTEGER,
        correction TEXT,
        correction_node INTEGER REFERENCES nodes (id) ON DELETE SET NULL,
        updated REAL NOT NULL
    ) STRICT;
    CREATE INDEX feedback_by_node ON feedback (correction_node);
    """,
    # 2: validity intervals, names that link, and what outcomes taught
    """
    ALTER TABLE nodes ADD COLUMN ended REAL;  -- when it was replaced; NULL while it holds
    DROP INDEX nodes_searched;
    CREATE INDEX nodes_searched ON nodes (namespace, id) WHERE probation = 0 AND tier = 'hot' AND ended IS NULL;
    CREATE INDEX nodes_ended ON nodes (namespace, ended) WHERE ended IS NOT NULL;

    ALTER TABLE documents ADD COLUMN trust REAL NOT NULL DEFAULT 1.0;  -- that its nodes get, also of later versions

    ALTER TABLE edges ADD COLUMN created REAL NOT NULL DEFAULT 0.0;
    ALTER TABLE edges ADD COLUMN ended REAL;
    ALTER TABLE edges ADD COLUMN decayed REAL NOT NULL DEFAULT 0.0;  -- the weight is as of this or last_used, the later
    UPDATE edges SET created = last_used;

    CREATE TABLE names (  -- what a node is called by others: title, heading, the subject it opens with
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,  -- words in lower case with single spaces
        node INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
        PRIMARY KEY (namespace, name, node)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX names_by_node ON names (node);

    CREATE TABLE mentions (  -- rare names and terms that stand in a node's text, by their hash
        namespace TEXT NOT NULL,
        term INTEGER NOT NULL,
        node INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
        PRIMARY KEY (namespace, term, node)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX mentions_by_node ON mentions (node);

    ALTER TABLE feedback ADD COLUMN rater TEXT NOT NULL DEFAULT 'local';

    ALTER TABLE interactions  -- what was said in other words than those of answer_node, which stands for it
        ADD COLUMN said_node INTEGER REFERENCES nodes (id) ON DELETE SET NULL;
    CREATE INDEX interactions_by_said ON interactions (said_node) WHERE said_node IS NOT NULL;

    CREATE TABLE credits (  -- the part of each shown source in an answer, in [0, 1]; what training reads
        interaction TEXT NOT NULL REFERENCES interactions (id) ON DELETE CASCADE,
        node INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
        credit REAL NOT NULL CHECK (credit BETWEEN 0.0 AND 1.0),
        decided_by TEXT NOT NULL,  -- "attribution", "mark"
        PRIMARY KEY (interaction, node)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX credits_by_node ON credits (node);

    CREATE TABLE marks (  -- what a user said about one shown source of an answer
        interaction TEXT NOT NULL REFERENCES interactions (id) ON DELETE CASCADE,
        node INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
        helped INTEGER NOT NULL CHECK (helped IN (0, 1)),
        PRIMARY KEY (interaction, node)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX marks_by_node ON marks (node);

    CREATE TABLE edge_moves (  -- how far outcomes moved an edge, so that one can be taken back and none goes too far
        interaction TEXT NOT NULL,  -- the answer rated, or what the caller named the outcome
        src INTEGER NOT NULL,
        dst INTEGER NOT NULL,
        type TEXT NOT NULL,
        rater TEXT NOT NULL,
        at REAL NOT NULL,
        good INTEGER CHECK (good IN (0, 1)),  -- what it counted as; NULL when nothing
        moved REAL NOT NULL,  -- its part of the weight, which fades with the weight
        PRIMARY KEY (interaction, src, dst, type),
        FOREIGN KEY (src, dst, type) REFERENCES edges (src, dst, type) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX edge_moves_by_edge ON edge_moves (src, dst, type, rater, at);

    CREATE TABLE co_retrievals (  -- how often two nodes, a < b, were shown together
        a INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
        b INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
        count INTEGER NOT NULL,
        PRIMARY KEY (a, b),
        CHECK (a < b)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX co_retrievals_by_b ON co_retrievals (b);

    CREATE TABLE vectors_next (  -- of another embedder, while a brain is moved to it
        node INTEGER PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
        vector BLOB NOT NULL
    ) STRICT;
    """,
    # 3: what the router decided, and what came of it
    """
    CREATE TABLE decisions (
        interaction TEXT PRIMARY KEY REFERENCES interactions (id) ON DELETE CASCADE,
        tier TEXT NOT NULL,  -- the chosen one
        estimates TEXT NOT NULL CHECK (json_valid(estimates)),  -- of each tier there was, the cheapest first
        features BLOB NOT NULL CHECK (length(features) % 4 = 0),  -- float32, the layout of feature_version
        present BLOB NOT NULL CHECK (length(present) = (length(features) + 31) / 32),  -- one bit a feature
        feature_version INTEGER NOT NULL,
        checkpoint INTEGER NOT NULL,
        decided_by TEXT NOT NULL,
        reason TEXT NOT NULL,
        confidence REAL CHECK (confidence BETWEEN 0.0 AND 1.0),
        context_tokens INTEGER NOT NULL,
        temperature REAL,
        top_p REAL,
        explored INTEGER NOT NULL CHECK (explored IN (0, 1)),
        probed INTEGER NOT NULL CHECK (probed IN (0, 1)),
        calibrates INTEGER NOT NULL CHECK (calibrates IN (0, 1))  -- every tier answers, by a coin
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE tier_outcomes (  -- what tiers did on a request; NULL is what is not known
        interaction TEXT NOT NULL REFERENCES interactions (id) ON DELETE CASCADE,
        tier TEXT NOT NULL,
        shown INTEGER NOT NULL CHECK (shown IN (0, 1)),  -- its answer is the one that the user saw
        quality REAL CHECK (quality BETWEEN 0.0 AND 1.0),
        latency_ms REAL CHECK (latency_ms >= 0.0),
        cost REAL CHECK (cost >= 0.0),
        tokens INTEGER CHECK (tokens >= 0),
        answer TEXT,  -- of one that was not shown, for whoever judges it
        source_ids TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(source_ids)),  -- that this answer was made of
        source TEXT CHECK (source IN ('user', 'task', 'judge')),  -- of the quality
        rater TEXT,
        at REAL NOT NULL,  -- when the row last changed
        PRIMARY KEY (interaction, tier),
        CHECK ((quality IS NULL) = (source IS NULL))
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tier_outcomes_with_answer ON tier_outcomes (interaction) WHERE answer IS NOT NULL;
    """,
    # 4: sessions that were made before their first turn, and a number that says whether documents changed
    """
    CREATE TABLE sessions (
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        created REAL NOT NULL,
        PRIMARY KEY (namespace, name)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE document_versions (  -- raised by every change of what the whole namespace searches
        namespace TEXT PRIMARY KEY,
        version INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER nodes_came AFTER INSERT ON nodes WHEN NEW.probation = 0 BEGIN
        INSERT INTO document_versions VALUES (NEW.namespace, 1)
            ON CONFLICT (namespace) DO UPDATE SET version = version + 1;
    END;
    CREATE TRIGGER nodes_went AFTER DELETE ON nodes WHEN OLD.probation = 0 BEGIN
        INSERT INTO document_versions VALUES (OLD.namespace, 1)
            ON CONFLICT (namespace) DO UPDATE SET version = version + 1;
    END;
    CREATE TRIGGER nodes_changed AFTER UPDATE OF text, trust, tier, ended, probation ON nodes
    WHEN (OLD.probation = 0 OR NEW.probation = 0)
        AND (OLD.text, OLD.trust, OLD.tier, OLD.ended, OLD.probation)
            IS NOT (NEW.text, NEW.trust, NEW.tier, NEW.ended, NEW.probation)
    BEGIN
        INSERT INTO document_versions VALUES (NEW.namespace, 1)
            ON CONFLICT (namespace) DO UPDATE SET version = version + 1;
    END;
    """,
    # 5: what runs in the background
    """
    CREATE TABLE jobs (
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'running')),
        every_s REAL,  -- NULL: only on demand
        due REAL,  -- NULL: only on demand
        started REAL,
        finished REAL,
        runs INTEGER NOT NULL DEFAULT 0,  -- that came to their end
        failures INTEGER NOT NULL DEFAULT 0,  -- in all
        failed_in_row INTEGER NOT NULL DEFAULT 0,
        last_error TEXT,
        attempts TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(attempts)),  -- the newest first: {at, seconds, report}
        PRIMARY KEY (namespace, name)
    ) STRICT, WITHOUT ROWID;
    """,
    # 6: what people did after an answer, where they said nothing about it
    """
    CREATE TABLE signals (  -- weak evidence against an answer, until somebody says how it was
        interaction TEXT PRIMARY KEY REFERENCES interactions (id) ON DELETE CASCADE,
        signal TEXT NOT NULL CHECK (signal IN ('rephrase', 'abandon')),
        quality REAL NOT NULL CHECK (quality BETWEEN 0.0 AND 1.0),  -- of the outcome that it stands for
        at REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    # 7: what a judge said of an answer
    """
    ALTER TABLE interactions ADD COLUMN quality REAL CHECK (quality BETWEEN 0.0 AND 1.0);
    ALTER TABLE interactions ADD COLUMN quality_source TEXT NOT NULL DEFAULT '';  -- who said so, and by which version
    ALTER TABLE interactions ADD COLUMN judge_score REAL CHECK (judge_score BETWEEN 0.0 AND 1.0);  -- uncalibrated
    """,
    # 8: how sampling was drawn
    """
    ALTER TABLE decisions  -- with which temperature and top_p were drawn, to learn from it
        ADD COLUMN sampling_chance REAL CHECK (sampling_chance > 0.0 AND sampling_chance <= 1.0);
    """,
    # 9: what the models of a trial did: figures, no words
    """
    CREATE TABLE trial_outcomes (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        student TEXT NOT NULL,  -- on trial
        since INTEGER NOT NULL,  -- line of the registry's log with which the phase began
        control TEXT NOT NULL,  -- the student that answers otherwise, '' for the tier's own model
        treatment INTEGER NOT NULL CHECK (treatment IN (0, 1)),  -- which of the two this is
        request TEXT NOT NULL,
        session TEXT NOT NULL,  -- a hash of its name; '' outside of sessions
        quality REAL CHECK (quality BETWEEN 0.0 AND 1.0),  -- a judge's; NULL: nobody judged it
        latency_ms REAL NOT NULL CHECK (latency_ms >= 0.0),
        failed INTEGER NOT NULL CHECK (failed IN (0, 1)),
        at REAL NOT NULL,
        UNIQUE (student, since, control, request, treatment)
    ) STRICT;
    """,
    # 10: what models were sent, for training; nothing of it outlives what it is made of
    """
    CREATE TABLE traces (
        interaction TEXT PRIMARY KEY REFERENCES interactions (id) ON DELETE CASCADE,
        prompt TEXT NOT NULL CHECK (json_valid(prompt)),  -- [[role, content], ...]
        failures TEXT NOT NULL CHECK (json_valid(failures))  -- what went wrong on the way to the answer
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE trace_nodes (  -- whose words are in the prompt
        interaction TEXT NOT NULL REFERENCES traces (interaction) ON DELETE CASCADE,
        node INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
        start INTEGER,  -- of a source that was shown, its characters in the last message
        stop INTEGER,
        PRIMARY KEY (interaction, node)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX trace_nodes_by_node ON trace_nodes (node);
    CREATE TRIGGER trace_nodes_went AFTER DELETE ON trace_nodes BEGIN
        DELETE FROM traces WHERE interaction = OLD.interaction;
    END;

    CREATE TABLE failures (  -- requests that had no answer; nothing of what was asked is in here
        id INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL,
        at REAL NOT NULL,
        kind TEXT NOT NULL,  -- the class of the error
        detail TEXT NOT NULL,  -- stage=generate, status=503 and the like
        model TEXT NOT NULL
    ) STRICT;
    CREATE INDEX failures_by_time ON failures (namespace, at);
    """,
    # 11: a number that says whether answers were rejected
    """
    CREATE TABLE rejections (  -- how often somebody said that an answer was not a good one
        namespace TEXT PRIMARY KEY,
        count INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    # 12: names that a local model found in texts
    """
    CREATE TABLE enrichments (  -- the texts it has read; what they are linked by are rows of edges
        node INTEGER PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
        made_by TEXT NOT NULL,  -- as created_by of the edges says
        version INTEGER NOT NULL,  -- of how it was asked
        found TEXT NOT NULL CHECK (json_valid(found))  -- the names, as they stand in the text
    ) STRICT;
    """,
    # 13: texts that a local model could not read
    """
    CREATE TABLE enrichment_failures (
        node INTEGER PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
        made_by TEXT NOT NULL,
        version INTEGER NOT NULL,
        times INTEGER NOT NULL  -- that this model failed on it
    ) STRICT;
    """,
    # 14: what was said to one question
    """
    CREATE INDEX corrections ON nodes (namespace, metadata ->> 'question', ended) WHERE source GLOB 'feedback:*';
    """,
    # 15: the newest turns of a session
    """
    CREATE INDEX interactions_in_session ON interactions (namespace, session) WHERE session IS NOT NULL;
    """,
    # 16: what is archived
    """
    CREATE INDEX nodes_archived ON nodes (id) WHERE tier = 'cold';
    """,
)


def require_known(connection: apsw.Connection, path: Path) -> int:
    """Return the schema version of an opened file, 0 when it is empty; nothing is written.

    Raises:
        BrainTooNew: a newer ruvllm wrote it.
        BrainDamaged: it is some other program's database.
    """
    version = int(connection.pragma("user_version"))
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if tables and connection.pragma("application_id") != APPLICATION_ID:
        raise BrainDamaged(f"{path} is a database, but not one of ruvllm; it was left as it is", path=path)
    if version > len(MIGRATIONS):
        raise BrainTooNew(path, found=version, supported=len(MIGRATIONS))
    return version


def migrate(connection: apsw.Connection, path: Path) -> None:
    """Bring the schema to the newest version, each step in its own transaction; two processes at once are harmless."""
    while require_known(connection, path) < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = require_known(connection, path)
            if version < len(MIGRATIONS):
                connection.execute(MIGRATIONS[version])
                connection.pragma("application_id", APPLICATION_ID)
                connection.pragma("user_version", version + 1)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
