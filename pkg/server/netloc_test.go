package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

func TestParseNetloc(t *testing.T) {
	for text, want := range map[string]struct {
		host        string
		port        int
		http, https string
	}{
		"ca.example":        {"ca.example", 80, "http://ca.example", "https://ca.example"},
		"ca.example:80":     {"ca.example", 80, "http://ca.example:80", "https://ca.example"},
		"ca.example:8009":   {"ca.example", 8009, "http://ca.example:8009", "https://ca.example:8010"},
		"ca.example:442":    {"ca.example", 442, "http://ca.example:442", "https://ca.example"},
		"127.0.0.1:8009":    {"127.0.0.1", 8009, "http://127.0.0.1:8009", "https://127.0.0.1:8010"},
		"[::1]:8009":        {"::1", 8009, "http://[::1]:8009", "https://[::1]:8010"},
		"[2001:db8::1]":     {"2001:db8::1", 80, "http://[2001:db8::1]", "https://[2001:db8::1]"},
		"xn--bcher-kva.de":  {"xn--bcher-kva.de", 80, "http://xn--bcher-kva.de", "https://xn--bcher-kva.de"},
		"my_container:8009": {"my_container", 8009, "http://my_container:8009", "https://my_container:8010"},
	} {
		n, err := ParseNetloc(text)
		if err != nil || n.Host != want.host || n.Port != want.port || n.HTTP() != want.http || n.HTTPS() != want.https || n.String() != text {
			t.Errorf("%s: %+v %s %s %v", text, n, n.HTTP(), n.HTTPS(), err)
		}
	}
	for _, text := range []string{
		"", ":", ":80", "a:", "a:b", "a:0", "a:65535", "a:65536", "a:-1", "a:+1", "a:080", "a:1:2", "::1", "[::1", "[::1]8009", "[::1]:",
		"[127.0.0.1]", "[fe80::1%eth0]", "[zz]", "http://a", "a/b", "a b", "a\n", "a..b", ".a", "a.", "-a", "a-", "büch.er", "1.2.3", "256.1.1.1",
		"a@b", "a?b", strings.Repeat("a", 64), strings.Repeat("a.", 130) + "a",
	} {
		if n, err := ParseNetloc(text); err == nil {
			t.Errorf("%q: accepted as %+v", text, n)
		}
	}
}

func TestListen(t *testing.T) {
	discard := slog.New(slog.DiscardHandler)
	listen := func(port int, hosts ...string) (*Listeners, error) {
		l, err := Listen(t.Context(), discard, hosts, port)
		if err == nil {
			t.Cleanup(l.Close)
		}
		return l, err
	}
	l, err := listen(0, "127.0.0.1", "127.0.0.1", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	first := l.HTTP[0].Addr().(*net.TCPAddr)
	if len(l.HTTP) != len(l.HTTPS) || !first.IP.IsLoopback() {
		t.Errorf("%v", first)
	}
	four := 0
	for _, one := range l.HTTP {
		if one.Addr().(*net.TCPAddr).IP.To4() != nil {
			four++
		}
	}
	if four != 1 {
		t.Errorf("127.0.0.1 was bound %d times", four)
	}

	if _, err := listen(first.Port, "127.0.0.1"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("port in use: %v", err)
	}
	for _, host := range []string{"", "bad host", "[::1", "127.0.0.1:80", "name.invalid"} {
		if _, err := listen(0, host); err == nil {
			t.Errorf("%q: bound", host)
		}
	}
	// A documentation address is not ours.
	if _, err := listen(0, "192.0.2.1"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("an address of others: %v", err)
	}

	if six, err := listen(0, "::1"); err == nil {
		// IPv6 sockets leave the port to IPv4.
		port := six.HTTP[0].Addr().(*net.TCPAddr).Port
		var config net.ListenConfig
		all, err := config.Listen(context.Background(), "tcp4", net.JoinHostPort("127.0.0.1", itoa(port)))
		if err != nil {
			t.Errorf("IPv4 beside IPv6: %v", err)
		} else {
			all.Close()
		}
		if bracketed, err := listen(0, "[::1]"); err != nil || len(bracketed.HTTP) != 1 {
			t.Errorf("in brackets: %v", err)
		}
	} else if !isNotHere(err) {
		t.Error(err)
	}

	// When the HTTPS port is taken, the HTTP port is given back. Another process may get it at that moment, but not every time.
	givenBack := func() error {
		https, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer https.Close()
		port := https.Addr().(*net.TCPAddr).Port - 1
		if _, err := listen(port, "127.0.0.1"); err == nil {
			t.Error("bound twice")
		}
		http, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", itoa(port)))
		if err == nil {
			http.Close()
		}
		return err
	}
	err = givenBack()
	for range 20 {
		if err == nil {
			return
		}
		err = givenBack()
	}
	t.Errorf("not given back: %v", err)
}

func itoa(port int) string { return (&net.TCPAddr{Port: port}).String()[1:] }

// On Debian a machine's own name resolves to 127.0.1.1 there, and nobody can connect from elsewhere.
func TestNamesThatResolveToLoopbackOnly(t *testing.T) {
	for _, tt := range []struct {
		host, addrs string
		want        bool
	}{
		{"ca.example", "127.0.1.1", true},
		{"ca.example", "127.0.0.1 ::1", true},
		{"ca.example", "127.0.1.1 192.0.2.1", false},
		{"ca.example", "2001:db8::1", false},
		{"localhost", "127.0.0.1 ::1", false},
		{"ca.Localhost", "127.0.0.1", false},
	} {
		var addrs []netip.Addr
		for _, a := range strings.Fields(tt.addrs) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		if got := onLoopbackOnly(tt.host, addrs); got != tt.want {
			t.Errorf("%s %s: %v", tt.host, tt.addrs, got)
		}
	}
}
