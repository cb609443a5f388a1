package daemon

import (
	"errors"
	"io/fs"
	"time"

	"cauase/pkg/archive"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/rollover"
	"cauase/pkg/server"
	"cauase/pkg/store"
	"cauase/pkg/token"
)

// Config is what a daemon is told. Everything in it has been checked that can be without touching
// anything; Check does so.
type Config struct {
	Database  string // path of a SQLite database, or URL of a PostgreSQL one
	ServerKey string // path of our own HTTPS key and certificate
	CORSKeys  string // path of the keys that sign users' consent, unless those are in a shared database

	// FirstUser is where an invitation for the first user is put, as long as there is none and no request of a user
	// is approved automatically; empty: none is made.
	FirstUser string

	Netloc server.Netloc // where verifiers reach the daemon
	Port   int           // to bind for HTTP; 0 lets the system choose
	Bind   []string      // addresses and names to listen on, and Unix sockets, as unix:PATH

	SocketMode fs.FileMode // of Unix sockets; 0: server.DefaultSocketMode

	// Users and Services are the authorities that every daemon has. What is said here of them is put
	// into their rows at each start.
	Users, Services Limits

	KeyType         pki.KeyType // of their first CA keys
	LockAutoApprove bool        // keep both numbers of automatic approvals for good

	Threshold      time.Duration // how long before its expiry our own HTTPS certificate is renewed
	Backdate       time.Duration // how far before the time of issuance certificates begin; the authorities cap it
	Retention      time.Duration // how long an expired certificate stays on record
	PendingTTL     time.Duration // how long a request waits for a user before it is removed; 0: always
	PendingShare   int           // how many pending requests of an authority may be of one address; 0: a part of all
	ChainRetention time.Duration // how long an expired CA's word for its successor is served; 0: always

	AuditKeep time.Duration // how long entries of the audit log are kept; 0: for ever

	Lineages Lineages

	Sealing Sealing // of private keys

	Backups *Backups // nil: none are taken

	// MaxSkew is how far our clock may differ from that of a database that other daemons use, too.
	// 0: as much as rollovers tolerate.
	MaxSkew time.Duration

	Metrics string // ADDRESS:PORT to serve metrics at; empty: nowhere

	// Tokens are the PKCS #11 tokens that can be reached. Keys says of authorities where their next keys are made: a PKCS #11 URI, or "" for
	// the database; of others the store says it.
	Tokens []token.URI
	Keys   map[store.AuthorityName]string

	Profiles *profile.Set // what certificates may be like; nil: the built-in ones

	Tables Tables // see Reload

	// Limits bound what peers may have the daemon do and hold.
	Limits server.Limits

	// Lists, when set, is told now and then how much memory all revocation lists take, in bytes.
	Lists func(size int64)

	CORSWhitelist []string // origins that users need not be asked about

	NoPush bool // who asks to wait for newer revocation lists is answered at once

	Version string // of this program
}

// Limits are what is decided about an authority.
type Limits struct {
	Validity    time.Duration // of the certificates it issues
	MaxPending  int           // requests, above which new ones are refused
	AutoApprove int           // how many of the first requests ever are signed at once
}

// Lineages say what becomes of certificates and their renewals.
type Lineages struct {
	Fork      ca.ForkPolicy // of certificates that were renewed before; empty: ForkFlag
	RevokeOne bool          // revocations withdraw one certificate, and do not end its lineage
	Renewals  int           // of a lineage in a day; 0: as their validity suggests
	MaxUsers  int           // lineages of users; 0: ca.DefaultMaxUsers
}

// Backups say where backups go, and when.
type Backups struct {
	Directory string
	Schedule  archive.Schedule
	Keep      int // how many to leave there; 0: all
}

// A Setting is the part of a Config that an error is about, by the name that it has on command lines
// and in configuration files.
type Setting string

// The settings that can be wrong in a way which only a start reveals, and those that Check looks at.
const (
	Database        Setting = "db"
	CORSKeyStore    Setting = "cors-key-store"
	BackupDirectory Setting = "backup-directory"
	MetricsBind     Setting = "metrics-bind"
	Bind            Setting = "bind"
	UserValidity    Setting = "user-crt-validity"
	ServiceValidity Setting = "service-crt-validity"
	FirstUser       Setting = "first-user-invite"
	Token           Setting = "token"
	KeySecret       Setting = "key-secret"
)

// A SettingError is an error about one setting.
type SettingError struct {
	Setting Setting
	Err     error
}

func (e *SettingError) Error() string { return string(e.Setting) + ": " + e.Err.Error() }
func (e *SettingError) Unwrap() error { return e.Err }

// Check returns an error about what cannot be right.
func (c Config) Check() error {
	for _, of := range []struct {
		setting Setting
		row     store.Authority
	}{
		{UserValidity, c.rows()[0]}, {ServiceValidity, c.rows()[1]}, {ServiceValidity, c.rows()[2]},
	} {
		if err := (rollover.Spans{Leaf: of.row.Span, Life: of.row.Life}).Check(); err != nil {
			return &SettingError{of.setting, err}
		}
	}
	if c.Netloc.Host == "" || c.Database == "" || c.ServerKey == "" || c.CORSKeys == "" {
		return errors.New("daemon: incomplete configuration")
	}
	return nil
}

// skewPart is what part of the shortest certificate validity clocks may differ by. Package rollover
// takes differences up to that for what they are.
const skewPart = 100

func (c Config) maxSkew() time.Duration {
	if c.MaxSkew > 0 {
		return c.MaxSkew
	}
	return max(min(c.Users.Validity, c.Services.Validity)/skewPart, time.Second)
}

// rows are those of the authorities that every daemon has.
func (c Config) rows() []store.Authority {
	row := func(name store.AuthorityName, role store.Role, title string, life int, of Limits) store.Authority {
		return store.Authority{
			Name: name, Role: role, Title: title, KeyType: string(c.KeyType),
			Span: of.Validity, Life: life, MaxPending: of.MaxPending, AutoApprove: of.AutoApprove,
		}
	}
	return []store.Authority{
		row(store.Users, store.RoleUsers, "Caucase CAU", rollover.DefaultLife, c.Users),
		row(store.Services, store.RoleServices, "Caucase CAS", rollover.DefaultLife, c.Services),
		// Our own certificate is valid as long as a service's.
		row(store.HTTPS, store.RoleDaemon, "Caucased CA", rollover.DaemonLife, Limits{Validity: c.Services.Validity}),
	}
}
