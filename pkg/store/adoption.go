package store

import (
	"context"
	"time"
)

// An Adoption is what the holder of a lineage's certificate has confirmed: the newest generation of the authority that it trusts.
type Adoption struct {
	Authority AuthorityName
	Lineage   int64  // Lineage.ID
	CAKeyID   []byte // CA.KeyID
	HeldAt    time.Time
	Address   string // from which it was confirmed
}

func (Adoption) row() {}

// A Sought is what holders are to have: one of some CAs.
type Sought struct {
	KeyIDs [][]byte  // CA.KeyID of a generation and of those that have followed it
	Since  time.Time // when that generation was made
}

// Holders are numbers of lineages that are active and have a valid certificate.
type Holders struct {
	Seen      int
	Confirmed int // their holders have confirmed what is sought
	Renewed   int // have never confirmed anything, but have had a certificate since, and with it met what is sought
	Behind    int // have confirmed, but only what came before
	Silent    int // have never confirmed anything, nor had a certificate since
}

// Plus is the sum of both.
func (h Holders) Plus(o Holders) Holders {
	return Holders{h.Seen + o.Seen, h.Confirmed + o.Confirmed, h.Renewed + o.Renewed, h.Behind + o.Behind, h.Silent + o.Silent}
}

// Missing is how many are not known to have what is sought.
func (h Holders) Missing() int { return h.Behind + h.Silent }

// A Straggler is a lineage whose holder is not known to have what is sought.
type Straggler struct {
	Lineage   int64
	CreatedAt time.Time // the lineage
	Subject   string
	NotAfter  time.Time
	AskedAt   time.Time // for its last certificate
	Address   string    // from which that was asked for; empty for the first one
	Held      []byte    // CA.KeyID that was confirmed last; nil: none ever
	HeldAt    time.Time
}

// Page is where the next ones are.
func (s Straggler) Page() LineagePage { return LineagePage{CreatedAt: s.CreatedAt, ID: s.Lineage} }

// HoldersPage is how many lineages are looked at in one query: few enough for the bounds that databases have, and to be
// done before anybody waits.
const HoldersPage = 10_000

// A Viewing runs fn with a Reader: one for all calls, or of a View for each, which keeps no snapshot for as long as it takes to look at millions.
type Viewing func(fn func(Reader) error) error

// Views has a View for each call.
func Views(ctx context.Context, st Store) Viewing {
	return func(fn func(Reader) error) error { return st.View(ctx, fn) }
}

// CountAllHolders is CountHolders page by page.
func CountAllHolders(ctx context.Context, view Viewing, a AuthorityName, t time.Time, of Sought) (all Holders, err error) {
	for after := (LineagePage{}); ; {
		var h Holders
		var last LineagePage
		err := view(func(r Reader) (err error) {
			h, last, err = r.CountHolders(ctx, a, t, of, after, HoldersPage)
			return err
		})
		if err != nil {
			return Holders{}, err
		}
		if all = all.Plus(h); last == (LineagePage{}) {
			return all, nil
		}
		after = last
	}
}

// FindStragglers is Stragglers page by page, until there are limit (0: all).
func FindStragglers(ctx context.Context, view Viewing, a AuthorityName, t time.Time, of Sought, after LineagePage, limit int) (all []Straggler, err error) {
	for {
		var found []Straggler
		var last LineagePage
		err := view(func(r Reader) (err error) {
			found, last, err = r.Stragglers(ctx, a, t, of, after, HoldersPage, max(limit-len(all), 0))
			return err
		})
		if err != nil {
			return nil, err
		}
		if all = append(all, found...); last == (LineagePage{}) || limit > 0 && len(all) == limit {
			return all, nil
		}
		after = last
	}
}
