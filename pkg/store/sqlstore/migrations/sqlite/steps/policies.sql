-- Who has asked for a certificate and how, as JSON, and the rule that has approved it. Renewals have none of these, and neither
-- has what was issued before.
ALTER TABLE request ADD COLUMN asked TEXT NOT NULL DEFAULT '';
ALTER TABLE certificate ADD COLUMN asked TEXT NOT NULL DEFAULT '';
ALTER TABLE certificate ADD COLUMN rule TEXT NOT NULL DEFAULT '';
ALTER TABLE certificate ADD COLUMN rule_digest BLOB;

-- When a generation begins to sign, if its age does not decide.
ALTER TABLE ca_certificate ADD COLUMN activation TEXT NOT NULL DEFAULT '';
ALTER TABLE ca_certificate ADD COLUMN activated_at INTEGER;

-- Who has consented to a request that needs several users. Goes with the request.
CREATE TABLE approval (
    authority   TEXT    NOT NULL CHECK (authority <> ''),
    request     INTEGER NOT NULL,
    lineage     INTEGER NOT NULL,  -- of the user
    approved_at INTEGER NOT NULL,
    approved_by TEXT    NOT NULL,
    serial      TEXT    NOT NULL,
    what        BLOB    NOT NULL,  -- a digest
    PRIMARY KEY (authority, request, lineage),
    FOREIGN KEY (authority, request) REFERENCES request (authority, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Events that have to leave at least once.
CREATE TABLE delivery (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    authority  TEXT    NOT NULL,
    hook       TEXT    NOT NULL,
    event      BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    last_error TEXT    NOT NULL
) STRICT;

CREATE INDEX delivery_due ON delivery (hook, due_at, id);   -- Deliveries, CountDeliveries

-- The newest generation that each host holds. Goes with the lineage.
CREATE TABLE adoption (
    authority TEXT    NOT NULL CHECK (authority <> ''),
    lineage   INTEGER NOT NULL,
    ca_key_id BLOB    NOT NULL,
    held_at   INTEGER NOT NULL,
    address   TEXT    NOT NULL,
    PRIMARY KEY (authority, lineage),
    FOREIGN KEY (authority, lineage) REFERENCES lineage (authority, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
