package server

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Cross-origin rules (docs/protocol.md, section 8). A browser that holds a user's
// certificate sends it along with whatever a page, from anywhere, makes it request. So a
// page from elsewhere gets nowhere until the user has agreed, on our own page, to let
// that origin act in his name. What he said is kept in a signed cookie, see grants.

// nullOrigin is what browsers send for pages that have no origin of their own. Everyone
// can make such a page, so that consent to one would be consent to all.
const nullOrigin = "null"

// CheckOrigin returns an error unless s is an origin as browsers write it: scheme, host
// and, if it is not the scheme's own, port.
func CheckOrigin(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
		u.Scheme+"://"+u.Host != s || strings.ToLower(s) != s || u.Hostname() == "" {
		return fmt.Errorf("%q is not an origin, which looks like https://host or https://host:port", loggable(s))
	}
	if port := u.Port(); port != "" {
		if _, err := ParsePort(port); err != nil && port != "65535" {
			return fmt.Errorf("%q is not an origin: %w", loggable(s), err)
		}
	}
	return nil
}

// ownOrigin is the origin of our own pages: that of the netloc, not of the Host header,
// which a page of a renamed host could make ours.
func (s *Server) ownOrigin(r *http.Request) string {
	own := s.cfg.Netloc.HTTPS()
	if r.TLS == nil {
		own = strings.TrimSuffix(s.cfg.Netloc.HTTP(), ":80")
	}
	return strings.ToLower(own)
}

// foreignOrigin returns the origin of the page elsewhere that made a browser send r, and
// whether there is one.
func (s *Server) foreignOrigin(r *http.Request) (string, bool) {
	values := r.Header.Values("Origin")
	if len(values) == 0 || len(values) == 1 && values[0] == s.ownOrigin(r) {
		return "", false
	}
	if len(values) > 1 {
		return nullOrigin, true // no browser does that
	}
	return values[0], true
}

// checkOrigin refuses what a page from elsewhere may not ask for, and otherwise lets it
// read the answer.
func (s *Server) checkOrigin(x *exchange) error {
	origin, foreign := s.foreignOrigin(x.r)
	if !foreign {
		return nil
	}
	switch x.route.origin {
	case aside:
		return nil
	case always:
	case consent:
		if err := s.consented(x, origin); err != nil {
			return err
		}
	}
	h := x.w.Header()
	allowOrigin(h, origin)
	h.Set("Access-Control-Expose-Headers", "Location, WWW-Authenticate")
	return nil
}

func allowOrigin(h http.Header, origin string) {
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Vary", "Origin")
}

// consented tells whether the browser's user lets origin act in his name.
func (s *Server) consented(x *exchange, origin string) error {
	h := x.w.Header()
	h.Set("Vary", "Origin")
	if s.whitelist[origin] {
		return nil
	}
	if origin == nullOrigin {
		return refuse(http.StatusForbidden, "pages without an origin are not served")
	}
	grants, broken := s.readGrants(x.r)
	if broken {
		h.Set("Set-Cookie", grants.cookie(x.r.TLS != nil))
	}
	switch g, ok := grants.of(origin); {
	case !ok:
		h.Set("WWW-Authenticate", "cors url="+quoteURL(s.consentURL(x.r, origin)))
		return refuse(http.StatusUnauthorized, "the user has not yet decided about this origin")
	case !g.allowed:
		return refuse(http.StatusForbidden, "the user has denied access to this origin")
	}
	return nil
}

// consentURL is the address of the consent page, a template (RFC 6570) into which the
// page elsewhere puts where to return to.
func (s *Server) consentURL(r *http.Request, origin string) string {
	return s.httpsBase(r) + "/cors?origin=" + url.QueryEscape(origin) + "{&return}"
}

// quoteURL percent-encodes everything in a URL but slashes and what never needs it: the
// reference's clients expect the parameter of the challenge like this.
func quoteURL(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), "%2F", "/")
}

// preflight answers OPTIONS, for any path: what a page may do is decided when it does it.
func (s *Server) preflight(x *exchange, n *node) error {
	h := x.w.Header()
	h.Set("Allow", n.allow())
	if origin, foreign := s.foreignOrigin(x.r); foreign {
		allowOrigin(h, origin)
		h.Set("Access-Control-Allow-Methods", n.allow())
		h.Set("Access-Control-Allow-Headers", "Content-Type, User-Agent")
	}
	return x.empty(http.StatusNoContent)
}
