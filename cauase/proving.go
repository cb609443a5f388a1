package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/proof"

	manners "cauase/pkg/cli"
)

const (
	flagSSHHostKey = "ssh-host-key"
	flagProofCrt   = "proof-crt"
	flagProofKey   = "proof-key"
)

func sshHostKeyFlag() cli.Flag {
	return manners.OptionalPath(cli.StringFlag{Name: flagSSHHostKey,
		Usage: "prove which host asks by its SSH host key, the best in " + proof.SSHFolder + " unless a file is given; a certificate beside it, -cert.pub, is shown, too"})
}

// proving reads what the command line says to prove with who asks, nil if nothing. Names that were left out are filled in.
func (t *tool) proving(c *cli.Context) (who *client.Proving, err error) {
	who = &client.Proving{}
	if c.IsSet(flagSSHHostKey) {
		if who.SSH, err = sshHostKey(c.String(flagSSHHostKey)); err != nil {
			return nil, err
		}
	}
	switch {
	case c.String(flagProofCrt) != "":
		pair, err := t.unlock(pemfile.PairPaths{Crt: c.String(flagProofCrt), Key: c.String(flagProofKey)})
		if err != nil {
			return nil, err
		}
		held, err := pemfile.ReadPair(pair)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flagProofCrt, err)
		}
		who.Certificate, who.Key = held.Crt, held.Key
	case c.IsSet(flagProofCrt):
		return nil, errUsage(c, fmt.Sprintf("--%s needs the name of a file", flagProofCrt))
	case c.IsSet(flagProofKey):
		return nil, errUsage(c, fmt.Sprintf("--%s goes with --%s", flagProofKey, flagProofCrt))
	}
	if who.SSH == nil && who.Certificate == nil {
		return nil, nil
	}
	return who, t.nameAfter(c, who)
}

func sshHostKey(file string) (key *proof.SSHKey, err error) {
	if file == "" {
		key, err = proof.FindSSHKey(proof.SSHFolder)
	} else {
		key, err = proof.ReadSSHKey(file)
	}
	switch {
	case err == nil:
		return key, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, manners.WithHint(err, "only root can read the SSH host keys of a machine")
	case errors.Is(err, fs.ErrNotExist) && file == "":
		return nil, manners.WithHint(err, "ssh-keygen -A makes them; --%s=FILE names one that is elsewhere", flagSSHHostKey)
	case errors.Is(err, pki.ErrEncrypted):
		return nil, manners.WithHint(err, "host keys have no passphrase, as sshd could not use them; is it the key of a user?")
	}
	return nil, err
}

// nameAfter has a request without names ask for those of whoever proves who it is: of the certificate that is shown, or of this host.
func (t *tool) nameAfter(c *cli.Context, who *client.Proving) error {
	if slices.ContainsFunc([]string{"cn", "dns", "ip", "email", "uri"}, c.IsSet) {
		return nil
	}
	if who.Certificate != nil {
		return t.nameLike(c, who.Certificate)
	}
	name, err := fullHostname(c.Context)
	if err != nil {
		return manners.WithHint(err, "give the name that the host is known by with --cn")
	}
	t.note("asking for a certificate of this host, %s", name)
	return c.Set("cn", name)
}

// nameLike asks for the names in a certificate.
func (t *tool) nameLike(c *cli.Context, crt *x509.Certificate) error {
	names := map[string][]string{"cn": {crt.Subject.CommonName}, "dns": crt.DNSNames, "email": crt.EmailAddresses}
	for _, ip := range crt.IPAddresses {
		names["ip"] = append(names["ip"], ip.String())
	}
	for _, uri := range crt.URIs {
		names["uri"] = append(names["uri"], uri.String())
	}
	var asked []string
	for _, kind := range []string{"cn", "dns", "ip", "email", "uri"} {
		for _, name := range names[kind] {
			if name == "" {
				continue
			}
			if err := c.Set(kind, name); err != nil {
				return err
			}
			asked = append(asked, "--"+kind+" "+name)
		}
	}
	if len(asked) > 0 {
		t.note("asking for the names in the certificate that is shown, %s", strings.Join(asked, " "))
	}
	return nil
}

// lookupTime is how long a host may take to find out what it is called.
const lookupTime = 5 * time.Second

// fullHostname is the name of this host with its domain, as hostname -f has it: what the system calls itself, or else what its
// addresses are called.
func fullHostname(ctx context.Context) (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	if host := hostIn(name, false); host != "" {
		return host, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return "", fmt.Errorf("this host, %q, has no name with a domain: %w", name, err)
	}
	for _, address := range addresses {
		names, err := net.DefaultResolver.LookupAddr(ctx, address)
		if err != nil {
			continue
		}
		for _, full := range names {
			if host := hostIn(full, false); strings.HasPrefix(host, strings.ToLower(name)+".") {
				return host, nil
			}
		}
	}
	return "", fmt.Errorf("this host, %q, has no name with a domain", name)
}
