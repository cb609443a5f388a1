package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"cauase/pkg/anchors"
	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// kindCurl is no store of its own.
const kindCurl = "curl"

// storeKinds are what --into takes.
func storeKinds() []string { return append(anchors.Kinds(), kindCurl) }

func storeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "into", Usage: "only stores of this `KIND`: " + strings.Join(storeKinds(), ", ") + " (repeatable; default: all that are found)"},
		&cli.StringSliceFlag{Name: "nss", TakesFile: true, Usage: "the NSS database in `FOLDER`, such as a profile of Firefox (repeatable; default: those of this user)"},
		&cli.StringFlag{Name: "nss-password-file", TakesFile: true, Usage: "`FILE` with the password of the NSS databases in its first line"},
		&cli.StringSliceFlag{Name: "keystore", TakesFile: true, Usage: "the Java keystore in `FILE` (repeatable; default: that of the Java in use)"},
		&cli.StringFlag{Name: "keystore-password-file", TakesFile: true, Usage: "`FILE` with the password of the keystores in its first line (default: that of every cacerts)"},
		&cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and do nothing"},
	}
}

func (t *tool) caInstall() *cli.Command {
	return &cli.Command{
		Name:  "install",
		Usage: "have the programs of this machine trust the CA: Debian's, Red Hat's, Java's and NSS's stores",
		Description: `Puts the CA certificates that are trusted here into the stores that programs look at, by the tools of the
platform: the roots that verify all certificates, if they are stored (ca root), or else the CA certificates of
the authority. Stores of the machine take root. From then on this machine trusts the CA for every name that its certificates
permit: compare its fingerprint first (ca card).

The same command again follows the CA: it adds its new certificates, and takes out those that have expired or
are not trusted any more. What is there from elsewhere stays. ca remove takes all of it out again.`,
		Flags:  append(storeFlags(), &cli.BoolFlag{Name: "remove", Usage: "take them out again, as ca remove does"}),
		Action: t.action(func(c *cli.Context) error { return t.anchor(c, c.Bool("remove"), false) }),
	}
}

func (t *tool) caRemove() *cli.Command {
	return &cli.Command{
		Name:   "remove",
		Usage:  "take out of the stores of this machine what ca install has put there",
		Flags:  append(storeFlags(), &cli.BoolFlag{Name: "all", Usage: "of all CAs and authorities, also those that are not known here"}),
		Action: t.action(func(c *cli.Context) error { return t.anchor(c, true, c.Bool("all")) }),
	}
}

// A storeView is what has become of a store.
type storeView struct {
	Kind    string   `json:"kind"`
	Place   string   `json:"place,omitempty"`
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
	Kept    []string `json:"kept"`
	Skipped string   `json:"skipped,omitempty"` // why nothing was done
	How     []string `json:"how,omitempty"`     // what to do instead
}

type installedView struct {
	DryRun       bool        `json:"dry_run"`
	Certificates []trustView `json:"certificates"` // that are to be in stores
	Stores       []storeView `json:"stores"`
}

func (t *tool) anchor(c *cli.Context, remove, all bool) error {
	if c.NArg() > 0 {
		return errUsage(c, fmt.Sprintf("%q: stores are given with --into, --nss and --keystore", c.Args().First()))
	}
	search, kinds, err := t.search(c)
	if err != nil {
		return err
	}
	owner := anchors.Owner{CA: "local", Authority: string(t.authority)}
	if t.caURL != "" {
		owner.CA = hostFolder(t.caURL)
	}
	view := installedView{DryRun: c.Bool("dry-run"), Certificates: []trustView{}, Stores: []storeView{}}
	var wanted []*x509.Certificate
	if !remove {
		from := ""
		if wanted, from, err = t.rootsToInstall(); err != nil {
			return err
		}
		for _, crt := range wanted {
			view.Certificates = append(view.Certificates, trustView{string(t.authority), pki.SubjectString(crt.RawSubject), client.PinOf(crt).String(), from})
		}
	}
	known, err := t.trustedHere()
	if err != nil && !remove {
		return err
	}
	found, err := search.Find()
	if err != nil {
		return err
	}
	plan := func(there []anchors.Entry) anchors.Change {
		switch {
		case all:
			return anchors.PlanRemoval(there, func(anchors.Entry) bool { return true })
		case remove:
			return anchors.PlanRemoval(there, func(e anchors.Entry) bool {
				return owner.Owns(e.Name) || e.Crt != nil && slices.ContainsFunc(known, e.Crt.Equal)
			})
		}
		return owner.Plan(there, wanted)
	}
	done := 0
	var failed error
	for _, one := range found {
		result, err := t.anchorIn(c, one, plan, len(kinds) > 0)
		if err != nil {
			failed = join(failed, err)
			continue
		}
		if result.Skipped == "" {
			done++
		}
		view.Stores = append(view.Stores, result)
	}
	if how := t.elsewhere(kinds, found, remove); how != nil {
		view.Stores = append(view.Stores, *how)
	}
	if done == 0 && failed == nil && !slices.Equal(kinds, []string{kindCurl}) {
		failed = manners.WithHint(errors.New("there is no store here that could be changed"), "see what is printed on how to do it by hand, or name a store with --nss or --keystore")
	}
	return join(t.print(view, func(p *printer) { p.installed(view) }), failed)
}

// search reads which stores are meant.
func (t *tool) search(c *cli.Context) (s anchors.Search, kinds []string, err error) {
	for _, word := range c.StringSlice("into") {
		kind, err := manners.Choice("--into", word, storeKinds())
		if err != nil {
			return s, nil, err
		}
		kinds = append(kinds, kind)
	}
	s = anchors.Search{
		NSS: c.StringSlice("nss"), NSSPassword: c.String("nss-password-file"),
		Keystores: c.StringSlice("keystore"), Password: c.String("keystore-password-file"),
	}
	s.Kinds = slices.Clone(kinds)
	// Who names a store means that one.
	if len(s.NSS) > 0 && len(kinds) == 0 {
		s.Kinds = append(s.Kinds, "nss")
	}
	if len(s.Keystores) > 0 && len(kinds) == 0 {
		s.Kinds = append(s.Kinds, "java")
	}
	for _, path := range []string{s.NSSPassword, s.Password} {
		if path == "" {
			continue
		}
		t.warnOpenSecret(path, "password")
		if _, err := os.Stat(path); err != nil {
			return s, nil, err
		}
	}
	if s.Home, err = os.UserHomeDir(); err != nil {
		s.Home = ""
	}
	if len(kinds) == 0 {
		kinds = slices.Clone(s.Kinds)
	}
	return s, kinds, nil
}

// rootsToInstall are what verifiers have to trust: roots that were stored, or else CA certificates that are their own.
func (t *tool) rootsToInstall() (roots []*x509.Certificate, from string, err error) {
	for _, store := range []pemfile.Store{t.rootStore, t.caStore} {
		cas, err := t.validCAs(store)
		if err != nil {
			return nil, "", err
		}
		if len(cas) == 0 {
			continue
		}
		roots := slices.DeleteFunc(cas, func(ca *x509.Certificate) bool {
			return !bytes.Equal(ca.RawSubject, ca.RawIssuer) || ca.CheckSignatureFrom(ca) != nil
		})
		if len(roots) > 0 {
			return roots, store.Path, nil
		}
		return nil, "", manners.WithHint(fmt.Errorf("the CA certificates in %s are below a root, which is what programs have to trust", store.Path), "%s ca root%s fetches it", toolName, t.authorityFlag())
	}
	return nil, "", manners.WithHint(fmt.Errorf("%s holds no valid CA certificate of %s", t.caStore.Path, t.authority), "%s ca update%s fetches them", toolName, t.authorityFlag())
}

// trustedHere are all CA certificates of the authority at work that are stored.
func (t *tool) trustedHere() ([]*x509.Certificate, error) {
	cas, err := t.caStore.ReadCertificates()
	roots, failed := t.rootStore.ReadCertificates()
	return append(cas, roots...), join(err, failed)
}

// anchorIn makes the change in one store. Where that is not possible is no error unless the store was asked for.
func (t *tool) anchorIn(c *cli.Context, one anchors.Found, plan func([]anchors.Entry) anchors.Change, asked bool) (storeView, error) {
	view := storeView{Kind: one.Kind, Added: []string{}, Removed: []string{}, Kept: []string{}, Skipped: one.Why}
	if one.Store == nil {
		return view, nil
	}
	view.Place = one.Store.Place()
	there, err := one.Store.List(c.Context)
	change := plan(there)
	if err == nil && !change.Empty() {
		err = one.Store.Check()
	}
	switch {
	case err == nil:
	case c.Bool("dry-run") && errors.Is(err, anchors.ErrRoot):
		view.How = []string{t.asRoot(c, one.Kind)}
	case errors.Is(err, anchors.ErrRoot) && !asked:
		view.Skipped, view.How = "only root may change it", []string{t.asRoot(c, one.Kind)}
		return view, nil
	default:
		return view, t.storeHint(c, one, err)
	}
	for _, entries := range []struct {
		to   *[]string
		from []anchors.Entry
	}{{&view.Added, change.Add}, {&view.Removed, change.Remove}, {&view.Kept, change.Keep}} {
		for _, entry := range entries.from {
			*entries.to = append(*entries.to, entry.Name)
		}
	}
	if c.Bool("dry-run") || change.Empty() {
		return view, nil
	}
	// An interrupt must not leave a store between two states.
	if err := one.Store.Apply(context.WithoutCancel(c.Context), change); err != nil {
		return view, t.storeHint(c, one, err)
	}
	return view, nil
}

// storeHint says what can be done about a store that cannot be changed.
func (t *tool) storeHint(c *cli.Context, one anchors.Found, err error) error {
	err = fmt.Errorf("%s store %s: %w", one.Kind, one.Store.Place(), err)
	switch {
	case errors.Is(err, anchors.ErrRoot):
		return manners.WithHint(err, "as root: %s", t.asRoot(c, one.Kind))
	case errors.Is(err, anchors.ErrPassword) && one.Kind == "nss":
		return manners.WithHint(err, "--nss-password-file FILE says it")
	case errors.Is(err, anchors.ErrPassword):
		return manners.WithHint(err, "--keystore-password-file FILE says it")
	}
	if missing := (anchors.ErrNoTool{}); errors.As(err, &missing) {
		return manners.WithHint(err, "install it, or leave this store out with --into")
	}
	return err
}

// asRoot is the same command for root, who has another configuration.
func (t *tool) asRoot(c *cli.Context, kind string) string {
	words := []string{"sudo", toolName, "ca", c.Command.Name, "--into", kind}
	if t.caURL != "" {
		words = append(words, "--ca-url", shellWord(t.caURL))
	}
	if path, err := filepath.Abs(t.caStore.Path); err == nil {
		flag := "--ca-crt"
		if flagOf := t.authorityFlag(); flagOf != "" {
			words = append(words, strings.Fields(flagOf)...)
			if strings.Contains(flagOf, "user") {
				flag = "--user-ca-crt"
			}
		}
		words = append(words, flag, shellWord(path))
	}
	if path, err := filepath.Abs(t.rootStore.Path); err == nil {
		if _, err := os.Stat(path); err == nil {
			words = append(words, "--root-ca", shellWord(path))
		}
	}
	return strings.Join(words, " ")
}

// elsewhere says how programs get to trust the CA that look at none of the stores: curl, unless it follows the system's, and those of
// other systems. Nil if there is nothing to say.
func (t *tool) elsewhere(kinds []string, found []anchors.Found, remove bool) *storeView {
	view := &storeView{Kind: kindCurl, Added: []string{}, Removed: []string{}, Kept: []string{}}
	asked := slices.Contains(kinds, kindCurl)
	if len(kinds) > 0 && !asked || remove && !asked {
		return nil
	}
	for _, one := range append(found, systemStores()...) {
		if one.Store != nil && slices.Contains([]string{"debian", "redhat"}, one.Kind) {
			view.Skipped = "it follows the system's store, " + one.Store.Place()
			return view
		}
	}
	path := t.caStore.Path
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	view.Skipped = "there is no system's store here that it follows"
	view.How = []string{"curl --cacert " + shellWord(path) + " URL"}
	switch goruntime.GOOS {
	case "darwin":
		view.How = append(view.How, "sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain "+shellWord(path))
	case "windows":
		view.How = append(view.How, "certutil -addstore Root "+path)
	}
	return view
}

// systemStores are those of the distribution, whether they were asked for or not.
func systemStores() []anchors.Found {
	found, err := anchors.Search{Kinds: []string{"debian", "redhat"}}.Find()
	if err != nil {
		return nil
	}
	return found
}

func (p *printer) installed(v installedView) {
	would := ""
	if v.DryRun {
		would = "would be "
	}
	for _, crt := range v.Certificates {
		p.line("to be trusted: %s, %s", safe(crt.Subject), crt.Fingerprint)
	}
	for _, store := range v.Stores {
		name := store.Kind
		if store.Place != "" {
			name += " " + store.Place
		}
		if store.Skipped != "" {
			p.line("%s: nothing done: %s", name, store.Skipped)
		}
		for _, one := range store.Added {
			p.line("%s: %sadded: %s", name, would, one)
		}
		for _, one := range store.Removed {
			p.line("%s: %sremoved: %s", name, would, one)
		}
		if store.Skipped == "" && len(store.Added)+len(store.Removed) == 0 {
			p.line("%s: unchanged", name)
		}
		for _, how := range store.How {
			p.line("  %s", how)
		}
	}
}
