-- The audit log as it will be, beside the one there is. Batches fill it (auditcopy.go) while the old one
-- stays in use, until rows.sql puts it in its place.
CREATE TABLE IF NOT EXISTS audit_entry (
    seq           INTEGER PRIMARY KEY,
    time          INTEGER NOT NULL,
    authority     TEXT    NOT NULL,  -- empty for the daemon as a whole
    actor_kind    TEXT    NOT NULL,
    actor_role    TEXT    NOT NULL,
    actor_serial  BLOB,              -- NULL when no certificate was shown
    actor_key_id  BLOB,
    address       TEXT    NOT NULL,
    lineage       TEXT    NOT NULL,
    action        TEXT    NOT NULL,
    object_kind   TEXT    NOT NULL,
    object_id     TEXT    NOT NULL,
    object_serial BLOB,              -- NULL for what is not a certificate
    result        TEXT    NOT NULL,
    detail        TEXT    NOT NULL,
    request_id    TEXT    NOT NULL
) STRICT;
