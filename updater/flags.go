package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/client"
	"cauase/pkg/clock"
	"cauase/pkg/config"
	"cauase/pkg/pki"
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
		Profile: str("profile"), Root: str("root"), Invite: str("invite-file"),
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

// errNotGiven is a setting that a job cannot do without.
var errNotGiven = errors.New("is not given")

// A namer is how errors name a setting: as it stands where its value is from.
type namer func(setting string) string

// job checks what is given and turns it into what the agent takes.
func (r raw) job(name namer) (updater.Job, error) {
	j := updater.Job{
		Name: r.Name, CAURL: or(r.CAURL, ""), Crt: or(r.Crt, ""), Key: or(r.Key, ""), CSR: or(r.CSR, ""),
		CA: or(r.CA, ""), CRL: or(r.CRL, ""), CASCA: or(r.CASCA, ""), State: or(r.State, ""), Root: or(r.Root, ""), Invite: or(r.Invite, ""), Profile: or(r.Profile, ""), Chain: or(r.Chain, false),
		OnRenew: or(r.OnRenew, ""), Follow: or(r.FollowSymlinks, false),
		HookTimeout: updater.DefaultHookTimeout, NoPush: !or(r.CRLPush, true),
	}
	err := errors.Join(
		r.times(&j, name), r.chooseAuthority(&j, name), r.keyType(&j, name), r.pins(&j, name), r.ownership(&j, name),
	)
	if j.CAURL != "" {
		if wrong := client.CheckURL(j.CAURL); wrong != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name("ca-url"), wrong))
		}
	}
	if err != nil {
		return j, err
	}
	r.inStore(&j)
	for _, need := range []struct{ name, value string }{{"ca-url", j.CAURL}, {"ca", j.CA}, {"crl", j.CRL}} {
		if need.value == "" {
			return j, fmt.Errorf("%s %w", name(need.name), errNotGiven)
		}
	}
	return j, j.Validate()
}

// inStore has CA certificates and lists where the client has them: what it has come to trust there need not be trusted
// anew, on first use.
func (r raw) inStore(j *updater.Job) {
	if r.Store == nil || *r.Store == "" {
		return
	}
	otherwise := func(path *string, authority client.AuthorityName, suffix string) {
		if *path == "" {
			*path = filepath.Join(*r.Store, string(authority)+suffix)
		}
	}
	otherwise(&j.CA, j.Authority, ".crt.pem")
	otherwise(&j.CRL, j.Authority, ".crl.pem")
	if j.Authority != client.CAS {
		otherwise(&j.CASCA, client.CAS, ".crt.pem")
	}
}

// times reads what is a duration, or a number of something.
func (r raw) times(j *updater.Job, name namer) (wrong error) {
	refuse := func(setting string, err error) {
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", name(setting), err))
		}
	}
	inDays := func(setting string, q *quantity, otherwise time.Duration) time.Duration {
		if q == nil {
			return otherwise
		}
		days, err := cli.ParseDays(q.text)
		if err == nil {
			otherwise, err = updater.Days(days)
		}
		refuse(setting, err)
		return otherwise
	}
	j.Threshold = inDays("threshold", r.Threshold, updater.DefaultThreshold)
	j.CRLThreshold = inDays("crl-threshold", r.CRLThreshold, updater.DefaultCRLThreshold)
	j.MaxSleep = inDays("max-sleep", r.MaxSleep, updater.DefaultMaxSleep)
	span := func(setting string, q *quantity, unit time.Duration, to *time.Duration) {
		if q == nil {
			return
		}
		d, err := cli.ParseSpan(q.text, unit)
		if err == nil && d <= 0 {
			err = fmt.Errorf("%q is not a duration such as 90s or 5m", q.text)
		}
		refuse(setting, err)
		*to = d
	}
	span("crl-refresh", r.CRLRefresh, 24*time.Hour, &j.CRLRefresh)
	span("hook-timeout", r.HookTimeout, time.Second, &j.HookTimeout)
	if r.CatchUp != nil {
		spans, err := cli.ParseFloat(r.CatchUp.text)
		if err == nil && !(spans >= 0) {
			err = fmt.Errorf("%s is not a number of spans", r.CatchUp.text)
		}
		refuse("catch-up", err)
		j.CatchUp = spans
	}
	return wrong
}

func (r raw) chooseAuthority(j *updater.Job, name namer) error {
	mode, err := cli.Choice(name("mode"), or(r.Mode, modes[0]), modes)
	if err != nil {
		return err
	}
	j.Authority = client.CAS
	if mode == "user" {
		j.Authority = client.CAU
	}
	if r.Authority == nil {
		return nil
	}
	if r.Mode != nil {
		return fmt.Errorf("%s and %s say the same: give one", name("authority"), name("mode"))
	}
	if j.Authority, err = client.ParseAuthority(*r.Authority); err != nil {
		return fmt.Errorf("%s: %w", name("authority"), err)
	}
	return nil
}

func (r raw) keyType(j *updater.Job, name namer) error {
	switch {
	case r.KeyType != nil && r.KeyLen != nil:
		return fmt.Errorf("%s and %s say the same: give one", name("key-type"), name("key-len"))
	case r.KeyLen != nil:
		keyType, err := pki.ParseKeyType("rsa-" + strconv.Itoa(*r.KeyLen))
		if err != nil {
			return fmt.Errorf("%s: %d is none of 2048, 3072, 4096", name("key-len"), *r.KeyLen)
		}
		j.KeyType = keyType
	case r.KeyType != nil:
		keyType, err := cli.ChooseKeyType(name("key-type"), *r.KeyType)
		if err != nil {
			return err
		}
		j.KeyType = keyType
	}
	return nil
}

func (r raw) pins(j *updater.Job, name namer) error {
	for _, text := range fingerprints(r.CAFingerprint) {
		pin, err := client.ParsePin(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name("ca-fingerprint"), err)
		}
		j.Pins = append(j.Pins, pin)
	}
	return nil
}

// fingerprints are those of a list, each of which may hold several as in the variable that all tools share. An empty text
// stays, and is refused: it must not mean that anybody will do.
func fingerprints(list []string) (all []string) {
	for _, one := range list {
		several := strings.FieldsFunc(one, func(r rune) bool { return r == ',' || r == ' ' })
		if len(several) == 0 {
			several = []string{one}
		}
		all = append(all, several...)
	}
	return all
}

func (r raw) ownership(j *updater.Job, name namer) error {
	if r.FileMode != nil {
		mode, err := strconv.ParseUint(strings.TrimPrefix(*r.FileMode, "0o"), 8, 32)
		if err != nil || mode == 0 || mode > 0o777 || mode&0o400 == 0 {
			return fmt.Errorf("%s: %q is no mode such as 0640 that lets the owner read", name("file-mode"), *r.FileMode)
		}
		j.FileMode = fs.FileMode(mode)
	}
	var err error
	if r.Owner != nil {
		j.Owner, err = id(*r.Owner, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name("owner"), err)
		}
	}
	if r.Group != nil {
		j.Group, err = id(*r.Group, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name("group"), err)
		}
	}
	return nil
}

// id reads a number, or the name that look knows.
func id(text string, look func(string) (string, error)) (*int, error) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		v := int(n)
		return &v, nil
	}
	found, err := look(text)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(found)
	return &n, err
}
