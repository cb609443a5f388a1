package sqlstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"

	"cauase/pkg/store"
)

// A reader answers for one transaction, a tx also writes.
type (
	reader struct{ *handle }
	tx     struct{ reader }
)

var (
	_ store.Reader = reader{}
	_ store.Tx     = tx{}
)

// micros is how times are kept; it rounds down.
func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// maxSerial is the length of the longest serial number that RFC 5280 4.1.2.2 allows, in bytes.
const maxSerial = 20

// serialBytes is how serials are kept: big-endian, as short as can be, at least one byte.
// It reports whether n can be the serial of a row.
func serialBytes(n *big.Int) ([]byte, bool) {
	switch {
	case n == nil || n.Sign() < 0 || n.BitLen() > 8*maxSerial:
		return nil, false
	case n.Sign() == 0:
		return []byte{0}, true
	}
	return n.Bytes(), true
}

// newSerial is serialBytes for a serial that is to be stored.
func newSerial(n *big.Int) ([]byte, error) {
	b, ok := serialBytes(n)
	if !ok {
		return nil, fmt.Errorf("store: %#x cannot be a serial number", n)
	}
	return b, nil
}

// fromSerial returns nil for NULL.
func fromSerial(b []byte) *big.Int {
	if b == nil {
		return nil
	}
	return new(big.Int).SetBytes(b)
}

// required is for columns that are never NULL, optional for those that are NULL when empty.

func required(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func optional(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// encodeSANs and decodeSANs do not tell an empty list from nil; it comes back as nil.

func encodeSANs(sans []string) (string, error) {
	if len(sans) == 0 {
		return "[]", nil
	}
	text, err := json.Marshal(sans)
	return string(text), err
}

func decodeSANs(text string) ([]string, error) {
	if text == "[]" {
		return nil, nil
	}
	var sans []string
	if err := json.Unmarshal([]byte(text), &sans); err != nil {
		return nil, fmt.Errorf("store: a list of names is damaged: %w", err)
	}
	return sans, nil
}

// orAll is the LIMIT for a limit of which 0 means all.
func orAll(limit int) int64 {
	if limit <= 0 {
		return math.MaxInt64
	}
	return int64(limit)
}

// errNoAuthority guards what the schema's CHECK would refuse with less clarity.
var errNoAuthority = errors.New("store: the row names no authority")
