package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/daemon"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/server"
	"cauase/pkg/server/caucase"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/token"
)

const day = 24 * time.Hour

// serveOptions are a command line, validated as far as that is possible without side effects.
type serveOptions struct {
	daemon.Config

	logLevel slog.Level
	logJSON  bool
	file     settingsFile
}

// A reader takes values from a command line and keeps the first error.
type reader struct {
	c    *urfave.Context
	file settingsFile
	err  error
}

func (r *reader) fail(flag string, err error) {
	if r.err == nil {
		r.err = r.file.wrong(r.c, flag, err)
	}
}

// readOptions reads the flags of serve, and the file that one of them may name. Its error names the flag,
// or the place in the file.
func readOptions(c *urfave.Context) (serveOptions, error) {
	r := &reader{c: c}
	if r.file, r.err = readFile(c); r.err != nil {
		return serveOptions{}, r.err
	}
	cfg := serveOptions{Config: daemon.Config{
		Database:  r.text(flagDB),
		ServerKey: r.text(flagServerKey),
		CORSKeys:  r.text(flagCORSKeys),

		Netloc: r.netloc(),

		Users: daemon.Limits{
			Validity:    r.days(flagUserValidity),
			MaxPending:  r.count(flagUserMaxCSR),
			AutoApprove: r.count(flagUserAutoApprove),
		},
		Services: daemon.Limits{
			Validity:    r.days(flagServiceValidity),
			MaxPending:  r.count(flagServiceMaxCSR),
			AutoApprove: r.count(flagServiceAutoApprove),
		},
		LockAutoApprove: c.Bool(flagLockAutoApprove),

		KeyType:        r.keyType(),
		Threshold:      r.days(flagThreshold),
		Backdate:       r.backdate(),
		Retention:      r.days(flagRetention),
		ChainRetention: r.days(flagChain),
		AuditKeep:      r.days(flagAuditKeep),
		PendingTTL:     r.days(flagPendingTTL),
		PendingShare:   r.count(flagShare),

		Lineages: r.lineages(),

		Backups: r.backup(),
		Metrics: r.metrics(),

		Limits: server.Limits{
			Connections: r.atLeast(flagConnections, 4),
			PerAddress:  r.count(flagPerAddress),
			WriteRate:   r.count(flagWriteRate),

			HandshakeRate: r.count(flagHandshakes),
			Waiting:       r.atLeast(flagWaiting, 1),
		},

		Tokens: r.tokens(),
		Keys:   r.file.keys.places,

		Profiles:      r.file.profiles,
		Tables:        r.file.Tables,
		CORSWhitelist: c.StringSlice(flagCORSWhitelist),
		NoPush:        !c.Bool(flagPush),
		Version:       cli.Version(),
	}, file: r.file}
	cfg.FirstUser = r.firstUser(cfg.Config)
	cfg.Sealing = r.keySettings(cfg.Config)
	cfg.Port = r.port(cfg.Netloc)
	cfg.Bind = c.StringSlice(flagBind)
	if len(cfg.Bind) == 0 {
		cfg.Bind = []string{cfg.Netloc.Host}
	}
	cfg.SocketMode = r.socketMode()
	_, sockets := server.SplitBind(cfg.Bind)
	for _, path := range sockets {
		if err := server.CheckSocketPath(path); err != nil {
			r.fail(flagBind, err)
		}
	}
	for _, origin := range cfg.CORSWhitelist {
		if err := caucase.CheckOrigin(origin); err != nil {
			r.fail(flagCORSWhitelist, err)
		}
	}
	cfg.logLevel, cfg.logJSON = r.log()
	r.distinct(cfg.Config)
	if r.err == nil {
		r.check(cfg.Config)
	}
	return cfg, r.err
}

func (r *reader) text(flag string) string {
	s := r.c.String(flag)
	if s == "" {
		r.fail(flag, errors.New("is empty"))
	}
	return s
}

// firstUser is the file of the invitation for the first user: beside what is secret already.
func (r *reader) firstUser(cfg daemon.Config) string {
	if r.c.IsSet(flagFirstUser) {
		return r.text(flagFirstUser)
	}
	beside := cfg.Database
	if sqlstore.IsURL(beside) {
		beside = cfg.ServerKey
	}
	return filepath.Join(filepath.Dir(beside), firstUserFile)
}

func (r *reader) netloc() server.Netloc {
	s := r.c.String(flagNetloc)
	if s == "" {
		r.fail(flagNetloc, errors.New("is required: the HOST[:PORT] at which verifiers reach this service"))
		return server.Netloc{}
	}
	n, err := server.ParseNetloc(s)
	if err != nil {
		r.fail(flagNetloc, err)
	}
	return n
}

// port is the port to bind for HTTP.
func (r *reader) port(netloc server.Netloc) int {
	if !r.c.IsSet(flagBasePort) {
		return netloc.Port
	}
	port, err := server.ParsePort(fmt.Sprint(r.c.Int(flagBasePort)))
	if err != nil {
		r.fail(flagBasePort, err)
	}
	return port
}

// socketMode is that of Unix sockets.
func (r *reader) socketMode() fs.FileMode {
	text := r.c.String(flagSocketMode)
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode == 0 || mode&^0o777 != 0 {
		r.fail(flagSocketMode, fmt.Errorf("%q is not a mode such as 0660", text))
	}
	return fs.FileMode(mode)
}

func (r *reader) metrics() string {
	address := r.c.String(flagMetrics)
	if address == "" {
		return ""
	}
	if _, port, err := net.SplitHostPort(address); err != nil {
		r.fail(flagMetrics, fmt.Errorf("%q is not an ADDRESS:PORT", address))
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		r.fail(flagMetrics, fmt.Errorf("%q is not a port", port))
	}
	return address
}

func (r *reader) count(flag string) int {
	n := r.c.Int(flag)
	if n < 0 || n > math.MaxInt32 {
		r.fail(flag, fmt.Errorf("%d is not a sensible count", n))
	}
	return n
}

func (r *reader) atLeast(flag string, least int) int {
	n := r.count(flag)
	if n < least {
		r.fail(flag, fmt.Errorf("%d is too few: at least %d are needed", n, least))
	}
	return n
}

// maxDays keeps durations far from overflowing.
const maxDays = 36525

func (r *reader) days(flag string) time.Duration {
	n := r.c.Float64(flag)
	if !(n >= 0 && n <= maxDays) { // NaN is neither
		r.fail(flag, fmt.Errorf("%v is not a number of days from 0 to %d", n, maxDays))
		return 0
	}
	return time.Duration(n * float64(day))
}

// check has the daemon validate the configuration as a whole.
func (r *reader) check(cfg daemon.Config) {
	err := cfg.Check()
	var setting *daemon.SettingError
	if errors.As(err, &setting) {
		r.fail(string(setting.Setting), setting.Err)
	} else if err != nil && r.err == nil {
		r.err = err
	}
}

// spans are those of an authority whose certificates are valid as long as the flag says.
func (r *reader) spans(flag string, life int) rollover.Spans {
	spans := rollover.Spans{Leaf: r.days(flag), Life: life}
	if err := spans.Check(); err != nil {
		r.fail(flag, err)
	}
	return spans
}

// choice is which of few values an option has, in any case.
func (r *reader) choice(flag string, known []string) string {
	name, err := cli.Choose(r.c.String(flag), known)
	if err != nil {
		r.fail(flag, err)
	}
	return name
}

func (r *reader) keyType() pki.KeyType {
	if !r.c.IsSet(flagKeyLen) {
		return pki.KeyType(r.choice(flagKeyType, keyTypeNames()))
	}
	name := fmt.Sprintf("rsa-%d", r.c.Int(flagKeyLen))
	t, err := pki.ParseKeyType(name)
	if err != nil {
		r.fail(flagKeyLen, errors.New("RSA keys have 2048, 3072 or 4096 bits"))
	}
	if r.c.IsSet(flagKeyType) && r.choice(flagKeyType, keyTypeNames()) != name {
		r.fail(flagKeyLen, fmt.Errorf("contradicts --%s %s", flagKeyType, r.c.String(flagKeyType)))
	}
	return t
}

// tokens are those of --token, and of tables of authorities.
func (r *reader) tokens() []token.URI {
	list, err := readTokens(r.c)
	if err != nil {
		r.fail(flagToken, err)
	}
	return append(list, r.file.keys.tokens...)
}

// backdate is not capped here: the authorities do that, each by its own span.
func (r *reader) backdate() time.Duration {
	d, err := pki.ParseDuration(r.c.String(flagBackdate))
	if err != nil || d < 0 {
		r.fail(flagBackdate, fmt.Errorf("%q is not a duration such as 90s or 5m", r.c.String(flagBackdate)))
		return 0
	}
	return d
}

func (r *reader) lineages() (l daemon.Lineages) {
	l.Fork = ca.ForkPolicy(r.choice(flagFork, forkPolicies))
	l.RevokeOne = r.choice(flagRevocation, revocations) == revokeCertificate
	l.Renewals = r.count(flagRenewals)
	if l.MaxUsers = r.atLeast(flagUserMax, 1); l.MaxUsers > ca.MaxUsers {
		r.fail(flagUserMax, fmt.Errorf("backups have no room for more than %d users", ca.MaxUsers))
	}
	return l
}

func (r *reader) log() (level slog.Level, json bool) {
	json = r.choice(flagLogFormat, logFormats) == "json"
	_ = level.UnmarshalText([]byte(r.choice(flagLogLevel, logLevels))) // knows these
	return level, json
}
