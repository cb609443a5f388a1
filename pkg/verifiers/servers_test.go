package verifiers

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/pemfile"
	"cauase/pkg/testkit"
)

// An ask is what a verifier makes of a holder: nil when it takes its certificate.
type ask func(holder) error

// listening is how one waits for a server.
func listening(address string) func() error {
	return func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// exchange connects with TLS, sends something, and wants an answer that begins with something. Only then the server has
// looked at the certificate: in TLS 1.3 it does so after the client's handshake is done.
func exchange(address string, config *tls.Config, starttls func(net.Conn) error, send, want string) error {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if starttls != nil {
		if err := starttls(conn); err != nil {
			return err
		}
	}
	secure := tls.Client(conn, config)
	if err := secure.Handshake(); err != nil {
		return err
	}
	if _, err := io.WriteString(secure, send); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(secure, got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("it answers %q", got)
	}
	return nil
}

const (
	getRoot = "GET / HTTP/1.0\r\n\r\n"
	http200 = "HTTP/1.1 200"
)

// serve starts a server, and returns how holders ask it, or why it does not start. It is ready when it says so, or when
// it listens.
func (s *scene) serve(t *testing.T, port int, who *syscall.Credential, said string, dialogue func(holder) (starttls func(net.Conn) error, send, want string), argv ...string) (ask, error) {
	t.Helper()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	p := background(t, s.dir, who, argv...)
	up := listening(address)
	if said != "" {
		up = func() error {
			if !strings.Contains(p.out.String(), said) {
				return errors.New("it has not said that it is ready")
			}
			return nil
		}
	}
	if err := p.ready(t, up); err != nil {
		return nil, err
	}
	return func(h holder) error {
		starttls, send, want := dialogue(h)
		return exchange(address, s.config(h), starttls, send, want)
	}, nil
}

func says(send, want string) func(holder) (func(net.Conn) error, string, string) {
	return func(holder) (func(net.Conn) error, string, string) { return nil, send, want }
}

// file writes a configuration: what the page shows in the block of this name stands where text says so, with the
// files of the scene. The names of files end in the block's.
func (s *scene) file(t *testing.T, block string, port int, text string) string {
	t.Helper()
	text = strings.NewReplacer("@page@", s.block(t, block), "@dir@", s.dir, "@port@", strconv.Itoa(port)).Replace(text)
	return write(t, filepath.Join(s.dir, block+".conf"), []byte(text), 0o644)
}

// block is what the page has between ```conf NAME and ```.
func (s *scene) block(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n```conf "+name+"\n")
	block, _, ended := strings.Cut(rest, "```\n")
	if !found || !ended {
		t.Fatalf("%s has no block %s", page, name)
	}
	return strings.NewReplacer("/etc/web/ca.pem", s.ca, "/etc/web/crl.pem", s.crl, "/etc/web/web.crt", s.server().crt, "/etc/web/web.key", s.server().key,
		"/etc/web/", s.dir+"/").Replace(block)
}

func askNginx(t *testing.T, s *scene) (ask, error) {
	nginx := testkit.Need(t, "nginx", "nginx-light")
	port := testkit.FreePorts(t, 1)
	unprivileged := ""
	if os.Getuid() == 0 {
		unprivileged = "user root;\n"
	}
	config := s.file(t, "nginx", port, unprivileged+`daemon off; pid @dir@/nginx.pid; error_log @dir@/nginx.log; worker_processes 1;
events {}
http {
  access_log off;
  client_body_temp_path @dir@/t1; proxy_temp_path @dir@/t2; fastcgi_temp_path @dir@/t3; uwsgi_temp_path @dir@/t4; scgi_temp_path @dir@/t5;
  server {
    listen 127.0.0.1:@port@ ssl;
    @page@
    location / { return 200 "hello"; }
  }
}
`)
	return s.serve(t, port, nil, "", says(getRoot, http200), nginx, "-p", s.dir, "-e", filepath.Join(s.dir, "nginx.log"), "-c", config)
}

func askHAProxy(t *testing.T, s *scene) (ask, error) {
	haproxy := testkit.Need(t, "haproxy", "haproxy")
	port := testkit.FreePorts(t, 1)
	var both []byte
	for _, path := range []string{s.server().crt, s.server().key} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, data...)
	}
	write(t, filepath.Join(s.dir, "web.pem"), both, 0o600)
	config := s.file(t, "haproxy", port, strings.Replace(`global
  maxconn 50
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend web
  @page@
  http-request return status 200 content-type text/plain string hello
`, "@page@", strings.Replace(s.block(t, "haproxy"), ":443", ":@port@", 1), 1))
	return s.serve(t, port, nil, "", says(getRoot, http200), haproxy, "-db", "-f", config)
}

func askStunnel(t *testing.T, s *scene) (ask, error) {
	stunnel := testkit.Need(t, "stunnel4", "stunnel4")
	behind, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = behind.Close() })
	go func() {
		for {
			conn, err := behind.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}()
	port := testkit.FreePorts(t, 1)
	config := s.file(t, "stunnel", port, `foreground = yes
pid =
syslog = no
[service]
accept = 127.0.0.1:@port@
connect = `+behind.Addr().String()+`
@page@
`)
	return s.serve(t, port, nil, "", says("", "hello"), stunnel, config)
}

func askMosquitto(t *testing.T, s *scene) (ask, error) {
	mosquitto := testkit.Need(t, "mosquitto", "mosquitto")
	port := testkit.FreePorts(t, 1)
	config := s.file(t, "mosquitto", port, `user root
log_dest stderr
listener @port@ 127.0.0.1
@page@
use_identity_as_username true
`)
	// CONNECT of MQTT 3.1.1, with the client id "x", and CONNACK that says yes.
	return s.serve(t, port, nil, "", says("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x", "\x20\x02\x00\x00"), mosquitto, "-c", config)
}

func askPostgreSQL(t *testing.T, s *scene) (ask, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		found = append(found, testkit.Need(t, "initdb", "postgresql"))
	}
	programs := filepath.Dir(found[len(found)-1])
	who := unprivileged(t)
	data := filepath.Join(s.dir, "pg")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(s.dir, "pg.key.pem")
	raw, err := os.ReadFile(s.server().key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, raw, 0o600)
	for _, path := range []string{data, key} {
		if who != nil {
			if err := os.Chown(path, int(who.Uid), int(who.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	initdb := exec.Command(filepath.Join(programs, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-N", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = "/", &syscall.SysProcAttr{Credential: who}
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	port := testkit.FreePorts(t, 1)
	hba := write(t, filepath.Join(s.dir, "pg_hba.conf"), []byte("hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n"), 0o644)
	settings, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer settings.Close()
	if _, err := settings.WriteString(strings.ReplaceAll(s.block(t, "postgresql"), s.server().key, key)); err != nil {
		t.Fatal(err)
	}
	argv := []string{filepath.Join(programs, "postgres"), "-D", data}
	for _, setting := range []string{
		"port=" + strconv.Itoa(port), "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "hba_file=" + hba,
	} {
		argv = append(argv, "-c", setting)
	}
	sslRequest := func(conn net.Conn) error {
		if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
			return err
		}
		var answer [1]byte
		if _, err := io.ReadFull(conn, answer[:]); err != nil || answer[0] != 'S' {
			return fmt.Errorf("no TLS: %q, %w", answer, err)
		}
		return nil
	}
	body := "\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
	startup := string(binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))) + body
	// AuthenticationOk
	return s.serve(t, port, who, "database system is ready to accept connections", func(holder) (func(net.Conn) error, string, string) {
		return sslRequest, startup, "R\x00\x00\x00\x08\x00\x00\x00\x00"
	}, argv...)
}

// unprivileged is the user for programs that refuse to run as root; nil is the current one.
func unprivileged(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("there is no user but root")
	return nil
}

func askOpenVPN(t *testing.T, s *scene) (ask, error) {
	return runOpenVPN(t, s, s.file(t, "openvpn", 0, "@page@"))
}

// askOpenVPNFolder gives OpenVPN a folder with links by which OpenSSL finds certificates and lists.
func askOpenVPNFolder(t *testing.T, s *scene) (ask, error) {
	openssl := testkit.Need(t, "openssl", "openssl")
	folder := filepath.Join(s.dir, "cas")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := pemfile.CAStore(folder).WriteCertificates(s.cas); err != nil {
		t.Fatal(err)
	}
	if _, err := pemfile.CRLStore(folder).WriteCRLs(s.lists); err != nil {
		t.Fatal(err)
	}
	if _, err := run(s.dir, nil, openssl, "rehash", folder); err != nil {
		t.Fatal(err)
	}
	return runOpenVPN(t, s, s.file(t, "openvpn-folder", 0, "@page@"))
}

// runOpenVPN has a server wait for one client after the other. Neither makes a network interface, and nothing needs rights.
func runOpenVPN(t *testing.T, s *scene, config string) (ask, error) {
	openvpn := testkit.Need(t, "openvpn", "openvpn")
	const up, failed = "Initialization Sequence Completed", "TLS Error: TLS handshake failed"
	serverArgs := func(port int) []string {
		return []string{
			openvpn, "--dev", "null", "--proto", "udp4", "--local", "127.0.0.1", "--lport", strconv.Itoa(port), "--tls-server", "--dh", "none",
			"--config", config, "--verb", "3", "--ifconfig-noexec",
		}
	}
	// One that runs shows that it starts, whoever comes.
	try := background(t, s.dir, nil, serverArgs(testkit.FreePorts(t, 1))...)
	if try.says(t, "UDPv4 link remote") == "" {
		return nil, errors.New(try.out.String())
	}
	try.stop()
	// What the client trusts is none of the question.
	trusted := filepath.Join(s.dir, "openvpn-issuer.pem")
	for _, crt := range s.cas {
		if bytes.Equal(crt.SubjectKeyId, s.server().pair.Leaf.AuthorityKeyId) {
			write(t, trusted, pemOf(crt), 0o644)
		}
	}
	return func(h holder) error {
		port := testkit.FreePorts(t, 1)
		server := background(t, s.dir, nil, serverArgs(port)...)
		defer server.stop()
		if server.says(t, "UDPv4 link remote") == "" {
			return errors.New(server.out.String())
		}
		client := background(t, s.dir, nil, openvpn, "--dev", "null", "--proto", "udp4", "--remote", "127.0.0.1", strconv.Itoa(port), "--nobind",
			"--tls-client", "--ca", trusted, "--cert", h.crt, "--key", h.key, "--verb", "3", "--ifconfig-noexec")
		defer client.stop()
		if got := server.says(t, up, failed, "VERIFY ERROR"); got != up {
			return fmt.Errorf("%s: %s", got, server.out.String())
		}
		return nil
	}, nil
}
