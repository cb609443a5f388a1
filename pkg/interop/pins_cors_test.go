//go:build interop

package interop

import (
	"regexp"
	"strings"
	"testing"
)

var corsPins = map[string]pin{
	"cors-origin": func(t *testing.T, ours, theirs *peer) {
		for of, want := range map[string]string{"http://{netloc}": "200", "http://127.0.0.1": "401", "https://{https}": "401"} {
			both(t, ours, theirs, func(p *peer) string {
				return status(p, question{ask: "GET /cas/crl", head: []string{"Origin: " + p.words.Replace(of)}})
			}, want, "401")
		}
		secure := question{as: "alice", ask: "GET /cas/csr"}
		both(t, ours, theirs, func(p *peer) string {
			secure.head = []string{"Origin: " + p.https}
			return status(p, secure)
		}, "200", "401")
	},
	"cors-redirect": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			return p.foreign(p.answer(t, question{ask: "GET /cors?origin=x&return=y"}).Header.Get("Location"))
		}
		both(t, ours, theirs, see, "HTTPS/cors?origin=x&return=y", "HTTPS/")
		foreign := question{ask: "GET /cors", head: []string{"Origin: https://e.example"}}
		both(t, ours, theirs, func(p *peer) string { return status(p, foreign) }, "302", "401")
	},
	"cors-form": func(t *testing.T, ours, theirs *peer) {
		page := question{as: "alice", ask: "GET /cors?origin=https://e.example&return=https://e.example/"}
		action := regexp.MustCompile(`<form[^>]*action="([^"]*)"`)
		both(t, ours, theirs, func(p *peer) string {
			found := action.FindSubmatch(p.answer(t, page).body)
			if found == nil {
				return "no form"
			}
			return string(found[1])
		}, "/cors", ".")
		both(t, ours, theirs, func(p *peer) string { return status(p, question{as: "alice", ask: "POST /"}) }, "405", "405")
		foreign := question{ask: "POST /cors", head: []string{"Origin: https://e.example"}}
		both(t, ours, theirs, func(p *peer) string { return status(p, foreign) }, "404", "403")
	},
	"cors-cookie": func(t *testing.T, ours, theirs *peer) {
		// The other's name means nothing.
		see := func(name string) func(p *peer) string {
			return func(p *peer) string {
				r := p.answer(t, question{as: "alice", ask: "GET /cas/crl", head: []string{"Origin: https://e.example", "Cookie: " + name + "=x"}})
				name, _, _ := strings.Cut(r.Header.Get("Set-Cookie"), "=")
				return name
			}
		}
		both(t, ours, theirs, see("cors"), "", "cors")
		both(t, ours, theirs, see("__Host-cors"), "__Host-cors", "")
		attributes := func(name string) func(p *peer) string {
			return func(p *peer) string {
				r := p.answer(t, question{as: "alice", ask: "GET /cas/crl", head: []string{"Origin: https://e.example", "Cookie: " + name + "=x"}})
				_, rest, _ := strings.Cut(r.Header.Get("Set-Cookie"), "; ")
				return rest
			}
		}
		both(t, ours, theirs, attributes("cors"), "", "expires=Thu, 1 Jan 1970 00:00:00 GMT; Max-Age=31536000; Path=/")
		both(t, ours, theirs, attributes("__Host-cors"), "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; HttpOnly; Secure; SameSite=None", "")
	},
	"cors-bad-token": func(t *testing.T, ours, theirs *peer) {
		see := func(value string) func(p *peer) string {
			return func(p *peer) string {
				name := "__Host-cors"
				if p.reference {
					name = "cors"
				}
				r := p.answer(t, question{as: "alice", ask: "GET /cas/crl", head: []string{"Origin: https://e.example", "Cookie: " + name + "=" + value}})
				set, _, _ := strings.Cut(r.Header.Get("Set-Cookie"), ";")
				return strings.TrimPrefix(set, name+"=")
			}
		}
		both(t, ours, theirs, see(`"{\"https://e.example\": \"abc\"}"`), `""`, `"{}"`)
		both(t, ours, theirs, see(`junk`), `""`, `""`)
	},
	"cors-preflight": func(t *testing.T, ours, theirs *peer) {
		preflight := question{ask: "OPTIONS /cas/csr", head: []string{"Origin: https://e.example", "Access-Control-Request-Method: PUT"}}
		both(t, ours, theirs, func(p *peer) string { return p.answer(t, preflight).Header.Get("Access-Control-Allow-Headers") },
			"Content-Type, If-Match, User-Agent", "Content-Type, User-Agent")
	},
}
