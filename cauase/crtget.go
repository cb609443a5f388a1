package main

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

func (t *tool) crtGet() *cli.Command {
	return &cli.Command{
		Name:      "get",
		Usage:     "fetch an issued certificate, into a file or to standard output",
		ArgsUsage: "ID [FILE]",
		Description: `The certificate is checked before it is stored: it has to be from a trusted CA
and, if FILE or --key holds a key, for that key. A key in FILE stays there.

A daemon tells why a request was rejected to whoever has the request: --csr names it, if it is not in a file
like FILE that ends in .csr.pem or .csr.`,
		Flags: []cli.Flag{
			keyFlag(), chainFlag(), waitFlag(untilDecided),
			&cli.StringFlag{Name: "csr", TakesFile: true, Usage: "the request is in `FILE`, to be told why it was rejected"},
		},
		Action: t.action(func(c *cli.Context) error {
			if err := spaceBeforeDuration(c); err != nil {
				return err
			}
			if c.NArg() < 1 || c.NArg() > 2 {
				return errUsage(c, "which certificate, and where to?")
			}
			id, err := idAndFile(c)
			if err != nil {
				return err
			}
			digest, err := t.requestOf(c, c.Args().Get(1))
			if err != nil {
				return err
			}
			service, err := t.witnessed(c.Context)
			if err != nil {
				return err
			}
			paths, err := t.unlock(pemfile.PairPaths{Crt: c.Args().Get(1), Key: c.String("key")})
			if err != nil {
				return err
			}
			engine := t.engine(paths)
			engine.Client, engine.Chain = service, c.Bool("chain")
			ctx, wait, cancel := patience(c)
			defer cancel()
			var issued client.Issued
			err = t.decision(ctx, wait, id, func() (err error) {
				if digest != nil {
					issued, err = engine.FetchFor(ctx, id, *digest, t.verification())
				} else {
					issued, err = engine.Fetch(ctx, id, t.verification())
				}
				return err
			})
			switch {
			case errors.As(err, new(*client.Rejection)):
				_, err = rejection(resultView{ID: id.String()}, err, "")
				return err
			case errors.Is(err, client.ErrUnknown), errors.Is(err, enroll.ErrRejected):
				return manners.WithHint(err, "%s", t.whyUnknown(digest))
			case undecided(ctx, err):
				return manners.WithCode(manners.WithHint(err, "the same command again asks again, --wait stays until there is a decision"), manners.ExitPending)
			case err != nil:
				return err
			}
			if path := engine.Paths.Crt; path == "" || path == "-" {
				return t.printPEM(id, issued.PEM())
			}
			changed, err := engine.Adopt(issued)
			return t.stored(engine.Paths, issued.Certificate, id, changed, err)
		}),
	}
}

// requestOf returns the digest of the request for a certificate, nil if it is not at hand: of the file that is given, or of one
// beside the certificate's.
func (t *tool) requestOf(c *cli.Context, crt string) (*pki.Digest, error) {
	if c.IsSet("csr") {
		return t.digestIn(c.String("csr"))
	}
	if crt == "" || crt == standardInput {
		return nil, nil
	}
	stem := crt
	for _, suffix := range []string{".pem", ".der", ".crt", ".cer"} {
		stem = strings.TrimSuffix(stem, suffix)
	}
	hidden := filepath.Join(filepath.Dir(stem), "."+filepath.Base(stem)) // as request keeps it beside a combined file
	for _, path := range []string{stem + ".csr.pem", stem + ".csr", hidden + ".csr.pem"} {
		if data, err := pemfile.Read(path); err == nil {
			if req, err := pki.ParseRequest(data); err == nil {
				return &req.Digest, nil
			}
		}
	}
	return nil, nil
}

// whyUnknown says what may have become of a request.
func (t *tool) whyUnknown(digest *pki.Digest) string {
	if digest == nil {
		return "with --csr FILE, the daemon tells whoever has the request why it was rejected; or it belongs to another authority (--mode, --authority)"
	}
	return "it was never submitted, or belongs to another authority (--mode, --authority)"
}
