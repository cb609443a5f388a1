package pki

import (
	"net/url"
	"strings"
	"testing"
)

var hosts = struct{ good, bad map[string]string }{
	good: map[string]string{
		"one label":      "localhost",
		"a name":         "ca.example",
		"capitals":       "CA.Example",
		"an A-label":     "xn--bcher-kva.de",
		"underscore":     "my_container",
		"digits first":   "3com.example",
		"longest label":  strings.Repeat("a", 63),
		"longest name":   strings.Repeat("a.", 126) + "a",
		"IPv4":           "192.0.2.1",
		"IPv6":           "[2001:db8::1]",
		"IPv4 in IPv6":   "[::ffff:192.0.2.1]",
		"loopback":       "[::1]",
		"hyphen, middle": "a-b.example",
	},
	bad: map[string]string{
		"nothing":               "",
		"a dot":                 ".",
		"dot first":             ".a",
		"dot last":              "a.",
		"empty label":           "a..b",
		"hyphen first":          "-a",
		"hyphen last":           "a-.b",
		"long label":            strings.Repeat("a", 64),
		"long name":             strings.Repeat("a.", 127) + "a",
		"not ASCII":             "bücher.de",
		"space":                 "a b",
		"line end":              "a\n",
		"port":                  "a:80",
		"scheme":                "http://a",
		"path":                  "a/b",
		"user":                  "a@b",
		"query":                 "a?b",
		"escape":                "a%2eb",
		"wildcard":              "*.example",
		"short IPv4":            "127.1",
		"IPv4 out of range":     "256.1.1.1",
		"decimal IPv4":          "2130706433",
		"IPv4 with zeros":       "127.000.000.001",
		"IPv6 without brackets": "::1",
		"IPv6, bracket open":    "[::1",
		"IPv6, a bracket more":  "[::1]]",
		"IPv6 with a zone":      "[fe80::1%eth0]",
		"IPv4 in brackets":      "[127.0.0.1]",
		"name in brackets":      "[a]",
		"brackets":              "[]",
		"something after":       "[::1]a",
	},
}

func TestCheckHost(t *testing.T) {
	for name, host := range hosts.good {
		if err := CheckHost(host); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, host := range hosts.bad {
		if err := CheckHost(host); err == nil {
			t.Errorf("%s: %q is accepted", name, host)
		} else {
			checkRefused(t, err, "host", "")
		}
	}
}

// FuzzCheckHost holds that a URL with an accepted host has that host.
func FuzzCheckHost(f *testing.F) {
	for _, host := range hosts.good {
		f.Add(host)
	}
	for _, host := range hosts.bad {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if err := CheckHost(host); err != nil {
			wantRefusal(t, err)
			return
		}
		u, err := url.Parse("http://" + host + "/")
		if err != nil || u.Host != host || u.Port() != "" || u.User != nil || u.Path != "/" {
			t.Errorf("%q is accepted, and becomes %v, %v", host, u, err)
		}
	})
}
