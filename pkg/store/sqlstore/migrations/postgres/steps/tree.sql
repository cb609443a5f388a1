-- As SQLite's tree.sql, where each column is explained.

CREATE TABLE IF NOT EXISTS log (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    origin TEXT   COLLATE "C" NOT NULL,
    secret BYTEA  NOT NULL,
    size   BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    edge   BYTEA  NOT NULL,
    epoch  BIGINT NOT NULL,
    epochs TEXT   COLLATE "C" NOT NULL
) WITH (fillfactor = 10);  -- as it is written again and again

CREATE TABLE IF NOT EXISTS log_tile (
    level  BIGINT NOT NULL,
    number BIGINT NOT NULL,
    hashes BYTEA  NOT NULL,
    PRIMARY KEY (level, number)
);

CREATE TABLE IF NOT EXISTS log_checkpoint (
    size   BIGINT NOT NULL,
    time   BIGINT PRIMARY KEY,
    root   BYTEA  NOT NULL,
    epoch  BIGINT NOT NULL,
    signed BYTEA  NOT NULL
);

CREATE INDEX IF NOT EXISTS log_checkpoint_size ON log_checkpoint (size, time);   -- LatestCheckpoint, Checkpoints
