-- As SQLite's lineages.sql, where each column is explained.

ALTER TABLE ca_certificate ADD COLUMN anchor BYTEA, ADD COLUMN parent_link BYTEA;
