package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/witness"

	manners "cauase/pkg/cli"
)

// A proofView is what crt proof prints.
type proofView struct {
	File    string `json:"file"`
	Subject string `json:"subject"`
	manners.Serial
	Log        string          `json:"log"`
	Index      int64           `json:"index"`
	Time       string          `json:"time"`
	Authority  string          `json:"authority"`
	Action     string          `json:"action"`
	Leaf       string          `json:"leaf"`
	Checkpoint *checkpointView `json:"checkpoint"`
	Hashes     int             `json:"hashes"` // of the proof
	Out        string          `json:"out,omitempty"`
}

func (t *tool) crtProof() *cli.Command {
	return &cli.Command{
		Name:      "proof",
		Usage:     "prove that the CA's log has the issuance of a certificate",
		ArgsUsage: "CRT, or --verify PROOF [CRT]",
		Description: `Fetches the proof, and verifies it: a certificate that is not in the log was made behind the
back of the CA, with a stolen key, or before there was a log. --out keeps the proof with all
that it takes to verify it later, without asking anybody, by --verify: the certificate, its
entry, the hashes up to the root, the signed checkpoint, and the CA's word on who has signed
that. Whoever verifies has to trust the CA: --ca-crt.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", TakesFile: true, Usage: "store the proof in `FILE`"},
			&cli.StringFlag{Name: "verify", TakesFile: true, Usage: "verify the proof in `FILE`, offline"},
		},
		Action: t.action(t.proveCertificate),
	}
}

func (t *tool) proveCertificate(c *cli.Context) error {
	if c.IsSet("verify") {
		return t.verifyProof(c)
	}
	if c.NArg() != 1 {
		return errUsage(c, "which certificate?")
	}
	paths, err := fileArguments(c)
	if err != nil {
		return err
	}
	crt, err := onlyCertificate(paths[0])
	if err != nil {
		return naming(paths[0], err)
	}
	service, err := t.witnessed(c.Context)
	if err != nil {
		return err
	}
	if t.testimony.Next == nil {
		_, err := service.LogHead(c.Context, nil, t.trusted)
		return cmp.Or(err, client.ErrNoLog)
	}
	proof, proved, err := service.LogProof(c.Context, crt, t.testimony.Next.Newest(), t.trusted)
	if err != nil {
		return naming(paths[0], err)
	}
	view := t.viewProof(paths[0], crt, proof, proved)
	if out := c.String("out"); out != "" {
		text, err := witness.SavedProof{Certificate: string(pki.EncodeCertificatePEM(crt.Raw)), Proof: proof}.Encode()
		if err != nil {
			return err
		}
		if _, err := pemfile.Write(pemfile.File{Path: out, Content: text}); err != nil {
			return err
		}
		view.Out = out
	}
	return t.print(view, func(p *printer) { p.proof(view) })
}

func (t *tool) verifyProof(c *cli.Context) error {
	if c.NArg() > 1 || c.String("out") != "" {
		return errUsage(c, "--verify takes at most the certificate beside it")
	}
	path := c.String("verify")
	data, err := pemfile.Read(path)
	if err != nil {
		return err
	}
	saved, err := witness.ParseSavedProof(data)
	if err != nil {
		return naming(path, err)
	}
	crt, err := pki.ParseCertificatePEM([]byte(saved.Certificate))
	if err != nil {
		return naming(path, err)
	}
	if c.NArg() == 1 {
		paths, err := fileArguments(c)
		if err != nil {
			return err
		}
		mine, err := onlyCertificate(paths[0])
		if err != nil {
			return naming(paths[0], err)
		}
		if !mine.Equal(crt) {
			return fmt.Errorf("%s is the proof for another certificate than %s", path, paths[0])
		}
	}
	trusted, err := t.caStore.ReadCertificates()
	if err != nil {
		return err
	}
	if len(trusted) == 0 {
		return manners.WithHint(fmt.Errorf("%s holds no CA certificate", t.caStore.Path), "cauase ca update stores them, or --ca-crt says where they are")
	}
	by := witness.Vouching{CAs: trusted, At: t.clock.Now(), Then: true}
	proved, err := saved.Proof.Verify(by, crt.Raw)
	if err != nil {
		return naming(path, err)
	}
	// The CA that has issued it may have ended by now. That it is on record is what was to be proved.
	if _, err := pki.VerifyIssued(crt, trusted, crt.NotBefore.Add(time.Second)); errors.Is(err, pki.ErrUnknownIssuer) {
		t.warn("%s: the certificate is of none of the CAs in %s", path, t.caStore.Path)
	}
	view := t.viewProof(path, crt, saved.Proof, proved)
	return t.print(view, func(p *printer) { p.proof(view) })
}

func (t *tool) viewProof(file string, crt *x509.Certificate, proof witness.Proof, proved witness.Inclusion) proofView {
	return proofView{
		File: file, Subject: subjectOrNames(pki.SubjectString(crt.RawSubject), pki.SANStrings(crt.Extensions)), Serial: manners.SerialOf(crt.SerialNumber),
		Log: proved.Head.Origin, Index: proved.Leaf.Index, Time: proved.Leaf.Time.UTC().Format(time.RFC3339), Authority: proved.Leaf.Authority,
		Action: proved.Leaf.Action, Leaf: proof.Leaf, Checkpoint: viewCheckpoint(proved.Head.Checkpoint, time.Time{}), Hashes: len(proof.Inclusion),
	}
}

func (p *printer) proof(v proofView) {
	p.line("%s: the certificate of %s is in the CA's log", v.File, v.Subject)
	p.line("log:     %s", v.Log)
	p.line("entry:   %d of %d, %s by %s on %s", v.Index, v.Checkpoint.Size, v.Action, v.Authority, v.Time)
	p.line("leaf:    %s", v.Leaf)
	p.line("root:    %s, of %s, epoch %d", v.Checkpoint.Root, v.Checkpoint.Time, v.Checkpoint.Epoch)
	if v.Out != "" {
		p.line("proof:   %s", v.Out)
	}
}
