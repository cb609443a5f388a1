package proof

import (
	"bytes"
	"crypto"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"cauase/pkg/pki"
)

// Namespace is that of the signatures which SSH host keys make here (PROTOCOL.sshsig of OpenSSH, section 2): what
// such a key has signed for anything else proves nothing.
const Namespace = "cauase-request"

// MaxSSHSignature bounds a signature in its armour, in bytes: room for a host certificate of RSA 8192 with many principals.
const MaxSSHSignature = 64 << 10

// maxPrincipals bounds the names in a host certificate.
const maxPrincipals = 256

// An SSHSignature is one that was received, of which nothing has been verified yet.
type SSHSignature struct {
	sig  *sshsig.Signature
	key  ssh.PublicKey    // the host key
	cert *ssh.Certificate // of the host, nil if a bare key has signed
}

// ParseSSH reads a signature as ssh-keygen -Y sign writes it. It computes nothing with the key, which has to be one that
// could be certified, too. Errors are ErrInvalid.
func ParseSSH(armour string) (*SSHSignature, error) {
	if len(armour) > MaxSSHSignature {
		return nil, invalid("SSH signature: longer than %d bytes", MaxSSHSignature)
	}
	blob, err := unarmour([]byte(armour))
	if err != nil {
		return nil, err
	}
	sig, err := sshsig.ParseSignature(blob)
	if err != nil {
		return nil, invalid("SSH signature: %v", err)
	}
	s := &SSHSignature{sig: sig, key: sig.PublicKey}
	if cert, ok := sig.PublicKey.(*ssh.Certificate); ok {
		s.key, s.cert = cert.Key, cert
	}
	switch {
	case !bytes.Equal(sig.Marshal(), blob): // what is reserved, or behind the end
		return nil, invalid("SSH signature: it holds more than a signature")
	case sig.Namespace != Namespace:
		return nil, invalid("SSH signature: its namespace is %.40q: %s is needed", sig.Namespace, Namespace)
	}
	if err := fits(s.key, sig.Signature); err != nil {
		return nil, err
	}
	if s.cert != nil {
		if len(s.cert.ValidPrincipals) > maxPrincipals {
			return nil, invalid("SSH host certificate: more than %d principals", maxPrincipals)
		}
		if err := fits(s.cert.SignatureKey, s.cert.Signature); err != nil {
			return nil, fmt.Errorf("SSH host certificate, its CA: %w", err)
		}
	}
	return s, nil
}

// unarmour returns what is in the one block, around which there is nothing.
func unarmour(armour []byte) ([]byte, error) {
	armour = bytes.TrimSpace(armour)
	block, rest := pem.Decode(armour)
	if block == nil || block.Type != sshsig.PEMType || len(block.Headers) > 0 || len(rest) > 0 ||
		!bytes.HasPrefix(armour, []byte("-----BEGIN "+sshsig.PEMType+"-----")) {
		return nil, invalid("SSH signature: not what ssh-keygen -Y sign writes, one block of %s", sshsig.PEMType)
	}
	return block.Bytes, nil
}

// algorithms are the signatures that count, by the type of the key. Those with SHA-1 do not (ssh-rsa, ssh-dss); and keys on tokens (sk-…) are
// people's, who touch them.
var algorithms = map[string][]string{
	ssh.KeyAlgoED25519:  {ssh.KeyAlgoED25519},
	ssh.KeyAlgoECDSA256: {ssh.KeyAlgoECDSA256},
	ssh.KeyAlgoECDSA384: {ssh.KeyAlgoECDSA384},
	ssh.KeyAlgoECDSA521: {ssh.KeyAlgoECDSA521},
	ssh.KeyAlgoRSA:      {ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
}

// fits refuses a signature of another kind, or with a key that is not as strong as those of certificates have to be.
func fits(key ssh.PublicKey, sig *ssh.Signature) error {
	if err := usable(key); err != nil {
		return err
	}
	if known := algorithms[key.Type()]; !slices.Contains(known, sig.Format) {
		return invalid("SSH signature of the kind %.40q: with this key %s is needed", sig.Format, strings.Join(known, " or "))
	}
	if len(sig.Rest) > 0 {
		return invalid("SSH signature: it holds more than a signature")
	}
	return nil
}

// usable refuses SSH keys of other types than are accepted, and weak ones. Sizes come before arithmetic.
func usable(key ssh.PublicKey) error {
	if algorithms[key.Type()] == nil {
		return invalid("SSH key of the type %.60q: Ed25519, ECDSA or RSA needed", key.Type())
	}
	of, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return invalid("SSH key of the type %.60q cannot be used", key.Type())
	}
	if err := pki.CheckPublicKey(of.CryptoPublicKey()); err != nil {
		return invalid("SSH key: %v", err)
	}
	return nil
}

// Fingerprint names the host key as OpenSSH does, "SHA256:…".
func (s *SSHSignature) Fingerprint() string { return ssh.FingerprintSHA256(s.key) }

// Verify refuses a signature that was not made over this text with the key in it. Errors are ErrRefused.
func (s *SSHSignature) Verify(statement []byte) error {
	if err := sshsig.Verify(bytes.NewReader(statement), s.sig, s.sig.PublicKey, s.sig.HashAlgorithm, Namespace); err != nil {
		return refused("the SSH host key %s has not signed this", s.Fingerprint())
	}
	return nil
}

// checkCertificate refuses a host certificate that is not valid, before its signature is verified.
func (s *SSHSignature) checkCertificate(now time.Time) error {
	cert := s.cert
	switch {
	case cert.CertType != ssh.HostCert:
		return refused("the SSH certificate %.80q is not one of a host", cert.KeyId)
	case len(cert.ValidPrincipals) == 0:
		// To OpenSSH such a one is good for every host.
		return refused("the SSH host certificate %.80q names no host", cert.KeyId)
	case len(cert.CriticalOptions) > 0:
		return refused("the SSH host certificate %.80q has critical options, of which there are none for hosts", cert.KeyId)
	case now.Unix() < 0 || uint64(now.Unix()) < cert.ValidAfter: //nolint:gosec // not negative
		return refused("the SSH host certificate %.80q is not yet valid", cert.KeyId)
	case uint64(now.Unix()) >= cert.ValidBefore: //nolint:gosec // not negative
		return refused("the SSH host certificate %.80q has expired", cert.KeyId)
	}
	return nil
}

// verifyCertificate refuses a host certificate that its CA has not signed.
func (s *SSHSignature) verifyCertificate(now time.Time) error {
	// CheckCert takes the time as signed seconds and the end of it for a special value, all of which has been looked at.
	checker := ssh.CertChecker{Clock: func() time.Time { return now }}
	if err := checker.CheckCert(s.cert.ValidPrincipals[0], s.cert); err != nil {
		return refused("the SSH host certificate %.80q: %v", s.cert.KeyId, err)
	}
	return nil
}

// SignSSH signs a statement with a host key. With its certificate, if it is not nil, the signature shows that.
func SignSSH(key crypto.Signer, cert *ssh.Certificate, statement []byte) (string, error) {
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return "", err
	}
	if err := usable(signer.PublicKey()); err != nil {
		return "", err
	}
	// The library picks SHA-512 for RSA by the type of the key, which that of a certificate hides.
	sig, err := sshsig.Sign(bytes.NewReader(statement), signer, sshsig.HashSHA512, Namespace)
	if err != nil {
		return "", fmt.Errorf("sign with SSH host key: %w", err)
	}
	if cert != nil {
		if !bytes.Equal(cert.Key.Marshal(), signer.PublicKey().Marshal()) {
			return "", fmt.Errorf("the SSH host certificate is for another key, %s", ssh.FingerprintSHA256(cert.Key))
		}
		sig.PublicKey = cert
	}
	return string(sshsig.Armor(sig)), nil
}
