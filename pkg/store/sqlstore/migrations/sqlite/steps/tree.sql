-- The audit log is a Merkle tree (docs/audit-log.md). Its columns in audit_log are added beside this.

-- The head of the tree, one row.
CREATE TABLE IF NOT EXISTS log (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    origin TEXT    NOT NULL,  -- of checkpoints, random
    secret BLOB    NOT NULL,  -- of which the salts of leaves are made
    size   INTEGER NOT NULL,
    seq    INTEGER NOT NULL,  -- of the last entry that is in the tree
    edge   BLOB    NOT NULL,  -- the hashes of the complete subtrees, largest first
    epoch  INTEGER NOT NULL,
    epochs TEXT    NOT NULL   -- JSON: where each began
) STRICT;

-- Hashes: of level 0 the complete tiles, of those above also what there is of the last one.
CREATE TABLE IF NOT EXISTS log_tile (
    level  INTEGER NOT NULL,
    number INTEGER NOT NULL,
    hashes BLOB    NOT NULL,
    PRIMARY KEY (level, number)
) STRICT;

-- Signed heads of the tree, one in a second at most.
CREATE TABLE IF NOT EXISTS log_checkpoint (
    size   INTEGER NOT NULL,
    time   INTEGER PRIMARY KEY,
    root   BLOB    NOT NULL,
    epoch  INTEGER NOT NULL,
    signed BLOB    NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS log_checkpoint_size ON log_checkpoint (size, time);   -- LatestCheckpoint, Checkpoints
