package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/signoff"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// An authority of hosts whose parent's key is kept offline, and that parent.
const (
	offlineRoot  store.AuthorityName = "vault-root"
	offlineChild store.AuthorityName = "annex"
)

// byHand is how far what commands make is backdated.
const byHand = time.Minute

// A vault is the host without a network that keeps the key of the offline root.
type vault struct {
	sim *sim
	db  *sqlstore.DB
}

func (v *vault) close() error {
	if v == nil {
		return nil
	}
	return v.db.Close()
}

// openVault makes the offline root.
func (s *sim) openVault(dir string) (err error) {
	v := &vault{sim: s}
	if v.db, err = sqlstore.Open(s.ctx, filepath.Join(dir, "vault.sqlite"), sqlstore.Options{}); err != nil {
		return err
	}
	s.vault = v
	return manage.AddAuthority(s.ctx, v.db, s.clock, manage.NewAuthority{Row: store.Authority{
		Name: offlineRoot, Title: "Vault Root", Role: store.RoleRoot, Span: rootSpans.Leaf, Life: rootSpans.Life, KeyType: string(pki.KeyECDSAP256),
	}})
}

// openOffline opens what the daemon knows of the offline root, and the authority below it. The first
// time, both are added.
func (d *daemon) openOffline() error {
	s := d.sim
	if !s.offline {
		return nil
	}
	row, err := d.stored(offlineRoot)
	if errors.Is(err, store.ErrNotFound) {
		if err := d.addOffline(); err != nil {
			return err
		}
		row, err = d.stored(offlineRoot)
	}
	if err != nil {
		return err
	}
	for _, row := range []store.Authority{row, d.row(offlineChild)} {
		a, err := ca.Open(s.ctx, d.store(), s.clock, row, ca.Config{
			Netloc: netloc, Backdate: backdate, Retention: 30 * day, ChainRetention: s.spansOf(4),
			Statements: envelope.Statements{}, Parents: d, Decide: s.decideOffline,
		})
		if err != nil {
			return err
		}
		d.family = append(d.family, a)
	}
	return nil
}

func (d *daemon) stored(name store.AuthorityName) (row store.Authority, err error) {
	err = d.db.View(d.sim.ctx, func(r store.Reader) error {
		row, err = r.Authority(d.sim.ctx, name)
		return err
	})
	return row, err
}

func (d *daemon) addOffline() error {
	s := d.sim
	root, err := manage.ExportAuthority(s.ctx, s.vault.db, s.clock, offlineRoot, "")
	if err != nil {
		return err
	}
	return errors.Join(
		manage.AddAuthority(s.ctx, d.db, s.clock, manage.NewAuthority{
			Row: store.Authority{Name: offlineRoot, Title: "Vault Root", Role: store.RoleRoot}, External: root.Certificates, Lists: root.Lists,
		}),
		manage.AddAuthority(s.ctx, d.db, s.clock, manage.NewAuthority{Row: d.row(offlineChild), Netloc: netloc}),
	)
}

// store is the daemon's database as its authority below the offline root sees it.
func (d *daemon) store() store.Store {
	if d.sim.misread != nil {
		return misread{d.db, d.sim.misread}
	}
	return d.db
}

// A visit is when an operator performs sign-offs: once the daemon waits for one, or unasked.
type visit struct {
	kind        string
	unasked     bool
	after, upTo float64 // in spans, from when the daemon asks, or from now
	ahead       int
}

// visits returns all kinds of visits. The daemon asks half a span before it needs the sign-off, and without it
// continues for two and a half spans.
func visits() []visit {
	return []visit{
		{kind: "ahead", after: 0.01, upTo: 0.4, ahead: 3},
		{kind: "late", after: 0.6, upTo: 1.4, ahead: 1},
		{kind: "missed", after: 2.6, upTo: 3.4, ahead: 1},
		{kind: "unasked", unasked: true, after: 0.2, upTo: 1.2, ahead: 2},
		{kind: "nearly too late", after: 1.6, upTo: 2.4, ahead: 1},
		{kind: "prompt", after: 0.01, upTo: 0.4, ahead: 1},
	}
}

// callOperator plans the next visit, unless one is planned.
func (s *sim) callOperator() {
	if !s.offline || s.visiting {
		return
	}
	if len(s.agenda) == 0 {
		all := visits()
		s.agenda = []visit{all[s.rand.IntN(len(all))]}
	}
	v := s.agenda[0]
	if !v.unasked && !s.oracle.asked() {
		return
	}
	s.agenda = s.agenda[1:]
	s.visiting = true
	s.after(s.between(v.after, v.upTo), func() { s.visit(v) })
}

// visit makes the request on the daemon's host, which an operator then carries to the vault.
func (s *sim) visit(v visit) {
	req, err := manage.RequestSignoffs(s.ctx, s.daemon.store(), s.clock, offlineChild, netloc, v.ahead)
	if err != nil {
		s.violated(exchangesWork, "a sign-off cannot be asked for: %v", err)
		return
	}
	s.oracle.learn(offlineChild) // it puts to use what has its time
	if s.forge.request != nil {
		s.forge.request(s, &req)
	}
	file, err := req.Encode()
	if err != nil {
		s.violated(exchangesWork, "request for a sign-off: %v", err)
		return
	}
	s.after(s.between(0, 0.02), func() { s.vault.sign(v, file) })
}

// sign has the root sign what was carried to it, or as much of that as ends before the root does. The
// operator then carries the answer back, unless it gets lost.
func (v *vault) sign(why visit, file []byte) {
	s := v.sim
	req, err := signoff.ParseRequest(file)
	if err != nil {
		s.violated(exchangesWork, "request for a sign-off: %v", err)
		return
	}
	var answer signoff.Answer
	for {
		if answer, err = manage.SignOff(s.ctx, v.db, s.clock, req); !errors.Is(err, manage.ErrCeremony) || len(req.Generations) == 0 {
			break
		}
		req.Generations = req.Generations[:len(req.Generations)-1]
		s.stats.curtailed++
	}
	switch {
	case len(req.Generations) == 0:
		s.after(s.spans.Leaf/4, func() { s.visit(why) }) // its successor will
		return
	case err != nil:
		s.violated(exchangesWork, "sign-off: %v", err)
		return
	}
	s.oracle.signedOff(answer)
	if s.forge.answer != nil {
		s.forge.answer(s, &answer)
	}
	if file, err = answer.Encode(); err != nil {
		s.violated(exchangesWork, "answer with a sign-off: %v", err)
		return
	}
	if !s.calm && s.chance(0.15) {
		s.stats.answersLost++
		s.after(s.between(0, 0.1), func() { s.visit(why) })
		return
	}
	s.after(s.between(0, 0.02), func() { s.install(why, file) })
}

// install puts the answer in place, sometimes twice.
func (s *sim) install(why visit, file []byte) {
	s.visiting = false
	answer, err := signoff.ParseAnswer(file)
	if err != nil {
		s.violated(exchangesWork, "answer with a sign-off: %v", err)
		return
	}
	s.oracle.inStock(answer.Certificates)
	if s.forge.install != nil {
		s.forge.install(s, answer)
	} else if err := s.installOnce(answer); err != nil {
		s.violated(exchangesWork, "sign-off: %v", err)
		return
	}
	s.stats.visits[why.kind]++
	if !s.calm && s.chance(0.2) {
		if err := s.installOnce(answer); err != nil {
			s.violated(exchangesWork, "sign-off that is installed already: %v", err)
		}
	}
	s.maintain() // the daemon takes notice within a second
}

func (s *sim) installOnce(answer signoff.Answer) error {
	in := manage.Installation{Answer: answer, Netloc: netloc}
	defer s.oracle.learn(offlineChild)
	done, err := manage.Install(s.ctx, s.daemon.store(), s.clock, in)
	if errors.Is(err, manage.ErrUntrustedRoot) && s.oracle.active(offlineRoot, s.now()) == nil {
		// Nobody has imported the root's successor while the one known here was valid: the root was too short of
		// time to sign anything.
		s.stats.rootsPinned++
		newest := sha256.Sum256(answer.Parents[len(answer.Parents)-1].Raw)
		in.TrustRoots = []string{"sha256:" + hex.EncodeToString(newest[:])}
		done, err = manage.Install(s.ctx, s.daemon.store(), s.clock, in)
	}
	if err == nil && len(done.Certificates)+done.Known != len(answer.Certificates) {
		err = fmt.Errorf("of %d CA certificates, %d were installed and %d known", len(answer.Certificates), len(done.Certificates), done.Known)
	}
	s.stats.roots += len(done.Roots)
	return errors.Join(err, done.Waits)
}
