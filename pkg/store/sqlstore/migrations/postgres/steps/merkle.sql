-- As SQLite's merkle.sql, where each column is explained.

ALTER TABLE audit_log
    ADD COLUMN object_digest BYTEA,
    ADD COLUMN leaf          BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN hash          BYTEA;

CREATE TABLE log (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    origin TEXT   COLLATE "C" NOT NULL,
    secret BYTEA  NOT NULL,
    size   BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    edge   BYTEA  NOT NULL,
    epoch  BIGINT NOT NULL,
    epochs TEXT   COLLATE "C" NOT NULL
) WITH (fillfactor = 10);  -- as it is written again and again

CREATE TABLE log_tile (
    level  BIGINT NOT NULL,
    number BIGINT NOT NULL,
    hashes BYTEA  NOT NULL,
    PRIMARY KEY (level, number)
);

CREATE TABLE log_checkpoint (
    size   BIGINT PRIMARY KEY,
    time   BIGINT NOT NULL,
    root   BYTEA  NOT NULL,
    epoch  BIGINT NOT NULL,
    signed BYTEA  NOT NULL
);

CREATE TABLE kek (
    authority  TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    wrap       TEXT   COLLATE "C" NOT NULL,
    params     BYTEA  NOT NULL,
    wrapped    BYTEA  NOT NULL
);
