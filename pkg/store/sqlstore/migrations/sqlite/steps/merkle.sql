-- The audit log is a Merkle tree (docs/audit-log.md). What was recorded before has no hash until it is entered.
ALTER TABLE audit_log ADD COLUMN object_digest BLOB;             -- SHA-256 of the certificate that was issued
ALTER TABLE audit_log ADD COLUMN leaf INTEGER NOT NULL DEFAULT 0; -- its place in the tree
ALTER TABLE audit_log ADD COLUMN hash BLOB;                       -- of the leaf

-- The head of the tree, one row.
CREATE TABLE log (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    origin TEXT    NOT NULL,
    secret BLOB    NOT NULL,
    size   INTEGER NOT NULL,
    seq    INTEGER NOT NULL,  -- of the last entry
    edge   BLOB    NOT NULL,  -- the hashes of the complete subtrees, largest first
    epoch  INTEGER NOT NULL,
    epochs TEXT    NOT NULL   -- JSON: where each began
) STRICT;

-- Hashes of complete tiles.
CREATE TABLE log_tile (
    level  INTEGER NOT NULL,
    number INTEGER NOT NULL,
    hashes BLOB    NOT NULL,
    PRIMARY KEY (level, number)
) STRICT;

-- Signed heads of the tree.
CREATE TABLE log_checkpoint (
    size   INTEGER PRIMARY KEY,
    time   INTEGER NOT NULL,
    root   BLOB    NOT NULL,
    epoch  INTEGER NOT NULL,
    signed BLOB    NOT NULL
) STRICT;

-- Keys by which the keys of CAs are encrypted, themselves encrypted.
CREATE TABLE kek (
    authority  TEXT    NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL,
    wrap       TEXT    NOT NULL,
    params     BLOB    NOT NULL,
    wrapped    BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
