package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"cauase/pkg/pki"
)

// What could be read in two ways, or is made with what is broken, is no signature.
func TestSignaturesThatAreNone(t *testing.T) {
	key := ed(t)
	good := armoured(t, key, nil, "x")
	block, _ := pem.Decode([]byte(good))
	rewrap := func(change func([]byte) []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: sshsig.PEMType, Bytes: change(slices.Clone(block.Bytes))}))
	}
	with := func(pub ssh.PublicKey) string {
		s := must(sshsig.ParseSignature(block.Bytes))
		s.PublicKey = pub
		return string(sshsig.Armor(s))
	}
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "one block"},
		{"too long", good + strings.Repeat("\n", MaxSSHSignature), "longer than"},
		{"text before", "x\n" + good, "one block"},
		{"text behind", good + "x", "one block"},
		{"twice", good + good, "one block"},
		{"another block", strings.ReplaceAll(good, "SSH SIGNATURE", "SSH SIGNATURES"), "one block"},
		{"headers", strings.Replace(good, "\n", "\nA: b\n\n", 1), "one block"},
		{"another namespace", forged(t, key, "file", ""), "namespace"},
		{"the namespace of git", forged(t, key, "git", ""), "namespace"},
		{"bytes behind the end", rewrap(func(b []byte) []byte { return append(b, 0) }), "SSH signature"},
		{"cut", rewrap(func(b []byte) []byte { return b[:len(b)-1] }), "SSH signature"},
		{"another version", rewrap(func(b []byte) []byte { b[9] = 2; return b }), "SSH signature"},
		{"another preamble", rewrap(func(b []byte) []byte { b[0] = 'X'; return b }), "SSH signature"},
		{"SHA-1 with RSA", forged(t, rsaOf[2048](), Namespace, ssh.KeyAlgoRSA), "ssh-rsa"},
		{"a small RSA key", forged(t, rsaOf[1024](), Namespace, ""), "RSA modulus of 1024 bits"},
		{"DSA", with(dsaKey()), "ssh-dss"},
		{"the signature of another type", with(sshKey(rsaOf[2048]())), "rsa-sha2-512"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := ParseSSH(tt.text); !errors.Is(err, ErrInvalid) || !errors.Is(err, pki.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v, want %q", s, err, tt.want)
			}
		})
	}
}

// A CA that signs with SHA-1, or has a weak key, certifies nothing.
func TestHostCertificatesOfWeakCAs(t *testing.T) {
	key := ed(t)
	cert := certify(t, rsaOf[2048](), key, nil, "a.example")
	cert.Signature.Format = ssh.KeyAlgoRSA
	if _, err := ParseSSH(armoured(t, key, cert, "x")); !errors.Is(err, ErrInvalid) {
		t.Errorf("SHA-1: got %v", err)
	}
	cert = certify(t, rsaOf[1024](), key, nil, "a.example")
	if _, err := ParseSSH(armoured(t, key, cert, "x")); !errors.Is(err, ErrInvalid) {
		t.Errorf("RSA 1024: got %v", err)
	}
}

// A huge RSA key is refused for its size, which is all that is looked at.
func TestHugeRSAKey(t *testing.T) {
	n := append([]byte{0}, bytes.Repeat([]byte{0xff}, 2048)...) // 16384 bits
	blob := ssh.Marshal(struct {
		Name string
		E    []byte
		N    []byte
	}{ssh.KeyAlgoRSA, []byte{1, 0, 1}, n})
	sig := ssh.Marshal(struct {
		Magic                                     [6]byte
		Version                                   uint32
		Key, Namespace, Reserved, Hash, Signature string
	}{[6]byte([]byte("SSHSIG")), 1, string(blob), Namespace, "", "sha512", string(ssh.Marshal(ssh.Signature{Format: ssh.KeyAlgoRSASHA512, Blob: n[1:]}))})
	armour := string(pem.EncodeToMemory(&pem.Block{Type: sshsig.PEMType, Bytes: sig}))
	if _, err := ParseSSH(armour); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "16384 bits") {
		t.Errorf("got %v", err)
	}
}

func keygen(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("ssh-keygen")
	if err != nil {
		if os.Getenv("CAUASE_REQUIRE_ALL") != "" {
			t.Fatal("ssh-keygen is not installed")
		}
		t.Skip("ssh-keygen is not installed")
	}
	return path
}

func run(t *testing.T, stdin string, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// What OpenSSH signs is verified here, and what is signed here by OpenSSH; host certificates that it makes count, and so do names that it hides.
func TestSSHKeygen(t *testing.T) {
	keygen := keygen(t)
	folder := t.TempDir()
	ca := filepath.Join(folder, "ca")
	run(t, "", keygen, "-q", "-t", "ed25519", "-N", "", "-f", ca)
	for _, kind := range [][]string{{"ed25519"}, {"ecdsa", "-b", "256"}, {"ecdsa", "-b", "521"}, {"rsa", "-b", "2048"}} {
		t.Run(strings.Join(kind, " "), func(t *testing.T) {
			file := filepath.Join(folder, strings.Join(kind, ""))
			run(t, "", append([]string{keygen, "-q", "-N", "", "-f", file, "-t"}, kind...)...)
			public := must(os.ReadFile(file + ".pub"))
			h, err := known(t, "a.example "+string(public), string(must(os.ReadFile(ca+".pub"))))
			if err != nil {
				t.Fatal(err)
			}

			message := write(t, folder, "message", "statement")
			_ = os.Remove(message + ".sig")
			run(t, "", keygen, "-q", "-Y", "sign", "-n", Namespace, "-f", file, message)
			theirs, err := ParseSSH(string(must(os.ReadFile(message + ".sig"))))
			if err != nil {
				t.Fatal(err)
			}
			if host, err := h.Identify(now, theirs, []byte("statement"), nil); err != nil || !slices.Equal(host.Names, []string{"a.example"}) {
				t.Errorf("theirs: got %+v, %v", host, err)
			}

			key, err := ReadSSHKey(file)
			if err != nil {
				t.Fatal(err)
			}
			ours := write(t, folder, "ours.sig", armoured(t, key.Signer, nil, "statement"))
			run(t, "statement", keygen, "-Y", "check-novalidate", "-n", Namespace, "-s", ours)
			allowed := write(t, folder, "allowed", "a.example "+string(public))
			run(t, "statement", keygen, "-Y", "verify", "-f", allowed, "-I", "a.example", "-n", Namespace, "-s", ours)

			run(t, "", keygen, "-q", "-s", ca, "-h", "-I", "id", "-n", "c.example", "-V", "20200101:21000101", file)
			if key, err = ReadSSHKey(file); err != nil || key.Certificate == nil {
				t.Fatalf("with its certificate: got %+v, %v", key, err)
			}
			host, err := h.Identify(now, signed(t, key.Signer, key.Certificate, "statement"), []byte("statement"), nil)
			if err != nil || !slices.Equal(host.Names, []string{"a.example", "c.example"}) || host.CA == "" {
				t.Errorf("with a certificate: got %+v, %v", host, err)
			}
			ours = write(t, folder, "certified.sig", armoured(t, key.Signer, key.Certificate, "statement"))
			allowed = write(t, folder, "allowed", "c.example cert-authority "+string(must(os.ReadFile(ca+".pub"))))
			_ = allowed // OpenSSH verifies certificates of users only
			run(t, "statement", keygen, "-Y", "check-novalidate", "-n", Namespace, "-s", ours)

			list := write(t, folder, "known_hosts", "hidden.example,192.0.2.3 "+string(public))
			run(t, "", keygen, "-q", "-H", "-f", list)
			if h, err = ReadHosts(Files{KnownHosts: []string{list}}); err != nil {
				t.Fatal(err)
			}
			host, err = h.Identify(now, theirs, []byte("statement"), []string{"192.0.2.3", "hidden.example"})
			if err != nil || !slices.Equal(host.Names, []string{"192.0.2.3", "hidden.example"}) {
				t.Errorf("hashed: got %+v, %v", host, err)
			}
		})
	}
}

func FuzzParseSSH(f *testing.F) {
	t := &testing.T{}
	key, ca := ed(t), ed(t)
	f.Add([]byte(must(SignSSH(key, nil, []byte("x")))))
	f.Add([]byte(must(SignSSH(key, certify(t, ca, key, nil, "a.example"), []byte("x")))))
	f.Add([]byte(must(SignSSH(rsaOf[2048](), nil, []byte("x")))))
	f.Add([]byte("-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Both as it comes, and as what is in the armour: mutations of base64 get nowhere.
		for _, armour := range []string{string(data), string(pem.EncodeToMemory(&pem.Block{Type: sshsig.PEMType, Bytes: data}))} {
			s, err := ParseSSH(armour)
			if err != nil {
				if !errors.Is(err, ErrInvalid) || len(err.Error()) > 4*maxReason {
					t.Fatalf("an error of another kind: %v", err)
				}
				continue
			}
			if s.Verify([]byte("x")) == nil && s.Verify([]byte("y")) == nil {
				t.Fatal("a signature over everything")
			}
		}
	})
}

func FuzzKnownHosts(f *testing.F) {
	k := line(ed(nil))
	for _, host := range []string{"a.example", "!a.example,*", "[a]:22", "|1|" + base64.StdEncoding.EncodeToString([]byte("salt")) + "|" + base64.StdEncoding.EncodeToString(make([]byte, 20)), "@revoked a", "@cert-authority *"} {
		f.Add(host + " " + k + "\n")
	}
	f.Fuzz(func(t *testing.T, content string) {
		h := &Hosts{keys: map[string][]hosts{}, cas: map[string][]hosts{}, revoked: map[string]bool{}}
		if err := eachLine("file", []byte(content), h.addKnown); err != nil {
			var at *FileError
			if !errors.As(err, &at) || at.Line < 1 || !errors.Is(err, ErrInvalid) {
				t.Fatalf("an error of another kind: %v", err)
			}
		}
		for _, list := range h.keys {
			for _, of := range list {
				for _, name := range of.literal([]string{"a.example"}) {
					if canonical, ok := hostName(name); !ok || canonical != name || strings.ContainsAny(name, "*?!") {
						t.Fatalf("the name %q", name)
					}
				}
			}
		}
	})
}
