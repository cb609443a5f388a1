package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/config"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// settings are the global flags, checked.
type settings struct {
	caURL     string
	urlFrom   string // how an error names what gives the address
	authority client.AuthorityName
	caStore   pemfile.Store
	crlStore  pemfile.Store
	rootStore pemfile.Store

	usersStore    pemfile.Store // of the CA of users, whatever is at work
	servicesStore pemfile.Store // of the CA of services, likewise

	context string            // what settings are of, "" if there is no configuration
	files   config.Files      // that were read, the nearest first
	origins map[string]origin // of the settings that are given
	places

	keepRoots      bool // --root-ca is given: roots that are learnt are stored
	userKey        string
	passphraseFile string // "" to ask
	threshold      time.Duration
	keyType        pki.KeyType // "" if not given
	onRenew        string
	json           bool
	decimal        bool // serial numbers are shown so
	quiet          bool
	pins           []client.Pin
	caucase        bool    // the daemon is a reference caucased
	catchUp        float64 // spans

	// builtIn are the locations of the CA certificates of the authorities that every daemon has.
	builtIn []string
}

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", EnvVars: []string{"CAUASE_CONFIG"}, TakesFile: true, DefaultText: "$XDG_CONFIG_HOME/cauase/cauase.toml or ~/.config/cauase/cauase.toml",
			Usage: "`FILE` (TOML) of settings that are given neither here nor in the environment, none for no file; cauase init makes it"},
		&cli.StringFlag{Name: "context", EnvVars: []string{"CAUASE_CONTEXT"}, DefaultText: "the configuration's current-context, or default",
			Usage: "`NAME` of the settings to use, for those who work with several CAs"},
		&cli.StringFlag{Name: "store", EnvVars: []string{"CAUASE_STORE"}, TakesFile: true, DefaultText: "that of the context, beside the user's configuration",
			Usage: "`FOLDER` of CA certificates and revocation lists, named cas.crt.pem, cas.crl.pem and so on; . is the current one"},
		&cli.StringFlag{Name: "ca-url", EnvVars: []string{"CAUASE_CA_URL"}, Usage: "the CA's address, as `http://HOST[:PORT]`"},
		&cli.StringFlag{Name: "ca-crt", EnvVars: []string{"CAUASE_CA_CRT"}, DefaultText: "cas.crt.pem in --store", TakesFile: true,
			Usage: "CA certificates of services: a file or directory at `PATH`; what does not exist becomes a file if its name has an extension"},
		&cli.StringFlag{Name: "user-ca-crt", EnvVars: []string{"CAUASE_USER_CA_CRT"}, DefaultText: "cau.crt.pem in --store", TakesFile: true,
			Usage: "CA certificates of users, `PATH` like --ca-crt"},
		&cli.StringFlag{Name: "crl", EnvVars: []string{"CAUASE_CRL"}, DefaultText: "cas.crl.pem in --store", TakesFile: true,
			Usage: "revocation lists of services, `PATH` like --ca-crt"},
		&cli.StringFlag{Name: "user-crl", EnvVars: []string{"CAUASE_USER_CRL"}, DefaultText: "cau.crl.pem in --store", TakesFile: true,
			Usage: "revocation lists of users, `PATH` like --ca-crt"},
		&cli.StringFlag{Name: "user-key", EnvVars: []string{"CAUASE_USER_KEY"}, TakesFile: true,
			Usage: "the user to act as: `FILE` with private key and certificate"},
		&cli.StringFlag{Name: manners.FlagPassphraseFile, TakesFile: true,
			Usage: "`FILE` with the passphrase of an encrypted key in its first line, - for standard input (default: ask at the terminal)"},
		&cli.StringFlag{Name: "mode", EnvVars: []string{"CAUASE_MODE"}, Value: "service",
			Usage: "kind of certificates at work, a `MODE`: service or user, which are the authorities cas and cau"},
		&cli.StringFlag{Name: "authority", EnvVars: []string{"CAUASE_AUTHORITY"},
			Usage: "the authority at work, by its `NAME`, instead of --mode; files are named NAME.crt.pem, NAME.crl.pem, NAME.root.pem if --ca-crt, --crl, --root-ca do not say otherwise"},
		&cli.StringFlag{Name: "root-ca", EnvVars: []string{"CAUASE_ROOT_CA"}, DefaultText: "cas.root.pem in --store", TakesFile: true,
			Usage: "the roots that verify all the authority issues, `PATH` like --ca-crt; if given, they are followed whenever they are needed"},
		manners.Days(cli.Float64Flag{Name: "threshold", EnvVars: []string{"CAUASE_THRESHOLD"}, Value: 31,
			Usage: "renew certificates that have fewer than `DAYS` left"}),
		&cli.StringFlag{Name: "key-type", EnvVars: []string{"CAUASE_KEY_TYPE"},
			Usage: "`TYPE` of new keys: ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072, rsa-4096 (default: ecdsa-p256, on renewal the type of the old key)"},
		&cli.StringFlag{Name: "on-renew", EnvVars: []string{"CAUASE_ON_RENEW"}, TakesFile: true,
			Usage: "run `EXECUTABLE` after a certificate, CA certificate or revocation list has changed"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, EnvVars: []string{"CAUASE_QUIET"}, Usage: "print no notes, only results, warnings and errors"},
		&cli.BoolFlag{Name: "json", EnvVars: []string{"CAUASE_JSON"}, Usage: "print JSON"},
		manners.Decimal(),
		&cli.StringSliceFlag{Name: "ca-fingerprint", EnvVars: []string{"CAUASE_CA_FINGERPRINT"},
			Usage: "on first contact trust the CA with this `sha256:…` only (repeatable, in the environment separated by commas; without it, the one that answers is trusted)"},
		manners.Float64(cli.Float64Flag{Name: "catch-up", EnvVars: []string{"CAUASE_CATCH_UP"}, DefaultText: "0: never",
			Usage: "when all CA certificates stored here have expired, follow the CA from the newest of them nevertheless if it did so at most `SPANS` ago, such as 1.5 (a span is how long the CA's certificates are valid, estimated from that CA certificate and its successor's); whoever has got at that CA's key since can then impersonate the CA"}),
		&cli.BoolFlag{Name: "caucase", EnvVars: []string{"CAUASE_CAUCASE"},
			Usage: "the daemon is a reference caucased, whose HTTPS certificate nobody can verify: what it answers to users is believed unauthenticated, unless its CA is not RSA or it has vouched for its certificate before"},
		// What it asked for is what happens now.
		&cli.BoolFlag{Name: "strict-https", EnvVars: []string{"CAUASE_STRICT_HTTPS"}, Hidden: true},
	}
}

// trustingNobody are the commands that work with files alone: where trust is kept, and whether that is safe, is nothing to them.
var trustingNobody = []string{cmdSelfSigned, flagP12}

// maxCatchUp is more than any CA certificate lives.
const maxCatchUp = 1000

// maxThreshold keeps a duration of days within its type.
const maxThreshold = 100_000

func (t *tool) readSettings(c *cli.Context) error {
	t.quiet = c.Bool("quiet")
	if needsNoSettings(c) {
		return nil
	}
	s := settings{origins: map[string]origin{}}
	if err := t.configure(c, &s); err != nil {
		return err
	}
	s = settings{
		context: s.context, files: s.files, origins: s.origins, places: s.places,
		caURL:   c.String("ca-url"),
		urlFrom: manners.NameOf(c, "ca-url"),
		userKey: c.String("user-key"),

		passphraseFile: c.String(manners.FlagPassphraseFile),
		onRenew:        c.String("on-renew"),
		json:           c.Bool("json"),
		decimal:        c.Bool(manners.FlagDecimal),
		caucase:        c.Bool("caucase"),
		quiet:          c.Bool("quiet"),
	}
	if s.caucase && c.Bool("strict-https") {
		return errors.New("--caucase and --strict-https exclude each other")
	}
	if err := s.choose(c); err != nil {
		return err
	}
	if !slices.Contains(trustingNobody, c.Args().First()) {
		if err := s.findStore(c, t.note); err != nil {
			return err
		}
		s.locate(c)
	}
	days := c.Float64("threshold")
	if !(days >= 0 && days <= maxThreshold) {
		return fmt.Errorf("%s %v is not a number of days", manners.NameOf(c, "threshold"), days)
	}
	s.threshold = time.Duration(days * 24 * float64(time.Hour))
	if s.catchUp = c.Float64("catch-up"); !(s.catchUp >= 0 && s.catchUp <= maxCatchUp) {
		return fmt.Errorf("%s %v is not a number of spans", manners.NameOf(c, "catch-up"), s.catchUp)
	}
	if name := c.String("key-type"); name != "" {
		keyType, err := manners.ChooseKeyType(manners.NameOf(c, "key-type"), name)
		if err != nil {
			return err
		}
		s.keyType = keyType
	}
	for _, text := range c.StringSlice("ca-fingerprint") {
		pins, err := parsePins(text)
		if err != nil {
			return fmt.Errorf("%s: %w", manners.NameOf(c, "ca-fingerprint"), err)
		}
		s.pins = append(s.pins, pins...)
	}
	t.settings = s
	return nil
}

// needsNoSettings reports whether a command line works with whatever configuration: it is how one finds out what to
// write there.
func needsNoSettings(c *cli.Context) bool {
	flags := c.Args().Slice()
	if end := slices.Index(flags, "--"); end >= 0 {
		flags = flags[:end]
	}
	for _, help := range []string{"--help", "-help", "--h", "-h"} {
		if slices.Contains(flags, help) {
			return true
		}
	}
	return slices.Contains([]string{"", "completion"}, c.Args().First())
}

// choose finds out which authority is at work.
func (s *settings) choose(c *cli.Context) error {
	mode, err := manners.Choice(manners.NameOf(c, "mode"), c.String("mode"), modes)
	if err != nil {
		return err
	}
	s.authority = client.CAS
	if mode == "user" {
		s.authority = client.CAU
	}
	if c.String("authority") != "" {
		if c.IsSet("mode") {
			return manners.WithHint(fmt.Errorf("%s and %s exclude each other", manners.NameOf(c, "mode"), manners.NameOf(c, "authority")), "--mode service is --authority cas, --mode user is --authority cau")
		}
		if s.authority, err = client.ParseAuthority(c.String("authority")); err != nil {
			return fmt.Errorf("%s: %w", manners.NameOf(c, "authority"), err)
		}
	}
	return nil
}

// parsePins reads the fingerprints of one flag or, separated, of the environment variable.
// None at all is an error: an empty shell variable must not mean to trust anybody.
func parsePins(list string) ([]client.Pin, error) {
	texts := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	if len(texts) == 0 {
		texts = []string{list}
	}
	var pins []client.Pin
	for _, text := range texts {
		pin, err := client.ParsePin(text)
		if err != nil {
			return nil, err
		}
		pins = append(pins, pin)
	}
	return pins, nil
}
