-- As SQLite's merkle.sql, where each column is explained.

CREATE TABLE kek (
    authority  TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    wrap       TEXT   COLLATE "C" NOT NULL,
    params     BYTEA  NOT NULL,
    wrapped    BYTEA  NOT NULL
);
