-- The ledger is found by incident through a table that is filled some thousand rows at a time.
-- An index would have every commit of a storm write one page for each incident it touches.
DROP INDEX ledger_by_incident;

CREATE TABLE ledger_of (
    incident TEXT    NOT NULL,
    id       INTEGER NOT NULL,        -- of the ledger row
    PRIMARY KEY (incident, id)
) STRICT, WITHOUT ROWID;

-- One row: ledger rows up to this id are in `ledger_of`, those beyond it are looked through.
CREATE TABLE ledger_filed (id INTEGER NOT NULL) STRICT;

INSERT INTO ledger_of SELECT incident, id FROM ledger;
INSERT INTO ledger_filed SELECT COALESCE(MAX(id), 0) FROM ledger;
