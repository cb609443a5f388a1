package store

import (
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"time"
)

// A LineageState says whether a lineage may be renewed.
type LineageState string

// The states of lineages.
const (
	LineageActive LineageState = "active" // its newest certificate may be renewed
	LineageEnding LineageState = "ending" // as ended, but what is valid of it has yet to be revoked
	LineageEnded  LineageState = "ended"  // none of its certificates is good for anything
)

// RoleAdministrator is what every user may do: everything. An ended lineage has no role.
const RoleAdministrator = "administrator"

// A Lineage is a certificate and its renewals: what is revoked, counted and given a role. Each
// certificate belongs to one, and a renewal carries on that of its predecessor.
type Lineage struct {
	Authority AuthorityName
	ID        int64     // of its first certificate
	CreatedAt time.Time // when that was issued
	Subject   string    // of that, for display
	Role      string    // of its holder among users; empty for services, and once it has ended
	Profile   string    // of the newest certificate
	State     LineageState
	EndedAt   time.Time // zero as long as it is active
	Reason    int       // for which it was revoked, RFC 5280 5.3.1

	Newest   *big.Int  // serial of the certificate that was issued last
	NotAfter time.Time // when the last of its certificates expires

	Renewals  int64
	RenewedAt time.Time // the last time; zero: never
	Address   string    // from which that was asked for

	// A fork is a renewal of a certificate that had been renewed before: by somebody who has an older state
	// of a host, or a copy of its key.
	Forks       int64
	ForkedAt    time.Time // the last time; zero: never
	ForkAddress string    // from which that was asked for
	ForkedFrom  string    // from which the renewal before that was asked for

	// What its holder has caused since Day, the start of a day.
	Day            time.Time // zero: nothing yet
	DayRenewals    int64
	DayRevocations int64
	DayBytes       int64 // that it takes to keep them
}

// UnrecordedLineage is the id of the lineage of a certificate that is not on record, as it was issued after
// the backup that was restored.
func UnrecordedLineage(serial *big.Int) int64 {
	sum := sha256.Sum256(append([]byte("lineage "), serial.Bytes()...))
	return int64(binary.BigEndian.Uint64(sum[:])>>1 | 1)
}

// FirstOf is the lineage that begins with a certificate of an authority with the given role.
func FirstOf(c Certificate, role Role) Lineage {
	l := Lineage{
		Authority: c.Authority, ID: c.Lineage, CreatedAt: c.IssuedAt, Subject: c.Subject, Profile: c.Profile,
		State: LineageActive, Newest: c.Serial, NotAfter: c.NotAfter,
	}
	if role == RoleUsers {
		l.Role = RoleAdministrator
	}
	return l
}

// A LineagePage is where a list of lineages continues: after the one with this time and id. The zero value is the start.
type LineagePage struct {
	CreatedAt time.Time
	ID        int64
}

// A LineageFault is what contradicts itself about a lineage or a certificate of one.
type LineageFault struct {
	Authority AuthorityName
	Lineage   int64
	Serial    *big.Int // of the certificate that it is about; nil: of none
	Why       string
}
