package fleet

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/server"
	"cauase/pkg/server/caucase"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

const (
	hostname = "ca.example"
	netloc   = hostname + ":8009"
	backdate = 5 * time.Minute
)

// A daemon is cauased without its command line and sockets.
type daemon struct {
	sim *sim
	dir string

	db                     *sqlstore.DB
	users, services, https *ca.Authority
	family                 []*ca.Authority // the root and those below it, if there are any
	keyPair                *server.KeyPair
	handshake              *server.Handshake
	handler                http.Handler

	downUntil time.Time
}

func (d *daemon) path() string { return filepath.Join(d.dir, "cauase.sqlite") }

// open starts the daemon on what its disk holds.
func (d *daemon) open() (err error) {
	s := d.sim
	if d.db, err = sqlstore.Open(s.ctx, d.path(), sqlstore.Options{}); err != nil {
		return err
	}
	authority := func(name store.AuthorityName, spans rollover.Spans, host string, autoApprove int) (a *ca.Authority) {
		if err == nil {
			a, err = catest.Open(s.ctx, d.db, s.clock, catest.Config{
				Name: name, Netloc: netloc, Host: host, Spans: spans, KeyType: pki.KeyECDSAP256,
				Backdate: backdate, Retention: 30 * day, ChainRetention: s.spansOf(4), MaxPending: 2*s.plan.hosts + 50, AutoApprove: autoApprove,
				Decide: s.decide,
			})
		}
		return a
	}
	d.users = authority(store.Users, s.spans, "", 1)
	d.services = authority(store.Services, s.spans, "", 0)
	d.https = authority(store.HTTPS, rollover.Spans{Leaf: s.spans.Leaf, Life: 40}, hostname, 0)
	if err != nil {
		return errors.Join(err, d.close())
	}
	if err := d.openFamily(); err != nil {
		return errors.Join(err, d.close())
	}
	d.keyPair = server.NewKeyPair(server.KeyPairConfig{
		Path: filepath.Join(d.dir, "server.key.pem"), Host: hostname, Threshold: s.spans.Leaf / 3,
		Issuer: d.https, Clock: s.clock, Log: slog.New(slog.DiscardHandler),
	})
	d.handshake = &server.Handshake{}
	if err := d.refreshHandshake(); err != nil {
		return errors.Join(err, d.close())
	}
	if d.handler, err = d.serve(); err != nil {
		return errors.Join(err, d.close())
	}
	return nil
}

func (d *daemon) serve() (http.Handler, error) {
	keys, err := caucase.OpenCORSKeys(filepath.Join(d.dir, "cors.key"))
	if err != nil {
		return nil, err
	}
	address, err := server.ParseNetloc(netloc)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	front, err := caucase.New(caucase.Config{
		Netloc: address, Clock: d.sim.clock, Log: log, CORSKeys: keys,
		Authorities: d.list(), ServerCAs: d.https.CACertificates,
	})
	if err != nil {
		return nil, err
	}
	return server.New(server.Config{Clock: d.sim.clock, Log: log, FrontEnds: []server.FrontEnd{front}})
}

func (d *daemon) close() error {
	if d.db == nil {
		return nil
	}
	err := d.db.Close()
	d.db = nil
	return err
}

// restart closes the daemon and opens it again, from its disk.
func (d *daemon) restart(crash bool) error {
	if crash {
		if err := d.crash(); err != nil {
			return err
		}
	}
	if err := d.close(); err != nil {
		return err
	}
	if d.sim.forget {
		if err := d.swapBackup(); err != nil {
			return err
		}
	}
	return d.open()
}

// crash copies the files as a power failure would leave them, without what Close would have
// done, and continues with the copy.
func (d *daemon) crash() error {
	copied, err := os.MkdirTemp(filepath.Dir(d.dir), "daemon")
	if err != nil {
		return err
	}
	for _, name := range []string{"cauase.sqlite", "cauase.sqlite-wal", "server.key.pem"} {
		data, err := os.ReadFile(filepath.Join(d.dir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(copied, name), data, 0o600); err != nil {
			return err
		}
	}
	gone := d.dir
	err = d.close()
	d.dir = copied
	return errors.Join(err, os.RemoveAll(gone))
}

// swapBackup puts the database of the last restart in the place of the current one, which
// it keeps for the next.
func (d *daemon) swapBackup() error {
	current, err := os.ReadFile(d.path())
	if err != nil {
		return err
	}
	backup, err := os.ReadFile(d.path() + ".backup")
	if errors.Is(err, os.ErrNotExist) {
		backup = current
	} else if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(d.path()+".backup", current, 0o600), os.WriteFile(d.path(), backup, 0o600))
}

// maintain does what the daemon's loop does, though less often.
func (d *daemon) maintain() error {
	var errs []error
	for _, a := range d.all() {
		errs = append(errs, a.Maintain(d.sim.ctx))
	}
	return errors.Join(append(errs, d.refreshHandshake())...)
}

func (d *daemon) refreshHandshake() error {
	if err := d.keyPair.Refresh(d.sim.ctx); err != nil {
		return err
	}
	users, err := d.users.CACertificates(d.sim.ctx)
	if err != nil {
		return err
	}
	crt := d.keyPair.Certificate()
	d.handshake.Set(crt, users)
	d.sim.oracle.learn(store.HTTPS)
	d.sim.oracle.issued(store.HTTPS, crt.Leaf)
	return nil
}

// tls is what the daemon's listener would shake hands with now.
func (d *daemon) tls() (*tls.Config, error) {
	return d.handshake.Config().GetConfigForClient(&tls.ClientHelloInfo{ServerName: hostname})
}

// authority returns the one of this name.
func (d *daemon) authority(name store.AuthorityName) *ca.Authority {
	for _, a := range d.all() {
		if a.Name() == name {
			return a
		}
	}
	return d.https
}

func (d *daemon) down() bool { return d.sim.now().Before(d.downUntil) }

// maintain runs the daemon's maintenance, if it is up.
func (s *sim) maintain() {
	if s.daemon.down() {
		return
	}
	if err := s.daemon.maintain(); err != nil {
		s.violated(exchangesWork, "maintenance: %v", err)
	}
	s.oracle.checkSignoffs()
	s.callOperator()
}
