-- The self-signed certificate for the name and key of a CA that a parent has certified. NULL where the CA certificate is
-- self-signed itself, and for those of before, which have none.
ALTER TABLE ca_certificate ADD COLUMN anchor BLOB;
-- The statement in which that certificate vouches for the one by the parent.
ALTER TABLE ca_certificate ADD COLUMN parent_link BLOB;
