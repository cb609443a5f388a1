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

// Entries can be taken out of any parts, without encoding the others anew, and without changing what lists that are being served
// have. Parts from which nothing goes are shared.
func TestRevokedEntriesWithout(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	serial := func(i int) []byte { return new(big.Int).SetUint64(uint64(i) * 0x9e3779b97f4a7c15).Bytes() } // of all lengths, some with the high bit
	build := func(keep func(int) bool, numbers ...int) (e RevokedEntries) {
		for _, i := range numbers {
			var err error
			if !keep(i) {
				continue
			}
			if e, err = e.Append(serial(i), at.AddDate(i%80, 0, 0), i%3); err != nil {
				t.Fatal(err)
			}
		}
		return e
	}
	var numbers []int
	for i := range 30_000 {
		numbers = append(numbers, i)
	}
	all := func(int) bool { return true }
	for name, gone := range map[string]func(int) bool{
		"none":             func(int) bool { return false },
		"all":              all,
		"the zero":         func(i int) bool { return i == 0 },
		"the oldest":       func(i int) bool { return i < 9_000 },
		"the newest":       func(i int) bool { return i >= 29_990 },
		"every second":     func(i int) bool { return i%2 == 0 },
		"nearly all":       func(i int) bool { return i%5000 != 7 },
		"one in the midst": func(i int) bool { return i == 15_000 },
	} {
		whole := build(all, numbers...)
		before := whole.Octets().Join()
		serials := map[string]bool{}
		for _, i := range numbers {
			if gone(i) {
				serials[string(serial(i))] = true
			}
		}
		left := whole.Without(serials)
		served := whole.Octets()
		more := []int{40_000, 40_001, 40_002}
		for _, i := range more {
			var err error
			if left, err = left.Append(serial(i), at.AddDate(i%80, 0, 0), i%3); err != nil {
				t.Fatal(err)
			}
		}
		want := build(func(i int) bool { return !gone(i) || i >= 40_000 }, append(numbers[:len(numbers):len(numbers)], more...)...)
		if !bytes.Equal(left.Octets().Join(), want.Octets().Join()) || left.Count() != want.Count() {
			t.Errorf("%s: %d entries of %d octets, want %d of %d", name, left.Count(), left.Octets().Size(), want.Count(), want.Octets().Size())
		}
		if !bytes.Equal(served.Join(), before) {
			t.Errorf("%s: a list that is being served has changed", name)
		}
		if name == "the oldest" {
			shared := 0
			for _, part := range left.full {
				for _, was := range whole.full {
					if &part[0] == &was[0] {
						shared++
					}
				}
			}
			if shared == 0 {
				t.Errorf("%s: no part of %d is shared", name, len(left.full))
			}
		}
	}
}

// Entries that were read apart are the list that they would be if they had been read one after the other.
func TestRevokedEntriesThen(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, sizes := range [][]int{{0, 0}, {0, 3}, {3, 0}, {8000, 8000}, {1, 20_000}, {20_000, 1}, {9000, 1, 9000}} {
		var joined, want RevokedEntries
		next := byte(1)
		for _, size := range sizes {
			var part RevokedEntries
			for range size {
				next = next%100 + 1
				part, _ = part.Append([]byte{next, 9}, at, 0)
				want, _ = want.Append([]byte{next, 9}, at, 0)
			}
			joined = joined.Then(part)
		}
		joined, _ = joined.Append([]byte{101}, at, 1)
		want, _ = want.Append([]byte{101}, at, 1)
		if !bytes.Equal(joined.Octets().Join(), want.Octets().Join()) || joined.Count() != want.Count() {
			t.Errorf("%v: %d entries, want %d", sizes, joined.Count(), want.Count())
		}
	}
}
