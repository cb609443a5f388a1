package token

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"cauase/pkg/pki"
)

// scheme begins a PKCS #11 URI.
const scheme = "pkcs11:"

// A URI names a token, an object on it, or both, and says how the token is reached (RFC 7512).
type URI struct {
	Token        string // label of the token
	Manufacturer string
	Model        string
	Serial       string
	Object       string // label of the object
	ID           []byte // CKA_ID of the object

	Module string // path of the library by which the token is reached
	PIN    Source // of the PIN
}

// Lengths of what tokens say about themselves (CK_TOKEN_INFO), in octets, and of what is sensible elsewhere.
const (
	maxLabel  = 32
	maxModel  = 16
	maxObject = 128
	maxID     = 64
	maxURI    = 4096
)

// Is reports whether text is meant for a PKCS #11 URI.
func Is(text string) bool {
	return len(text) >= len(scheme) && strings.EqualFold(text[:len(scheme)], scheme)
}

// Parse reads a URI. Attributes that it does not know are refused: what was misspelt would otherwise match anything. So is a PIN in the URI
// itself, which would be in configuration, process lists and logs; the error does not repeat it.
func Parse(text string) (u URI, err error) {
	switch {
	case !Is(text):
		return URI{}, fmt.Errorf("%q is no PKCS #11 URI: it begins with %s", shown(text), scheme)
	case len(text) > maxURI:
		return URI{}, fmt.Errorf("a PKCS #11 URI of %d octets is too long: at most %d are read", len(text), maxURI)
	}
	path, query, _ := strings.Cut(text[len(scheme):], "?")
	seen := map[string]bool{}
	for attribute := range split(path, ";") {
		if err := u.set(attribute, seen, u.path); err != nil {
			return URI{}, err
		}
	}
	for attribute := range split(query, "&") {
		if err := u.set(attribute, seen, u.query); err != nil {
			return URI{}, err
		}
	}
	return u, nil
}

// split yields what stands between separators; nothing for an empty text.
func split(text, separator string) func(yield func(string) bool) {
	if text == "" {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(text, separator)
}

// set has one attribute taken, NAME=VALUE.
func (u *URI) set(attribute string, seen map[string]bool, take func(name, value string) (func(), error)) error {
	name, raw, found := strings.Cut(attribute, "=")
	if !found || name == "" {
		// It may be a part of a PIN.
		return errors.New("a PKCS #11 URI consists of NAME=VALUE: one of its attributes has no value; " + escaping)
	}
	if seen[name] {
		return fmt.Errorf("%s stands twice in the PKCS #11 URI", shown(name))
	}
	seen[name] = true
	assign, err := take(name, raw)
	if err != nil {
		return err
	}
	assign()
	return nil
}

const escaping = "; & ? and % within a value are written as %3B, %26, %3F and %25"

// path takes an attribute that says which token or object is meant.
func (u *URI) path(name, raw string) (func(), error) {
	text := func(into *string, limit int) (func(), error) {
		value, err := decode(name, raw)
		switch {
		case err != nil:
			return nil, err
		case len(value) > limit:
			return nil, fmt.Errorf("%s in the PKCS #11 URI has %d octets, and tokens have room for %d", name, len(value), limit)
		case !utf8.Valid(value) || bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return nil, fmt.Errorf("%s in the PKCS #11 URI is no text", name)
		}
		return func() { *into = string(value) }, nil
	}
	switch name {
	case "token":
		return text(&u.Token, maxLabel)
	case "manufacturer":
		return text(&u.Manufacturer, maxLabel)
	case "model":
		return text(&u.Model, maxModel)
	case "serial":
		return text(&u.Serial, maxModel)
	case "object":
		return text(&u.Object, maxObject)
	case "id":
		value, err := decode(name, raw)
		if err == nil && len(value) > maxID {
			err = fmt.Errorf("id in the PKCS #11 URI has %d octets, more than %d", len(value), maxID)
		}
		return func() { u.ID = value }, err
	case "type":
		if raw != "private" {
			return nil, errors.New("type in the PKCS #11 URI can only be private here")
		}
		return func() {}, nil
	case "pin-value":
		return nil, errPINValue
	case "pin-source", "module-path", "module-name":
		return nil, fmt.Errorf("%s belongs behind a ? in the PKCS #11 URI", name)
	case "slot-id", "slot-description", "slot-manufacturer":
		return nil, fmt.Errorf("%s in the PKCS #11 URI: slots change when tokens are pulled out; name the token by token= or serial=", name)
	case "library-description", "library-manufacturer", "library-version":
		return nil, fmt.Errorf("%s in the PKCS #11 URI: the library is named by ?module-path=", name)
	}
	return nil, fmt.Errorf("there is no attribute %s of PKCS #11 URIs: known are token, serial, manufacturer, model, object and id", shown(name))
}

var errPINValue = errors.New("a PIN does not belong in a PKCS #11 URI (pin-value): put it into a file that only the daemon can read, and name that by ?pin-source=")

// query takes an attribute that says how the token is reached.
func (u *URI) query(name, raw string) (func(), error) {
	switch name {
	case "module-path":
		value, err := decode(name, raw)
		switch {
		case err != nil:
			return nil, err
		case !filepath.IsAbs(string(value)) || bytes.ContainsRune(value, 0):
			return nil, fmt.Errorf("module-path in the PKCS #11 URI: %q is not an absolute path of a library", shown(string(value)))
		}
		return func() { u.Module = string(value) }, nil
	case "pin-source":
		value, err := decode(name, raw)
		if err != nil {
			return nil, err
		}
		source, err := ParseSource(string(value))
		return func() { u.PIN = source }, err
	case "pin-value":
		return nil, errPINValue
	case "module-name":
		return nil, errors.New("module-name in the PKCS #11 URI depends on where libraries are looked for: give the path of the library, module-path=")
	}
	return nil, fmt.Errorf("there is no attribute %s behind the ? of PKCS #11 URIs: known are module-path and pin-source", shown(name))
}

// decode replaces escaped octets. An error does not repeat the value: it may be a misplaced PIN.
func decode(name, raw string) ([]byte, error) {
	var out []byte
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
				return nil, fmt.Errorf("%s in the PKCS #11 URI: behind %% stand two hexadecimal digits; %s", name, escaping)
			}
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s in the PKCS #11 URI is empty", name)
	}
	return out, nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}

// String returns the URI of what is meant, without how to reach it.
func (u URI) String() string {
	var parts []string
	add := func(name, value string, all bool) {
		if value != "" {
			parts = append(parts, name+"="+encode(value, all))
		}
	}
	add("token", u.Token, false)
	add("manufacturer", u.Manufacturer, false)
	add("model", u.Model, false)
	add("serial", u.Serial, false)
	add("object", u.Object, false)
	add("id", string(u.ID), true)
	return scheme + strings.Join(parts, ";")
}

// unreserved are the characters beside letters and digits that stand for themselves in a path attribute.
const unreserved = "-._~:[]@!$'()*+=&" // and a comma, which separates values in the environment

func encode(value string, all bool) string {
	var out strings.Builder
	for i := range len(value) {
		c := value[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(unreserved, c) >= 0
		if plain && !all {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

// OnToken returns what u says about a token, and nothing about an object.
func (u URI) OnToken() URI {
	u.Object, u.ID = "", nil
	return u
}

// Names reports whether u says which token is meant, among all that there may be.
func (u URI) Names() bool { return u.Token != "" || u.Serial != "" }

// Matches reports whether a token that is described by is can be the one that u means.
func (u URI) Matches(is URI) bool {
	for _, pair := range [][2]string{{u.Token, is.Token}, {u.Serial, is.Serial}, {u.Manufacturer, is.Manufacturer}, {u.Model, is.Model}} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return true
}

// sameToken reports whether u and v can mean the same token: they agree in what both say, and have a name in common.
func (u URI) sameToken(v URI) bool {
	common := u.Token != "" && u.Token == v.Token || u.Serial != "" && u.Serial == v.Serial
	agree := func(a, b string) bool { return a == "" || b == "" || a == b }
	return common && agree(u.Token, v.Token) && agree(u.Serial, v.Serial) && agree(u.Manufacturer, v.Manufacturer) && agree(u.Model, v.Model)
}

// name is what people call the token.
func (u URI) name() string {
	return fmt.Sprintf("%q", shown(cmp.Or(u.Token, u.Serial)))
}

func shown(text string) string {
	const limit = 60
	if len(text) > limit {
		text = text[:limit] + "…"
	}
	return pki.EscapeText(text)
}
