package caucase

import (
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

// What is kept of a body, in bytes.
const (
	keepCSR = pki.MaxCSRSize
	// keepEnvelope is room for a certificate and a request, each at its limit and with
	// its line ends escaped twice.
	keepEnvelope = 1 << 20
	keepForm     = 64 << 10
)

// nobody is an id that is never given out.
const nobody = -1

// pathID reads the path parameter as the id of a request or certificate. Every integer is an
// id; one that was never given out is simply unknown, and that only to who may ask.
func pathID(x *server.Exchange) (int64, error) {
	text := x.Param("id")
	digits := strings.TrimLeft(text, "+-")
	if digits == "" || len(text)-len(digits) > 1 || !isDecimal(digits) {
		return 0, server.Refuse(http.StatusBadRequest, "id is not an integer")
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 0 {
		return nobody, nil
	}
	return id, nil
}

// maxKeyID bounds the decimal digits of an authority key identifier. RFC 5280 4.2.1.2
// makes them of 20 bytes, other software of 32.
const maxKeyID = 200

// pathKeyID reads the path parameter as an authority key identifier. What is none is not
// found, rather than refused, as in the reference.
func pathKeyID(x *server.Exchange) (*big.Int, error) {
	text := x.Param("aki")
	if len(text) > maxKeyID || !isDecimal(text) {
		return nil, server.ErrNotFound
	}
	aki, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return nil, server.ErrNotFound
	}
	return aki, nil
}

func isDecimal(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// maxValidity bounds what a user can choose, in seconds, far from where durations overflow. How long
// a certificate may really be valid is for its profile to say.
const maxValidity = 100 * 366 * 24 * 3600

// A choice is what the query of a request chooses. Empty and zero are not chosen.
type choice struct {
	profile  string
	validity time.Duration
	once     bool        // refuse a request that was rejected before
	foreign  bool        // take requests of which only the key can be certified
	digest   *pki.Digest // of the request that is asked about
}

// choose reads the parameters of these names from the query; others do not count, as everywhere. One
// that is there must make sense: another certificate than the one asked for is worse than none.
func choose(x *server.Exchange, names ...string) (c choice, err error) {
	query, err := url.ParseQuery(x.Request.URL.RawQuery)
	if err != nil {
		return c, server.Refuse(http.StatusBadRequest, "malformed query")
	}
	for _, name := range names {
		values, given := query[name]
		if !given {
			continue
		}
		if len(values) != 1 || values[0] == "" {
			return c, server.Refuse(http.StatusBadRequest, "%s must be given once, with a value", name)
		}
		switch name {
		case "profile":
			c.profile = values[0]
		case "once":
			if c.once = values[0] == "true"; !c.once {
				return c, server.Refuse(http.StatusBadRequest, "once must be true")
			}
		case "foreign":
			if c.foreign = values[0] == "true"; !c.foreign {
				return c, server.Refuse(http.StatusBadRequest, "foreign must be true")
			}
		case "digest":
			digest, err := pki.ParseDigest(values[0])
			if err != nil {
				return c, server.Refuse(http.StatusBadRequest, "digest must be sha256: and 64 hexadecimal digits")
			}
			c.digest = &digest
		case "validity":
			seconds, err := strconv.ParseInt(values[0], 10, 64)
			if err != nil || !isDecimal(values[0]) || seconds < 1 || seconds > maxValidity {
				return c, server.Refuse(http.StatusBadRequest, "validity must be a number of seconds from 1 to %d", maxValidity)
			}
			c.validity = time.Duration(seconds) * time.Second
		}
	}
	return c, nil
}

// readEnvelope reads a body that is a JSON envelope.
func readEnvelope(x *server.Exchange) (*envelope.Envelope, error) {
	if err := x.ContentType(server.TypeJSON); err != nil {
		return nil, err
	}
	body, err := x.Body(keepEnvelope)
	if err != nil {
		return nil, err
	}
	return envelope.Parse(body)
}
