-- Times are microseconds since 1970 in UTC. Bodies are msgpack of the values in core/model.py.
-- The journal is the truth; every other table is a projection of it, written in the transaction
-- of the journal rows that caused it. Only `alert` may lag, by about a second.

-- One row per delivery, command, start, rule load, or tick with facts.
CREATE TABLE journal (
    seq         INTEGER PRIMARY KEY,  -- of its first input; the next row's is seq + inputs
    inputs      INTEGER NOT NULL,     -- how many
    now         INTEGER NOT NULL,     -- engine time they were stepped at; never decreases
    received_at INTEGER NOT NULL,     -- at the door; `now` where nothing came through a door
    source      TEXT    NOT NULL,     -- '' where nothing came through a door
    rules       TEXT    NOT NULL,     -- version of the rule set in force after the row
    digest      INTEGER NOT NULL,     -- xxh3_64 of the facts' msgpack, as a signed integer
    body        BLOB    NOT NULL      -- array of Input
) STRICT;

-- The raw delivery of a journal row, kept for a shorter time.
CREATE TABLE delivery (
    seq     INTEGER PRIMARY KEY,      -- of the journal row
    same_as INTEGER,                  -- seq of the row with the same payload; NULL: it is here
    meta    BLOB    NOT NULL,         -- Delivery with an empty payload
    payload BLOB                      -- NULL where another row has it
) STRICT;

CREATE TABLE incident (
    id         TEXT    PRIMARY KEY,   -- INC-000042; rows stand in order of opening
    state      TEXT    NOT NULL,      -- open, resolved, closed
    priority   INTEGER NOT NULL,      -- 1 … 5
    service    TEXT    NOT NULL,
    rule       TEXT    NOT NULL,
    opened_at  INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    closed_at  INTEGER,
    body       BLOB    NOT NULL       -- Incident
) STRICT;
CREATE INDEX incident_not_closed ON incident (opened_at, id) WHERE state <> 'closed';
CREATE INDEX incident_closed ON incident (closed_at) WHERE state = 'closed';

-- What happened to an incident, in order: n counts from 1 without gaps.
CREATE TABLE timeline (
    incident TEXT    NOT NULL,
    n        INTEGER NOT NULL,
    seq      INTEGER NOT NULL,        -- of the journal row that caused it
    at       INTEGER NOT NULL,
    kind     TEXT    NOT NULL,        -- the fact's tag: opened, updated, acknowledged, commented,
                                      -- resolved, reopened, closed, finding_noted
    actor    TEXT    NOT NULL,        -- '' where it was eventd itself
    body     BLOB    NOT NULL,        -- the fact
    PRIMARY KEY (incident, n)
) STRICT, WITHOUT ROWID;

-- Why an alert is in an incident, and why another is in none: one row per incident and batch.
CREATE TABLE ledger (
    id       INTEGER PRIMARY KEY,
    incident TEXT    NOT NULL,        -- '' for alerts that were suppressed or that no rule wanted
    seq      INTEGER NOT NULL,        -- journal row of the first entry
    last_seq INTEGER NOT NULL,        -- journal row of the last entry
    at       INTEGER NOT NULL,        -- of the first entry
    body     BLOB    NOT NULL         -- array of [seq, fact]: joined; for '' suppressed,
                                      -- unsuppressed, unmatched
) STRICT;
CREATE INDEX ledger_by_incident ON ledger (incident, id);

-- The alerts eventd remembers. Written behind.
CREATE TABLE alert (
    fingerprint  TEXT    PRIMARY KEY,
    status       TEXT    NOT NULL,    -- firing, cleared
    severity     INTEGER NOT NULL,    -- 0 ok … 5 critical
    service      TEXT    NOT NULL,
    ci           TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    source       TEXT    NOT NULL,
    incident     TEXT    NOT NULL,    -- '' where in none
    last_seen_at INTEGER NOT NULL,
    body         BLOB    NOT NULL     -- Alert
) STRICT;

CREATE TABLE silence (
    id        TEXT    PRIMARY KEY,
    seq       INTEGER NOT NULL,       -- journal row that added it
    starts_at INTEGER NOT NULL,
    ends_at   INTEGER NOT NULL,
    ended_at  INTEGER,                -- NULL while in force
    ended_by  TEXT    NOT NULL DEFAULT '',  -- '' where its time ran out
    ended_seq INTEGER,
    body      BLOB    NOT NULL        -- Silence
) STRICT;

CREATE TABLE maintenance (
    id        TEXT    PRIMARY KEY,
    seq       INTEGER NOT NULL,       -- journal row that announced it
    starts_at INTEGER NOT NULL,
    ends_at   INTEGER NOT NULL,
    ended_at  INTEGER,                -- NULL while to come or in force
    ended_seq INTEGER,
    body      BLOB    NOT NULL        -- Maintenance
) STRICT;

-- Inputs the core raised on, never stepped again.
CREATE TABLE quarantine (
    id        INTEGER PRIMARY KEY,
    key       BLOB,                   -- delivery key; NULL where the input has none
    seq       INTEGER,                -- of the input, where it is in the journal; NULL: it is not
    now       INTEGER NOT NULL,
    traceback TEXT    NOT NULL,
    input     BLOB    NOT NULL,       -- Input
    delivery  BLOB                    -- Delivery, where it came through a door
) STRICT;

-- Facts about the store itself: `version` is the eventd that opened it last.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
