package pki

import (
	"bytes"
	"slices"
	"time"
)

// entriesPart is how large a part of the entries of revocation lists may be before the next begins.
const entriesPart = 256 << 10

// RevokedEntries are the entries of a revocation list, encoded, in parts which all lists have in common that
// have these entries, and those with more. The zero value has none.
type RevokedEntries struct {
	full  Octets
	last  []byte
	count int
}

// Append returns the entries with one more. It may be called on the latest only: others have the
// same parts.
func (e RevokedEntries) Append(serial []byte, at time.Time, reason int) (RevokedEntries, error) {
	if e.last == nil && len(e.full) > 0 {
		e.last = make([]byte, 0, entriesPart+maxRevoked)
	}
	last, err := AppendRevoked(e.last, serial, at, reason)
	if err != nil {
		return RevokedEntries{}, err
	}
	e.last, e.count = last, e.count+1
	if len(e.last) >= entriesPart {
		e.full, e.last = append(e.full, slices.Clip(e.last)), nil
	}
	return e, nil
}

// Count is how many there are.
func (e RevokedEntries) Count() int { return e.count }

// Octets are the entries one after the other.
func (e RevokedEntries) Octets() Octets {
	if len(e.last) == 0 {
		return slices.Clip(e.full)
	}
	return append(slices.Clip(e.full), e.last)
}

// Then returns these entries and those of next after them, in parts that all have in common. Neither may be appended to any
// more.
func (e RevokedEntries) Then(next RevokedEntries) RevokedEntries {
	if e.count == 0 {
		return next
	}
	full := slices.Clip(e.full)
	if len(e.last) > 0 {
		full = append(full, slices.Clip(e.last))
	}
	return RevokedEntries{full: slices.Concat(full, next.full), last: next.last, count: e.count + next.count}
}

// Without returns the entries but those of some serial numbers, which are big-endian and have no zero octets in front. Parts
// with none of them in are shared, the others are copied. These entries may not be appended to any more.
func (e RevokedEntries) Without(serials map[string]bool) RevokedEntries {
	var left RevokedEntries
	for _, part := range e.full {
		if left.take(part, serials) {
			left.full, left.last = append(left.rounded(), part), nil
		}
	}
	if left.take(e.last, serials) {
		left.full, left.last = left.rounded(), e.last
	}
	left.count += e.count
	return left
}

// take copies what is to be kept of a part, unless that is all of it, which it reports.
func (e *RevokedEntries) take(part []byte, serials map[string]bool) (whole bool) {
	kept := 0 // octets that have been dealt with
	for at, next := 0, 0; at < len(part); at = next {
		var serial []byte
		serial, next = revokedAt(part, at)
		if !serials[string(serial)] {
			continue
		}
		e.last = append(e.last, part[kept:at]...)
		kept = next
		e.count--
	}
	if kept == 0 {
		return true
	}
	if e.last = append(e.last, part[kept:]...); len(e.last) >= entriesPart {
		e.full, e.last = append(e.full, bytes.Clone(e.last)), nil // without the room that it has grown by
	}
	return false
}

// rounded returns the parts with what was copied as the last of them.
func (e *RevokedEntries) rounded() Octets {
	if len(e.last) == 0 {
		return e.full
	}
	return append(e.full, bytes.Clone(e.last))
}

// revokedAt returns the serial number of the entry at an offset, and where the next one begins. AppendRevoked has written it, so that all
// lengths are single octets.
func revokedAt(part []byte, at int) (serial []byte, next int) {
	const header = 2 // octets of tag and length
	begin := at + header + header
	serial = part[begin : begin+int(part[begin-1])]
	return bytes.TrimLeft(serial, "\x00"), at + header + int(part[at+1])
}
