package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/durable"
	"cauase/pkg/enroll"
	"cauase/pkg/p12"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

const cmdSelfSigned = "self-signed"

// maxSelfSigned bounds --days: a century.
const maxSelfSigned = 36525 * day

func (t *tool) selfSignedCommand() *cli.Command {
	return &cli.Command{
		Name:  cmdSelfSigned,
		Usage: "make a key and a certificate that is signed with it, without any CA",
		Description: `For a device or a test that no CA is there for. Nobody is asked, and nobody can renew or revoke the
certificate: whoever is to trust it has to be given it.

The folder gets three files, named after the common name: NAME.key.pem, NAME.crt.pem, and NAME.p12 with
both of them. A common name that is a host's or a mail address is an alternative name, too, if no other is given.

Where there is no terminal to ask for the password of the PKCS #12 file, one is made, and kept in NAME.p12.password.`,
		Flags: append(append(nameFlags(),
			&cli.StringFlag{Name: "type", Usage: "`TYPE` of the key: " + strings.Join(keyTypeNames(), ", ") + " (default: --key-type, or else " + string(pki.DefaultKeyType) + ")"},
			&cli.StringFlag{Name: "days", Value: "365", Usage: "valid for `DAYS`, or a duration such as 36h"},
			&cli.StringFlag{Name: "out", TakesFile: true, Usage: "write the files into `DIR`, which is made, for its owner only, if it does not exist"},
			noSANFlag(),
			encryptFlag(),
			&cli.BoolFlag{Name: "force", Usage: "replace files that exist"},
		), p12Flags()...),
		Action: t.action(t.selfSigned),
	}
}

// A selfSignedView is what was made.
type selfSignedView struct {
	Key         string    `json:"key"`
	Certificate string    `json:"certificate"`
	P12         p12View   `json:"p12"`
	Subject     string    `json:"subject"`
	SANs        []string  `json:"sans"`
	KeyType     string    `json:"key_type"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"fingerprint"`
}

func (t *tool) selfSigned(c *cli.Context) (err error) {
	switch {
	case c.NArg() > 0:
		return errUsage(c, fmt.Sprintf("%q: names are given with flags, such as --cn or --dns", c.Args().First()))
	case c.String("cn") == "":
		return errUsage(c, "whose certificate? give --cn NAME")
	case c.String("out") == "":
		return errUsage(c, "where to? give --out DIR")
	}
	validity, err := parseValidity(c.String("days"))
	if err != nil {
		return fmt.Errorf("--days %w", err)
	}
	if validity > maxSelfSigned {
		return fmt.Errorf("--days %s is more than a century", c.String("days"))
	}
	keyType := t.keyType
	if c.IsSet("type") {
		if keyType, err = manners.ChooseKeyType("--type", c.String("type")); err != nil {
			return err
		}
	} else if keyType == "" {
		keyType = pki.DefaultKeyType
	}
	wanted, err := template(c)
	if err != nil {
		return err
	}
	if added := t.addHost(c, wanted, nil); added == "" && !c.Bool("no-san") && len(wanted.DNSNames)+len(wanted.IPAddresses)+len(wanted.EmailAddresses)+len(wanted.URIs) == 0 {
		if address, err := mail.ParseAddress(wanted.Subject.CommonName); err == nil && address.Address == wanted.Subject.CommonName {
			wanted.EmailAddresses = []string{address.Address}
		}
	}
	if len(c.StringSlice("eku")) == 0 {
		usages, err := extKeyUsage([]string{"server", "client"})
		if err != nil {
			return err
		}
		wanted.ExtraExtensions = append(wanted.ExtraExtensions, usages)
	}
	key, err := keyType.Generate()
	if err != nil {
		return err
	}
	now := t.clock.Now()
	crt, err := enroll.SelfSign(wanted, key, now, now.Add(validity))
	if err != nil {
		return err
	}
	return t.storeSelfSigned(c, p12.Identity{Key: key, Crt: crt}, keyType)
}

// storeSelfSigned writes all files, or none. What was not there before is gone again if it fails.
func (t *tool) storeSelfSigned(c *cli.Context, id p12.Identity, keyType pki.KeyType) (err error) {
	dir := c.String("out")
	base := filepath.Join(dir, fileName(c.String("cn")))
	paths := pemfile.PairPaths{Crt: base + ".crt.pem", Key: base + ".key.pem"}
	if !c.Bool("force") {
		for _, path := range []string{paths.Key, paths.Crt, base + ".p12"} {
			if _, err := os.Lstat(path); err == nil {
				return manners.WithHint(fmt.Errorf("%s exists", path), "choose another folder, or replace what is there with --force")
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	remove, err := makeFolder(dir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			remove()
		}
	}()
	if c.Bool("encrypt") {
		if paths, err = t.lockNew(paths, true); err != nil {
			return err
		}
	}
	o, err := t.selfSignedP12(c, base+".p12")
	if err != nil {
		return err
	}
	content, err := p12.Encode(id, o.password, o.form)
	if err != nil {
		return err
	}
	keyPEM, err := paths.Attributes.EncodeKey(id.Key)
	if err != nil {
		return err
	}
	files := []pemfile.File{
		{Path: paths.Key, Content: keyPEM, Secret: true},
		{Path: paths.Crt, Content: pki.EncodeCertificatePEM(id.Crt.Raw)},
		{Path: o.path, Content: content, Secret: true},
	}
	if o.keep != "" {
		files = append(files, pemfile.File{Path: o.keep, Content: []byte(o.password + "\n"), Secret: true})
	} else if err := t.handOverPassword(o); err != nil {
		return err
	}
	if _, err := pemfile.WriteAll(files...); err != nil {
		return err
	}
	view := selfSignedView{
		Key: paths.Key, Certificate: paths.Crt, P12: o.view(id), Subject: pki.SubjectString(id.Crt.RawSubject),
		SANs: append([]string{}, pki.SANStrings(id.Crt.Extensions)...), KeyType: string(keyType), NotAfter: id.Crt.NotAfter.UTC(),
	}
	view.Fingerprint = view.P12.Fingerprint
	return t.print(view, func(p *printer) {
		p.line("%s: certificate of %s, %s", paths.Crt, safe(view.Subject), remaining(id.Crt.NotAfter, t.clock.Now()))
		p.line("%s: its key", paths.Key)
		p.p12(view.P12)
	})
}

// selfSignedP12 is how the PKCS #12 file is made. The key is beside it in any case, so that its password may be, too,
// where there is nobody to tell it to.
func (t *tool) selfSignedP12(c *cli.Context, path string) (*p12Output, error) {
	if c.Bool("encrypt") || c.IsSet(flagP12Password) || c.Bool(flagMake) {
		return t.p12Output(c, path, false)
	}
	o, err := t.p12Output(c, path, false)
	if !errors.Is(err, manners.ErrNoTerminal) {
		return o, err
	}
	o = &p12Output{path: path, made: true, keep: path + ".password", replace: c.Bool("force")}
	if c.Bool(flagLegacy) {
		o.form = p12.Legacy
	}
	if _, err := os.Lstat(o.keep); err == nil && !o.replace {
		return nil, manners.WithHint(fmt.Errorf("%s exists", o.keep), "choose another folder, or replace what is there with --force")
	}
	o.password, err = p12.NewPassword()
	t.note("nobody can be asked for a password: one is made, and is in %s", o.keep)
	return o, err
}

// fileName turns a common name into one of a file.
func fileName(cn string) string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(fileNameLetters, r) {
			return r
		}
		return '_'
	}, strings.TrimPrefix(cn, "*."))
	if name = strings.TrimLeft(name, ".-"); name == "" {
		return "certificate"
	}
	return name
}

// makeFolder makes a folder for its owner only, with those above it that are missing. It returns what takes that back.
func makeFolder(path string) (remove func(), err error) {
	var made []string
	remove = func() {
		for _, dir := range made {
			_ = os.Remove(dir) // what others have put there stays
		}
	}
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, dir)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		remove()
		return nil, err
	}
	for _, dir := range made {
		if err := durable.SyncFolder(filepath.Dir(dir)); err != nil {
			remove()
			return nil, err
		}
	}
	return remove, nil
}
