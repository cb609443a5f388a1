package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// A generation is one CA certificate with its key.
type generation struct {
	id    int64
	times rollover.Generation
	crt   *x509.Certificate
	key   crypto.Signer // nil once erased
	link  []byte
}

// generations are an authority's CA certificates, oldest first, as they were at one version of the store.
type generations struct {
	version int64
	list    []generation
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
		if c.key != nil && rollover.Valid(now, c.times) {
			valid = append(valid, c)
		}
	}
	return valid
}

// listed returns the generations that have revocation lists: those that are valid at now, or about to
// be. So daemons whose clocks differ a little agree on which there are.
func (g *generations) listed(now time.Time, spans rollover.Spans) []generation {
	var listed []generation
	for _, c := range g.list {
		if c.key != nil && (rollover.Valid(now, c.times) || rollover.Soon(now, spans, c.times)) {
			listed = append(listed, c)
		}
	}
	return listed
}

func certificates(list []generation) []*x509.Certificate {
	crts := make([]*x509.Certificate, len(list))
	for i := range list {
		crts[i] = list[i].crt
	}
	return crts
}

// A state is what an operation works with: the CA certificates and which of them signs.
type state struct {
	*generations
	signer generation
}

// current returns the state at now, rolling over first when that is due. When the rollover
// fails while a CA certificate is still valid, that one goes on signing.
func (a *Authority) current(ctx context.Context, now time.Time) (state, error) {
	if err := a.cfg.Ready(); err != nil {
		return state{}, fmt.Errorf("%w: %w", ErrNoSigner, err)
	}
	g := a.cas.Load()
	plan := a.cfg.Decide(now, a.spans, g.times())
	if plan.Create && (plan.Signer == rollover.None || !a.failedLately(now)) {
		if err := a.rollOver(ctx, now); err != nil && plan.Signer == rollover.None {
			return state{}, err
		}
		g = a.cas.Load()
		plan = a.cfg.Decide(now, a.spans, g.times())
	}
	if plan.Signer == rollover.None || g.list[plan.Signer].key == nil {
		return state{}, fmt.Errorf("%w: %s", ErrNoSigner, now.Format(time.RFC3339))
	}
	return state{g, g.list[plan.Signer]}, nil
}

// rolloverRetry is how long operations do without another attempt at a rollover that has
// failed: making a key is work, and whatever stands in the way does not go away with the next request.
const rolloverRetry = 10 * time.Second

func (a *Authority) failedLately(now time.Time) bool {
	at := a.rolloverFailed.Load()
	if at == nil {
		return false
	}
	ago := now.Sub(*at)
	return ago >= 0 && ago < min(rolloverRetry, a.spans.Leaf/100)
}

// rollOver makes a new generation if one is still due once it alone may change the store. While
// it fails, the generations there are go on serving.
func (a *Authority) rollOver(ctx context.Context, now time.Time) (err error) {
	a.maintain.Lock()
	defer a.maintain.Unlock()
	defer func() {
		a.rolloverFailed.Store(nil)
		if err != nil {
			a.rolloverFailed.Store(&now)
			a.log.ErrorContext(ctx, "no new CA certificate could be made", "error", err)
		}
	}()
	// Another operation may have been faster.
	loaded := a.cas.Load()
	if !a.cfg.Decide(now, a.spans, loaded.times()).Create {
		return nil
	}
	// Making a key can take seconds: it is made before the transaction, and thrown away if
	// another daemon has been faster.
	keyType, err := a.nextKeyType(ctx, loaded)
	if err != nil {
		return err
	}
	key, err := keyType.Generate()
	if err != nil {
		return fmt.Errorf("CA key: %w", err)
	}
	var next *generations
	err = a.store.Update(ctx, func(tx store.Tx) error {
		if next, err = a.load(ctx, tx); err != nil {
			return err
		}
		if !a.cfg.Decide(now, a.spans, next.times()).Create {
			return nil
		}
		if err := a.disown(ctx, tx, now, next); err != nil {
			return err
		}
		made, err := a.newGeneration(now, key, next)
		if err != nil {
			return err
		}
		if err := tx.DeleteSetting(ctx, a.name, store.SettingNextKeyType); err != nil {
			return err
		}
		return a.addGeneration(ctx, tx, now, next, made)
	})
	if err != nil {
		return err
	}
	a.cas.Store(next)
	newest := next.list[len(next.list)-1]
	a.log.InfoContext(ctx, "new CA certificate", "key_id", hex.EncodeToString(newest.crt.SubjectKeyId),
		"not_after", newest.times.NotAfter, "generation", len(next.list))
	return nil
}

// disown leaves aside generations from the future, made while the clock was far ahead: the next
// one succeeds those that hosts know. Their keys are erased, which is what tells them from others.
func (a *Authority) disown(ctx context.Context, tx store.Tx, now time.Time, g *generations) error {
	var kept []generation
	for _, one := range g.list {
		if !now.Before(one.times.NotBefore) {
			kept = append(kept, one)
			continue
		}
		if err := a.eraseKey(ctx, tx, now, one, "made while the clock was ahead, not used any more"); err != nil {
			return err
		}
		a.log.WarnContext(ctx, "a CA certificate from the future is not used any more: it was made while the clock was ahead",
			"key_id", hex.EncodeToString(one.crt.SubjectKeyId), "not_before", one.times.NotBefore)
	}
	g.list = kept
	return nil
}

// eraseKey forgets a CA's key, for the reason given.
func (a *Authority) eraseKey(ctx context.Context, tx store.Tx, now time.Time, g generation, why string) error {
	if err := tx.EraseCAKey(ctx, a.name, g.id); err != nil {
		return err
	}
	if _, err := tx.AddCounter(ctx, a.name, store.CounterCA, 1); err != nil {
		return err
	}
	e := a.entry(now, audit.Actor{Kind: audit.Daemon}, audit.ExpireCA, audit.CAObject(g.crt.SubjectKeyId))
	e.Detail = why
	return tx.AppendAudit(ctx, e)
}

// nextKeyType is the type of the next CA key: the one an operator has asked for, else that of
// the key before it. A changed default or flag changes nothing: hosts that verify certificates
// today may not know another algorithm.
func (a *Authority) nextKeyType(ctx context.Context, g *generations) (pki.KeyType, error) {
	var chosen string
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		chosen, err = r.Setting(ctx, a.name, store.SettingNextKeyType)
		return err
	})
	switch {
	case err == nil:
		t, err := pki.ParseKeyType(chosen)
		if err != nil {
			return "", fmt.Errorf("%w: setting %s of %s: %w", ErrDamaged, store.SettingNextKeyType, a.name, err)
		}
		return t, nil
	case !errors.Is(err, store.ErrNotFound):
		return "", err
	case len(g.list) == 0:
		return pki.KeyType(a.row.KeyType), nil
	default:
		return pki.KeyTypeOf(g.list[len(g.list)-1].crt.PublicKey)
	}
}

// SetNextKeyType chooses, on an operator's behalf, the type of the next CA key of an authority,
// which is then kept until chosen otherwise. It takes no Authority: no daemon need run.
func SetNextKeyType(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, keyType pki.KeyType) error {
	if _, err := pki.ParseKeyType(string(keyType)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	e := audit.NewEntry(clk.Now(), string(name), audit.Actor{Kind: audit.Operator}, audit.SetKeyType, audit.Object{Kind: audit.KindSetting, ID: store.SettingNextKeyType})
	e.Detail = string(keyType)
	return st.Update(ctx, func(tx store.Tx) error {
		if err := tx.PutSetting(ctx, name, store.SettingNextKeyType, string(keyType)); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, e)
	})
}

// newGeneration makes a self-signed CA certificate for key, the successor of the last of older.
func (a *Authority) newGeneration(now time.Time, key crypto.Signer, older *generations) (generation, error) {
	serial, err := pki.NewSerial()
	if err != nil {
		return generation{}, err
	}
	p := profile.CA{
		PublicKey:  key.Public(),
		Serial:     serial,
		NotBefore:  now.Add(-a.cfg.Backdate),
		NotAfter:   now.Add(a.spans.CAValidity()),
		Constraint: a.constraint(),
	}
	if p.Subject, err = a.subject(); err != nil {
		return generation{}, err
	}
	var predecessor *generation
	if n := len(older.list); n > 0 {
		predecessor = &older.list[n-1]
		p.Predecessor = predecessor.crt
		// Spans, and with them the backdating, may have grown since it was made; age must show.
		p.NotBefore = later(p.NotBefore, predecessor.times.NotBefore)
	}
	template, err := p.Template()
	if err != nil {
		return generation{}, err
	}
	crt, err := create(template, template, key.Public(), key)
	if err != nil {
		return generation{}, fmt.Errorf("CA certificate: %w", err)
	}
	pki.AsCA(crt, crt.SubjectKeyId) // like its predecessor
	if err := a.prove(now, crt, key); err != nil {
		return generation{}, fmt.Errorf("new CA key does not work: %w", err)
	}
	g := generation{
		times: rollover.Generation{CreatedAt: now, NotBefore: crt.NotBefore, NotAfter: crt.NotAfter},
		crt:   crt,
		key:   key,
	}
	if predecessor != nil {
		if g.link, err = a.linkTo(*predecessor, g); err != nil {
			return generation{}, err
		}
	}
	return g, nil
}

// linkTo makes the statement by which a CA vouches for its successor. Once the key of an
// expired CA is erased it cannot vouch any more, and hosts must be anchored anew.
func (a *Authority) linkTo(old, next generation) ([]byte, error) {
	if old.key == nil {
		a.log.Error("the previous CA's key is erased: hosts cannot follow to the new CA by themselves",
			"old", hex.EncodeToString(old.crt.SubjectKeyId), "new", hex.EncodeToString(next.crt.SubjectKeyId))
		return nil, nil
	}
	return a.cfg.Statements.Succession(old.key, old.crt, next.crt)
}

// prove signs and verifies a throw-away certificate.
func (a *Authority) prove(now time.Time, ca *x509.Certificate, key crypto.Signer) error {
	holder, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		return err
	}
	serial, err := pki.NewSerial()
	if err != nil {
		return err
	}
	leaf := profile.Leaf{
		Subject: ca.RawSubject, PublicKey: holder.Public(), Serial: serial,
		NotBefore: now, NotAfter: now.Add(a.spans.Leaf), IssuerKey: ca.SubjectKeyId,
	}
	template, err := leaf.Template()
	if err != nil {
		return err
	}
	crt, err := create(template, ca, holder.Public(), key)
	if err != nil {
		return err
	}
	_, err = pki.VerifyIssued(crt, []*x509.Certificate{ca}, now)
	return err
}

// addGeneration stores made and appends it to g.
func (a *Authority) addGeneration(ctx context.Context, tx store.Tx, now time.Time, g *generations, made generation) error {
	der, err := x509.MarshalPKCS8PrivateKey(made.key)
	if err != nil {
		return err
	}
	made.id, err = tx.AddCA(ctx, store.CA{
		Authority:   a.name,
		CreatedAt:   made.times.CreatedAt,
		NotBefore:   made.times.NotBefore,
		NotAfter:    made.times.NotAfter,
		KeyID:       made.crt.SubjectKeyId,
		Certificate: made.crt.Raw,
		Key:         der,
		Link:        made.link,
	})
	if err != nil {
		return err
	}
	if g.version, err = tx.AddCounter(ctx, a.name, store.CounterCA, 1); err != nil {
		return err
	}
	g.list = append(g.list, made)
	e := a.entry(now, audit.Actor{Kind: audit.Daemon}, audit.CreateCA, audit.CAObject(made.crt.SubjectKeyId))
	e.Detail = "valid until " + made.times.NotAfter.Format(time.RFC3339)
	return tx.AppendAudit(ctx, e)
}

// reload replaces what memory holds with what the store holds.
func (a *Authority) reload(ctx context.Context) error {
	a.maintain.Lock()
	defer a.maintain.Unlock()
	return a.store.View(ctx, func(r store.Reader) error {
		g, err := a.load(ctx, r)
		if err == nil {
			a.cas.Store(g)
		}
		return err
	})
}

// load reads the CA certificates. Those already in memory are taken from there: parsing an RSA
// key checks its primes, which takes longer than everything else here.
func (a *Authority) load(ctx context.Context, r store.Reader) (*generations, error) {
	known := map[int64]generation{}
	if old := a.cas.Load(); old != nil {
		for _, g := range old.list {
			known[g.id] = g
		}
	}
	version, err := r.Counter(ctx, a.name, store.CounterCA)
	if err != nil {
		return nil, err
	}
	if old := a.cas.Load(); old != nil && old.version == version {
		return &generations{version: version, list: slices.Clone(old.list)}, nil
	}
	now := a.clock.Now()
	rows, err := r.CAs(ctx, a.name)
	if err != nil {
		return nil, err
	}
	g := &generations{version: version}
	for _, row := range rows {
		one, ok := known[row.ID]
		if !ok {
			if one, err = parseGeneration(row); err != nil {
				return nil, fmt.Errorf("%w: CA certificate %d of %s: %w", ErrDamaged, row.ID, a.name, err)
			}
		}
		if row.Key == nil {
			one.key = nil
		}
		if row.Key == nil && !now.After(row.NotAfter) {
			continue // disowned
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

func parseGeneration(row store.CA) (generation, error) {
	crt, err := x509.ParseCertificate(row.Certificate)
	if err != nil {
		return generation{}, err
	}
	pki.AsCA(crt, row.KeyID) // it may be an imported one
	g := generation{
		id:    row.ID,
		times: rollover.Generation{CreatedAt: row.CreatedAt, NotBefore: row.NotBefore, NotAfter: row.NotAfter},
		crt:   crt,
		link:  row.Link,
	}
	if row.Key == nil {
		return g, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(row.Key)
	if err != nil {
		return generation{}, errors.New("its private key cannot be parsed")
	}
	signer, ok := key.(crypto.Signer)
	if !ok || !pki.SameKey(signer.Public(), crt.PublicKey) {
		return generation{}, errors.New("its private key belongs to another certificate")
	}
	g.key = signer
	return g, nil
}

// create signs template and parses the result, which proves that what goes out can be read.
func create(template, issuer *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	alg, err := pki.SignatureAlgorithm(key.Public())
	if err != nil {
		return nil, err
	}
	template.SignatureAlgorithm = alg
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// decimal is a key identifier as the protocol writes it in addresses: one big-endian integer.
func decimal(keyID []byte) string { return new(big.Int).SetBytes(keyID).String() }
