package policy

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// A uriPattern is a pattern of URIs: the scheme is spelled, a * is a label of the host or a segment of the path.
type uriPattern struct {
	scheme   string
	labels   []string // of the host; nil: it has none
	port     string
	segments []string // of the path, or of what a URI without a host has
	between  string   // segments: "/", or ":" in URIs such as urn:example:*
	exact    string   // the whole, canonical, for comparison with one that is the same
}

func (p *pattern) parseURI(text string) error {
	if text == string(ofIdentity) {
		p.shown = "uri:" + text
		return nil
	}
	if p.holds != "" {
		return fmt.Errorf("has %s as a part: in patterns of URIs, {identity.name} stands alone", p.holds)
	}
	scheme, rest, found := strings.Cut(text, ":")
	if !found || scheme == "" || strings.Trim(strings.ToLower(scheme), "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return errors.New("begins with no scheme such as https: or urn: (a * is not possible there)")
	}
	if !isASCII(text) || strings.ContainsAny(text, " ") {
		return errors.New("has characters that no URI has")
	}
	u := uriPattern{scheme: strings.ToLower(scheme)}
	if p.literal {
		parsed, err := url.Parse(text)
		if err != nil || parsed.User != nil {
			return errors.New("is no URI")
		}
		p.uri = uriPattern{exact: canonicalURI(text)}
		p.shown = "uri:" + p.uri.exact
		if strings.Contains(text, "*") {
			p.shown = literally + p.shown
		}
		return nil
	}
	if strings.ContainsAny(rest, "?#%") {
		return errors.New("has a query, a fragment or an escape beside a *: only a URI that is spelled whole can have these")
	}
	authority, isURL := strings.CutPrefix(rest, "//")
	if !isURL {
		u.between, u.segments = ":", strings.Split(rest, ":")
		if strings.HasPrefix(rest, "/") {
			u.between, u.segments = "/", strings.Split(rest, "/")
		}
	} else {
		host, path, hasPath := strings.Cut(authority, "/")
		if strings.Contains(host, "@") {
			return errors.New("has user information, which no certificate has")
		}
		host, u.port, _ = strings.Cut(host, ":")
		if u.port != "" && strings.Trim(u.port, "0123456789") != "" {
			return errors.New("has a port that is none; a * is not possible there")
		}
		var err error
		if u.labels, err = parseLabels(host, false); err != nil {
			return err
		}
		if u.between = "/"; hasPath {
			u.segments = strings.Split("/"+path, "/")
		}
	}
	for _, segment := range u.segments {
		switch {
		case segment != "*" && strings.Contains(segment, "*"):
			return errors.New("has a * as a part of a segment: it stands for a whole one")
		case segment == "." || segment == "..":
			return errors.New("has a segment . or .., which leads elsewhere")
		}
	}
	p.uri = u
	p.shown = "uri:" + u.String()
	return nil
}

func (u uriPattern) String() string {
	text := u.scheme + ":"
	if u.labels != nil {
		text += "//" + strings.Join(u.labels, ".")
		if u.port != "" {
			text += ":" + u.port
		}
	}
	return text + strings.Join(u.segments, u.between)
}

// canonicalURI folds scheme and host (RFC 5280 7.4).
func canonicalURI(text string) string {
	scheme, rest, found := strings.Cut(text, ":")
	if !found {
		return text
	}
	if authority, isURL := strings.CutPrefix(rest, "//"); isURL {
		end := strings.IndexAny(authority, "/?#")
		if end < 0 {
			end = len(authority)
		}
		rest = "//" + lower(authority[:end]) + authority[end:]
	}
	return lower(scheme) + ":" + rest
}

// matches reports whether a URI is one that the pattern stands for. What a * stands for is plain: nothing that
// is read in more than one way.
func (u uriPattern) matches(text string) bool {
	if u.exact != "" {
		return canonicalURI(text) == u.exact
	}
	scheme, rest, found := strings.Cut(text, ":")
	if !found || lower(scheme) != u.scheme || strings.ContainsAny(rest, "?#%\\@") && u.labels != nil || strings.ContainsAny(rest, "?#%\\") {
		return false
	}
	if u.labels != nil {
		authority, isURL := strings.CutPrefix(rest, "//")
		if !isURL {
			return false
		}
		host, path, hasPath := strings.Cut(authority, "/")
		host, port, _ := strings.Cut(host, ":")
		if port != u.port || !matchLabels(u.labels, strings.Split(lower(host), "."), false) {
			return false
		}
		if rest = ""; hasPath {
			rest = "/" + path
		}
	} else if strings.HasPrefix(rest, "//") {
		return false
	}
	segments := strings.Split(rest, u.between)
	if rest == "" {
		segments = nil
	}
	if len(segments) != len(u.segments) {
		return false
	}
	for i, segment := range segments {
		switch want := u.segments[i]; {
		case segment == "." || segment == "..":
			return false
		case want == "*" && segment != "" && !strings.ContainsAny(segment, "/:*"):
		case want != segment || want == "*":
			return false
		}
	}
	return true
}

// overlaps reports whether a URI leads to where one does that the pattern stands for, however it is written: with a port that is the usual
// one, escapes, segments that lead nowhere, a query or a fragment.
func (u uriPattern) overlaps(text string) bool {
	if u.exact != "" {
		spelled, asked := strings.Contains(u.exact, "?"), strings.Contains(text, "?")
		return (asked || !spelled) && plainURI(text, spelled) == plainURI(u.exact, spelled)
	}
	plain := plainURI(text, false)
	return u.matches(plain) || u.matches(strings.TrimSuffix(plain, "/"))
}

// usualPorts are those that go without saying.
var usualPorts = map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443", "ldap": "389", "ldaps": "636"}

// plainURI writes a URI in the one way in which all that lead to the same place are written, with its query or without.
func plainURI(text string, query bool) string {
	u, err := url.Parse(strings.ReplaceAll(text, `\`, "/"))
	if err != nil {
		return text
	}
	out := lower(u.Scheme) + ":"
	if opaque, err := url.PathUnescape(u.Opaque); u.Opaque != "" && err == nil {
		out += opaque
	} else if u.Opaque != "" {
		out += u.Opaque
	}
	if u.Host != "" {
		out += "//" + strings.TrimSuffix(lower(u.Hostname()), ".")
		if port := u.Port(); port != "" && port != usualPorts[lower(u.Scheme)] {
			out += ":" + port
		}
	}
	if u.Opaque == "" {
		out += path.Clean("/" + u.Path)
	}
	if query && u.RawQuery != "" {
		out += "?" + u.RawQuery
	}
	return out
}

// hostOfURI is the host of a URI, "" for one without.
func hostOfURI(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return lower(u.Hostname())
}

// lower maps the letters of ASCII, and no others: there are signs that Unicode has as another case of one of them.
func lower(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, name)
}
