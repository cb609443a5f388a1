package server

import (
	"net/url"
	"testing"
)

// FuzzParseNetloc: what is accepted means the same to a URL parser.
func FuzzParseNetloc(f *testing.F) {
	for _, seed := range []string{"ca.example", "ca.example:8009", "127.0.0.1:80", "[::1]:8009", "a:b", "::1", "[::1", "1.2.3", "a@b:1", "a\n:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseNetloc(text)
		if err != nil {
			return
		}
		for _, address := range []string{n.HTTP(), n.HTTPS()} {
			u, err := url.Parse(address)
			if err != nil || u.Hostname() != n.Host || u.Path+u.RawQuery+u.Fragment != "" || u.User != nil {
				t.Errorf("%q: %s is %+v, %v", text, address, u, err)
			}
		}
	})
}
