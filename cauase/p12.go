package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/durable"
	"cauase/pkg/p12"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

const (
	flagP12         = "p12"
	flagP12Password = "p12-password-file"
	flagMake        = "make-password"
	flagLegacy      = "legacy"
)

// p12Flags say how a PKCS #12 file is made.
func p12Flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagP12Password, TakesFile: true, Usage: "`FILE` with the password of the PKCS #12 file in its first line, - for standard input (default: ask at the terminal); with --" + flagMake + ", the file to keep it in"},
		&cli.BoolFlag{Name: flagMake, Usage: "make a strong password for the PKCS #12 file, and show it once, at the terminal"},
		&cli.BoolFlag{Name: flagLegacy, Usage: "encrypt the PKCS #12 file with 3DES and SHA-1, for Windows before 2019 and Java before 12 (default: AES-256 and SHA-256)"},
	}
}

func (t *tool) p12Command() *cli.Command {
	return &cli.Command{
		Name:  "p12",
		Usage: "put a key and its certificate into a PKCS #12 file, for browsers, Windows and Java",
		Description: `The file holds the key, its certificate, and the CA certificates that lead from there to the root, as
far as they are in the file of the certificate or of --ca. It is encrypted with a password, which is asked for
twice, read from a file, or made.`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "crt", TakesFile: true, Usage: "the certificate is in `FILE`, with its key unless --key is given"},
			&cli.StringFlag{Name: "key", TakesFile: true, Usage: "the key is in `FILE`"},
			&cli.StringSliceFlag{Name: "ca", TakesFile: true, Usage: "CA certificates are in `FILE`, too (repeatable)"},
			&cli.StringFlag{Name: "out", TakesFile: true, Usage: "write `FILE` (default: that of the certificate, with .p12)"},
			&cli.BoolFlag{Name: "force", Usage: "replace the file if it exists"},
		}, p12Flags()...),
		Action: t.action(t.p12),
	}
}

// A p12Output is a PKCS #12 file that is to be made.
type p12Output struct {
	path     string
	form     p12.Form
	password string
	made     bool   // here
	keep     string // file for a password that was made, "" to show it at the terminal
	replace  bool
	resumed  bool // it may have been written by an earlier run
}

// p12Output reads how a PKCS #12 file is to be made, and makes sure that it could be: before anything else is done.
func (t *tool) p12Output(c *cli.Context, path string, resumed bool) (*p12Output, error) {
	o := &p12Output{path: path, replace: c.Bool("force"), made: c.Bool(flagMake), resumed: resumed}
	if c.Bool(flagLegacy) {
		o.form = p12.Legacy
	}
	if err := o.checkTarget(); err != nil {
		return nil, err
	}
	if err := t.p12Password(c, o); err != nil {
		return nil, err
	}
	if err := p12.CheckPassword(o.password); err != nil {
		return nil, err
	}
	if !p12.Portable(o.password) {
		t.warn("the password of %s has letters beyond ASCII, which Java and others may read in other ways", path)
	}
	return o, nil
}

// checkTarget finds out what would keep the file from being written.
func (o *p12Output) checkTarget() error {
	info, err := os.Lstat(o.path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return manners.WithHint(fmt.Errorf("%s %w", o.path, pemfile.ErrNotRegular), "choose another file")
	case err == nil && !o.replace && !o.resumed:
		return o.exists()
	case err == nil:
		return nil
	}
	return writable(o.path)
}

func (o *p12Output) exists() error {
	return manners.WithHint(fmt.Errorf("%s exists", o.path), "choose another file, or replace it with --force")
}

// writable reports why no file could be made at a path.
func writable(path string) error {
	f, err := durable.Create(path, 0o600)
	if err == nil {
		f.Discard()
	}
	return err
}

// p12Password gets the password: made, read or asked for.
func (t *tool) p12Password(c *cli.Context, o *p12Output) (err error) {
	file := c.String(flagP12Password)
	if file == standardInput && t.passphraseFile == standardInput {
		return errUsage(c, fmt.Sprintf("--%s and --%s are both standard input, which can be read once", flagP12Password, manners.FlagPassphraseFile))
	}
	if !o.made {
		passwords := manners.Passphrases{File: file, Stdin: t.stdin, Prompt: t.prompt, Name: "password", Flag: flagP12Password}
		if file != "" && file != standardInput {
			t.warnOpenSecret(file, "password")
		}
		password, err := passwords.Choose(o.path)
		o.password = string(password)
		return err
	}
	switch o.keep = file; {
	case file == standardInput:
		return errUsage(c, fmt.Sprintf("a password that is made is not written to standard output: --%s names a file, or none", flagP12Password))
	case file == "" && t.display == nil:
		return manners.WithHint(errors.New("there is no terminal to show the password at"), "--%s FILE keeps it in a file that only you can read", flagP12Password)
	case file != "":
		if err := writable(file); errors.Is(err, fs.ErrExist) {
			return manners.WithHint(fmt.Errorf("%s exists", file), "choose another file for the password that is made")
		} else if err != nil {
			return err
		}
	}
	o.password, err = p12.NewPassword()
	return err
}

// writeP12 makes the file. A password that was made is handed over first: without it the file is worth nothing.
func (t *tool) writeP12(o *p12Output, id p12.Identity) error {
	if who := p12.Unsupported(id.Crt.PublicKey); who != "" {
		t.warn("%s: not taken by %s: the key is %s", o.path, who, pki.DescribeKey(id.Crt.PublicKey))
	}
	if o.resumed && !o.replace {
		if old, err := pemfile.Read(o.path); err == nil {
			if found, err := p12.Decode(old, o.password); err == nil && found.Crt.Equal(id.Crt) {
				return nil
			}
			return o.exists()
		}
	}
	content, err := p12.Encode(id, o.password, o.form)
	if err != nil {
		return fmt.Errorf("%s: %w", o.path, err)
	}
	if err := t.handOverPassword(o); err != nil {
		return err
	}
	if o.replace {
		_, err = pemfile.Write(pemfile.File{Path: o.path, Content: content, Secret: true})
		return err
	}
	return writeSecret(o.path, string(content))
}

// handOverPassword shows a password that was made, or keeps it in its file.
func (t *tool) handOverPassword(o *p12Output) (err error) {
	switch {
	case o.made && o.keep != "":
		err = writeSecret(o.keep, o.password+"\n")
	case o.made:
		err = t.display(fmt.Sprintf("Password of %s, shown this once: %s\n", pki.EscapeText(o.path), o.password))
	}
	if err != nil {
		return fmt.Errorf("the password cannot be handed over: %w", err)
	}
	return nil
}

// A p12View is a PKCS #12 file that was made.
type p12View struct {
	File         string   `json:"file"`
	Legacy       bool     `json:"legacy"`
	Subject      string   `json:"subject"`
	Fingerprint  string   `json:"fingerprint"`
	Chain        []string `json:"chain"`
	PasswordFile string   `json:"password_file,omitempty"`
}

func (o *p12Output) view(id p12.Identity) p12View {
	view := p12View{
		File: o.path, Legacy: o.form == p12.Legacy, PasswordFile: o.keep, Chain: []string{},
		Subject: pki.SubjectString(id.Crt.RawSubject), Fingerprint: client.PinOf(id.Crt).String(),
	}
	for _, ca := range id.Chain {
		view.Chain = append(view.Chain, pki.SubjectString(ca.RawSubject))
	}
	return view
}

func (p *printer) p12(v p12View) {
	line := fmt.Sprintf("%s: key and certificate of %s", v.File, safe(v.Subject))
	if len(v.Chain) > 0 {
		line += ", with " + counted(len(v.Chain), "CA certificate")
	}
	p.line("%s", line)
}

// counted is a number of things in words.
func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func (t *tool) p12(c *cli.Context) error {
	if c.NArg() > 0 {
		return errUsage(c, fmt.Sprintf("%q: files are given with --crt, --key and --out", c.Args().First()))
	}
	paths := pemfile.PairPaths{Crt: c.String("crt"), Key: c.String("key")}
	if paths.Crt == "" {
		paths = pemfile.PairPaths{Crt: paths.Key}
	}
	if paths.Crt == "" {
		return errUsage(c, "which certificate?")
	}
	out := c.String("out")
	if out == standardInput {
		return errUsage(c, "--out: a PKCS #12 file goes into a file, not to standard output")
	}
	if out == "" {
		out = stem(paths.Crt) + ".p12"
	}
	for _, path := range append([]string{paths.Crt, paths.Key}, c.StringSlice("ca")...) {
		if path != "" && sameFile(path, out) {
			return fmt.Errorf("--out %s: the PKCS #12 file needs a file of its own", out)
		}
	}
	if !c.Bool("force") {
		if _, err := os.Lstat(out); err == nil {
			return (&p12Output{path: out}).exists()
		}
	}
	id, err := t.readIdentity(paths, c.StringSlice("ca"))
	if err != nil {
		return err
	}
	if err := pki.CheckValidity(id.Crt, t.clock.Now()); err != nil {
		t.warn("%s: %v", paths.Crt, err)
	}
	o, err := t.p12Output(c, out, false)
	if err != nil {
		return err
	}
	if err := t.writeP12(o, id); err != nil {
		return err
	}
	view := o.view(id)
	return t.print(view, func(p *printer) { p.p12(view) })
}

// readIdentity reads a key, its certificate, and the chain behind that from what files there are.
func (t *tool) readIdentity(paths pemfile.PairPaths, cas []string) (id p12.Identity, err error) {
	if paths, err = t.unlock(paths); err != nil {
		return id, err
	}
	pair, err := pemfile.ReadPair(paths)
	switch {
	case errors.Is(err, pemfile.ErrMismatch):
		return id, manners.WithHint(err, "the certificate was issued for another key: give the files that belong together")
	case errors.Is(err, fs.ErrNotExist) && paths.Combined():
		return id, manners.WithHint(err, "--key FILE says where the key is")
	case err != nil:
		return id, err
	case pair.Crt == nil:
		if _, err := os.Stat(paths.Crt); err != nil {
			return id, err
		}
		return id, manners.WithHint(fmt.Errorf("%s holds no certificate", paths.Crt), "--crt FILE says where the certificate is")
	}
	candidates, err := pemfile.ReadCertificates(paths.Crt)
	if err != nil {
		return id, err
	}
	for _, path := range cas {
		content, err := pemfile.Read(path)
		if err != nil {
			return id, fmt.Errorf("--ca %w", err)
		}
		more, err := pki.ParseCertificateFile(content)
		if err != nil {
			return id, fmt.Errorf("--ca %s: %w", path, err)
		}
		candidates = append(candidates, more...)
	}
	id = p12.Identity{Key: pair.Key, Crt: pair.Crt, Chain: p12.ChainOf(pair.Crt, candidates)}
	if len(cas) > 0 && len(id.Chain) == 0 {
		return id, manners.WithHint(fmt.Errorf("--ca %s: none of the certificates there has signed the one in %s", strings.Join(cas, ", "), paths.Crt), "give the certificate of the CA that has issued it")
	}
	return id, nil
}

// stem is the name of a file with a certificate, without what says so.
func stem(path string) string {
	for _, suffix := range []string{".crt.pem", ".pem", ".crt", ".cer", ".p12", ".pfx"} {
		if short, found := strings.CutSuffix(path, suffix); found && filepath.Base(short) != "." && short != "" && !strings.HasSuffix(short, "/") {
			return short
		}
	}
	return path
}
