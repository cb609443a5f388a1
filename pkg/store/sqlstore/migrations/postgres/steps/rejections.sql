-- As SQLite's rejections.sql, where each column is explained.

CREATE TABLE rejection (
    authority   TEXT   COLLATE "C" NOT NULL CHECK (authority <> ''),
    id          BIGINT NOT NULL,
    csr_digest  BYTEA  NOT NULL,
    key_id      BYTEA  NOT NULL,
    rejected_at BIGINT NOT NULL,
    rejected_by TEXT   COLLATE "C" NOT NULL,
    reason      TEXT   COLLATE "C" NOT NULL,
    PRIMARY KEY (authority, id),
    UNIQUE (authority, csr_digest)
);

CREATE INDEX rejection_age ON rejection (authority, rejected_at, id);   -- PruneRejections

ALTER TABLE request ADD COLUMN address TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE request SET address = substr(submitter, 11) WHERE submitter LIKE 'anonymous _%';

-- What a certificate that is not on record may have renewed.
CREATE INDEX lineage_ended ON lineage (authority, subject, ended_at) WHERE state <> 'active';   -- EndedLineage

-- Who has a name already that a request asks for.
CREATE INDEX lineage_active_subject ON lineage (authority, subject, not_after) WHERE state = 'active';   -- LineagesNamed
