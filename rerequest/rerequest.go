package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

const tool = "cauase-rerequest"

const (
	flagTemplate = "template"
	flagCSR      = "csr"
	flagKey      = "key"
	flagKeyType  = "key-type"
	flagKeyLen   = "key-len"
	flagForce    = "force"
	flagJSON     = "json"
)

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	return cli.Report(cli.Messages(stderr, args, ""), tool, cli.Run(ctx, app, cli.Arrange(args, app.Flags)))
}

func newApp(stdout, stderr io.Writer) *urfave.App {
	app := cli.NewApp(tool, "make a new key, and a signing request like an existing one", stdout, stderr)
	app.UsageText = tool + " --template FILE --csr FILE --key FILE [options]"
	app.Description = `Subject, extensions and attributes of the new request are those of the template, byte for
byte. If anything fails, no file is left behind that was not there before.`
	app.Flags = []urfave.Flag{
		&urfave.StringFlag{Name: flagTemplate, TakesFile: true, Usage: "the request to copy is in `FILE`"},
		&urfave.StringFlag{Name: flagCSR, TakesFile: true, Usage: "write the new request to `FILE`"},
		&urfave.StringFlag{Name: flagKey, TakesFile: true, Usage: "write the new key to `FILE`, which only its owner may read"},
		&urfave.StringFlag{Name: flagKeyType,
			Usage: "`TYPE` of the new key: " + strings.Join(keyTypes(), ", ") + " (default: that of the template's)"},
		cli.Int(urfave.IntFlag{Name: flagKeyLen, DefaultText: "none",
			Usage: "`BITS` of the new key, which makes it RSA; the same as --key-type rsa-BITS"}),
		&urfave.BoolFlag{Name: flagForce, Usage: "overwrite files that exist"},
		&urfave.BoolFlag{Name: flagJSON, Usage: "print what was made as JSON"},
	}
	app.Action = rerequest
	cli.Describe(app, cli.Manual{
		Codes:  []cli.ExitCode{{Code: cli.ExitOK, Text: "both files are written"}, {Code: cli.ExitError, Text: "an error, and no file was changed"}},
		Values: map[string][]string{flagKeyType: keyTypes()},
		Examples: []cli.Example{
			{Line: tool + " --template www.csr.pem --csr new.csr.pem --key new.key.pem", Text: "request again what was requested, with a new key"},
		},
		SeeAlso: []string{"cauase(1)", "cauase-key-id(1)", "openssl-req(1)"},
	})
	return app
}

func rerequest(c *urfave.Context) error {
	if err := cli.NoArguments(c); err != nil {
		return err
	}
	for _, name := range []string{flagTemplate, flagCSR, flagKey} {
		if c.String(name) == "" {
			return cli.WithHint(fmt.Errorf("--%s is missing", name), "usage: %s", c.App.UsageText)
		}
	}
	csrPath, keyPath := c.String(flagCSR), c.String(flagKey)
	if filepath.Clean(csrPath) == filepath.Clean(keyPath) {
		return fmt.Errorf("--%s and --%s are the same file", flagCSR, flagKey)
	}
	template, err := readTemplate(c.String(flagTemplate))
	if err != nil {
		return fmt.Errorf("--%s: %w", flagTemplate, err)
	}
	keyType, err := chooseKeyType(c, template)
	if err != nil {
		return err
	}
	if !c.Bool(flagForce) {
		for _, path := range []string{keyPath, csrPath} {
			if err := mustNotExist(path); err != nil {
				return err
			}
		}
	}
	made, err := write(template, keyType, keyPath, csrPath)
	if err != nil || !c.Bool(flagJSON) {
		return err
	}
	made.Template = c.String(flagTemplate)
	return cli.WriteJSON(c.App.Writer, made)
}

// A report is what was made, as --json prints it.
type report struct {
	Template string   `json:"template"`
	CSR      string   `json:"csr"`
	Key      string   `json:"key"`
	Subject  string   `json:"subject"`
	SANs     []string `json:"sans"`
	KeyType  string   `json:"key_type"`
	KeyID    string   `json:"key_id"`
	Digest   string   `json:"digest"`
}

func write(template *pki.Request, keyType pki.KeyType, keyPath, csrPath string) (made report, err error) {
	key, err := keyType.Generate()
	if err != nil {
		return made, err
	}
	keyPEM, err := pki.EncodePrivateKeyPEM(key)
	if err != nil {
		return made, err
	}
	csr, err := pki.Rerequest(template, key)
	if err != nil {
		return made, err
	}
	req, err := pki.ParseRequest(pki.EncodeCSRPEM(csr))
	if err != nil {
		return made, fmt.Errorf("the request that was made cannot be read: %w", err)
	}
	_, err = pemfile.WriteAll(
		pemfile.File{Path: keyPath, Content: keyPEM, Secret: true},
		pemfile.File{Path: csrPath, Content: pki.EncodeCSRPEM(csr)},
	)
	if errors.Is(err, pemfile.ErrSymlink) {
		return made, cli.WithHint(err, "give the path that it points to")
	}
	return report{
		CSR: csrPath, Key: keyPath, Subject: pki.SubjectString(req.CSR.RawSubject), SANs: append([]string{}, pki.SANStrings(req.CSR.Extensions)...),
		KeyType: string(keyType), KeyID: hex.EncodeToString(req.KeyID), Digest: req.Digest.String(),
	}, err
}

// readTemplate reads the one request of a file, however another tool has written it.
func readTemplate(path string) (*pki.Request, error) {
	content, err := pemfile.Read(path)
	if err != nil {
		return nil, err
	}
	found, err := pki.ReadLocalRequest(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	req, err := pki.ParseRequest(found.PEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return req, nil
}

func chooseKeyType(c *urfave.Context, template *pki.Request) (pki.KeyType, error) {
	switch {
	case c.IsSet(flagKeyType) && c.IsSet(flagKeyLen):
		return "", fmt.Errorf("--%s and --%s are two ways to say the same: give one", flagKeyType, flagKeyLen)
	case c.IsSet(flagKeyType):
		return cli.ChooseKeyType("--"+flagKeyType, c.String(flagKeyType))
	case c.IsSet(flagKeyLen):
		keyType, err := pki.ParseKeyType(fmt.Sprintf("rsa-%d", c.Int(flagKeyLen)))
		if err != nil {
			return "", fmt.Errorf("--%s %d: 2048, 3072 or 4096 is needed", flagKeyLen, c.Int(flagKeyLen))
		}
		return keyType, nil
	}
	keyType, err := pki.LikeKeyType(template.CSR.PublicKey)
	return keyType, cli.WithHint(err, "choose the type of the new key with --%s", flagKeyType)
}

func mustNotExist(path string) error {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return cli.WithHint(fmt.Errorf("%s exists", path), "--%s overwrites it", flagForce)
}

func keyTypes() []string {
	var names []string
	for _, t := range pki.KeyTypes() {
		names = append(names, string(t))
	}
	return names
}
