-- Whom names belong to: those that the certificates of a lineage hold, in one form (pki.CanonicalNames). Derived from certificates, in batches
-- (namescarry.go). A renewal keeps the names of its lineage, and writes nothing here. They go with their lineage.
CREATE TABLE IF NOT EXISTS lineage_name (
    authority  TEXT    NOT NULL,
    lineage    INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    under      TEXT    NOT NULL,  -- the domain directly above a host's name or a wildcard
    created_at INTEGER NOT NULL,  -- of the lineage
    PRIMARY KEY (authority, lineage, kind, name),
    FOREIGN KEY (authority, lineage) REFERENCES lineage (authority, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS lineage_name_name ON lineage_name (authority, name, created_at);                      -- LineagesNamed
CREATE INDEX IF NOT EXISTS lineage_name_under ON lineage_name (authority, under, created_at) WHERE under <> '';  -- LineagesUnder
