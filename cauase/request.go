package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

func (t *tool) requestCommand() *cli.Command {
	return &cli.Command{
		Name:  "request",
		Usage: "make a key, request a certificate for it, and store the certificate",
		Description: `Everything one needs to get a certificate. The key is made here and stays here.

While the request awaits a decision, key and request are kept, and the same
command again asks for the certificate again: it exits with 2 for as long as
the request is pending. With --wait it stays until there is a decision.`,
		Flags: append(nameFlags(),
			&cli.StringFlag{Name: "crt", TakesFile: true, Usage: "store the certificate in `FILE` (default: the common name and .pem), with the key unless --key is given"},
			&cli.StringFlag{Name: "key", TakesFile: true, Usage: "store the key in `FILE` of its own"},
			&cli.StringFlag{Name: "csr", TakesFile: true, Usage: "keep the request in `FILE` (default: that of the certificate, with .csr.pem)"},
			&cli.BoolFlag{Name: "force", Usage: "replace a key that exists, and its certificate"},
			&cli.BoolFlag{Name: "wait", Usage: "wait until the request is signed or rejected"},
		),
		Action: t.action(t.request),
	}
}

// A requested is a request on its way, and where its parts are kept.
type requested struct {
	paths pemfile.PairPaths
	csr   string
	key   crypto.Signer
	req   *pki.Request
	fresh bool     // no key was there
	undo  []func() // what takes back the files this run has written
}

func (t *tool) request(c *cli.Context) error {
	if c.NArg() > 0 {
		return errUsage(c, fmt.Sprintf("%q: names are given with flags, such as --cn or --dns", c.Args().First()))
	}
	r, err := t.requestPaths(c)
	if err != nil {
		return err
	}
	done, err := t.prepare(c, r)
	if err != nil || done {
		return err
	}
	if _, err := t.trust(c.Context); err != nil {
		return err
	}
	id, err := t.submit(c.Context, r)
	if err != nil {
		return err
	}
	if !t.json {
		fmt.Fprintf(t.stdout, "%s %s\n", id, r.csr)
	}
	err = t.collect(c.Context, r, id, c.Bool("wait"))
	if errors.Is(err, client.ErrUnknown) {
		r.takeBack()
		return manners.WithHint(fmt.Errorf("request %s was rejected", id), "ask the CA's administrators why")
	}
	return err
}

func (t *tool) requestPaths(c *cli.Context) (*requested, error) {
	crt := c.String("crt")
	if crt == "" {
		name := c.String("cn")
		if name == "" {
			name = strings.TrimPrefix(firstOf(c.StringSlice("dns")), "*.")
		}
		if name == "" || strings.Trim(name, fileNameLetters) != "" || strings.HasPrefix(name, ".") {
			return nil, errUsage(c, "where to store the certificate? give --crt FILE, or a --cn that can be a file name")
		}
		crt = name + ".pem"
	}
	r := &requested{paths: pemfile.PairPaths{Crt: crt, Key: c.String("key")}, csr: c.String("csr")}
	if r.csr == "" {
		stem := strings.TrimSuffix(strings.TrimSuffix(crt, ".pem"), ".crt")
		r.csr = stem + ".csr.pem"
	}
	if r.paths.Key != "" && samePlace(r.paths.Key, crt) {
		r.paths.Key = "" // one file, spelt in two ways
	}
	if samePlace(r.csr, crt) || r.paths.Key != "" && samePlace(r.csr, r.paths.Key) {
		return nil, fmt.Errorf("--csr %s: the request needs a file of its own", r.csr)
	}
	for _, path := range []string{crt, r.paths.Key, r.csr} {
		if path != "" && (samePlace(path, t.caStore.Path) || samePlace(path, t.crlStore.Path)) {
			return nil, manners.WithHint(fmt.Errorf("%s is for what comes from the CA", path), "choose another file")
		}
	}
	return r, nil
}

// samePlace reports whether two paths name one file, whether it exists or not.
func samePlace(a, b string) bool {
	if infoA, err := os.Stat(a); err == nil {
		infoB, err := os.Stat(b)
		return err == nil && os.SameFile(infoA, infoB)
	}
	folderA, errA := os.Stat(filepath.Dir(a))
	folderB, errB := os.Stat(filepath.Dir(b))
	return filepath.Base(a) == filepath.Base(b) && errA == nil && errB == nil && os.SameFile(folderA, folderB)
}

const fileNameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@"

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// prepare finds the key and request of an earlier run or makes new ones, in memory. It
// is done if an earlier run has got the certificate already.
func (t *tool) prepare(c *cli.Context, r *requested) (done bool, err error) {
	wanted, err := template(c)
	if err != nil {
		return false, err
	}
	pair, err := pemfile.ReadPair(r.paths)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err != nil && c.Bool("force"):
	case err != nil:
		return false, manners.WithHint(err, "--force replaces what is there")
	case !c.Bool("force"):
		return t.resume(r, wanted, pair)
	}
	if err := r.checkReplaceable(c.Bool("force")); err != nil {
		return false, err
	}
	r.fresh = !c.Bool("force")
	keyType := t.keyType
	if keyType == "" {
		keyType = pki.DefaultKeyType
	}
	if r.key, err = keyType.Generate(); err != nil {
		return false, err
	}
	r.req, err = newRequest(wanted, r.key)
	return false, err
}

// checkReplaceable refuses to write over what is not from an earlier run: somebody may
// have mistyped a name.
func (r *requested) checkReplaceable(force bool) error {
	if !force {
		for _, path := range []string{r.paths.Crt, r.keyFile()} {
			// Writing says what is wrong with a symbolic link.
			info, err := os.Lstat(path)
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			if data, err := pemfile.Read(path); err == nil && len(bytes.TrimSpace(data)) > 0 {
				return manners.WithHint(fmt.Errorf("%s exists, and the key that goes with it is not in %s", path, r.keyFile()), "choose another file, or replace what is there with --force")
			}
		}
	}
	data, err := pemfile.Read(r.csr)
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return nil // not there, or its writing will say what is wrong with it
	}
	if _, err := pki.ParseRequest(data); err != nil {
		return manners.WithHint(fmt.Errorf("%s holds something else than a request, and would lose it", r.csr), "choose another file for the request with --csr")
	}
	return nil
}

// resume goes on with a key that exists. That is right if its request is there too and
// was for the same name; else somebody's key would be replaced.
func (t *tool) resume(r *requested, wanted *x509.CertificateRequest, pair pemfile.Pair) (done bool, err error) {
	keyFile := r.paths.Key
	if r.paths.Combined() {
		keyFile = r.paths.Crt
	}
	exists := fmt.Errorf("%s holds a private key already", keyFile)
	data, err := pemfile.Read(r.csr)
	if errors.Is(err, fs.ErrNotExist) {
		return false, manners.WithHint(exists, "choose another file, or replace the key with --force")
	}
	if err != nil {
		return false, err
	}
	if r.req, err = pki.ParseRequest(data); err != nil {
		return false, fmt.Errorf("%s: %w", r.csr, err)
	}
	if !pki.SameKey(pair.Key.Public(), r.req.CSR.PublicKey) || r.req.CSR.Subject.CommonName != wanted.Subject.CommonName {
		return false, manners.WithHint(exists, "%s holds the request of another key or name; choose another file, or replace the key with --force", r.csr)
	}
	if missing := missing(wanted, r.req.CSR); missing != "" {
		return false, manners.WithHint(fmt.Errorf("%s is a request without %s", r.csr, missing), "choose other files, or make a new key and request with --force")
	}
	if pair.Crt != nil && pki.CheckValidity(pair.Crt, t.clock.Now()) == nil {
		t.note("%s holds a valid certificate for this request already; --force makes a new key and request", r.paths.Crt)
		if t.json {
			view := t.viewCertificate(pair.Crt)
			view.File = r.paths.Crt
			return true, t.print(view, nil)
		}
		return true, nil
	}
	r.key = pair.Key
	return false, nil
}

// missing says what is wanted and not in a request, "" for nothing. Whoever goes on with a
// request need not repeat all that was asked for.
func missing(wanted, have *x509.CertificateRequest) string {
	lists := []struct {
		flag         string
		wanted, have []string
	}{
		{"org", wanted.Subject.Organization, have.Subject.Organization},
		{"ou", wanted.Subject.OrganizationalUnit, have.Subject.OrganizationalUnit},
		{"country", wanted.Subject.Country, have.Subject.Country},
		{"dns", wanted.DNSNames, have.DNSNames},
		{"ip", texts(wanted.IPAddresses), texts(have.IPAddresses)},
		{"email", wanted.EmailAddresses, have.EmailAddresses},
		{"uri", texts(wanted.URIs), texts(have.URIs)},
	}
	for _, list := range lists {
		for _, name := range list.wanted {
			if !slices.Contains(list.have, name) {
				return fmt.Sprintf("--%s %s", list.flag, name)
			}
		}
	}
	for _, ext := range wanted.ExtraExtensions {
		if !slices.ContainsFunc(have.Extensions, func(e pkix.Extension) bool {
			return e.Id.Equal(ext.Id) && bytes.Equal(e.Value, ext.Value)
		}) {
			return "these --eku"
		}
	}
	return ""
}

func texts[T fmt.Stringer](list []T) []string {
	var all []string
	for _, item := range list {
		all = append(all, item.String())
	}
	return all
}

// submit writes key and request, in this order, and hands in the request. Both are on
// disk before the daemon hears of them: the first user's request may be signed at once
// and only once.
func (t *tool) submit(ctx context.Context, r *requested) (client.ID, error) {
	err := locked(r.keyFile(), func() error {
		if _, err := pemfile.ReadKey(r.keyFile()); err == nil && r.fresh {
			return fmt.Errorf("%s has got a private key meanwhile, from another run", r.keyFile())
		}
		return r.write()
	})
	if err != nil {
		r.takeBack()
		return 0, err
	}
	id, err := t.client.Submit(ctx, r.req.PEM)
	var refused *client.StatusError
	switch {
	case err == nil:
		return id, nil
	case errors.As(err, &refused) && refused.Status < 500:
		r.takeBack()
		return 0, err
	}
	// Nobody knows whether it arrived.
	return 0, manners.WithHint(err, "key and request are kept in %s and %s; the same command again goes on with them", r.keyFile(), r.csr)
}

func (r *requested) keyFile() string {
	if r.paths.Combined() {
		return r.paths.Crt
	}
	return r.paths.Key
}

func (r *requested) write() error {
	key, err := pki.EncodePrivateKeyPEM(r.key)
	if err != nil {
		return err
	}
	if old, err := pemfile.ReadKey(r.keyFile()); err != nil || !pki.SameKey(old.Public(), r.key.Public()) {
		if err := r.writeFile(pemfile.File{Path: r.keyFile(), Content: key, Secret: true}); err != nil {
			return err
		}
		if !r.paths.Combined() {
			// A certificate of the key that was replaced has no use without it.
			if err := r.removeFile(r.paths.Crt); err != nil {
				return err
			}
		}
	}
	return r.writeFile(pemfile.File{Path: r.csr, Content: r.req.PEM})
}

func (r *requested) writeFile(file pemfile.File) error {
	restore := remember(file.Path, file.Secret)
	changed, err := pemfile.Write(file)
	if changed {
		r.undo = append(r.undo, restore)
	}
	return err
}

func (r *requested) removeFile(path string) error {
	restore := remember(path, false)
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		r.undo = append(r.undo, restore)
	}
	return err
}

// remember returns what brings back the file as it is now.
func remember(path string, secret bool) func() {
	old, err := pemfile.Read(path)
	if err != nil {
		return func() { _ = os.Remove(path) }
	}
	return func() { _, _ = pemfile.Write(pemfile.File{Path: path, Content: old, Secret: secret}) }
}

// takeBack leaves the files as this run found them.
func (r *requested) takeBack() {
	for _, undo := range slices.Backward(r.undo) {
		undo()
	}
	r.undo = nil
}

// Polling for a decision made by a person.
const (
	firstPoll = time.Second
	lastPoll  = 30 * time.Second
)

// collect fetches the certificate, checks it and stores it.
func (t *tool) collect(ctx context.Context, r *requested, id client.ID, wait bool) error {
	pending := func(why string) error {
		if t.json {
			if err := t.print(resultView{ID: id.String(), File: r.csr, Result: "pending"}, nil); err != nil {
				return err
			}
		}
		err := fmt.Errorf("request %s %s", id, why)
		return manners.WithCode(manners.WithHint(err, "a user of the CA signs it with %s csr sign %s%s --user-key FILE; then the same command again stores the certificate", toolName, id, t.modeFlag()), manners.ExitPending)
	}
	for delay := firstPoll; ; delay = min(delay*3/2, lastPoll) {
		crt, err := t.client.Certificate(ctx, id)
		if err == nil {
			if err := client.CheckIssued(crt, r.key.Public(), t.trusted, t.clock.Now()); err != nil {
				return fmt.Errorf("certificate %s: %w", id, err)
			}
			for _, diff := range client.Differences(crt, r.req) {
				t.note("signed with changes: %s", diff)
			}
			return t.store(r.paths, crt, id)
		}
		if ctx.Err() != nil {
			return pending("was left pending")
		}
		if errors.Is(err, client.ErrPending) && !wait {
			return pending("is pending")
		}
		if errors.Is(err, client.ErrUnknown) || !wait {
			return err
		}
		// While waiting, a daemon that is away for a while is no reason to give up.
		if !errors.Is(err, client.ErrPending) {
			t.warn("%v; trying again", err)
		} else if delay == firstPoll {
			t.note("waiting for a decision on request %s", id)
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}

// modeFlag is the --mode that a command about the same authority needs.
func (t *tool) modeFlag() string {
	if t.authority == client.CAU {
		return " --mode user"
	}
	return ""
}
