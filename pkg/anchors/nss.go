package anchors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cauase/pkg/pki"
)

// An nss is a database of NSS: that of a user, which Chromium and others read, or of a profile of Firefox.
type nss struct {
	folder   string
	password string // file, "" for none
	make     bool   // if it does not exist
}

func (n *nss) missing() bool {
	_, err := os.Stat(filepath.Join(n.folder, "cert9.db"))
	return n.make && errors.Is(err, fs.ErrNotExist)
}

func (n *nss) Kind() string  { return "nss" }
func (n *nss) Place() string { return n.folder }

func (n *nss) Check() error {
	if n.missing() {
		return nil
	}
	if !writable(n.folder) {
		return fmt.Errorf("%s: %w", n.folder, ErrRoot)
	}
	return nil
}

// certutil is run with a file for the password in any case: without, it would ask at the terminal.
func (n *nss) certutil(ctx context.Context, args ...string) (string, error) {
	program := find("certutil")
	if program == "" {
		return "", ErrNoTool{"certutil", "libnss3-tools, nss-tools"}
	}
	password := n.password
	if password == "" {
		password = os.DevNull
	}
	return run(ctx, program, append(args, "-d", "sql:"+n.folder, "-f", password)...)
}

// ErrNoTool means that the tool of a store is not installed.
type ErrNoTool struct{ Tool, Packages string }

func (e ErrNoTool) Error() string {
	return fmt.Sprintf("%s is not installed (package %s)", e.Tool, e.Packages)
}

// List returns what is ours. Certificates of one subject, such as the generations of a CA, are listed together whatever name is asked
// for: which is meant, the name says.
func (n *nss) List(ctx context.Context) (found []Entry, err error) {
	if n.missing() {
		return nil, nil
	}
	list, err := n.certutil(ctx, "-L")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) != 2 || !IsOurs(fields[0]) {
			continue
		}
		entry := Entry{Name: fields[0]}
		text, err := n.certutil(ctx, "-L", "-n", entry.Name, "-a")
		if err != nil {
			return nil, err
		}
		crts, _ := pki.ParseCertificateFile([]byte(text))
		for _, crt := range crts {
			if strings.HasSuffix(entry.Name, idOf(crt)) && strings.HasPrefix(fields[1], "C") {
				entry.Crt = crt
			}
		}
		found = append(found, entry)
	}
	return found, nil
}

// trusted has CAs vouch for TLS servers, and for nothing else.
const trusted = "C,,"

func (n *nss) Apply(ctx context.Context, c Change) error {
	if n.missing() {
		if err := MakeNSS(ctx, n.folder); err != nil {
			return err
		}
	}
	dir, remove, err := newScratch()
	if err != nil {
		return err
	}
	defer remove()
	add := func(entry Entry) error {
		path, err := dir.file("ca.pem", pki.EncodeCertificatePEM(entry.Crt.Raw))
		if err == nil {
			_, err = n.certutil(ctx, "-A", "-n", entry.Name, "-t", trusted, "-a", "-i", path)
		}
		return err
	}
	drop := func(entry Entry) error {
		_, err := n.certutil(ctx, "-D", "-n", entry.Name)
		return err
	}
	return oneByOne(c, add, drop)
}

// oneByOne makes a change entry by entry, first what is new. If that fails, what was added goes again.
func oneByOne(c Change, add, drop func(Entry) error) error {
	for i, entry := range c.Add {
		if slices.ContainsFunc(c.Remove, func(old Entry) bool { return old.Name == entry.Name }) {
			if err := drop(entry); err != nil {
				return err
			}
		}
		if err := add(entry); err != nil {
			for _, done := range c.Add[:i] {
				err = errors.Join(err, drop(done))
			}
			return err
		}
	}
	var failed error
	for _, name := range c.gone() {
		failed = errors.Join(failed, drop(Entry{Name: name}))
	}
	return failed
}

// UserNSS is the folder of the database of a user, whether it is there or not.
func UserNSS(home string) string { return filepath.Join(home, ".pki", "nssdb") }

// databases are those of a user: their own, and those of the profiles of Firefox and Thunderbird.
func databases(home string) (found []string) {
	for _, pattern := range []string{
		".pki/nssdb", ".local/share/pki/nssdb", "snap/chromium/current/.pki/nssdb",
		".mozilla/firefox/*", ".config/mozilla/firefox/*", "snap/firefox/common/.mozilla/firefox/*", ".var/app/org.mozilla.firefox/.mozilla/firefox/*",
		".thunderbird/*",
	} {
		folders, _ := filepath.Glob(filepath.Join(home, pattern)) // the patterns are right
		for _, folder := range folders {
			if _, err := os.Stat(filepath.Join(folder, "cert9.db")); err == nil {
				found = append(found, folder)
			}
		}
	}
	return found
}

// MakeNSS makes a database without a password.
func MakeNSS(ctx context.Context, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	_, err := (&nss{folder: folder}).certutil(ctx, "-N", "--empty-password")
	return err
}
