package proof

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

var now = time.Unix(1_800_000_000, 0)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ed(*testing.T) crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func ec(curve elliptic.Curve) crypto.Signer { return must(ecdsa.GenerateKey(curve, rand.Reader)) }

var rsaOf = map[int]func() *rsa.PrivateKey{}

func init() {
	for _, bits := range []int{1024, 2048} {
		rsaOf[bits] = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, bits)) })
	}
}

func sshKey(key crypto.Signer) ssh.PublicKey { return must(ssh.NewPublicKey(key.Public())) }

func line(key crypto.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshKey(key))))
}

// certify makes a host certificate, good for an hour either way, which change can make a worse one.
func certify(t *testing.T, ca, key crypto.Signer, change func(*ssh.Certificate), principals ...string) *ssh.Certificate {
	t.Helper()
	cert := &ssh.Certificate{
		Key: sshKey(key), CertType: ssh.HostCert, KeyId: "test", ValidPrincipals: principals,
		ValidAfter: uint64(now.Add(-time.Hour).Unix()), ValidBefore: uint64(now.Add(time.Hour).Unix()),
	}
	if change != nil {
		change(cert)
	}
	if err := cert.SignCert(rand.Reader, must(ssh.NewSignerFromSigner(ca))); err != nil {
		t.Fatal(err)
	}
	return cert
}

// signed is a signature over text, as it is received.
func signed(t *testing.T, key crypto.Signer, cert *ssh.Certificate, text string) *SSHSignature {
	t.Helper()
	s, err := ParseSSH(armoured(t, key, cert, text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func armoured(t *testing.T, key crypto.Signer, cert *ssh.Certificate, text string) string {
	t.Helper()
	armour, err := SignSSH(key, cert, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return armour
}

// forged is a signature of any kind, which SignSSH would not make.
func forged(t *testing.T, key crypto.Signer, namespace, algorithm string) string {
	t.Helper()
	signer := must(ssh.NewSignerFromSigner(key))
	sig, err := sshsig.Sign(strings.NewReader("x"), signer, sshsig.HashSHA256, namespace)
	if err != nil {
		t.Fatal(err)
	}
	if algorithm != "" {
		sig.Signature = must(signer.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, []byte("x"), algorithm))
	}
	return string(sshsig.Armor(sig))
}

// known reads files with this content, of known hosts and of CA keys.
func known(t *testing.T, knownHosts, caKeys string) (*Hosts, error) {
	t.Helper()
	folder := t.TempDir()
	var files Files
	if knownHosts != "" {
		files.KnownHosts = []string{write(t, folder, "known_hosts", knownHosts)}
	}
	if caKeys != "" {
		files.CAKeys = []string{write(t, folder, "ca.pub", caKeys)}
	}
	return ReadHosts(files)
}

func write(t *testing.T, folder, name, content string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// dsaKey has the form of one, which is all that is looked at.
func dsaKey() ssh.PublicKey {
	bit := func(n uint) *big.Int { return new(big.Int).SetBit(big.NewInt(1), int(n), 1) }
	return must(ssh.ParsePublicKey(ssh.Marshal(struct {
		Name       string
		P, Q, G, Y *big.Int
	}{"ssh-dss", bit(1023), bit(159), big.NewInt(2), big.NewInt(3)})))
}

func text(format string, args ...any) string { return fmt.Sprintf(format, args...) }
