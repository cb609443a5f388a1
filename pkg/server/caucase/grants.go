package caucase

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"cauase/pkg/ca"
)

const (
	// grantCookie is a name that browsers take from nobody but this host, over HTTPS, for all of its paths.
	grantCookie = "__Host-cors"
	// maxCookie is what browsers keep of a cookie, in bytes, less its name and attributes.
	maxCookie = 3800
)

// A grant is what a user has decided about one origin.
type grant struct {
	origin  string
	allowed bool
	by      string // who has decided: a lineage of users, empty for nobody who has shown a certificate
	token   string // the signed form of it
}

// grants are the decisions in one cookie, at most one for each origin. The cookie is a
// JSON object from origins to tokens.
type grants []grant

// claims is the payload of a token, in the reference's words.
type claims struct {
	Permission permission `json:"p"`
	jwt.RegisteredClaims
}

type permission struct {
	Allowed bool   `json:"a"`
	Origin  string `json:"o"`
}

func (g grants) of(origin string) (grant, bool) {
	i := slices.IndexFunc(g, func(g grant) bool { return g.origin == origin })
	if i < 0 {
		return grant{}, false
	}
	return g[i], true
}

// readGrants returns the decisions in r's cookie that carry our signature, and whether
// there was anything else in it.
func (f *FrontEnd) readGrants(r *http.Request) (valid grants, broken bool) {
	value, ok := cookieValue(r.Header.Values("Cookie"))
	if !ok || value == "" {
		return nil, false
	}
	var tokens map[string]string
	if len(value) > 2*maxCookie || json.Unmarshal([]byte(value), &tokens) != nil {
		return nil, true
	}
	now := f.cfg.Clock.Now()
	valid, broken = f.verifyGrants(tokens, now)
	if broken && f.cfg.CORSKeys.refresh(r.Context(), now) {
		valid, broken = f.verifyGrants(tokens, now)
	}
	slices.SortFunc(valid, func(a, b grant) int { return cmp.Compare(a.origin, b.origin) })
	return valid, broken
}

func (f *FrontEnd) verifyGrants(tokens map[string]string, now time.Time) (valid grants, broken bool) {
	keys := f.cfg.CORSKeys.verifying(now)
	for origin, token := range tokens {
		one, err := f.verifyGrant(keys, token, origin)
		if err != nil {
			broken = true
			continue
		}
		valid = append(valid, one)
	}
	return valid, broken
}

// verifyGrant reads a token about origin. One about another origin is as good as none.
func (f *FrontEnd) verifyGrant(keys [][]byte, token, origin string) (grant, error) {
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithTimeFunc(f.cfg.Clock.Now),
		jwt.WithExpirationRequired(),
	)
	for _, key := range keys {
		var c claims
		_, err := parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return key, nil })
		if err == nil && c.Permission.Origin == origin {
			return grant{origin, c.Permission.Allowed, c.Subject, token}, nil
		}
	}
	return grant{}, errors.New("no key verifies this token for its origin")
}

// decide signs a decision and adds it, in the place of an earlier one about the same
// origin and, if room is needed, of others.
func (f *FrontEnd) decide(ctx context.Context, g grants, by, origin string, allowed bool) (grants, error) {
	now := f.cfg.Clock.Now()
	key, err := f.cfg.CORSKeys.signing(ctx, now)
	if err != nil {
		return nil, err
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		Permission:       permission{allowed, origin},
		RegisteredClaims: jwt.RegisteredClaims{Subject: by, ExpiresAt: jwt.NewNumericDate(now.Add(ca.ConsentLife))},
	}).SignedString(key)
	if err != nil {
		return nil, err
	}
	g = slices.DeleteFunc(g, func(g grant) bool { return g.origin == origin })
	g = append(grants{{origin, allowed, by, token}}, g...)
	for len(g) > 1 && len(g.value()) > maxCookie {
		g = g[:len(g)-1]
	}
	return g, nil
}

// value returns the cookie's value: JSON in a quoted string, as the reference writes it.
func (g grants) value() string {
	if len(g) == 0 {
		return `""`
	}
	tokens := make(map[string]string, len(g))
	for _, one := range g {
		tokens[one.origin] = one.token
	}
	// Strings that were in JSON before can be again.
	text, _ := json.Marshal(tokens, json.Deterministic(true))
	return quoteCookie(string(text))
}

// cookie returns the Set-Cookie header for g. To be sent along with requests from other
// sites at all, it must be declared for that and be restricted to HTTPS, over which alone browsers take it.
func (g grants) cookie() string {
	life := "Max-Age=" + strconv.Itoa(int(ca.ConsentLife/time.Second))
	if len(g) == 0 {
		life = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
	}
	return grantCookie + "=" + g.value() + "; " + life + "; Path=/; HttpOnly; Secure; SameSite=None"
}

// cookieValue finds our cookie. The standard library's parser does not take the quoted
// strings of the reference, whose format browsers may still hold.
func cookieValue(headers []string) (string, bool) {
	for _, header := range headers {
		for header != "" {
			var pair string
			pair, header = cutCookie(header)
			name, value, _ := strings.Cut(pair, "=")
			if strings.TrimSpace(name) == grantCookie {
				return unquoteCookie(strings.TrimSpace(value)), true
			}
		}
	}
	return "", false
}

// cutCookie cuts at the first semicolon outside a quoted string.
func cutCookie(s string) (pair, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && (quoted || i > 0 && s[i-1] == '='):
			quoted = !quoted
		case c == ';' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// quoteCookie writes a quoted string in which whatever a cookie's value may not contain
// stands as a backslash and three octal digits (the convention of Python's http.cookies).
func quoteCookie(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.Write([]byte{'\\', c})
		case c <= ' ' || c == ',' || c == ';' || c >= 0x7f:
			b.Write([]byte{'\\', '0' + c>>6, '0' + c>>3&7, '0' + c&7})
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// unquoteCookie undoes quoteCookie. What is not quoted stays as it is.
func unquoteCookie(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		i++
		b.WriteByte(s[i])
	}
	return b.String()
}
