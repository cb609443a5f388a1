-- Requests that were rejected, so that whoever submits one again hears why.
CREATE TABLE rejection (
    authority   TEXT    NOT NULL CHECK (authority <> ''),
    id          INTEGER NOT NULL,  -- of the request
    csr_digest  BLOB    NOT NULL,
    key_id      BLOB    NOT NULL,
    rejected_at INTEGER NOT NULL,
    rejected_by TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    PRIMARY KEY (authority, id),
    UNIQUE (authority, csr_digest)
) STRICT;

CREATE INDEX rejection_age ON rejection (authority, rejected_at, id);   -- PruneRejections

-- From which address a request came, also where a user has submitted it. Those that are pending say it of strangers.
ALTER TABLE request ADD COLUMN address TEXT NOT NULL DEFAULT '';
UPDATE request SET address = substr(submitter, 11) WHERE submitter GLOB 'anonymous ?*';

-- What a certificate that is not on record may have renewed.
CREATE INDEX lineage_ended ON lineage (authority, subject, ended_at) WHERE state <> 'active';   -- EndedLineage

-- Who has a name already that a request asks for.
CREATE INDEX lineage_active_subject ON lineage (authority, subject, not_after) WHERE state = 'active';   -- LineagesNamed
