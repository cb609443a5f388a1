package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/client"
	"cauase/pkg/clock"
	"cauase/pkg/config"
	"cauase/pkg/probe"
)

const tool = "cauase-probe"

// envURL is the variable of the address, as for all tools.
const envURL = "CAUASE_CA_URL"

// The settings that are taken from a configuration file.
const (
	settingURL   = "ca-url"
	settingStore = "store"
)

const (
	flagWarning   = "warning"
	flagCritical  = "critical"
	flagTimeout   = "timeout"
	flagAuthority = "authority"
	flagCaucase   = "caucase"
	flagConfig    = "config"
	flagContext   = "context"

	flagFingerprint = "ca-fingerprint"
	flagJSON        = "json"
)

const (
	defaultWarning  = 30
	defaultCritical = 7
	maxDays         = 100_000
)

// run returns 0, 1, 2 or 3, which monitoring systems take for fine, warning, critical and unknown. The last is for a wrong
// command line, as nothing is known then (Monitoring Plugins Development Guidelines).
func run(ctx context.Context, args []string, clk clock.Clock, stdout, stderr io.Writer) int {
	status := probe.OK
	app := newApp(clk, &status, stdout, stderr)
	if err := cli.Run(ctx, app, cli.Arrange(args, app.Flags)); err != nil {
		return cli.Report(cli.Messages(stderr, args, ""), tool, cli.WithCode(err, int(probe.Unknown)))
	}
	return int(status)
}

func newApp(clk clock.Clock, status *probe.Status, stdout, stderr io.Writer) *urfave.App {
	app := cli.NewApp(tool, "check a certificate authority from outside", stdout, stderr)
	app.UsageText = tool + " [options] http://HOST[:PORT]"
	app.Description = `Checks that HTTP and HTTPS serve the same CA, that each CA of each authority has a successor
in time and a revocation list that is valid and fresh, that those under a root lead to it, that the HTTPS certificate verifies and lasts, and that
the daemon's clock is right. Prints one line, with measures after a bar, and exits with 0 if all
is well, 1 for a warning, 2 if something is critical, and 3 if the command line is wrong. It writes nothing, needs no
certificate, and takes for granted that whoever answers is the CA, unless --ca-fingerprint says which it is.
Without an address it is that of CAUASE_CA_URL or of the configuration (cauase init), the user's or the machine's; then the CA has to be the
one that is trusted there: that of its ca-fingerprint or, without, of its store, or a successor. An address that is
given is checked as it is, unless --config or --context says that it is about that CA.`
	app.Flags = []urfave.Flag{
		cli.Days(urfave.Float64Flag{Name: flagWarning, Aliases: []string{"w"}, Value: defaultWarning,
			DefaultText: fmt.Sprintf("%d, or a fourth of the certificate's life if that is less", defaultWarning),
			Usage:       "warn of certificates of the daemon with `DAYS` left"}),
		cli.Days(urfave.Float64Flag{Name: flagCritical, Aliases: []string{"c"}, Value: defaultCritical,
			DefaultText: fmt.Sprintf("%d, or a tenth of the certificate's life if that is less", defaultCritical),
			Usage:       "call it critical with `DAYS` left"}),
		&urfave.StringFlag{Name: flagTimeout, Aliases: []string{"t"}, Value: "30s", Usage: "give up after `DURATION`, such as 30s or 1m; a number without a unit is in seconds"},
		&urfave.GenericFlag{Name: flagFingerprint, Value: &pins{}, EnvVars: []string{"CAUASE_CA_FINGERPRINT"},
			Usage: "`SHA256:HEX` of a CA that the daemon has to have, or a successor of it (repeatable, or separated by commas): anything else is critical"},
		&urfave.GenericFlag{Name: flagAuthority, Value: &names{}, Usage: "check this `NAME` only (repeatable; cas is that of services, cau that of users)", DefaultText: "all that the daemon says it has"},
		&urfave.BoolFlag{Name: flagCaucase, EnvVars: []string{"CAUASE_CAUCASE"}, Usage: "it is a reference caucased, whose HTTPS certificate nobody can verify: otherwise that is critical"},
		&urfave.StringFlag{Name: flagConfig, EnvVars: []string{"CAUASE_CONFIG"}, TakesFile: true, DefaultText: "$XDG_CONFIG_HOME/cauase/cauase.toml or ~/.config/cauase/cauase.toml, then " + config.SystemFile,
			Usage: "`FILE` (TOML) with the CA's address and whom to trust, as for cauase; none for no file"},
		&urfave.StringFlag{Name: flagContext, EnvVars: []string{"CAUASE_CONTEXT"}, DefaultText: "the configuration's current-context, or default",
			Usage: "`NAME` of the settings to use, for those who work with several CAs"},
		&urfave.BoolFlag{Name: flagJSON, Usage: "print all findings as JSON"},
	}
	app.Action = func(c *urfave.Context) error {
		report, err := check(c, clk)
		if err != nil {
			return err
		}
		*status = report.Status
		return show(c, report)
	}
	cli.Describe(app, manual())
	return app
}

func check(c *urfave.Context, clk clock.Clock) (*probe.Report, error) {
	address := os.Getenv(envURL)
	if c.NArg() > 1 {
		return nil, cli.WithHint(fmt.Errorf("%q: one address is enough", c.Args().Get(1)), "usage: %s", c.App.UsageText)
	}
	name := envURL
	if c.NArg() == 1 {
		address, name = c.Args().First(), ""
	}
	known, err := configured(c, address)
	if err != nil {
		return nil, err
	}
	if address == "" {
		address, name = known.url, known.place
	}
	if address == "" {
		return nil, cli.WithHint(errors.New("one address is needed"), "usage: %s, or set %s, or have it in the configuration (cauase init)", c.App.UsageText, envURL)
	}
	if err := client.CheckURL(address); err != nil && name != "" {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	limits, err := readLimits(c)
	if err != nil {
		return nil, err
	}
	timeout, err := readTimeout(c.String(flagTimeout))
	if err != nil {
		return nil, err
	}
	return probe.Run(c.Context, probe.Options{
		URL: address, Clock: clk, Limits: limits, Timeout: timeout,
		UserAgent: tool + "/" + strings.Trim(cli.Version(), "()"), Authorities: *c.Generic(flagAuthority).(*names),
		Pins: known.pins, Trusted: known.trusted,
		Caucase: c.Bool(flagCaucase) || known.caucase,
	})
}

// readTimeout reads a duration. Monitoring systems give seconds, without a unit.
func readTimeout(text string) (time.Duration, error) {
	timeout, err := cli.ParseSpan(text, time.Second)
	if err != nil {
		return 0, fmt.Errorf("--%s: %q is neither a number of seconds nor a duration such as 30s or 1m", flagTimeout, text)
	}
	if timeout <= 0 {
		return 0, fmt.Errorf("--%s %s is not a time to wait", flagTimeout, text)
	}
	return timeout, nil
}

// pins are fingerprints, some for each time the flag is given.
type pins []client.Pin

// Set adds those of a text. An empty one is an error: an empty variable of a shell must not mean that anybody will do.
func (p *pins) Set(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		pin, err := client.ParsePin(strings.TrimSpace(one))
		if err != nil {
			return err
		}
		*p = append(*p, pin)
	}
	return nil
}

func (p *pins) String() string { return "" }

// names are those of authorities, one for each time the flag is given: the address may follow it.
type names []client.AuthorityName

// Set adds one, or says why it is none.
func (n *names) Set(text string) error {
	name, err := client.ParseAuthority(text)
	if err == nil && !slices.Contains(*n, name) {
		*n = append(*n, name)
	}
	return err
}

func (n *names) String() string { return "" }

func readLimits(c *urfave.Context) (probe.Limits, error) {
	warning, critical := c.Float64(flagWarning), c.Float64(flagCritical)
	for name, days := range map[string]float64{flagWarning: warning, flagCritical: critical} {
		if !(days >= 0 && days <= maxDays) {
			return probe.Limits{}, fmt.Errorf("--%s %v is not a number of days", name, days)
		}
	}
	switch {
	case warning >= critical:
	case !c.IsSet(flagCritical):
		critical = warning
	case !c.IsSet(flagWarning):
		warning = critical
	default:
		return probe.Limits{}, fmt.Errorf("--%s %v comes after --%s %v", flagWarning, warning, flagCritical, critical)
	}
	return probe.Limits{
		Warning:  time.Duration(warning * 24 * float64(time.Hour)),
		Critical: time.Duration(critical * 24 * float64(time.Hour)),
		Exact:    c.IsSet(flagWarning) || c.IsSet(flagCritical),
	}, nil
}

func show(c *urfave.Context, report *probe.Report) error {
	if !c.Bool(flagJSON) {
		_, err := fmt.Fprintln(c.App.Writer, report.Line())
		return err
	}
	return cli.WriteJSON(c.App.Writer, report)
}
