package store

import "time"

// An Invitation is what is remembered of one that somebody has presented, or withdrawn: not the invitation, which
// is a secret, but what has become of it. One that neither has happened to has no row, unless an operator
// has made it.
type Invitation struct {
	Authority AuthorityName // that it invites to
	ID        string        // a digest, in hex, unique within the authority
	Inviter   string        // audit.Actor in text form; empty if only the ID is known
	Names     []string      // that it allows, for display
	Uses      int           // certificates that it is good for; 0 if only the ID is known
	Used      int           // certificates that it was used for
	Refused   int           // refusals on record in the audit log
	MadeAt    time.Time     // zero if only the ID is known
	Until     time.Time     // its end, or when it must have ended if only the ID is known
	VoidedAt  time.Time     // when it was withdrawn; zero: it was not
}

func (Invitation) row() {}
