package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/server"
)

// CA lives, in certificate validities.
const (
	caLife      = 4
	httpsCALife = 40
)

// skewPart is what part of the shorter certificate validity clocks may differ by. Package rollover
// takes differences up to that for what they are.
const skewPart = 100

const day = 24 * time.Hour

// config is a command line of which everything has been checked that can be without
// touching anything.
type config struct {
	db, serverKey, corsKeys string

	netloc server.Netloc
	port   int // to bind for HTTP; 0, in tests only, lets the system choose
	bind   []string

	users, services authorityConfig
	lockAutoApprove bool

	keyType             pki.KeyType
	threshold           time.Duration
	backdate, retention time.Duration
	chainRetention      time.Duration

	backup backupConfig

	// maxSkew is how far our clock may differ from that of a database that other daemons use, too.
	maxSkew time.Duration

	metrics string // address to bind, empty for none

	corsWhitelist []string

	logLevel slog.Level
	logJSON  bool
}

type authorityConfig struct {
	spans       rollover.Spans
	maxPending  int
	autoApprove int
}

// A reader takes values from a command line and remembers the first that is wrong.
type reader struct {
	c   *urfave.Context
	err error
}

func (r *reader) fail(flag string, err error) {
	if r.err == nil {
		r.err = cli.WithHint(fmt.Errorf("--%s: %w", flag, err), "see cauased --help")
	}
}

// readConfig reads the flags of serve. Its error names the flag.
func readConfig(c *urfave.Context) (config, error) {
	r := &reader{c: c}
	cfg := config{
		db:        r.text(flagDB),
		serverKey: r.text(flagServerKey),
		corsKeys:  r.text(flagCORSKeys),

		netloc: r.netloc(),

		users: authorityConfig{
			spans:       r.spans(flagUserValidity),
			maxPending:  r.count(flagUserMaxCSR),
			autoApprove: r.count(flagUserAutoApprove),
		},
		services: authorityConfig{
			spans:       r.spans(flagServiceValidity),
			maxPending:  r.count(flagServiceMaxCSR),
			autoApprove: r.count(flagServiceAutoApprove),
		},
		lockAutoApprove: c.Bool(flagLockAutoApprove),

		keyType:   r.keyType(),
		threshold: r.days(flagThreshold),
		backdate:  r.backdate(),
		retention: r.days(flagRetention),

		chainRetention: r.days(flagChain),
		backup:         r.backup(),
		metrics:        r.metrics(),

		corsWhitelist: c.StringSlice(flagCORSWhitelist),
	}
	cfg.maxSkew = max(min(cfg.users.spans.Leaf, cfg.services.spans.Leaf)/skewPart, time.Second)
	cfg.port = r.port(cfg.netloc)
	cfg.bind = c.StringSlice(flagBind)
	if len(cfg.bind) == 0 {
		cfg.bind = []string{cfg.netloc.Host}
	}
	for _, origin := range cfg.corsWhitelist {
		if err := server.CheckOrigin(origin); err != nil {
			r.fail(flagCORSWhitelist, err)
		}
	}
	cfg.logLevel, cfg.logJSON = r.log()
	r.distinct(cfg)
	return cfg, r.err
}

func (r *reader) text(flag string) string {
	s := r.c.String(flag)
	if s == "" {
		r.fail(flag, errors.New("is empty"))
	}
	return s
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

func (r *reader) spans(flag string) rollover.Spans {
	spans := rollover.Spans{Leaf: r.days(flag), Life: caLife}
	check := spans
	if flag == flagServiceValidity {
		check.Life = httpsCALife // our own certificate has the same validity, and a CA that lives longer
	}
	if err := check.Check(); err != nil {
		r.fail(flag, err)
	}
	return spans
}

func (r *reader) keyType() pki.KeyType {
	if !r.c.IsSet(flagKeyLen) {
		t, err := pki.ParseKeyType(r.c.String(flagKeyType))
		if err != nil {
			r.fail(flagKeyType, err)
		}
		return t
	}
	name := fmt.Sprintf("rsa-%d", r.c.Int(flagKeyLen))
	t, err := pki.ParseKeyType(name)
	if err != nil {
		r.fail(flagKeyLen, errors.New("RSA keys have 2048, 3072 or 4096 bits"))
	}
	if r.c.IsSet(flagKeyType) && r.c.String(flagKeyType) != name {
		r.fail(flagKeyLen, fmt.Errorf("contradicts --%s %s", flagKeyType, r.c.String(flagKeyType)))
	}
	return t
}

// backdate is not capped here: the authorities do that, each by its own span.
func (r *reader) backdate() time.Duration {
	d, err := time.ParseDuration(r.c.String(flagBackdate))
	if err != nil || d < 0 {
		r.fail(flagBackdate, fmt.Errorf("%q is not a duration such as 90s or 5m", r.c.String(flagBackdate)))
		return 0
	}
	return d
}

func (r *reader) log() (level slog.Level, json bool) {
	switch format := r.c.String(flagLogFormat); format {
	case "json":
		json = true
	case "text":
	default:
		r.fail(flagLogFormat, fmt.Errorf("%q is neither text nor json", format))
	}
	switch name := r.c.String(flagLogLevel); name {
	case "debug", "info", "warn", "error":
		_ = level.UnmarshalText([]byte(name)) // knows these
	default:
		r.fail(flagLogLevel, fmt.Errorf("%q is not one of debug, info, warn, error", name))
	}
	return level, json
}
