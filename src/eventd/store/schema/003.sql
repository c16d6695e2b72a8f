-- Who did what, and who was not let in: one row for each fact that says so, oldest first.
CREATE TABLE audit (
    id   INTEGER PRIMARY KEY,
    seq  INTEGER NOT NULL,            -- of the journal row that caused it
    at   INTEGER NOT NULL,
    body BLOB    NOT NULL             -- the fact
) STRICT;

-- What came before is in the journal and in timelines only.
INSERT INTO meta SELECT 'audited_from', COALESCE(MAX(seq + inputs), 0) FROM journal;
