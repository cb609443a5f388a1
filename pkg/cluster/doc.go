// Package cluster tests many daemons on one PostgreSQL database, as docs/scaling.md describes them:
// the real binary, in as many processes, with a real database that is stopped, killed, cut off and
// replaced by its standby. It has no code of its own.
package cluster
