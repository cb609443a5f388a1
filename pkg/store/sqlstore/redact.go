package sqlstore

import (
	"net/url"
	"strings"
)

// IsURL reports whether dsn is the address of a database server, not the path of a file. It is so, too, for
// addresses that Open does not take, such as libpq's "host=db1 password=…": nobody means a file by that.
func IsURL(dsn string) bool {
	if scheme, _, found := strings.Cut(dsn, ":"); found && (scheme == "postgres" || scheme == "postgresql") {
		return true
	}
	for word := range strings.FieldsSeq(dsn) {
		switch name, _, found := strings.Cut(word, "="); {
		case !found:
		case name == "host", name == "hostaddr", name == "dbname", name == "user", name == "password", name == "service":
			return true
		}
	}
	return false
}

// wellFormed reports whether an address has the one form that Open takes.
func wellFormed(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// Redact returns dsn as it may be shown: a path as it is, a URL without its secrets, or without
// anything but its scheme when it cannot be understood.
func Redact(dsn string) string {
	if !IsURL(dsn) {
		return dsn
	}
	if !wellFormed(dsn) {
		return "…"
	}
	scheme, _, _ := strings.Cut(dsn, "://")
	u, err := url.Parse(dsn)
	// A password that was not escaped may have ended up in what looks like another part.
	if err != nil || strings.Count(dsn, "@") > 1 || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
		return scheme + "://…"
	}
	if _, set := u.User.Password(); set {
		u.User = url.User(u.User.Username())
	}
	q, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B")) // which is no space here, unlike in forms
	if err != nil {
		return scheme + "://…"
	}
	for name := range q {
		if lower := strings.ToLower(name); strings.Contains(lower, "pass") && lower != "passfile" {
			q.Del(name)
		}
	}
	u.RawQuery, u.Fragment, u.RawFragment = strings.ReplaceAll(q.Encode(), "+", "%20"), "", ""
	return u.String()
}
