package deployment

import (
	"path/filepath"
	"strconv"
	"testing"
)

func TestGoServer(t *testing.T) {
	need(t, "openssl", "openssl")
	s := newSite(t, "go.md", "etc/www/tls", "www.example.org")
	program := filepath.Join(s.dir, "bin", "go-server")
	must(t, repository, "go", "build", "-o", program, "./docs/go-server")
	cmd := s.background(".", program, "-listen", s.address(), "-tls", s.tls)
	s.reloads("www", "kill -HUP "+strconv.Itoa(cmd.Process.Pid))
	s.story(s.https)
	s.serverKeyStaysClosed("www.key.pem")
}
