-- Every statement of the writer and of recovery, by name. Where a statement has one VALUES tuple,
-- the writer may repeat the tuple to insert many rows in one step (see queries.py).

-- name: add_journal
-- One row per submission.
INSERT INTO journal (seq, inputs, now, received_at, source, rules, digest, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_delivery
-- The raw delivery beside its journal row.
INSERT INTO delivery (seq, same_as, meta, payload) VALUES (?, ?, ?, ?)

-- name: put_incident
-- The present value of an incident. Not of a closed one that retention has taken: a verdict, or an
-- alert that ends, would bring it back as the last, without what happened to it.
INSERT INTO incident
    (id, state, priority, service, rule, opened_at, updated_at, closed_at, body)
SELECT * FROM (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?))
WHERE column2 <> 'closed' OR EXISTS (
    SELECT 1 FROM timeline WHERE incident = column1 AND n = 1 AND kind = 'opened'
)
ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, priority = excluded.priority, updated_at = excluded.updated_at,
    closed_at = excluded.closed_at, body = excluded.body

-- name: timeline_heads
-- The highest `n` of each of the incidents in a JSON array, as one JSON object; 0 where none.
SELECT json_group_object(incident, n) FROM (
    SELECT value AS incident,
           (SELECT COALESCE(MAX(n), 0) FROM timeline WHERE incident = value) AS n
    FROM json_each(?)
)

-- name: add_timeline
-- What happened to an incident.
INSERT INTO timeline (incident, n, seq, at, kind, actor, body) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: add_ledger
-- Why alerts joined an incident, or none.
INSERT INTO ledger (id, incident, seq, last_seq, at, body) VALUES (?, ?, ?, ?, ?, ?)

-- name: ledger_span
-- The last id, and how far rows are filed.
SELECT COALESCE((SELECT MAX(id) FROM ledger), 0), id FROM ledger_filed

-- name: file_ledger
-- File what is not filed yet.
INSERT INTO ledger_of (incident, id)
SELECT incident, id FROM ledger WHERE id > (SELECT id FROM ledger_filed) ORDER BY incident, id

-- name: ledger_filed
-- Rows up to this id are filed.
UPDATE ledger_filed SET id = ?

-- name: ledger_of_incident
-- Why its alerts joined, the newest first.
SELECT body FROM ledger WHERE id IN (
    SELECT id FROM ledger_of WHERE incident = ?1
    UNION ALL
    SELECT id FROM ledger WHERE id > (SELECT id FROM ledger_filed) AND incident = ?1
) ORDER BY id DESC

-- name: put_alone
-- The ledger row that says last why an alert stands alone, is suppressed, or was missed by a rule.
INSERT INTO alone (fingerprint, id) VALUES (?, ?)
ON CONFLICT (fingerprint) DO UPDATE SET id = excluded.id

-- name: alone
-- Those of its latest reasons of each sort; none where they are kept no more.
SELECT l.body FROM alone AS a JOIN ledger AS l ON l.id = a.id
WHERE a.fingerprint IN (SELECT value FROM json_each(?))
GROUP BY l.id ORDER BY l.id DESC

-- name: put_alert
-- The present value of an alert.
INSERT INTO alert
    (fingerprint, status, severity, service, ci, name, source, incident, last_seen_at, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (fingerprint) DO UPDATE SET
    status = excluded.status, severity = excluded.severity, service = excluded.service,
    ci = excluded.ci, name = excluded.name, source = excluded.source,
    incident = excluded.incident, last_seen_at = excluded.last_seen_at, body = excluded.body

-- name: called
-- What people call an alert, and where it is, as long as it is remembered.
SELECT name, ci FROM alert WHERE fingerprint = ?

-- name: forget_alerts
-- Alerts that left the engine's table, as a JSON array of fingerprints.
DELETE FROM alert WHERE fingerprint IN (SELECT value FROM json_each(?))

-- name: forget_alone
-- The same alerts. Each may be there under its fingerprint, and under that with a blank and more
-- behind it: to spell all of those out took half of the writer's time in a flood of new alerts.
DELETE FROM alone WHERE fingerprint IN (
    SELECT a.fingerprint FROM json_each(?) AS f
    CROSS JOIN alone AS a ON a.fingerprint >= f.value AND a.fingerprint < f.value || '!'
)

-- name: add_silence
-- In force from its start.
INSERT INTO silence (id, seq, starts_at, ends_at, body) VALUES (?, ?, ?, ?, ?)

-- name: end_silence
-- No longer in force.
UPDATE silence SET ended_at = ?, ended_by = ?, ended_seq = ? WHERE id = ? AND ended_at IS NULL

-- name: add_maintenance
-- Known from now.
INSERT INTO maintenance (id, seq, starts_at, ends_at, body) VALUES (?, ?, ?, ?, ?)

-- name: end_maintenance
-- Over, or replaced.
UPDATE maintenance SET ended_at = ?, ended_seq = ? WHERE id = ? AND ended_at IS NULL

-- name: add_audit
-- Who did what, or was not let in.
INSERT INTO audit (seq, at, body) VALUES (?, ?, ?)

-- name: add_quarantine
-- An input the core raised on.
INSERT INTO quarantine (key, seq, now, traceback, input, delivery) VALUES (?, ?, ?, ?, ?, ?)

-- name: put_meta
-- A fact about the store itself; where it stands already nothing is written, which takes no room.
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE
SET value = excluded.value WHERE value <> excluded.value

-- name: journal_span
-- The first seq, the next seq, the last `now` and the last rule set; no row where it is empty.
SELECT (SELECT MIN(seq) FROM journal), seq + inputs, now, rules
FROM journal ORDER BY seq DESC LIMIT 1

-- name: journal_at
-- The first row from a position on.
SELECT seq, now FROM journal WHERE seq >= ? ORDER BY seq LIMIT 1

-- name: own_before
-- Rows that came through no door before a position, newest first.
SELECT body FROM journal WHERE seq < ? AND source = '' ORDER BY seq DESC

-- name: tail
-- A page of what recovery steps again, from a journal position on.
SELECT seq, now, digest, body FROM journal WHERE seq >= ? ORDER BY seq LIMIT ?

-- name: page_of_journal
-- A page of the journal with its raw deliveries, as far as they are kept.
SELECT j.seq, j.now, j.source, j.body, d.meta, COALESCE(d.payload, p.payload)
FROM journal AS j
LEFT JOIN delivery AS d ON d.seq = j.seq
LEFT JOIN delivery AS p ON p.seq = d.same_as
WHERE j.seq >= ? ORDER BY j.seq LIMIT ?

-- name: page_of_audit
-- A page of who did what, newest first, before an id.
SELECT id, body FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?

-- name: skipped
-- Journaled inputs that are never stepped again.
SELECT seq FROM quarantine WHERE seq IS NOT NULL

-- name: quarantined_keys
-- Delivery keys that are answered and never stepped again, the newest, which retention keeps.
SELECT key FROM quarantine WHERE key IS NOT NULL ORDER BY id DESC LIMIT 10000

-- name: all_alerts
-- For rebuilding the engine.
SELECT body FROM alert ORDER BY rowid

-- name: incidents_to_rebuild
-- Those not closed, and the last one whatever its state: the next id is made from it.
SELECT body FROM incident
WHERE state <> 'closed'
   OR id = (SELECT id FROM incident ORDER BY rowid DESC LIMIT 1)
ORDER BY rowid

-- name: ledger_to_rebuild
-- Who joined the incidents that are not closed.
SELECT l.body FROM ledger AS l JOIN incident AS i ON i.id = l.incident
WHERE i.state <> 'closed' ORDER BY l.id

-- name: silences_to_rebuild
-- Those in force, and the last one whatever its state, with the time it ended.
SELECT body, ended_at FROM silence
WHERE ended_at IS NULL
   OR id = (SELECT id FROM silence ORDER BY rowid DESC LIMIT 1)
ORDER BY rowid

-- name: maintenance_to_rebuild
-- Those to come or in force, and the last one whatever its state, with the time it ended.
SELECT body, ended_at FROM maintenance
WHERE ended_at IS NULL
   OR id = (SELECT id FROM maintenance ORDER BY rowid DESC LIMIT 1)
ORDER BY rowid

-- name: unwrite_incidents
-- Rewriting: incidents that were opened from a journal position on.
DELETE FROM incident WHERE id IN (SELECT incident FROM timeline WHERE n = 1 AND seq >= ?)

-- name: unwrite_timeline
-- Rewriting: what happened from a journal position on.
DELETE FROM timeline WHERE seq >= ?

-- name: straddling_ledger
-- Rewriting: ledger rows with entries on both sides of a journal position.
SELECT id, body FROM ledger WHERE seq < ?1 AND last_seq >= ?1

-- name: cut_ledger
-- Rewriting: what is left of such a row.
UPDATE ledger SET last_seq = ?, body = ? WHERE id = ?

-- name: unwrite_ledger
-- Rewriting: reasons from a journal position on.
DELETE FROM ledger WHERE seq >= ?

-- name: unfile_ledger
-- Rewriting: what is filed and no longer there.
DELETE FROM ledger_of WHERE id NOT IN (SELECT id FROM ledger)

-- name: unfile_alone
-- Rewriting: the same for alerts that stand alone.
DELETE FROM alone WHERE id NOT IN (SELECT id FROM ledger)

-- name: unfiled_ledger
-- Rewriting: ids are given anew.
UPDATE ledger_filed SET id = MIN(id, (SELECT COALESCE(MAX(id), 0) FROM ledger))

-- name: unwrite_silences
-- Rewriting: silences added from a journal position on.
DELETE FROM silence WHERE seq >= ?

-- name: unend_silences
-- Rewriting: silences ended from a journal position on.
UPDATE silence SET ended_at = NULL, ended_by = '', ended_seq = NULL WHERE ended_seq >= ?

-- name: unwrite_maintenance
-- Rewriting: windows announced from a journal position on.
DELETE FROM maintenance WHERE seq >= ?

-- name: unend_maintenance
-- Rewriting: windows ended from a journal position on.
UPDATE maintenance SET ended_at = NULL, ended_seq = NULL WHERE ended_seq >= ?

-- name: unwrite_audit
-- Rewriting: who did what from a journal position on.
DELETE FROM audit WHERE seq >= ?

-- name: unwrite_alerts
-- Rewriting: all of them; the engine's are put in their place.
DELETE FROM alert

-- name: put_digest
-- Rewriting: what the replay decided.
UPDATE journal SET digest = ? WHERE seq = ?

-- name: trim_deliveries
-- Retention: raw deliveries of the oldest rows, a piece of them, as far as they are older, and none
-- that is quarantined is older still.
-- A piece ends with the one that makes it a mebibyte, since a payload may have eight.
DELETE FROM delivery WHERE seq IN (
    SELECT seq FROM (
        SELECT d.seq AS seq, COALESCE(j.now, 0) AS now,
            SUM(COALESCE(LENGTH(d.payload), 0)) OVER (ORDER BY d.seq)
                - COALESCE(LENGTH(d.payload), 0) AS bytes
        FROM delivery AS d LEFT JOIN journal AS j ON j.seq = d.seq
        WHERE d.seq < (SELECT MIN(seq) FROM delivery) + 512
        ORDER BY d.seq LIMIT 64
    ) WHERE now < ? AND bytes < 1048576 AND now <= COALESCE(
        (SELECT q.now FROM quarantine AS q WHERE q.delivery IS NOT NULL ORDER BY q.id LIMIT 1), now
    )
)

-- name: trim_journal
-- Retention: the oldest rows, a piece of them, as far as they are older and before a position.
-- A piece is as many inputs, which `seq` counts, since a row may hold 10,000.
-- The last row stays: it says where the journal is.
DELETE FROM journal WHERE seq < (SELECT MIN(seq) FROM journal) + 512
    AND now < ? AND seq < ? AND seq < (SELECT MAX(seq) FROM journal)

-- name: trim_orphans
-- Retention: raw deliveries whose journal row is gone, a piece of them.
DELETE FROM delivery WHERE seq IN (
    SELECT seq FROM delivery
    WHERE seq < (SELECT MIN(seq) FROM journal) AND seq < (SELECT MIN(seq) FROM delivery) + 512
    ORDER BY seq LIMIT 64
)

-- name: trim_quarantined
-- Retention: raw deliveries of the oldest inputs that are never stepped again, a piece of them, as
-- far as they are older, and none of the journal's are older still.
UPDATE quarantine SET delivery = NULL WHERE id IN (
    SELECT id FROM (
        SELECT id, now, SUM(LENGTH(delivery)) OVER (ORDER BY id) - LENGTH(delivery) AS bytes
        FROM quarantine WHERE delivery IS NOT NULL
        ORDER BY id LIMIT 64
    ) WHERE now < ? AND bytes < 1048576
) AND now <= COALESCE((
    SELECT j.now FROM delivery AS d JOIN journal AS j ON j.seq = d.seq ORDER BY d.seq LIMIT 1
), now)

-- name: trim_quarantined_inputs
-- Retention: the inputs themselves, a piece of them; no start needs more than where they stand and
-- their keys.
UPDATE quarantine SET input = x'' WHERE id IN (
    SELECT id FROM quarantine WHERE now < ? AND input <> x'' ORDER BY id LIMIT 16
)

-- name: trim_quarantine
-- Retention: rows that no start needs, a piece of them. It skips what stands in the journal, and
-- answers the newest keys. Until it comes, a daemon answers those that went meanwhile too.
DELETE FROM quarantine WHERE id IN (
    SELECT id FROM quarantine
    WHERE (seq IS NULL OR seq < (SELECT MIN(seq) FROM journal))
      AND (key IS NULL OR id < (
          SELECT id FROM quarantine WHERE key IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET 9999
      ))
    ORDER BY id LIMIT 64
)

-- name: old_incidents
-- Retention: the longest closed, a piece of them, as a JSON array; none that anything happened to
-- from a journal position on. The last id stays: the next one is made from it when all is lost.
SELECT json_group_array(id) FROM (
    SELECT id FROM incident
    WHERE state = 'closed' AND closed_at < ?
      AND NOT EXISTS (SELECT 1 FROM timeline WHERE incident = incident.id AND seq >= ?)
      AND id <> (SELECT id FROM incident ORDER BY rowid DESC LIMIT 1)
    ORDER BY closed_at LIMIT 16
)

-- name: trim_timeline
-- Retention: of the incidents in a JSON array.
DELETE FROM timeline WHERE incident IN (SELECT value FROM json_each(?))

-- name: trim_ledger
-- Retention: of the incidents in a JSON array.
DELETE FROM ledger WHERE id IN (
    SELECT id FROM ledger_of WHERE incident IN (SELECT value FROM json_each(?))
)

-- name: trim_ledger_of
-- Retention: of the incidents in a JSON array.
DELETE FROM ledger_of WHERE incident IN (SELECT value FROM json_each(?))

-- name: trim_incidents
-- Retention: the incidents in a JSON array.
DELETE FROM incident WHERE id IN (SELECT value FROM json_each(?))

-- name: trim_loose_ledger
-- Retention: why alerts were in no incident, a piece of it, before a journal position.
DELETE FROM ledger WHERE id IN (
    SELECT id FROM (
        SELECT l.id, l.at, l.last_seq FROM ledger_of AS o JOIN ledger AS l ON l.id = o.id
        WHERE o.incident = '' ORDER BY o.id LIMIT 64
    ) WHERE at < ? AND last_seq < ?
)

-- name: trim_loose_ledger_of
-- Retention: what is filed of those, once they are gone.
DELETE FROM ledger_of WHERE incident = '' AND id IN (
    SELECT id FROM ledger_of WHERE incident = '' ORDER BY id LIMIT 64
) AND id NOT IN (SELECT id FROM ledger WHERE id = ledger_of.id)

-- name: ledger_after
-- Retention: what is said of alerts in incidents, the next few rows, before a journal position.
SELECT id, incident, body FROM ledger
WHERE id > ? AND last_seq < ? AND incident <> '' ORDER BY id LIMIT 8

-- name: known_alerts
-- Retention: those of a JSON array of fingerprints that are remembered, as another.
SELECT json_group_array(fingerprint) FROM alert
WHERE fingerprint IN (SELECT value FROM json_each(?))

-- name: thin_ledger
-- Retention: what is left of such a row.
UPDATE ledger SET body = ? WHERE id = ?

-- name: drop_ledger
-- Retention: nothing is.
DELETE FROM ledger WHERE id = ?

-- name: drop_ledger_of
-- Retention: the same, where it is filed.
DELETE FROM ledger_of WHERE incident = ? AND id = ?

-- name: trim_silences
-- Retention: those that ended before a journal position, but the last.
DELETE FROM silence WHERE ended_at < ? AND ended_seq < ?
   AND id <> (SELECT id FROM silence ORDER BY rowid DESC LIMIT 1)

-- name: trim_maintenance
-- Retention: those that ended before a journal position, but the last.
DELETE FROM maintenance WHERE ended_at < ? AND ended_seq < ?
   AND id <> (SELECT id FROM maintenance ORDER BY rowid DESC LIMIT 1)

-- name: old_acts
-- Retention: who did what, a piece of it, before a journal position. The last id stays: the next one
-- is made from it, and pages go by them.
SELECT id, body FROM audit
WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT 64) AND at < ? AND seq < ?
    AND id < (SELECT MAX(id) FROM audit) ORDER BY id

-- name: trim_verdicts
-- Retention: of those of the incidents in a JSON array that are no more, where all is as old.
DELETE FROM timeline WHERE incident IN (
    SELECT value FROM json_each(?)
    WHERE NOT EXISTS (SELECT 1 FROM incident WHERE id = value)
      AND NOT EXISTS (SELECT 1 FROM timeline WHERE incident = value AND (at >= ? OR seq >= ?))
)

-- name: trim_audit
-- Retention: up to an id.
DELETE FROM audit WHERE id <= ?

-- name: whole_journal
-- For `check`.
SELECT seq, inputs, now, body FROM journal ORDER BY seq

-- name: all_incidents
-- For `check`.
SELECT body FROM incident ORDER BY rowid

-- name: incident_rows
-- For `check`: as `put_incident` writes them.
SELECT id, state, priority, service, rule, opened_at, updated_at, closed_at, body FROM incident

-- name: alert_rows
-- For `check`: as `put_alert` writes them.
SELECT fingerprint, status, severity, service, ci, name, source, incident, last_seen_at, body
FROM alert

-- name: silences_in_force
-- For `check`.
SELECT id, starts_at, ends_at, body FROM silence WHERE ended_at IS NULL ORDER BY rowid

-- name: maintenance_in_force
-- For `check`: those to come too.
SELECT id, starts_at, ends_at, body FROM maintenance WHERE ended_at IS NULL ORDER BY rowid

-- name: timeline_from
-- For `check`: what happened from a journal position on, as the projection has it.
SELECT incident, seq, at, kind, actor, body FROM timeline WHERE seq >= ? ORDER BY incident, n

-- name: ledger_from
-- For `check`: reasons from a journal position on.
SELECT incident, body FROM ledger WHERE last_seq >= ? ORDER BY id

-- name: audit_from
-- For `check`: who did what from a journal position on.
SELECT seq, at, body FROM audit WHERE seq >= ? ORDER BY id

-- name: audited_from
-- For `check`: the journal position from which on it is written down.
SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'audited_from'

-- name: damage
-- For `check`: "ok", or the first that is wrong with pages and rows; it raises where it goes on.
-- A single pass, a second for 1 GiB: whether each row is in each index would be asked all over it.
PRAGMA quick_check(1)

-- name: bodies
-- For `check`: table, row and body of what is shown, exported or needed by a start from the tables,
-- however old it is. Journal, incidents and alerts are read whole anyhow.
SELECT 'timeline', incident || ' ' || n, body FROM timeline
UNION ALL SELECT 'ledger', id, body FROM ledger
UNION ALL SELECT 'silence', id, body FROM silence
UNION ALL SELECT 'maintenance', id, body FROM maintenance
UNION ALL SELECT 'delivery', seq, meta FROM delivery

-- name: audit_bodies
-- For `check`: the same of the audit, which an older store has not.
SELECT 'audit', id, body FROM audit

-- name: filed_rows
-- For `check`: one row says how far the ledger is filed; no start, and no commit, without it.
SELECT COUNT(*) FROM ledger_filed

-- name: misfiled_ledger
-- For `check`: incidents whose reasons would not be found, or that name what is not there.
SELECT incident FROM (
    SELECT incident, id FROM ledger WHERE id <= (SELECT id FROM ledger_filed)
    EXCEPT SELECT incident, id FROM ledger_of
)
UNION
SELECT incident FROM (SELECT incident, id FROM ledger_of EXCEPT SELECT incident, id FROM ledger)

-- name: lifecycles
-- For `check`.
SELECT incident, n, kind FROM timeline ORDER BY incident, n
