package manage

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// Why an authority is not added, changed or found. The texts say what to do about it.
var (
	// ErrNoAuthority means that no authority has this name.
	ErrNoAuthority = errors.New("there is no such authority")
	// ErrNetloc means that nobody has said where verifiers reach the daemon.
	ErrNetloc = errors.New("it is not known where verifiers reach the daemon")
	// ErrParent means that an authority cannot be below the one that is named.
	ErrParent = errors.New("it cannot be the parent")
	// ErrNeeded means that something depends on the authority.
	ErrNeeded = errors.New("the authority is needed")
)

// A NewAuthority is an authority that is to be added.
type NewAuthority struct {
	Row store.Authority // CreatedAt is filled in

	// Netloc is where verifiers reach the daemon, HOST[:PORT]; empty: where the daemon has said it is.
	Netloc string

	// Key is where its CA keys are made: a PKCS #11 URI; empty: in the database.
	Key string

	// Profiles are those that the row may name; nil: the built-in ones.
	Profiles *profile.Set

	// External are the CA certificates of a root whose key is kept elsewhere. Lists are its revocation
	// lists, DER.
	External []*x509.Certificate
	Lists    [][]byte

	// Import are CA certificates with their keys to begin with, instead of one that is made. AllowUnfit is that of CAImport.
	Import     []KeyPair
	AllowUnfit bool
	Noted      func(note string) // is told what is worth knowing of them; nil: nobody is
}

// AddAuthority adds an authority. Unless it has to wait for a sign-off, its first CA certificate is made or imported in
// the same transaction.
func AddAuthority(ctx context.Context, st store.Store, clk clock.Clock, in NewAuthority) error {
	now := clk.Now()
	row := in.Row
	row.CreatedAt = now
	in.External = unexpired(in.External, now)
	if err := in.check(&row, now); err != nil {
		return err
	}
	if len(in.Import) == 0 {
		return in.add(ctx, st, clk, now, row)
	}
	var done ImportedCAs
	err := st.Update(ctx, func(tx store.Tx) error {
		if err := in.record(ctx, tx, now, row); err != nil {
			return err
		}
		var err error
		done, err = CAImport{Authority: row.Name, Pairs: in.Import, AllowUnfit: in.AllowUnfit}.fill(ctx, tx, now, row)
		return err
	})
	if err != nil || in.Noted == nil {
		return err
	}
	for _, note := range done.Notes {
		in.Noted(note)
	}
	return nil
}

// add adds an authority without imported CA certificates.
func (in NewAuthority) add(ctx context.Context, st store.Store, clk clock.Clock, now time.Time, row store.Authority) error {
	adding := &withFirst{Store: st, first: func(ctx context.Context, tx store.Tx) error { return in.record(ctx, tx, now, row) }}
	if len(in.External) > 0 {
		return adding.Update(ctx, func(store.Tx) error { return nil })
	}
	config, err := configFor(ctx, st, in.Netloc, row)
	if err != nil {
		return err
	}
	cfg := config(row)
	cfg.KeyPlace = in.Key
	if row.Parent != "" {
		// What is asked of the parent is checked again in the transaction.
		if err := st.View(ctx, func(r store.Reader) error { return checkBelow(ctx, r, now, row) }); err != nil {
			return err
		}
		parent, err := ca.OpenOne(ctx, st, clk, row.Parent, config)
		if err != nil {
			return fmt.Errorf("parent %s: %w", row.Parent, err)
		}
		cfg.Parents = onlyParent{parent}
	}
	if _, err := ca.Open(ctx, adding, clk, row, cfg); err != nil {
		return err
	}
	if adding.done {
		return nil
	}
	// It waits for its first CA certificate.
	return adding.Update(ctx, func(store.Tx) error { return nil })
}

// check completes row and refuses what can be refused without the store.
func (in NewAuthority) check(row *store.Authority, now time.Time) error {
	switch row.Role {
	case store.RoleUsers, store.RoleDaemon:
		return fmt.Errorf("there is exactly one authority with the role %s, and the daemon makes it at its first start", row.Role)
	case store.RoleRoot:
		if row.Parent != "" {
			return errors.New("a root has no parent: there is one level of authorities below it, which the path length in its certificate says")
		}
	}
	if len(in.External) > 0 {
		if row.Role != store.RoleRoot {
			return errors.New("only a root can have its key elsewhere")
		}
		if err := in.fillExternal(row, now); err != nil {
			return err
		}
	}
	if len(in.Import) > 0 {
		if err := in.fillImported(row); err != nil {
			return err
		}
	}
	if _, err := pki.ParseKeyType(row.KeyType); err != nil && len(in.External) == 0 {
		return err
	}
	if _, err := pki.ParseSubject("CN=" + escapeName(row.Title)); err != nil {
		return fmt.Errorf("title: %w", err)
	}
	if _, err := profile.ParsePermitted(row.Permitted); err != nil {
		return err
	}
	if row.Role == store.RoleRoot && row.Subject == nil {
		var err error
		if row.Subject, err = profile.CommonName(row.Title); err != nil {
			return err
		}
	}
	if err := in.checkProfiles(*row); err != nil {
		return err
	}
	return row.CheckNew()
}

// fillImported has row say what follows from the newest of the CA certificates that are imported.
func (in NewAuthority) fillImported(row *store.Authority) error {
	newest := slices.MaxFunc(in.Import, func(a, b KeyPair) int { return a.Certificate.NotBefore.Compare(b.Certificate.NotBefore) }).Certificate
	keyType, err := pki.KeyTypeOf(newest.PublicKey)
	if err != nil {
		keyType = pki.NearestKeyType(newest.PublicKey)
	}
	row.Subject, row.KeyType = newest.RawSubject, string(keyType)
	if row.Role == store.RoleRoot && row.Span == 0 {
		return spanOf(row, newest)
	}
	return nil
}

func (in NewAuthority) checkProfiles(row store.Authority) error {
	set := in.Profiles
	if set == nil {
		var err error
		if set, err = profile.NewSet(nil); err != nil {
			return err
		}
	}
	for _, name := range append([]string{row.Profile}, row.Profiles...) {
		if name == "" {
			continue
		}
		if _, err := set.Lookup(name); err != nil {
			return err
		}
	}
	return nil
}

// escapeName writes a text as the value of an attribute for pki.ParseSubject.
func escapeName(text string) string {
	var out []byte
	for i := range len(text) {
		switch text[i] {
		case ',', '+', '\\', ' ':
			out = append(out, '\\')
		}
		out = append(out, text[i])
	}
	return string(out)
}

// record puts the authority on record, and what is known of its CAs if their keys are elsewhere.
func (in NewAuthority) record(ctx context.Context, tx store.Tx, now time.Time, row store.Authority) error {
	switch _, err := tx.Authority(ctx, row.Name); {
	case err == nil:
		return fmt.Errorf("there is an authority %s already", row.Name)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	if err := checkBelow(ctx, tx, now, row); err != nil {
		return err
	}
	if err := tx.PutAuthority(ctx, row); err != nil {
		return err
	}
	e := audit.NewEntry(now, string(row.Name), operator(), audit.AddAuthority, audit.Object{Kind: audit.KindAuthority, ID: string(row.Name)})
	e.Detail = "role " + string(row.Role)
	if row.Parent != "" {
		e.Detail += ", below " + string(row.Parent)
	}
	if in.Key != "" {
		e.Detail += ", key " + in.Key
		if err := tx.PutSetting(ctx, row.Name, store.SettingKeyPlace, in.Key); err != nil {
			return err
		}
	}
	if err := tx.AppendAudit(ctx, e); err != nil {
		return err
	}
	return in.recordExternal(ctx, tx, now, row)
}

// checkBelow refuses a row whose parent cannot be its parent.
func checkBelow(ctx context.Context, r store.Reader, now time.Time, row store.Authority) error {
	if row.Parent == "" {
		return nil
	}
	parent, err := r.Authority(ctx, row.Parent)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("%w: there is no authority %s", ErrParent, row.Parent)
	case err != nil:
		return err
	case parent.Role != store.RoleRoot:
		return fmt.Errorf("%w: %s has the role %s, and only a root certifies authorities", ErrParent, parent.Name, parent.Role)
	case retired(parent, now):
		return fmt.Errorf("%w: %s is retired", ErrParent, parent.Name)
	case row.Span == 0 || row.Life == 0:
		return fmt.Errorf("%w: the daemon has not yet said how long certificates of %s are valid: start it once", ErrParent, row.Name)
	case time.Duration(row.Life)*row.Span > parent.Span:
		return fmt.Errorf("%w: CA certificates of %s would be valid for %s, and %s certifies for at most %s, a quarter of its own validity as a rule: certificates of %s may be valid for at most %s",
			ErrParent, row.Name, pki.FormatDuration(time.Duration(row.Life)*row.Span), parent.Name, pki.FormatDuration(parent.Span),
			row.Name, pki.FormatDuration((parent.Span / time.Duration(row.Life)).Truncate(24*time.Hour)))
	}
	// One name for both would make the certificate look self-signed.
	cas, err := r.CAs(ctx, parent.Name)
	for _, one := range cas {
		crt, e := x509.ParseCertificate(one.Certificate)
		if e == nil && row.Subject != nil && pki.ClaimsAuthority(row.Subject, crt.RawSubject) {
			return fmt.Errorf("%w: %s has the same subject", ErrParent, parent.Name)
		}
	}
	return err
}

func retired(row store.Authority, now time.Time) bool {
	return !row.RetiredAt.IsZero() && !now.Before(row.RetiredAt)
}

func operator() audit.Actor { return audit.Actor{Kind: audit.Operator} }

// A withFirst is a store that calls first within its first transaction that succeeds.
type withFirst struct {
	store.Store
	first func(context.Context, store.Tx) error
	done  bool
}

// Custody returns whoever opens the keys of the store.
func (j *withFirst) Custody() keys.Custody { return ca.CustodyOf(context.Background(), j.Store) }

func (j *withFirst) Update(ctx context.Context, fn func(store.Tx) error) error {
	if j.done {
		return j.Store.Update(ctx, fn)
	}
	err := j.Store.Update(ctx, func(tx store.Tx) error {
		if err := j.first(ctx, tx); err != nil {
			return err
		}
		return fn(tx)
	})
	j.done = err == nil
	return err
}

// onlyParent is a directory of one authority.
type onlyParent struct{ parent *ca.Authority }

func (o onlyParent) Authority(name store.AuthorityName) (*ca.Authority, bool) {
	return o.parent, o.parent.Name() == name
}

// rootNetloc stands in for the netloc of a root, nothing of which depends on it.
const rootNetloc = "root.invalid"

// defaultBackdate is the default of the daemon's --backdate.
const defaultBackdate = time.Minute

// configFor returns what commands add to the rows of authorities in order to open them, given what the
// user has said of the netloc. A root does without one.
func configFor(ctx context.Context, st store.Store, netloc string, row store.Authority) (func(store.Authority) ca.Config, error) {
	netloc, err := netlocOf(ctx, st, netloc)
	if err != nil && !(row.Role == store.RoleRoot && errors.Is(err, ErrNetloc)) {
		return nil, err
	}
	return func(store.Authority) ca.Config {
		return ca.Config{Netloc: cmp.Or(netloc, rootNetloc), Backdate: defaultBackdate, Statements: envelope.Statements{}}
	}, nil
}

// openOne opens an authority and its parent, for a command.
func openOne(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, netloc string) (*ca.Authority, error) {
	row, err := rowOf(ctx, st, name)
	if err != nil {
		return nil, err
	}
	config, err := configFor(ctx, st, netloc, row)
	if err != nil {
		return nil, err
	}
	return ca.OpenOne(ctx, st, clk, name, config)
}

// rowOf returns the row of an authority, or an ErrNoAuthority that lists those there are.
func rowOf(ctx context.Context, st store.Store, name store.AuthorityName) (row store.Authority, err error) {
	err = st.View(ctx, func(r store.Reader) error {
		row, err = rowIn(ctx, r, name)
		return err
	})
	return row, err
}

func rowIn(ctx context.Context, r store.Reader, name store.AuthorityName) (store.Authority, error) {
	row, err := r.Authority(ctx, name)
	if !errors.Is(err, store.ErrNotFound) {
		return row, err
	}
	rows, err := r.Authorities(ctx)
	if err != nil {
		return row, err
	}
	if len(rows) == 0 {
		return row, fmt.Errorf("%w: %q; the database holds no authorities at all: the daemon makes its own at its first start", ErrNoAuthority, name)
	}
	text := ""
	for i, known := range rows {
		if i > 0 {
			text += ", "
		}
		text += string(known.Name)
	}
	return row, fmt.Errorf("%w: %q is none of %s", ErrNoAuthority, name, text)
}
