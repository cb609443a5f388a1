package pki

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"
)

// Each entry is what the standard library writes of it, octet for octet.
func TestAppendRevoked(t *testing.T) {
	serials := []string{"0", "1", "7f", "80", "ff", "100", "7fff", "8000", "7fffffffffffffffffffffffffffffffffffffff", "ffffffffffffffffffffffffffffffffffffffff"}
	times := []time.Time{
		time.Date(2026, 2, 28, 23, 59, 59, 999_999_999, time.FixedZone("", 3600)), time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1949, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	for _, text := range serials {
		serial, _ := new(big.Int).SetString(text, 16)
		for _, at := range times {
			for _, reason := range []int{0, 1, 4, 10} {
				entry := pkix.RevokedCertificate{SerialNumber: serial, RevocationTime: at.UTC().Truncate(time.Second)}
				if reason != 0 {
					value, _ := asn1.Marshal(asn1.Enumerated(reason))
					entry.Extensions = []pkix.Extension{{Id: oidCRLReason, Value: value}}
				}
				want, err := asn1.Marshal(entry)
				if err != nil {
					t.Fatal(err)
				}
				got, err := AppendRevoked([]byte("before"), append(make([]byte, 3), serial.Bytes()...), at, reason)
				if err != nil || string(got) != "before"+string(want) {
					t.Errorf("%s at %v because of %d: %x, error %v, want %x", text, at, reason, got, err, want)
				}
			}
		}
	}
}

// What no entry can say is an error, and not a list that nobody can read.
func TestAppendRevokedRefuses(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, err := range map[string]error{
		"long serial":     second(AppendRevoked(nil, bytes.Repeat([]byte{1}, 21), at, 0)),
		"far future":      second(AppendRevoked(nil, []byte{1}, time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), 0)),
		"before year 0":   second(AppendRevoked(nil, []byte{1}, time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), 0)),
		"negative reason": second(AppendRevoked(nil, []byte{1}, at, -1)),
		"large reason":    second(AppendRevoked(nil, []byte{1}, at, 1000)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func second(_ []byte, err error) error { return err }

// The entries of a long list cost no allocation each, and no memory beyond what they take.
func TestRevokedEntriesAllocateByParts(t *testing.T) {
	const count = 50_000
	serial := bytes.Repeat([]byte{0x5a}, maxSerial)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var entries RevokedEntries
	allocations := testing.AllocsPerRun(1, func() {
		entries = RevokedEntries{}
		for range count {
			var err error
			if entries, err = entries.Append(serial, at, 1); err != nil {
				t.Fatal(err)
			}
		}
	})
	if parts := len(entries.Octets()); allocations > float64(40+2*parts) {
		t.Errorf("%d entries in %d parts: %.0f allocations", count, parts, allocations)
	}
	kept := 0
	for _, part := range entries.full[1:] {
		kept += cap(part)
	}
	if most := len(entries.full[1:]) * (entriesPart + maxRevoked); kept > most {
		t.Errorf("%d parts keep %d bytes, more than %d", len(entries.full), kept, most)
	}
	read := 0 // by the standard library
	for rest := entries.Octets().Join(); len(rest) > 0; read++ {
		var raw asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &raw); err != nil {
			t.Fatal(err)
		}
	}
	if read != count || entries.Count() != count {
		t.Errorf("%d entries, %d counted, want %d", read, entries.Count(), count)
	}
}
