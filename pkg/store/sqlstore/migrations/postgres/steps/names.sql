-- As SQLite's names.sql, where each column is explained.
CREATE TABLE IF NOT EXISTS lineage_name (
    authority  TEXT   COLLATE "C" NOT NULL,
    lineage    BIGINT NOT NULL,
    kind       TEXT   COLLATE "C" NOT NULL,
    name       TEXT   COLLATE "C" NOT NULL,
    under      TEXT   COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (authority, lineage, kind, name),
    FOREIGN KEY (authority, lineage) REFERENCES lineage (authority, id) ON DELETE CASCADE
);

CREATE INDEX IF NOT EXISTS lineage_name_name ON lineage_name (authority, name, created_at);                      -- LineagesNamed
CREATE INDEX IF NOT EXISTS lineage_name_under ON lineage_name (authority, under, created_at) WHERE under <> '';  -- LineagesUnder
