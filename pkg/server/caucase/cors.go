package caucase

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"cauase/pkg/server"
)

// Cross-origin rules (docs/protocol.md, section 8). A browser that holds a user's
// certificate sends it along with whatever a page, from anywhere, makes it request. So a
// page from elsewhere gets nowhere until the user has agreed, on our own page, to let
// that origin act in his name. What he said is kept in a signed cookie, see grants.

// originRule says what becomes of a request that a page from elsewhere makes a browser send.
type originRule int

const (
	// consent: only if the browser's user has agreed.
	consent originRule = iota
	// always: the answer is public and is where a page starts.
	always
	// aside: cross-origin rules are not applied, and no page elsewhere can read the answer.
	aside
)

// nullOrigin is what browsers send for pages that have no origin of their own. Everyone
// can make such a page, so that consent to one would be consent to all.
const nullOrigin = "null"

// CheckOrigin returns an error unless s is an origin as browsers write it: scheme, host
// and, if it is not the scheme's own, port.
func CheckOrigin(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
		u.Scheme+"://"+u.Host != s || strings.ToLower(s) != s || u.Hostname() == "" {
		return fmt.Errorf("%q is not an origin, which looks like https://host or https://host:port", server.Loggable(s))
	}
	if port := u.Port(); port != "" {
		if _, err := server.ParsePort(port); err != nil && port != "65535" {
			return fmt.Errorf("%q is not an origin: %w", server.Loggable(s), err)
		}
	}
	return nil
}

// ownOrigin is the origin of our own pages: that of the netloc, not of the Host header,
// which a page of a renamed host could make ours.
func (f *FrontEnd) ownOrigin(r *http.Request) string {
	own := f.cfg.Netloc.HTTPS()
	if r.TLS == nil {
		own = strings.TrimSuffix(f.cfg.Netloc.HTTP(), ":80")
	}
	return strings.ToLower(own)
}

// foreignOrigin returns the origin of the page elsewhere that made a browser send r, and
// whether there is one.
func (f *FrontEnd) foreignOrigin(r *http.Request) (string, bool) {
	values := r.Header.Values("Origin")
	if len(values) == 0 || len(values) == 1 && values[0] == f.ownOrigin(r) {
		return "", false
	}
	if len(values) > 1 {
		return nullOrigin, true // no browser does that
	}
	return values[0], true
}

// checkOrigin refuses what a page from elsewhere may not ask for, and otherwise lets it
// read the answer.
func (f *FrontEnd) checkOrigin(x *server.Exchange, rule originRule) error {
	origin, foreign := f.foreignOrigin(x.Request)
	if !foreign {
		return nil
	}
	switch rule {
	case aside:
		return nil
	case always:
	case consent:
		if err := f.consented(x, origin); err != nil {
			return err
		}
	}
	allowOrigin(x, origin)
	x.Header().Set("Access-Control-Expose-Headers", "ETag, Location, WWW-Authenticate")
	return nil
}

func allowOrigin(x *server.Exchange, origin string) {
	h := x.Header()
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Allow-Origin", origin)
	x.Vary("Origin")
}

// consented returns nil if the browser's user lets origin act in his name.
func (f *FrontEnd) consented(x *server.Exchange, origin string) error {
	h := x.Header()
	x.Vary("Origin")
	if f.whitelist[origin] {
		return nil
	}
	if origin == nullOrigin {
		return server.Refuse(http.StatusForbidden, "pages without an origin are not served")
	}
	grants, broken := f.readGrants(x.Request)
	if broken && x.Secure() {
		h.Set("Set-Cookie", grants.cookie())
	}
	p, err := f.person(x)
	if err != nil {
		return err
	}
	allowed, known, err := f.decided(x.Request.Context(), p, grants, origin)
	switch {
	case err != nil:
		return err
	case !known:
		h.Set("WWW-Authenticate", "cors url="+quoteURL(f.consentURL(x.Request, origin)))
		return server.Refuse(http.StatusUnauthorized, "the user has not yet decided about this origin")
	case !allowed:
		return server.Refuse(http.StatusForbidden, "the user has denied access to this origin")
	}
	return nil
}

// consentURL is the address of the consent page, a template (RFC 6570) into which the
// page elsewhere puts where to return to.
func (f *FrontEnd) consentURL(r *http.Request, origin string) string {
	return f.cfg.Netloc.SecureBase(r) + "/cors?origin=" + url.QueryEscape(origin) + "{&return}"
}

// quoteURL percent-encodes everything in a URL but slashes and what never needs it: the
// reference's clients expect the parameter of the challenge like this.
func quoteURL(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), "%2F", "/")
}

// Options answers OPTIONS, for any path: what a page may do is decided when it does it.
func (f *FrontEnd) Options(x *server.Exchange, allowed string) error {
	if origin, foreign := f.foreignOrigin(x.Request); foreign {
		allowOrigin(x, origin)
		h := x.Header()
		h.Set("Access-Control-Allow-Methods", allowed)
		h.Set("Access-Control-Allow-Headers", "Content-Type, If-Match, User-Agent")
	}
	return x.Empty(http.StatusNoContent)
}
