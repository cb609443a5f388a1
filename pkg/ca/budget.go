package ca

import (
	"errors"
	"fmt"
	"time"

	"cauase/pkg/store"
)

// ErrBudget means that the holders of a lineage have asked for more than anybody needs in a day. It is always an
// Exhausted.
var ErrBudget = errors.New("too many requests")

// An Exhausted says which limit was reached, and when there may be more.
type Exhausted struct {
	What  string
	Limit int64
	After time.Duration
}

func (e *Exhausted) Error() string {
	return fmt.Sprintf("%v: a lineage may have %d %s in a day", ErrBudget, e.Limit, e.What)
}

// Is reports whether target is ErrBudget.
func (e *Exhausted) Is(target error) bool { return target == ErrBudget }

// A budget is what the holders of a lineage may cause in a day.
type budget struct {
	renewals, revocations, bytes int64
}

const (
	budgetDay = 24 * time.Hour

	// perRenewal is what a renewal may take, on average: a certificate is a few KiB at most, and so is all that is
	// kept of the request.
	perRenewal = 8 << 10

	// MaxRenewalRequest is how long the request of a renewal may be, in PEM, beside what is in the certificate. All that counts of it is the key; the
	// largest that is taken, RSA of 8,192 bits, makes three thousand bytes of it.
	MaxRenewalRequest = 8 << 10

	// referenceThreshold is how long before the expiry clients of the reference renew, unless told otherwise. They do
	// so at every run where certificates never live that long.
	referenceThreshold = 31 * 24 * time.Hour
)

// budgetOf derives a budget from how long certificates are valid. Agents renew two or three times in that time, and
// what fails is sent again as it was, which counts once: there is room for ten times that, and, where certificates are
// younger than the time before their expiry at which clients of the reference renew, for one that is started every
// five minutes.
func budgetOf(validity time.Duration, renewals int64) budget {
	validity = max(validity, time.Second)
	inDay := int64((budgetDay + validity - 1) / validity)
	b := budget{renewals: 64 + 16*inDay, revocations: 8 + 2*inDay}
	if validity <= referenceThreshold {
		b.renewals = max(b.renewals, 512)
	}
	if renewals > 0 {
		b.renewals = renewals
	}
	b.bytes = b.renewals * perRenewal
	return b
}

// newDay starts counting anew if the day is over. A clock that was set back does not keep it from ending.
func newDay(l *store.Lineage, now time.Time) {
	if elapsed := now.Sub(l.Day); l.Day.IsZero() || elapsed >= budgetDay || elapsed < -time.Hour {
		l.Day, l.DayRenewals, l.DayRevocations, l.DayBytes = now, 0, 0, 0
	}
}

func exhausted(l *store.Lineage, now time.Time, what string, limit int64) error {
	return &Exhausted{What: what, Limit: limit, After: max(l.Day.Add(budgetDay).Sub(now), time.Second)}
}

// spendRenewal takes a renewal that takes size bytes from the budget of its lineage.
func (b budget) spendRenewal(l *store.Lineage, now time.Time, size int64) error {
	newDay(l, now)
	// Certificates with thousands of names can be renewed, too.
	bytes := max(b.bytes, 16*size)
	switch {
	case l.DayRenewals >= b.renewals:
		return exhausted(l, now, "renewals", b.renewals)
	case l.DayBytes+size > bytes:
		return exhausted(l, now, "stored bytes", bytes)
	}
	l.DayRenewals++
	l.DayBytes += size
	return nil
}

// spendRevocation takes the revocation of one certificate from the budget of its lineage.
func (b budget) spendRevocation(l *store.Lineage, now time.Time) error {
	newDay(l, now)
	if l.DayRevocations >= b.revocations {
		return exhausted(l, now, "requests for revocation", b.revocations)
	}
	l.DayRevocations++
	return nil
}

// sizeOf estimates the storage that a certificate takes, with what is kept beside it.
func sizeOf(c store.Certificate) int64 {
	const rest = 1 << 10 // indices, audit entries
	n := len(c.DER) + len(c.Subject) + len(c.CSR) + rest
	for _, san := range c.SANs {
		n += len(san)
	}
	return int64(n)
}
