package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/config"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// Flags of authority add.
const (
	flagRole        = "role"
	flagTitle       = "title"
	flagParent      = "parent"
	flagSubject     = "subject"
	flagPermit      = "permit"
	flagValidity    = "validity"
	flagSpan        = "span"
	flagLife        = "life"
	flagProfile     = "profile"
	flagProfiles    = "profiles"
	flagMaxPending  = "max-pending"
	flagAutoApprove = "auto-approve"
	flagExternal    = "external"
	flagCRL         = "crl"
	flagImport      = "import"
)

func authorityAddCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "add",
		Usage:     "add an authority: one of services, or a root that certifies others",
		ArgsUsage: "NAME",
		Description: "Adds an authority, whose first CA certificate is made at once. It is served under /NAME/… as cas is. A\n" +
			"root signs CA certificates of authorities that name it as their --" + flagParent + ", and nothing else: whoever trusts\n" +
			"the root alone verifies everything below it. Its CA certificates last for --" + flagValidity + ", and it certifies\n" +
			"authorities for up to a quarter of that, so that none outlives it. A database that is not there yet is\n" +
			"made for a root, since an offline host has no daemon to make it.\n\n" +
			"With --" + flagExternal + " the root's key is elsewhere, in the database of an offline host: FILE holds its certificates\n" +
			"(PEM), and authorities below it wait for sign-offs that are carried by file, see request, sign and install.\n" +
			"It has to be called as it is there.\n\n" +
			"With --" + flagImport + " it begins with CA certificates and keys from elsewhere, by the rules of import-ca, instead of\n" +
			"one that is made. Those that a root has signed are taken if that root is the --" + flagParent + ": add it before.\n\n" +
			"Examples:\n" +
			"  cauased manage authority add home-root --role root --validity 20y --subject 'C=FR,O=Example,CN=Home Root'\n" +
			"  cauased manage authority add lab --parent home-root --permit dns:.lab.example --permit ip:10.0.0.0/8\n" +
			"  cauased manage authority add home-root --role root --external root.pem --crl root.crl.pem\n" +
			"  cauased manage authority add lab --parent home-root --import lab.pem",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.StringFlag{Name: flagRole, Value: string(store.RoleServices), Usage: "`ROLE`: services or root"},
			&urfave.StringFlag{Name: flagTitle, DefaultText: "NAME", Usage: "`TITLE` for people, which its CA certificates bear unless there is a --" + flagSubject},
			&urfave.StringFlag{Name: flagParent, DefaultText: "none: it signs its CA certificates itself", Usage: "`ROOT` that signs its CA certificates"},
			&urfave.StringFlag{Name: flagSubject, Usage: "`NAME` of its CA certificates, such as C=FR,O=Example,CN=Lab (default: made of title and netloc)"},
			&urfave.StringSliceFlag{Name: flagPermit, Usage: "`KIND:NAME` that its certificates may be for, repeatable: dns:.lab.example, ip:10.0.0.0/8, email:example.org, uri:example.org (default: any)"},
			&urfave.StringFlag{Name: flagValidity, DefaultText: "20y", Usage: "of a root: `DURATION` of its CA certificates, such as 20y"},
			&urfave.StringFlag{Name: flagSpan, DefaultText: "93 days", Usage: "`DURATION` or days that issued certificates are valid, unless their profile or who signs says otherwise"},
			cli.Int(urfave.IntFlag{Name: flagLife, Value: rollover.DefaultLife, Usage: "`COUNT` of spans that its CA certificates are valid"}),
			text("", flagKeyType, string(pki.DefaultKeyType), "`TYPE` of its first CA key: "+keyTypes()),
			&urfave.StringFlag{Name: flagKey, DefaultText: "as [authority.NAME] in the file of --" + flagConfig + " says, or " + keyInDatabase,
				Usage: "`URI` of the token on which its CA keys are made, pkcs11:token=LABEL;object=LABEL; --" + flagToken + " says how it is reached"},
			&urfave.StringFlag{Name: flagProfile, DefaultText: "as-requested", Usage: "`PROFILE` of requests that name none"},
			&urfave.StringFlag{Name: flagProfiles, Usage: "`LIST` of further profiles that may be asked for, separated by commas"},
			cli.Int(urfave.IntFlag{Name: flagMaxPending, Value: 50, Usage: "`COUNT` of pending requests above which further ones are refused"}),
			cli.Int(urfave.IntFlag{Name: flagAutoApprove, Usage: "`COUNT` of first requests that are signed without asking"}),
			&urfave.StringFlag{Name: flagExternal, Usage: "`FILE` of the certificates of a root whose key is elsewhere, PEM"},
			&urfave.StringFlag{Name: flagCRL, Usage: "`FILE` of revocation lists of that root, PEM"},
			&urfave.StringSliceFlag{Name: flagImport, Usage: "`FILE` of CA certificates and their keys to begin with, PEM, such as of export-ca; repeatable"},
			passphraseFlag("read the passphrase of encrypted keys from the first line of `FILE` instead of asking"),
			importBadCAFlag(),
			netlocFlag(),
		},
		Action: authorityAction(clk, stdout, stderr, addAuthority, authorityArgument),
	}
}

func addAuthority(call *authorityCall) error {
	in, err := readNewAuthority(call)
	if err != nil {
		return cli.WithHint(err, "%s", authorityHint(call.c))
	}
	with := call.withAuthorities
	if in.Row.Role == store.RoleRoot {
		// On an offline host nothing else makes the database.
		with = func(do func(store.Store) error) error { return withAuthorityHint(fillDatabase(call.c, do)) }
	}
	return with(func(st store.Store) error {
		in.Noted = func(note string) { call.remark("note", "%s", note) }
		switch err := manage.AddAuthority(call.c.Context, st, call.clk, in); {
		case errors.Is(err, manage.ErrUnfit) && !in.AllowUnfit:
			return cli.WithHint(err, "if it has to be this one, --%s takes it", flagImportBadCA)
		case errors.Is(err, manage.ErrParent):
			return cli.WithHint(err, "cauased manage authority list lists the roots")
		case errors.Is(err, ca.ErrInvalid), errors.Is(err, store.ErrInvalidAuthority):
			return cli.WithHint(err, "%s", authorityHint(call.c))
		case err != nil:
			return err
		}
		v, err := call.view(st, call.name)
		if err != nil {
			return err
		}
		return printAdded(call, st, v)
	})
}

func readNewAuthority(call *authorityCall) (manage.NewAuthority, error) {
	c := call.c
	in := manage.NewAuthority{Netloc: call.netloc}
	// The others exist, and cannot be added: manage says why.
	role, err := cli.Choice("--"+flagRole, c.String(flagRole), append(slices.Clone(roles), string(store.RoleUsers), string(store.RoleDaemon)))
	if err != nil {
		return in, err
	}
	keyType := c.String(flagKeyType)
	if keyType != "" {
		chosen, err := cli.ChooseKeyType("--"+flagKeyType, keyType)
		if err != nil {
			return in, err
		}
		keyType = string(chosen)
	}
	row := store.Authority{
		Name: call.name, Role: store.Role(role), Title: c.String(flagTitle), Parent: store.AuthorityName(c.String(flagParent)),
		Permitted: c.StringSlice(flagPermit), Life: c.Int(flagLife), KeyType: keyType,
		Profile: c.String(flagProfile), Profiles: splitList(c.String(flagProfiles)),
		MaxPending: c.Int(flagMaxPending), AutoApprove: c.Int(flagAutoApprove),
	}
	if row.Title == "" {
		row.Title = string(call.name)
	}
	if text := c.String(flagSubject); text != "" {
		if row.Subject, err = pki.ParseSubject(text); err != nil {
			return in, fmt.Errorf("--%s: %w", flagSubject, err)
		}
	}
	if row.Role == store.RoleRoot {
		err = readRoot(c, &row)
	} else {
		err = readServices(c, &row)
	}
	if err != nil {
		return in, err
	}
	if in.External, in.Lists, err = readExternal(c); err != nil {
		return in, err
	}
	if in.Import, err = readImported(call); err != nil {
		return in, err
	}
	in.AllowUnfit = c.Bool(flagImportBadCA)
	if len(in.External)+len(in.Import) > 0 && row.Role == store.RoleRoot && !c.IsSet(flagValidity) {
		row.Span = 0 // that of the certificates
	}
	file, err := readProfilesOnly(c)
	if err != nil {
		return in, err
	}
	in.Profiles = file.profiles
	in.Key = file.keys.places[row.Name]
	if c.IsSet(flagKey) {
		if _, in.Key, err = readKeyPlace(c.String(flagKey)); err != nil {
			return in, fmt.Errorf("--%s: %w", flagKey, err)
		}
	}
	in.Row = row
	return in, nil
}

// readRoot reads the flags of a root.
func readRoot(c *urfave.Context, row *store.Authority) error {
	for _, flag := range []string{flagSpan, flagLife} {
		if c.IsSet(flag) {
			return fmt.Errorf("--%s: of a root, --%s is given, which is for how long its CA certificates last", flag, flagValidity)
		}
	}
	for _, flag := range []string{flagProfile, flagProfiles, flagMaxPending, flagAutoApprove} {
		if c.IsSet(flag) {
			return fmt.Errorf("--%s: a root takes no requests for certificates", flag)
		}
	}
	validity := 20 * 365 * day
	if c.IsSet(flagValidity) {
		var err error
		if validity, err = pki.ParseDuration(c.String(flagValidity)); err != nil {
			return fmt.Errorf("--%s: %w", flagValidity, err)
		}
	}
	row.Span, row.Life, row.MaxPending = validity/manage.RootLife, manage.RootLife, 0
	return checkSpans(flagValidity, *row)
}

func checkSpans(flag string, row store.Authority) error {
	if err := (rollover.Spans{Leaf: row.Span, Life: row.Life}).Check(); err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return nil
}

// readServices reads the flags of an authority that is not a root.
func readServices(c *urfave.Context, row *store.Authority) error {
	for _, flag := range []string{flagValidity, flagExternal, flagCRL} {
		if c.IsSet(flag) {
			return fmt.Errorf("--%s: that is for roots", flag)
		}
	}
	row.Span = 93 * day
	if c.IsSet(flagSpan) {
		var err error
		if row.Span, err = pki.ParseDays(c.String(flagSpan)); err != nil {
			return fmt.Errorf("--%s: %w", flagSpan, err)
		}
	}
	return checkSpans(flagSpan, *row)
}

// splitList reads a list that is separated by commas.
func splitList(text string) []string {
	var list []string
	for _, one := range strings.Split(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			list = append(list, one)
		}
	}
	return list
}

// readProfilesOnly reads the profiles of a configuration file.
func readProfilesOnly(c *urfave.Context) (settingsFile, error) {
	f := settingsFile{path: c.String(flagConfig)}
	if f.path == "" {
		return f, nil
	}
	content, err := config.Read(f.path)
	if err != nil {
		return f, fmt.Errorf("--%s: %w", flagConfig, err)
	}
	if f.parsedTables, _, _, err = readAlone(f.path, content); err != nil {
		return f, fmt.Errorf("%s: %w", f.path, err)
	}
	return f, nil
}

// readExternal reads the certificates and lists of a root whose key is elsewhere.
func readExternal(c *urfave.Context) (crts []*x509.Certificate, lists [][]byte, err error) {
	path := c.String(flagExternal)
	if path == "" {
		if c.IsSet(flagCRL) {
			return nil, nil, fmt.Errorf("--%s goes with --%s", flagCRL, flagExternal)
		}
		return nil, nil, nil
	}
	if c.IsSet(flagSubject) || c.IsSet(flagKeyType) && !fromDaemon(c, flagKeyType) || c.IsSet(flagPermit) {
		return nil, nil, fmt.Errorf("--%s: subject, key type and permitted names are those of the certificates", flagExternal)
	}
	data, err := readInput(path)
	if err != nil {
		return nil, nil, fmt.Errorf("--%s: %w", flagExternal, err)
	}
	if crts, err = pki.ParseCertificateFile(data); err != nil {
		return nil, nil, fmt.Errorf("--%s: %s: %w", flagExternal, path, err)
	}
	if path = c.String(flagCRL); path == "" {
		return crts, nil, nil
	}
	if data, err = readInput(path); err != nil {
		return nil, nil, fmt.Errorf("--%s: %w", flagCRL, err)
	}
	parsed, err := pki.ParseCRLFile(data)
	if err != nil {
		return nil, nil, fmt.Errorf("--%s: %s: %w", flagCRL, path, err)
	}
	for _, list := range parsed {
		lists = append(lists, list.Raw)
	}
	return crts, lists, nil
}

// readImported reads the CA certificates and keys that an authority is to begin with.
func readImported(call *authorityCall) ([]manage.KeyPair, error) {
	c := call.c
	paths := c.StringSlice(flagImport)
	if len(paths) == 0 {
		return nil, nil
	}
	for _, flag := range []string{flagExternal, flagSubject, flagPermit, flagKeyType} {
		if c.IsSet(flag) && !(flag == flagKeyType && fromDaemon(c, flag)) {
			return nil, fmt.Errorf("--%s does not go with --%s: that is as in the certificates", flag, flagImport)
		}
	}
	return readKeyPairs(passphrases(c, call.stderr), paths)
}

// printAdded prints the authority that was added, and what to trust.
func printAdded(call *authorityCall, st store.Store, v manage.AuthorityView) error {
	if call.c.Bool("json") {
		return cli.WriteJSON(call.stdout, v)
	}
	p := newPrinter(call.c, call.stdout)
	newest := v.Newest()
	if newest == nil {
		p.line("%s is added below %s", v.Name, v.Parent)
		printSignoffNeeded(p, v)
		return p.err
	}
	if v.External {
		p.line("%s is added, a root whose key is elsewhere", v.Name)
		for _, g := range v.Generations {
			printCA(p, g)
		}
		return p.err
	}
	p.line("%s is added, with its first CA certificate", v.Name)
	printCA(p, *newest)
	if v.Parent == "" {
		return p.err
	}
	parent, err := call.view(st, v.Parent)
	if err != nil {
		return err
	}
	p.line("To verify what %s issues, trust %s:", v.Name, parent.Name)
	for _, g := range parent.Generations {
		if (g.State == store.CAUsable || g.State == store.CAExternal) && call.clk.Now().Before(g.NotAfter) {
			printCA(p, g)
		}
	}
	return p.err
}

func printCA(p *printer, g manage.GenerationView) {
	p.line("  %s", g.Fingerprint)
	p.line("  key id %s, %s, %s", g.KeyID, g.KeyType, g.Subject)
	p.line("  valid from %s until %s", stamp(g.NotBefore), stamp(g.NotAfter))
}
