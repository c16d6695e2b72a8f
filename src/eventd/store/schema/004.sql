-- Why an alert stands alone is asked by its fingerprint, and the ledger is filed by incident: it is in
-- the ledger of none, among all others. Retention may take the ledger row and leave this one.
CREATE TABLE alone (
    fingerprint TEXT    NOT NULL PRIMARY KEY,
    id          INTEGER NOT NULL         -- of the ledger row
) STRICT, WITHOUT ROWID;
