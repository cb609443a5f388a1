-- What the authorities remember. Conventions:
--   * Times are microseconds since 1970, UTC. Serials are big-endian without leading zeros
--     (zero is one zero byte), SANs a JSON list.
--   * An index is written at every issuance for as long as cauase lives, so each one names the
--     query that needs it. Lists that grow are appended to in key order.

-- +goose Up

CREATE TABLE ca_certificate (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    authority   TEXT    NOT NULL CHECK (authority <> ''),
    created_at  INTEGER NOT NULL,
    not_before  INTEGER NOT NULL,
    not_after   INTEGER NOT NULL CHECK (not_after >= not_before),
    key_id      BLOB    NOT NULL,
    certificate BLOB    NOT NULL,
    private_key BLOB,             -- NULL once erased
    link        BLOB,             -- NULL for the first of its authority
    UNIQUE (authority, id)        -- CAs, and the target of the foreign keys below
) STRICT;

CREATE INDEX ca_certificate_key ON ca_certificate (key_id);             -- IsCAKey

CREATE TABLE request (
    seq         INTEGER PRIMARY KEY,
    authority   TEXT    NOT NULL CHECK (authority <> ''),
    id          INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    submitter   TEXT    NOT NULL,
    csr         BLOB    NOT NULL,
    csr_digest  BLOB    NOT NULL,
    key_id      BLOB    NOT NULL,
    subject     TEXT    NOT NULL,
    sans        TEXT    NOT NULL,
    UNIQUE (authority, id),
    UNIQUE (authority, csr_digest)
) STRICT;

CREATE INDEX request_age ON request (authority, received_at, id);   -- Requests
CREATE INDEX request_key ON request (authority, key_id);            -- KeyInUse

-- Rows are a few KiB, so they lie in the order of issuance and every write appends.
CREATE TABLE certificate (
    seq        INTEGER PRIMARY KEY,
    authority  TEXT    NOT NULL CHECK (authority <> ''),
    id         INTEGER NOT NULL,
    serial     BLOB    NOT NULL CHECK (length(serial) BETWEEN 1 AND 20), -- RFC 5280 4.1.2.2
    ca_id      INTEGER NOT NULL,
    subject    TEXT    NOT NULL,
    sans       TEXT    NOT NULL,
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL CHECK (not_after >= not_before),
    key_id     BLOB    NOT NULL,
    issued_at  INTEGER NOT NULL,
    issued_by  TEXT    NOT NULL,
    method     TEXT    NOT NULL,
    renews     BLOB,              -- serial; NULL when it renews none
    csr        BLOB,              -- NULL when there was none, as for the daemon's own
    csr_digest BLOB,
    der        BLOB    NOT NULL,
    UNIQUE (authority, id),
    UNIQUE (authority, serial),
    FOREIGN KEY (authority, ca_id) REFERENCES ca_certificate (authority, id)
) STRICT;

CREATE INDEX certificate_key ON certificate (authority, key_id);        -- KeyInUse
CREATE INDEX certificate_csr ON certificate (authority, csr_digest)     -- CertificateByCSR
    WHERE csr_digest IS NOT NULL;
CREATE INDEX certificate_expiry ON certificate (authority, not_after);  -- PruneCertificates

-- Kept in the order of its primary key, so that reading what a CRL lists, all of it or only
-- what came since, is one sequential walk.
CREATE TABLE revocation (
    authority  TEXT    NOT NULL CHECK (authority <> ''),
    seq        INTEGER NOT NULL,
    serial     BLOB    NOT NULL CHECK (length(serial) BETWEEN 1 AND 20),
    key_id     BLOB,              -- NULL when the certificate is not known
    revoked_at INTEGER NOT NULL,
    keep_until INTEGER NOT NULL,
    reason     INTEGER NOT NULL,
    PRIMARY KEY (authority, seq),
    UNIQUE (authority, serial)
) STRICT, WITHOUT ROWID;

CREATE INDEX revocation_expiry ON revocation (authority, keep_until);   -- PruneRevocations
CREATE INDEX revocation_compromise ON revocation (authority, key_id)    -- KeyCompromised
    WHERE reason = 1;

-- The last seq given out. It outlives its row, so that it is never given out again.
CREATE TABLE revocation_seq (
    authority TEXT    NOT NULL PRIMARY KEY,
    last      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE crl (
    authority   TEXT    NOT NULL,
    ca_id       INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    pruned      INTEGER NOT NULL,
    signature   BLOB    NOT NULL,
    PRIMARY KEY (authority, ca_id),
    FOREIGN KEY (authority, ca_id) REFERENCES ca_certificate (authority, id)
) STRICT;

CREATE TABLE counter (
    authority TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    value     INTEGER NOT NULL,
    PRIMARY KEY (authority, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
    authority TEXT NOT NULL,
    name      TEXT NOT NULL,
    value     TEXT NOT NULL,
    PRIMARY KEY (authority, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_log (
    seq        INTEGER PRIMARY KEY,
    time       INTEGER NOT NULL,
    authority  TEXT    NOT NULL,  -- empty for the daemon as a whole
    actor      TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    object     TEXT    NOT NULL,
    result     TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    request_id TEXT    NOT NULL
) STRICT;

-- Audit walks by seq; these find where to start, or the few entries among many that a filter
-- asks for. All of them are appended to, so that they cost little.
CREATE INDEX audit_log_time ON audit_log (time);
CREATE INDEX audit_log_action ON audit_log (action);
CREATE INDEX audit_log_authority ON audit_log (authority);
