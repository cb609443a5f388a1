package caucase

import (
	"fmt"
	"strings"
	"time"

	"cauase/pkg/store"
)

// A Report is an account of the conversion of a Database.
type Report struct {
	Authorities []AuthorityReport
	LeftOut     []BadRow // that cannot be used
	Notes       []string // what else is worth knowing
}

// An AuthorityReport counts what comes over of one authority.
type AuthorityReport struct {
	Authority store.AuthorityName
	CAs       int
	Links     int // by which CAs vouch for their successors, made anew
	Pending   int
	Issued    int
	Forgotten int // expired certificates of CAs that are gone, not taken over
	Revoked   int

	CRLNumber   int64  // of the next revocation list, at least; 0 when there was none
	AutoApprove *int64 // locked, nil when it is not

	// Of the newest CA.
	Subject  string
	NotAfter time.Time

	// What the daemon was run with, as far as the newest CA shows it; a CA that was imported does not.
	Netloc string
	Span   time.Duration // validity of certificates
}

// A BadRow is one that cannot be used.
type BadRow struct {
	Table string
	Row   int // the first is 1
	What  string
	Why   string
}

func (b BadRow) String() string {
	return fmt.Sprintf("%s row %d (%s): %s", b.Table, b.Row, b.What, b.Why)
}

// A BadRowsError says which rows are refused. It is an [ErrNotCaucase].
type BadRowsError struct{ Rows []BadRow }

func (e *BadRowsError) Error() string {
	const most = 5
	var told []string
	for _, b := range e.Rows[:min(len(e.Rows), most)] {
		told = append(told, b.String())
	}
	if more := len(e.Rows) - most; more > 0 {
		told = append(told, fmt.Sprintf("and %d more", more))
	}
	return "rows that cannot be used: " + strings.Join(told, "; ")
}

// Is reports that the error is an ErrNotCaucase.
func (e *BadRowsError) Is(target error) bool { return target == ErrNotCaucase }
