package proof

import (
	"crypto"
	"crypto/elliptic"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// A key gives its holder the names that a line spells out, and no others.
func TestNamesOfKnownHosts(t *testing.T) {
	key, other := ed(t), ed(t)
	k := line(key)
	asked := []string{"a.example", "192.0.2.1"}
	for _, tt := range []struct {
		name, file string
		want       string // names; empty: refused
		reason     string
	}{
		{"a name", "a.example " + k, "a.example", ""},
		{"in capitals and with the dot of the root", "A.Example. " + k, "a.example", ""},
		{"names and addresses", "a.example,b.example,192.0.2.1,2001:DB8:0::1 " + k, "192.0.2.1 2001:db8::1 a.example b.example", ""},
		{"of two lines, one of another key", "a.example " + k + "\nb.example " + line(other) + "\nc.example " + k, "a.example c.example", ""},
		{"at a port", "[a.example]:2222,[2001:db8::1]:22 " + k, "2001:db8::1 a.example", ""},
		{"with a comment, tabs and CRLF", "# x\r\n\r\n  a.example\t" + k + " root@a\r\n", "a.example", ""},
		{"with a wildcard", "*.example,a* " + k, "", "not which host"},
		{"with a question mark", "?.example " + k, "", "not which host"},
		{"with a wildcard beside a name", "*.example,b.example " + k, "b.example", ""},
		{"negated", "!a.example,a.example " + k, "", "not which host"},
		{"negated by a wildcard", "a.example,b.other,!*.example " + k, "b.other", ""},
		{"negated only", "!a.example " + k, "", "not which host"},
		{"negated in another line", "!a.example,* " + k + "\na.example " + k, "a.example", ""},
		{"hashed", knownhosts.HashHostname("a.example") + " " + k, "a.example", ""},
		{"hashed address", knownhosts.HashHostname("192.0.2.1") + " " + k, "192.0.2.1", ""},
		{"hashed for another name", knownhosts.HashHostname("b.example") + " " + k, "", "not which host"},
		{"hashed for a port", knownhosts.HashHostname("[a.example]:2222") + " " + k, "", "not which host"},
		{"no name of a host", "a_.example/x,-b.example,300.1.2.3 " + k, "", "not which host"},
		{"of another key", "a.example " + line(other), "", "in none of the daemon's files"},
		{"revoked", "a.example " + k + "\n@revoked * " + k, "", "is revoked"},
		{"revoked for another host, before it is listed", "@revoked b.example " + k + "\na.example " + k, "", "is revoked"},
		{"as a CA", "@cert-authority a.example " + k, "", "in none of the daemon's files"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := known(t, tt.file, "")
			if err != nil {
				t.Fatal(err)
			}
			host, err := h.Identify(now, signed(t, key, nil, "x"), []byte("x"), asked)
			if tt.want == "" {
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tt.reason) {
					t.Fatalf("got %v, %v", host, err)
				}
				return
			}
			if err != nil || strings.Join(host.Names, " ") != tt.want || host.Fingerprint != ssh.FingerprintSHA256(sshKey(key)) || host.CA != "" {
				t.Errorf("got %+v, %v", host, err)
			}
		})
	}
}

// A host certificate gives the names in it, as far as its CA counts for them.
func TestNamesOfHostCertificates(t *testing.T) {
	ca, key, stranger := ed(t), ed(t), ed(t)
	authority := "@cert-authority *.example,!bad.example " + line(ca)
	for _, tt := range []struct {
		name    string
		file    string
		caKeys  string
		by      crypto.Signer
		change  func(*ssh.Certificate)
		asked   string // principals
		want    string
		reason  string
		without bool // the certificate
	}{
		{name: "good", file: authority, asked: "a.example b.example", want: "a.example b.example"},
		{name: "of a file of CAs", caKeys: line(ca) + " CA of hosts\n", asked: "a.example x.other", want: "a.example x.other"},
		{name: "beyond what the CA counts for", file: authority, asked: "a.example a.other", want: "a.example"},
		{name: "for none that it counts for", file: authority, asked: "a.other bad.example", reason: "for no host that its CA counts for"},
		{name: "without principals", file: authority, asked: "", reason: "names no host"},
		{name: "with a wildcard", file: authority, asked: "*.example", reason: "for no host that its CA counts for"},
		{name: "of a user", file: authority, change: func(c *ssh.Certificate) { c.CertType = ssh.UserCert }, asked: "a.example", reason: "not one of a host"},
		{name: "of a stranger", file: authority, by: stranger, asked: "a.example", reason: "of a CA that the daemon does not know"},
		{name: "of one that is a host only", file: "ca.example " + line(ca), asked: "a.example", reason: "of a CA that the daemon does not know"},
		{name: "expired", file: authority, change: func(c *ssh.Certificate) { c.ValidBefore = uint64(now.Unix()) }, asked: "a.example", reason: "expired"},
		{name: "not yet valid", file: authority, change: func(c *ssh.Certificate) { c.ValidAfter = uint64(now.Unix()) + 1 }, asked: "a.example", reason: "not yet valid"},
		{name: "valid from the end of time", file: authority, change: func(c *ssh.Certificate) { c.ValidAfter = math.MaxUint64 }, asked: "a.example", reason: "not yet valid"},
		{name: "for ever", file: authority, change: func(c *ssh.Certificate) { c.ValidAfter, c.ValidBefore = 0, ssh.CertTimeInfinity }, asked: "a.example", want: "a.example"},
		{name: "with a critical option", file: authority, change: func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "x"} }, asked: "a.example", reason: "critical options"},
		{name: "of a revoked CA", file: authority + "\n@revoked * " + line(ca), asked: "a.example", reason: "CA SHA256:"},
		{name: "of a revoked key", file: authority + "\n@revoked * " + line(key), asked: "a.example", reason: "is revoked"},
		{name: "of a key that is listed besides", file: "a.example " + line(key), by: stranger, asked: "b.example", want: "a.example"},
		{name: "not shown", file: authority, asked: "a.example", without: true, reason: "in none of the daemon's files"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := known(t, tt.file, tt.caKeys)
			if err != nil {
				t.Fatal(err)
			}
			by := tt.by
			if by == nil {
				by = ca
			}
			cert := certify(t, by, key, tt.change, strings.Fields(tt.asked)...)
			if tt.without {
				cert = nil
			}
			host, err := h.Identify(now, signed(t, key, cert, "x"), []byte("x"), nil)
			if tt.want == "" {
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tt.reason) {
					t.Fatalf("got %v, %v", host, err)
				}
				return
			}
			if err != nil || strings.Join(host.Names, " ") != tt.want {
				t.Errorf("got %+v, %v", host, err)
			}
		})
	}
}

// A certificate of which a byte was changed, or that is shown by somebody else, proves nothing.
func TestForgedHostCertificate(t *testing.T) {
	ca, key, thief := ed(t), ed(t), ed(t)
	h, err := known(t, "@cert-authority * "+line(ca), "")
	if err != nil {
		t.Fatal(err)
	}
	cert := certify(t, ca, key, nil, "a.example")
	cert.ValidPrincipals = []string{"b.example"}
	if host, err := h.Identify(now, signed(t, key, cert, "x"), []byte("x"), nil); !errors.Is(err, ErrRefused) {
		t.Errorf("changed: got %v, %v", host, err)
	}
	cert.ValidPrincipals = []string{"a.example"}
	if _, err := SignSSH(thief, cert, []byte("x")); err == nil {
		t.Error("a certificate was shown with another key")
	}
	// The thief's signature beside the certificate of another.
	s := signed(t, thief, nil, "x")
	s.sig.PublicKey, s.cert, s.key = cert, cert, cert.Key
	if host, err := h.Identify(now, s, []byte("x"), nil); !errors.Is(err, ErrRefused) {
		t.Errorf("stolen: got %v, %v", host, err)
	}
}

// One key for very many names does not fill the record.
func TestFewNames(t *testing.T) {
	key := ed(t)
	var all []string
	for i := range 500 {
		all = append(all, text("h%03d.example", i))
	}
	h, err := known(t, strings.Join(all, ",")+" "+line(key), "")
	if err != nil {
		t.Fatal(err)
	}
	host, err := h.Identify(now, signed(t, key, nil, "x"), []byte("x"), []string{"h499.example"})
	if err != nil || len(host.Names) != maxNames || !slices.Contains(host.Names, "h499.example") {
		t.Errorf("got %d names, %v", len(host.Names), err)
	}
}

// What is wrong in a file is said with its name and line, and nothing is read then.
func TestFilesThatAreWrong(t *testing.T) {
	key := line(ed(t))
	weak := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshKey(rsaOf[1024]()))))
	cert := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(certify(t, ed(t), ed(t), nil, "a.example"))))
	for _, tt := range []struct{ name, knownHosts, caKeys, want string }{
		{"a word", "a.example " + key + "\n\nword\n", "", "known_hosts:3: "},
		{"no key", "a.example ssh-ed25519", "", "known_hosts:1: "},
		{"a cut key", "a.example " + key[:60], "", "known_hosts:1: "},
		{"another type", "a.example " + strings.Replace(key, "ssh-ed25519", "ssh-rsa", 1), "", "known_hosts:1: "},
		{"an unknown marker", "@mine a.example " + key, "", "unknown marker @mine"},
		{"two markers", "@revoked @cert-authority a.example " + key, "", "known_hosts:1: "},
		{"a weak CA", "@cert-authority * " + weak, "", "RSA modulus of 1024 bits"},
		{"a certificate", "a.example " + cert, "", "a certificate in the place of a key"},
		{"a certificate as CA", "@cert-authority a.example " + cert, "", "known_hosts:1: "},
		{"a hash that is none", "|1|AAAA|BBBB " + key, "", "known_hosts:1: "},
		{"another hash", "|2|AAAA|BBBB " + key, "", "known_hosts:1: "},
		{"a port that is none", "[a.example]22 " + key, "", "not [HOST]:PORT"},
		{"a negation of nothing", "! " + key, "", "not the name of a host"},
		{"no CA", "", "a.example " + key, "ca.pub:1: "},
		{"a CA with options", "", "cert-authority " + key, "options in front"},
		{"a private key", "", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n", "ca.pub:1: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := known(t, tt.knownHosts, tt.caKeys)
			if err == nil || !strings.Contains(err.Error(), tt.want) || h != nil {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// Files that others can write, or that are none, are not read.
func TestFilesOfOthers(t *testing.T) {
	folder := t.TempDir()
	path := write(t, folder, "known_hosts", "a.example "+line(ed(t)))
	if _, err := ReadHosts(Files{KnownHosts: []string{path, filepath.Join(folder, "absent")}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: got %v", err)
	}
	if _, err := ReadHosts(Files{KnownHosts: []string{folder}}); err == nil {
		t.Error("a folder was read")
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // that is the point
		t.Fatal(err)
	}
	if _, err := ReadHosts(Files{KnownHosts: []string{path}}); err == nil || !strings.Contains(err.Error(), "can be written by everybody") {
		t.Errorf("writable: got %v", err)
	}
}

// Patterns mean what they mean to others: golang.org/x/crypto is asked about the same lines.
func TestPatternsAsElsewhere(t *testing.T) {
	key := ed(t)
	folder := t.TempDir()
	lists := []string{
		"a.example", "*", "*.example", "?.example", "a*e", "a.*.example,!a.b.example", "!*.example,a.example", "*.example,!b.example", "a.example,192.0.2.*",
		"**", "*a*b*", "????.example", knownhosts.HashHostname("a.example"),
	}
	names := []string{"a.example", "b.example", "a.b.example", "a.c.example", "ab.example", "abcd.example", "192.0.2.7", "example", "xaxbx", "a.examplee"}
	for _, list := range lists {
		path := write(t, folder, "known_hosts", list+" "+line(key)+"\n")
		check, err := knownhosts.New(path)
		if err != nil {
			t.Fatal(err)
		}
		h, err := parseHosts(strings.Split(list, ","))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			theirs := check(name+":22", nowhere{}, sshKey(key)) == nil
			if ours := h.match(name); ours != theirs {
				t.Errorf("%s fits %s: %v, and elsewhere %v", name, list, ours, theirs)
			}
		}
	}
}

type nowhere struct{}

func (nowhere) Network() string { return "tcp" }
func (nowhere) String() string  { return "203.0.113.1:22" }

// A pattern that would have others try for ever is read in no time.
func TestHostilePattern(t *testing.T) {
	if glob(strings.Repeat("a*", 200)+"b", strings.Repeat("a", 253)) {
		t.Error("it fits")
	}
}

func TestSignaturesOfAllTypes(t *testing.T) {
	ca := ec(elliptic.P384())
	for name, key := range map[string]crypto.Signer{
		"ed25519": ed(t), "p256": ec(elliptic.P256()), "p384": ec(elliptic.P384()), "p521": ec(elliptic.P521()), "rsa": rsaOf[2048](),
	} {
		t.Run(name, func(t *testing.T) {
			h, err := known(t, "a.example "+line(key)+"\n@cert-authority * "+line(ca), "")
			if err != nil {
				t.Fatal(err)
			}
			for _, cert := range []*ssh.Certificate{nil, certify(t, ca, key, nil, "c.example")} {
				host, err := h.Identify(now, signed(t, key, cert, "x"), []byte("x"), nil)
				if err != nil || !slices.Contains(host.Names, "a.example") || slices.Contains(host.Names, "c.example") != (cert != nil) {
					t.Errorf("got %+v, %v", host, err)
				}
				if _, err := h.Identify(now, signed(t, key, cert, "x"), []byte("y"), nil); !errors.Is(err, ErrRefused) {
					t.Errorf("over another text: got %v", err)
				}
			}
		})
	}
}
