-- Authorities become rows; CAs say what can be done with them and where their keys are; requests and
-- certificates name a profile; the audit log has a column for each thing that can be searched.

CREATE TABLE authority (
    name         TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    title        TEXT    NOT NULL,
    role         TEXT    NOT NULL,
    parent       TEXT    NOT NULL,  -- empty: its CA certificates are self-signed
    subject      BLOB,              -- DER; NULL: made from title and netloc
    permitted    TEXT    NOT NULL,  -- JSON list
    span         INTEGER NOT NULL,  -- microseconds, as all durations; 0: the daemon's flags say it
    life         INTEGER NOT NULL,
    key_type     TEXT    NOT NULL,
    profile      TEXT    NOT NULL,
    profiles     TEXT    NOT NULL,  -- JSON list
    max_pending  INTEGER NOT NULL,
    auto_approve INTEGER NOT NULL,
    crl_life     INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    retired_at   INTEGER            -- NULL: it is not retired
) STRICT, WITHOUT ROWID;

-- What is in use has a row; what its flags say the daemon adds when it starts.
INSERT INTO authority
SELECT authority,
    CASE authority WHEN 'cau' THEN 'Caucase CAU' WHEN 'https' THEN 'Caucased CA' ELSE 'Caucase CAS' END,
    CASE authority WHEN 'cau' THEN 'users' WHEN 'https' THEN 'daemon' ELSE 'services' END,
    '', NULL, '[]', 0, 0, '', '', '[]', 0, 0, 0, min(created_at), NULL
FROM ca_certificate GROUP BY authority;

ALTER TABLE ca_certificate RENAME COLUMN private_key TO key_ref;
ALTER TABLE ca_certificate ADD COLUMN state            TEXT    NOT NULL DEFAULT 'usable';
ALTER TABLE ca_certificate ADD COLUMN custody          TEXT    NOT NULL DEFAULT '';
ALTER TABLE ca_certificate ADD COLUMN parent_authority TEXT    NOT NULL DEFAULT '';
ALTER TABLE ca_certificate ADD COLUMN parent_ca        INTEGER NOT NULL DEFAULT 0;
UPDATE ca_certificate SET custody = 'row' WHERE key_ref IS NOT NULL;
-- A key is erased when its certificate has expired, and otherwise only from a CA that was put aside.
UPDATE ca_certificate
SET state = CASE WHEN not_after < unixepoch('now') * 1000000 THEN 'erased' ELSE 'disowned' END
WHERE key_ref IS NULL;

CREATE TABLE signoff (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    authority    TEXT    NOT NULL REFERENCES authority (name),
    created_at   INTEGER NOT NULL,
    not_before   INTEGER NOT NULL,
    not_after    INTEGER NOT NULL CHECK (not_after >= not_before),
    key_id       BLOB    NOT NULL,
    custody      TEXT    NOT NULL,
    key_ref      BLOB,
    request      BLOB    NOT NULL,
    installed_at INTEGER            -- NULL while it waits
) STRICT;

CREATE INDEX signoff_authority ON signoff (authority, id);   -- Signoffs

ALTER TABLE request ADD COLUMN profile TEXT NOT NULL DEFAULT '';
ALTER TABLE certificate ADD COLUMN profile  TEXT    NOT NULL DEFAULT '';
ALTER TABLE certificate ADD COLUMN validity INTEGER NOT NULL DEFAULT 0;

-- What belongs to the daemon as a whole.
UPDATE setting SET authority = '' WHERE authority = 'cau' AND name IN ('cors_keys', 'backup_claim', 'backup_last');
UPDATE counter SET authority = '' WHERE authority = 'cas' AND name = 'ping';

DROP TABLE audit_log;
ALTER TABLE audit_entry RENAME TO audit_log;

-- Audit walks by seq; these find where to start, or the few entries among many that a filter asks for.
CREATE INDEX audit_log_time ON audit_log (time);
CREATE INDEX audit_log_action ON audit_log (action);
CREATE INDEX audit_log_authority ON audit_log (authority);
CREATE INDEX audit_log_actor_serial ON audit_log (actor_serial) WHERE actor_serial IS NOT NULL;
CREATE INDEX audit_log_object_id ON audit_log (object_id) WHERE object_id <> '';
CREATE INDEX audit_log_object_serial ON audit_log (object_serial) WHERE object_serial IS NOT NULL;
