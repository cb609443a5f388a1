package main

import (
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/config"
	"cauase/pkg/updater"
)

const tool = "cauase-updater"

// run does what args ask for and returns the exit code. The end of ctx is taken like a
// SIGTERM.
func run(ctx context.Context, args []string, clk clock.Clock, stdout, stderr io.Writer) int {
	app := newApp(clk, stdout, stderr)
	if hasConfig(args) {
		leaveShared(app.Flags)
	}
	return cli.Report(cli.LogMessages(stderr, args, env(flagLog)[0]), tool, cli.Run(ctx, app, cli.Arrange(args, app.Flags)))
}

// Flags that are about the agent. All others are about a job.
const (
	flagConfig  = "config"
	flagContext = "context"
	flagOnce    = "once"
	flagStatus  = "status"
	flagRefresh = "refresh"
	flagJSON    = "json"
	flagMetrics = "metrics-bind"
	flagLog     = "log-format"
)

func newApp(clk clock.Clock, stdout, stderr io.Writer) *urfave.App {
	app := cli.NewApp(tool, "keep a host's certificate, CA certificates and revocation lists up to date", stdout, stderr)
	app.UsageText = tool + " --ca-url URL --store FOLDER [--crt FILE [--key FILE] [--csr FILE]] [options]\n" +
		tool + " --config FILE [options]"
	app.Description = `Runs until it is told to end, and no error ends it. With --crt it renews that certificate, and with
--csr it gets the first one; without --crt only CA certificates and revocation lists are kept. --once does
what is due and exits with 0, 1 for an error, 2 while a request is pending, 3 if only the hook failed,
4 if the request was rejected; --status says how things are and exits likewise; --refresh has the running agent look for newer
lists now, waits for that, and exits likewise. Every option can also be given as an environment
variable: --on-renew as CAUASE_UPDATER_ON_RENEW. CAUASE_CA_URL and others that mean the same for cauase are
read, too, unless there is a configuration file.`
	app.Flags = flags()
	app.Action = func(c *urfave.Context) error {
		if err := cli.NoArguments(c); err != nil {
			return err
		}
		return start(c, clk, stdout, stderr)
	}
	cli.Describe(app, manual())
	return app
}

// shared are the options that mean the same for all our tools, and may be given to all in one variable: --ca-url as
// CAUASE_CA_URL.
var shared = []string{"ca-url", flagContext, "store", "ca-fingerprint", "mode", "authority", "key-type", "threshold", "catch-up", "on-renew"}

// env are the variables of an option. CAUASE_UPDATER_… is for the agent alone, and comes first.
func env(name string) []string {
	variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	names := []string{"CAUASE_UPDATER_" + variable}
	if slices.Contains(shared, name) {
		names = append(names, "CAUASE_"+variable)
	}
	return names
}

// leaveShared has the options that are about a job not be taken from variables that all tools share: where a
// configuration file lists the jobs, what a user has set for the client is not meant.
func leaveShared(flags []urfave.Flag) {
	for _, flag := range flags {
		var variables *[]string
		switch f := flag.(type) {
		case *urfave.StringFlag:
			variables = &f.EnvVars
		case *urfave.StringSliceFlag:
			variables = &f.EnvVars
		case *cli.DaysFlag:
			variables = &f.EnvVars
		case *cli.Float64Flag:
			variables = &f.EnvVars
		default:
			continue
		}
		*variables = slices.DeleteFunc(*variables, func(name string) bool { return !strings.HasPrefix(name, "CAUASE_UPDATER_") })
	}
}

// hasConfig reports whether a command line, or the environment, names a configuration file.
func hasConfig(args []string) bool {
	return os.Getenv(env(flagConfig)[0]) != "" || slices.ContainsFunc(args, func(arg string) bool {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		return strings.HasPrefix(arg, "-") && name == flagConfig
	})
}

func text(name, usage string) urfave.Flag {
	return &urfave.StringFlag{Name: name, EnvVars: env(name), Usage: usage}
}

func file(name, usage string) urfave.Flag {
	return &urfave.StringFlag{Name: name, EnvVars: env(name), TakesFile: true, Usage: usage}
}

func number(name string, value float64, usage string) urfave.Flag {
	return cli.Days(urfave.Float64Flag{Name: name, EnvVars: env(name), Value: value, Usage: usage})
}

func flags() []urfave.Flag {
	return []urfave.Flag{
		text("ca-url", "the CA's address, as `http://HOST[:PORT]`"),
		file("cas-ca", "CA certificates of services: a file or directory at `PATH`; what does not exist becomes a file if its name has an extension (default: that of --ca, in service mode)"),
		number("threshold", updater.DefaultThreshold.Hours()/24, "renew the certificate when fewer than `DAYS` are left"),
		number("crl-threshold", updater.DefaultCRLThreshold.Hours()/24, "it is an emergency that there is no newer revocation list when fewer than `DAYS` are left of one"),
		text("crl-refresh", "look for newer revocation lists every `DURATION`, such as 10m or 1d; a number without a unit is in days (default: 1h, or a 200th of their life if that is shorter)"),
		&urfave.BoolFlag{Name: "crl-push", EnvVars: env("crl-push"), Value: true, Usage: "hear of newer revocation lists at once, by a connection on which the daemon says so"},
		cli.Int(urfave.IntFlag{Name: "key-len", EnvVars: env("key-len"), DefaultText: "that of the old key", Usage: "make RSA keys of so many `BITS`: 2048, 3072 or 4096"}),
		text("key-type", "`TYPE` of new keys: ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072, rsa-4096 (default: that of the old key)"),
		file("on-renew", "run `EXECUTABLE` after any file has changed, until it succeeds"),
		&urfave.StringFlag{Name: "hook-timeout", EnvVars: env("hook-timeout"), Value: "5m", Usage: "end the executable after `DURATION`; a number without a unit is in seconds"},
		number("max-sleep", updater.DefaultMaxSleep.Hours()/24, "fetch CA certificates and revocation lists at least every so many `DAYS`"),
		&urfave.StringFlag{Name: "mode", EnvVars: env("mode"), Value: "service", Usage: "kind of certificate, a `MODE`: service or user"},
		text(flagContext, "take the CA's address, and what else no option says, from the context `NAME` of "+config.SystemFile+" (default: without --ca-url, its current one)"),
		text("authority", "the authority by its `NAME`, instead of --mode: service is cas, user is cau"),
		text("profile", "ask for a first certificate of this `PROFILE` (default: the authority's)"),
		&urfave.BoolFlag{Name: "chain", EnvVars: env("chain"), Usage: "store the CA certificates between the certificate and its root behind it, as servers send them"},
		file("root", "keep the roots that verify all the authority issues, `PATH` like --cas-ca"),
		file("csr", "request in `FILE` for the first certificate; ignored once --crt holds a valid one"),
		file("invite-file", "invitation in `FILE`, by which the request is signed at once, and which says which CA to trust; erased after use"),
		file("ssh-host-key", "prove which host asks for the first certificate by its SSH host key in `FILE`, such as /etc/ssh/ssh_host_ed25519_key; rules of the daemon may have the request signed at once"),
		file("key", "private key in `FILE` (default: with the certificate)"),
		file("crt", "certificate in `FILE`"),
		file("store", "CA certificates and revocation lists are in `FOLDER` where --ca, --crl and --cas-ca do not say otherwise, as cas.crt.pem and cas.crl.pem: where cauase --store has them"),
		file("ca", "CA certificates of the mode, `PATH` like --cas-ca"),
		file("crl", "revocation lists of the mode, `PATH` like --cas-ca"),
		&urfave.StringSliceFlag{Name: "ca-fingerprint", EnvVars: env("ca-fingerprint"),
			Usage: "on first contact trust the CA with this `sha256:…` only (repeatable; in user mode one of each CA)"},
		cli.Float64(urfave.Float64Flag{Name: "catch-up", EnvVars: env("catch-up"), DefaultText: "0: never",
			Usage: "when all CA certificates here have expired, follow the CA from the newest nevertheless if it did so at most `SPANS` ago"}),
		text("owner", "`USER` that written files belong to, by name or number, and who does the job in folders that others than root can write to (default: that of the file replaced)"),
		text("group", "`GROUP` of written files, by name or number"),
		text("file-mode", "`MODE` of written files, such as 0640; files with a private key never get more than 0640, and 0600 if MODE opens files to the world"),
		&urfave.BoolFlag{Name: "follow-symlinks", EnvVars: env("follow-symlinks"), Usage: "follow symbolic links, and replace what they point to, instead of refusing them"},
		file("state", "what is remembered across restarts is in `FILE` (default: beside the certificate, or the revocation lists)"),
		file(flagConfig, "keep what the TOML file `FILE` lists, instead of what options say; read again when it changes and on SIGHUP"),
		&urfave.BoolFlag{Name: flagOnce, Usage: "do what is due, then exit"},
		&urfave.BoolFlag{Name: flagRefresh, Usage: "have the running agent look for newer CA certificates and revocation lists now"},
		&urfave.BoolFlag{Name: flagStatus, Usage: "print how things are, changing nothing, then exit"},
		&urfave.BoolFlag{Name: flagJSON, Usage: "print JSON"},
		text(flagMetrics, "serve metrics for Prometheus at `HOST:PORT`"),
		&urfave.StringFlag{Name: flagLog, EnvVars: env(flagLog), Value: "text", Usage: "`FORMAT` of the log: text or json"},
	}
}

// raw is a job as command lines and configuration files have it. Nil is not given.
type raw struct {
	Name           string    `toml:"name"`
	CAURL          *string   `toml:"ca-url"`
	CASCA          *string   `toml:"cas-ca"`
	Threshold      *quantity `toml:"threshold"`
	CRLThreshold   *quantity `toml:"crl-threshold"`
	CRLRefresh     *quantity `toml:"crl-refresh"`
	CRLPush        *bool     `toml:"crl-push"`
	KeyLen         *int      `toml:"key-len"`
	KeyType        *string   `toml:"key-type"`
	OnRenew        *string   `toml:"on-renew"`
	HookTimeout    *quantity `toml:"hook-timeout"`
	MaxSleep       *quantity `toml:"max-sleep"`
	Mode           *string   `toml:"mode"`
	CSR            *string   `toml:"csr"`
	Key            *string   `toml:"key"`
	Crt            *string   `toml:"crt"`
	CA             *string   `toml:"ca"`
	CRL            *string   `toml:"crl"`
	Store          *string   `toml:"store"`
	CAFingerprint  []string  `toml:"ca-fingerprint"`
	CatchUp        *quantity `toml:"catch-up"`
	Owner          *string   `toml:"owner"`
	Group          *string   `toml:"group"`
	FileMode       *string   `toml:"file-mode"`
	FollowSymlinks *bool     `toml:"follow-symlinks"`
	State          *string   `toml:"state"`
	Authority      *string   `toml:"authority"`
	Profile        *string   `toml:"profile"`
	Chain          *bool     `toml:"chain"`
	Root           *string   `toml:"root"`
	Invite         *string   `toml:"invite-file"`
	SSHHostKey     *string   `toml:"ssh-host-key"`
	Context        *string   `toml:"context"`
}

// A quantity is a number, with its unit or without, as it stands. What it is worth is found out where errors can name the
// setting.
type quantity struct{ text string }

// UnmarshalText takes texts and, as they stand in a file, numbers.
func (q *quantity) UnmarshalText(text []byte) error {
	q.text = strings.ReplaceAll(string(text), "_", "") // TOML may part digits
	return nil
}

// fromFlags reads the job of a command line.
func fromFlags(c *urfave.Context) raw {
	str := func(name string) *string {
		if !c.IsSet(name) {
			return nil
		}
		v := c.String(name)
		return &v
	}
	num := func(name string) *quantity {
		if !c.IsSet(name) {
			return nil
		}
		return &quantity{strconv.FormatFloat(c.Float64(name), 'f', -1, 64)}
	}
	unit := func(name string) *quantity {
		if !c.IsSet(name) {
			return nil
		}
		return &quantity{c.String(name)}
	}
	r := raw{
		CAURL: str("ca-url"), CASCA: str("cas-ca"), Threshold: num("threshold"), CRLThreshold: num("crl-threshold"), CRLRefresh: unit("crl-refresh"), HookTimeout: unit("hook-timeout"),
		KeyType: str("key-type"), OnRenew: str("on-renew"), MaxSleep: num("max-sleep"), Mode: str("mode"),
		CSR: str("csr"), Key: str("key"), Crt: str("crt"), CA: str("ca"), CRL: str("crl"), Store: str("store"),
		CAFingerprint: c.StringSlice("ca-fingerprint"), CatchUp: num("catch-up"),
		Owner: str("owner"), Group: str("group"), FileMode: str("file-mode"), State: str("state"),
		Profile: str("profile"), Root: str("root"), Invite: str("invite-file"), SSHHostKey: str("ssh-host-key"),
		Authority: str("authority"), Context: str(flagContext),
	}
	if c.IsSet("crl-push") {
		v := c.Bool("crl-push")
		r.CRLPush = &v
	}
	if c.IsSet("chain") {
		v := c.Bool("chain")
		r.Chain = &v
	}
	if c.IsSet("key-len") {
		v := c.Int("key-len")
		r.KeyLen = &v
	}
	if c.IsSet("follow-symlinks") {
		v := c.Bool("follow-symlinks")
		r.FollowSymlinks = &v
	}
	return r
}

// jobFlagsGiven lists flags that make no sense beside a configuration file.
func jobFlagsGiven(c *urfave.Context) []string {
	var given []string
	for _, flag := range c.App.Flags {
		name := flag.Names()[0]
		switch name {
		case flagConfig, flagOnce, flagStatus, flagRefresh, flagJSON, flagMetrics, flagLog, "help", "version", "generate-bash-completion":
			continue
		}
		if c.IsSet(name) {
			given = append(given, "--"+name)
		}
	}
	return given
}

func or[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}
