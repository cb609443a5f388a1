package deployment

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
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
)

func TestNginx(t *testing.T) {
	nginx := need(t, "nginx", "nginx-light")
	need(t, "openssl", "openssl")
	s := newSite(t, "nginx.md", "etc/nginx/tls", "www.example.org")
	unprivileged := ""
	if os.Getuid() == 0 {
		unprivileged = "user nobody " + nobodysGroup(t) + ";\n"
	}
	config := strings.Replace(s.block("config"), "listen 443 ssl", "listen "+s.address()+" ssl", 1)
	write(t, filepath.Join(s.dir, "nginx.conf"), unprivileged+fmt.Sprintf(`
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3;
  uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
`, s.dir)+config+"}\n", 0o644)
	command := []string{nginx, "-p", s.dir, "-e", filepath.Join(s.dir, "error.log"), "-c", filepath.Join(s.dir, "nginx.conf")}
	s.reloads("nginx", strings.Join(command, " ")+" -s reload")
	s.background(".", command...)
	s.story(s.https)
	s.serverKeyStaysClosed("www.key.pem")
}

func TestHAProxy(t *testing.T) {
	haproxy := need(t, "haproxy", "haproxy")
	need(t, "openssl", "openssl")
	s := newSite(t, "haproxy.md", "etc/haproxy/tls", "www.example.org")
	if err := os.MkdirAll(filepath.Join(s.dir, "run/haproxy"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(s.block("config"), "bind :443", "bind "+s.address(), 1)
	path := filepath.Join(s.dir, "etc/haproxy/haproxy.cfg")
	write(t, path, config, 0o644)
	cmd := s.background(".", haproxy, "-W", "-f", path)
	need(t, "pgrep", "procps")
	s.reloads("haproxy", "kill -USR2 "+strconv.Itoa(cmd.Process.Pid))
	s.systemctl("show -p MainPID --value haproxy", "echo "+strconv.Itoa(cmd.Process.Pid))
	s.story(s.https)
	s.serverKeyStaysClosed("www.pem")
}

func TestPostgreSQL(t *testing.T) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		found = append(found, need(t, "initdb", "postgresql"))
	}
	psql := need(t, "psql", "postgresql-client")
	need(t, "openssl", "openssl")
	programs := filepath.Dir(found[len(found)-1])

	s := newSite(t, "postgresql.md", "etc/postgresql/tls", "db.example.org", chownForTest)
	who, name := unprivileged(t)
	data := filepath.Join(s.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	s.own(who, data)
	initdb := exec.Command(filepath.Join(programs, "initdb"), "-D", data, "-U", "alice", "-A", "cert", "--auth-local=trust", "-N")
	initdb.Dir = "/"
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb as %s: %v\n%s", name, err, out)
	}
	appendTo(t, filepath.Join(data, "postgresql.conf"), s.block("config")+fmt.Sprintf(
		"listen_addresses = '127.0.0.1'\nport = %d\nunix_socket_directories = '%s'\nfsync = off\n", s.port, data))
	write(t, filepath.Join(data, "pg_hba.conf"), "local all all trust\n"+s.block("hba"), 0o600)
	s.own(who, filepath.Join(data, "pg_hba.conf"))
	cmd := s.backgroundAs(who, ".", filepath.Join(programs, "postgres"), "-D", data)
	s.reloads("postgresql", "kill -HUP "+strconv.Itoa(cmd.Process.Pid))
	s.until("the database is up", func() error {
		_, err := try(s.dir, psql, "-h", data, "-p", strconv.Itoa(s.port), "-U", "alice", "-c", "create role bob login; create role mallory login; create role eve login; create role dave login; create role zoe login", "postgres")
		if err != nil && strings.Contains(err.Error(), "already exists") {
			err = nil
		}
		return err
	})
	s.story(s.logIn)
	s.serverKeyStaysClosed("db.key.pem")

	// And with the client everybody has, as the page shows it. It resolves no names here.
	s.cauase("--ca-crt", "ca.pem", "--crl", "crl.pem", "crl", "update")
	command := strings.Replace(s.block("client"), "host=", "hostaddr=127.0.0.1 port="+strconv.Itoa(s.port)+" host=", 1)
	if err := s.shell("test \"$(" + strings.TrimSpace(strings.ReplaceAll(command, "alice", "bob")) + ")\" = bob"); err != nil {
		t.Error(err)
	}
	if err := s.shell(strings.ReplaceAll(command, "alice", "mallory")); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("psql of mallory, who is revoked: %v", err)
	}
}

// chownForTest gives the key to the user that runs the server here, which need not be postgres.
func chownForTest(s *site) {
	s.t.Helper()
	_, name := unprivileged(s.t)
	script := "#!/bin/sh -e\n[ \"$1\" = postgres ]\n"
	if name != "" {
		script += "shift\nexec /bin/chown " + name + " \"$@\"\n"
	}
	write(s.t, filepath.Join(s.dir, "bin", "chown"), script, 0o755)
}

// unprivileged is the user for programs that refuse to run as root; nil is the current one.
func unprivileged(t *testing.T) (*syscall.Credential, string) {
	t.Helper()
	if os.Getuid() != 0 {
		return nil, ""
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
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, name
	}
	t.Fatal("there is no user but root")
	return nil, ""
}

// nobodysGroup has a name that differs between distributions.
func nobodysGroup(t *testing.T) string {
	t.Helper()
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return g.Name
}

func (s *site) own(who *syscall.Credential, path string) {
	s.t.Helper()
	if who == nil {
		return
	}
	if err := os.Chown(path, int(who.Uid), int(who.Gid)); err != nil {
		s.t.Fatal(err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// logIn begins a session of PostgreSQL, as its frontend/backend protocol has it: ask for TLS,
// say who one is, and wait for "authentication is fine".
func (s *site) logIn(config *tls.Config) (*x509.Certificate, error) {
	conn, err := net.DialTimeout("tcp", s.address(), 20*time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil { // SSLRequest
		return nil, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil || answer[0] != 'S' {
		return nil, fmt.Errorf("no TLS: %q, %w", answer, err)
	}
	secure := tls.Client(conn, config)
	if err := secure.Handshake(); err != nil {
		return nil, err
	}
	name := "alice"
	if len(config.Certificates) > 0 {
		leaf, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
		if err != nil {
			return nil, err
		}
		name = leaf.Subject.CommonName
	}
	body := "\x00\x03\x00\x00user\x00" + name + "\x00database\x00postgres\x00\x00"
	startup := append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...)
	if _, err := secure.Write(startup); err != nil {
		return nil, err
	}
	r := bufio.NewReader(secure)
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	message := make([]byte, min(max(binary.BigEndian.Uint32(head[1:]), 4)-4, 1000))
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, err
	}
	if head[0] != 'R' || len(message) != 4 || binary.BigEndian.Uint32(message) != 0 {
		return nil, fmt.Errorf("%c: %q", head[0], message)
	}
	_, err = secure.Write([]byte{'X', 0, 0, 0, 4}) // Terminate
	return secure.ConnectionState().PeerCertificates[0], err
}
