package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// A generation is one CA certificate with its key.
type generation struct {
	id    int64
	state store.CAState
	times rollover.Generation
	begin store.Activation // as the row has it
	crt   *x509.Certificate

	// anchor is self-signed, for the name and key of crt, where a parent has signed that one: there are
	// clients that trust self-signed CA certificates only, and those of the reference follow no others.
	anchor *x509.Certificate

	ref  keys.Ref
	key  crypto.Signer // nil unless the state is usable, and it is not locked
	link []byte        // the statement of its predecessor

	locked error // why the key could not be opened yet, ErrLocked; nil: it was, or there is none

	// parentLink is the statement of anchor about crt. It says which parent the authority has, which a signature
	// of the parent's does not: anybody can certify the key of another.
	parentLink []byte
}

// trusted is the certificate that clients know who trust this CA, and not the root above it.
func (g generation) trusted() *x509.Certificate {
	if g.anchor != nil {
		return g.anchor
	}
	return g.crt
}

// generations are an authority's CA certificates, oldest first, as they were at one version of the store.
type generations struct {
	version   int64
	list      []generation
	retiredAt time.Time // as the authority's row says; zero: it is not retired

	// revoked are those that were revoked or withdrawn. They count for nothing, but clients that know one follow its
	// word to what came after.
	revoked []generation
}

func (g *generations) times() []rollover.Generation {
	times := make([]rollover.Generation, len(g.list))
	for i := range g.list {
		times[i] = g.list[i].times
	}
	return times
}

// valid returns the generations that are valid at now, oldest first.
func (g *generations) valid(now time.Time) []generation {
	var valid []generation
	for _, c := range g.list {
		if c.good(now) {
			valid = append(valid, c)
		}
	}
	return valid
}

// good reports whether what a generation has signed is to be trusted at now.
func (g generation) good(now time.Time) bool {
	return (g.state == store.CAUsable || g.state == store.CAExternal) && rollover.Valid(now, g.times)
}

// listed returns the generations that have revocation lists: those that are valid at now, or about to
// be. So daemons whose clocks differ a little agree on which there are.
func (g *generations) listed(now time.Time, spans rollover.Spans) []generation {
	var listed []generation
	for _, c := range g.list {
		if c.state == store.CAUsable && (rollover.Valid(now, c.times) || rollover.Soon(now, spans, c.times)) {
			listed = append(listed, c)
		}
	}
	return listed
}

func (g *generations) newest() generation { return g.list[len(g.list)-1] }

// successorFrom is when a generation that is made now may begin at the earliest. Clients tell which of two is newer by when they begin, in whole
// seconds, and hence who has the say about whom; so no two begin in one, those that were withdrawn or revoked included. One from the
// future, made while the clock was ahead, does not count: what is made now is not to be from the future, too.
func (g *generations) successorFrom(now time.Time) (earliest time.Time) {
	for _, c := range slices.Concat(g.list, g.revoked) {
		if !now.Before(c.times.NotBefore) {
			earliest = later(earliest, c.times.NotBefore.Add(time.Second))
		}
	}
	return earliest
}

func certificates(list []generation) []*x509.Certificate {
	return each(list, func(g generation) *x509.Certificate { return g.crt })
}

func anchors(list []generation) []*x509.Certificate { return each(list, generation.trusted) }

func each(list []generation, of func(generation) *x509.Certificate) []*x509.Certificate {
	crts := make([]*x509.Certificate, len(list))
	for i := range list {
		crts[i] = of(list[i])
	}
	return crts
}

// A statement is the one by which a CA vouches for its successor.
type statement struct {
	text    []byte
	expired time.Time // when that CA ends
}

// succession returns the statements that lead to the newest generation without a gap, oldest first.
func (g *generations) succession(of Statements) ([]statement, error) {
	if len(g.revoked) > 0 {
		return g.successionAround(of)
	}
	var all []statement
	for i, c := range g.list {
		if c.link == nil {
			// Nothing leads from what is older to what is newer than here.
			all = nil
			continue
		}
		s := statement{text: c.link}
		if i > 0 {
			s.expired = g.list[i-1].times.NotAfter
		}
		all = append(all, s)
	}
	return all, nil
}

// successionAround is succession where generations were revoked. A successor is vouched for by the one
// before it that was not revoked then: which that was, only the statements say. None of them leads to one that is
// revoked: whoever has not met it is not to begin to trust it. To one that was withdrawn they do, as those who trust what came before it have no
// other way to what came after, and are told there to trust none of these.
func (g *generations) successionAround(of Statements) (all []statement, err error) {
	known := slices.Concat(g.list, g.revoked)
	for at := g.last(); at != nil && at.link != nil && len(all) <= len(known); {
		old, err := of.Predecessor(at.link)
		if err != nil {
			return nil, fmt.Errorf("%w: statement about CA %x: %w", ErrDamaged, at.crt.SubjectKeyId, err)
		}
		all = append(all, statement{at.link, old.NotAfter})
		i := slices.IndexFunc(known, func(c generation) bool { return c.trusted().Equal(old) })
		if i < 0 {
			break
		}
		if at = &known[i]; at.state == store.CARevoked {
			break // nothing leads to that one any more
		}
	}
	slices.Reverse(all)
	return all, nil
}

// reload replaces what memory holds with what the store holds.
func (a *Authority) reload(ctx context.Context) error {
	for {
		before := a.cas.Load()
		loaded, err := a.load(ctx, before)
		if err != nil {
			return err
		}
		if a.cas.CompareAndSwap(before, loaded) {
			return nil
		}
		// Another operation has reloaded meanwhile, or rolled over: it may know more.
	}
}

// load reads the CA certificates. Those that memory holds are taken from there: opening a key can
// take longer than everything else here.
func (a *Authority) load(ctx context.Context, known *generations) (*generations, error) {
	again := known.locked() && a.locked() == nil // they were unlocked since
	var version int64
	var rows []store.CA
	var row store.Authority
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		if version, err = r.Counter(ctx, a.name, store.CounterCA); err != nil {
			return err
		}
		if known != nil && known.version == version && !again {
			return nil
		}
		if row, err = r.Authority(ctx, a.name); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		rows, err = r.CAs(ctx, a.name)
		return err
	})
	if err != nil {
		return nil, err
	}
	if known != nil && known.version == version && !again {
		same := *known
		same.list = slices.Clone(known.list)
		return &same, nil
	}
	g := &generations{version: version, retiredAt: row.RetiredAt}
	for _, row := range rows {
		one, err := a.open(ctx, row, known)
		if errors.Is(err, keys.ErrElsewhere) {
			return nil, fmt.Errorf("CA certificate %d of %s: %w", row.ID, a.name, err)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: CA certificate %d of %s: %w", ErrDamaged, row.ID, a.name, err)
		}
		switch one.state {
		case store.CARevoked, store.CACompromised:
			g.revoked = append(g.revoked, one)
			continue
		case store.CADisowned:
			continue
		}
		if a.row.Role == store.RoleDaemon && !a.constraint().Permits(one.crt) {
			// The daemon has moved to another host: this CA can do nothing for it there. It is left
			// aside, so that a first one is made anew, and is back when the daemon moves back.
			continue
		}
		g.list = append(g.list, one)
	}
	return g, nil
}

// TimesOf returns what rollover has to know of a generation.
func TimesOf(row store.CA) rollover.Generation {
	g := rollover.Generation{CreatedAt: row.CreatedAt, NotBefore: row.NotBefore, NotAfter: row.NotAfter, ActivatedAt: row.ActivatedAt}
	switch {
	case row.Activation == store.AtOnce:
		g.Activation = rollover.Activated
	case row.Activation.Waiting():
		g.Activation = rollover.WhenAdopted
	}
	return g
}

// open makes a generation of its row.
func (a *Authority) open(ctx context.Context, row store.CA, known *generations) (generation, error) {
	g := generation{
		id:    row.ID,
		state: row.State,
		times: TimesOf(row),
		begin: row.Activation,
		ref:   refOf(row),
		link:  row.Link,

		parentLink: row.ParentLink,
	}
	if known != nil {
		for _, old := range known.list {
			if old.id == g.id && bytes.Equal(old.crt.Raw, row.Certificate) {
				g.crt, g.anchor, g.key = old.crt, old.anchor, old.key
			}
		}
	}
	if g.crt == nil {
		crt, err := x509.ParseCertificate(row.Certificate)
		if err != nil {
			return generation{}, err
		}
		pki.AsCA(crt, row.KeyID) // it may be an imported one
		g.crt = crt
		if row.Anchor != nil {
			if g.anchor, err = x509.ParseCertificate(row.Anchor); err != nil {
				return generation{}, fmt.Errorf("its self-signed twin: %w", err)
			}
			if !pki.SameKey(g.anchor.PublicKey, crt.PublicKey) {
				return generation{}, errors.New("its self-signed twin has another key")
			}
		}
	}
	if g.state != store.CAUsable {
		g.key = nil
		return g, nil
	}
	if g.key != nil {
		return g, nil
	}
	purpose, err := purposeOf(a.name, row.CreatedAt, g.crt.PublicKey)
	if err != nil {
		return generation{}, err
	}
	key, err := a.cfg.Custody.Open(ctx, purpose, g.ref)
	if errors.Is(err, ErrLocked) {
		g.locked = err
		return g, nil
	}
	if err != nil {
		return generation{}, err
	}
	if !pki.SameKey(key.Public(), g.crt.PublicKey) {
		return generation{}, errors.New("its private key belongs to another certificate")
	}
	g.key = key
	return g, nil
}

// decimal is a key identifier as the protocol writes it in addresses: one big-endian integer.
func decimal(keyID []byte) string { return new(big.Int).SetBytes(keyID).String() }
