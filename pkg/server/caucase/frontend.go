package caucase

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/ledger"
	"cauase/pkg/proof"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// Config is what a FrontEnd works with. Everything up to CORSKeys is needed.
type Config struct {
	Netloc server.Netloc
	Clock  clock.Clock
	Log    *slog.Logger

	Authorities Directory

	// ServerCAs returns the CA certificates of the authority that signs the daemon's own: what the
	// others vouch for, so that whoever trusts one of them knows the daemon over HTTPS.
	ServerCAs func(ctx context.Context) ([]*x509.Certificate, error)

	CORSKeys      *CORSKeys
	CORSWhitelist []string // origins, as browsers write them

	// Hosts returns the SSH host keys that are known now, nil for none. Nil: there never are any.
	Hosts func() *proof.Hosts

	// Ledger is the log of what the daemon has done; nil: none is served.
	Ledger *ledger.Ledger

	NoPush bool // nobody is made to wait for newer revocation lists
}

// A Directory is the authorities there are now. It is asked at each request.
type Directory interface {
	Authority(name store.AuthorityName) (Core, bool)
	All() []Core
	// Failed reports whether there is one of this name that cannot be used.
	Failed(name store.AuthorityName) bool
}

// A List is a Directory that never changes.
type List []Core

// Authority returns the one of this name, and whether there is one.
func (l List) Authority(name store.AuthorityName) (Core, bool) {
	for _, a := range l {
		if a.Name() == name {
			return a, true
		}
	}
	return nil, false
}

// All returns all of them.
func (l List) All() []Core { return l }

// Failed reports that none of them has failed.
func (l List) Failed(store.AuthorityName) bool { return false }

// A FrontEnd is a server.FrontEnd.
type FrontEnd struct {
	cfg       Config
	log       *slog.Logger
	whitelist map[string]bool

	referenceNoticed atomic.Bool
	recovering       chan struct{} // has room for one that takes in what a host has kept
}

// New returns a FrontEnd. An error is a mistake of the caller's.
func New(cfg Config) (*FrontEnd, error) {
	if cfg.Clock == nil || cfg.Log == nil || cfg.Authorities == nil || cfg.ServerCAs == nil || cfg.CORSKeys == nil {
		return nil, errors.New("caucase: incomplete configuration")
	}
	f := &FrontEnd{cfg: cfg, log: cfg.Log, whitelist: make(map[string]bool), recovering: make(chan struct{}, 1)}
	for _, origin := range cfg.CORSWhitelist {
		if err := CheckOrigin(origin); err != nil {
			return nil, err
		}
		f.whitelist[origin] = true
	}
	return f, nil
}

var errFailed = server.Refuse(http.StatusServiceUnavailable, "this authority cannot be used at the moment, try again later")

// Parameters of routes under which an authority's own lie. They differ in which authorities they
// stand for: those of a root are fewer.
const (
	paramAuthority = "authority"
	paramRoot      = "root"
)

// roles are those of the authorities that a parameter stands for. Those of the daemon's own
// certificates are not served: nobody is to ask for any.
func roles(parameter string) []store.Role {
	switch parameter {
	case paramAuthority:
		return []store.Role{store.RoleUsers, store.RoleServices}
	case paramRoot:
		return []store.Role{store.RoleRoot}
	}
	return nil
}

// Matches reports whether there is an authority of this name for the routes under the parameter. One
// that has failed has the routes of any: whoever asks is to come back, not to conclude that it is gone.
func (f *FrontEnd) Matches(parameter, value string) bool {
	name := store.AuthorityName(value)
	if a, ok := f.cfg.Authorities.Authority(name); ok {
		return slices.Contains(roles(parameter), a.Row().Role)
	}
	return parameter == paramAuthority && f.cfg.Authorities.Failed(name)
}

// authority returns the one under whose path x is.
func (f *FrontEnd) authority(x *server.Exchange) (Core, error) {
	name := cmp.Or(x.Param(paramAuthority), x.Param(paramRoot))
	a, ok := f.cfg.Authorities.Authority(store.AuthorityName(name))
	switch {
	case ok:
		return a, nil
	case f.cfg.Authorities.Failed(store.AuthorityName(name)):
		return nil, errFailed
	}
	return nil, server.ErrNotFound
}

// Identify recognises the certificates of users.
func (f *FrontEnd) Identify(ctx context.Context, actor audit.Actor, crt *x509.Certificate) (audit.Actor, error) {
	refused := ca.ErrUnauthorized
	for _, a := range f.cfg.Authorities.All() {
		if a.Row().Role != store.RoleUsers {
			continue
		}
		user, err := a.Authenticate(ctx, actor, crt)
		if err == nil {
			return user, nil
		}
		// That one of them cannot tell is worth more than that another does not know the certificate.
		if errors.Is(refused, ca.ErrUnauthorized) {
			refused = err
		}
	}
	return actor, refused
}
