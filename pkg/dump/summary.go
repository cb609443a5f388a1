package dump

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"cauase/pkg/store"
)

// A Digest is a SHA-256; its text is in hex.
type Digest [sha256.Size]byte

// String returns it in hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns it in hex.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads hex.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("not a SHA-256 in hex")
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// A Sum is the number of rows of a kind and the SHA-256 of their lines.
type Sum struct {
	Kind   string `json:"kind"`
	Count  int64  `json:"count"`
	SHA256 Digest `json:"sha256"`
}

// A Summary has one Sum for each kind of row, in the order of the stream. Two stores hold the same
// when their summaries are equal, whatever kind of database they are.
type Summary []Sum

// Rows is how many there are of all kinds.
func (s Summary) Rows() (n int64) {
	for _, sum := range s {
		n += sum.Count
	}
	return n
}

// Equal reports whether s and o are of the same rows.
func (s Summary) Equal(o Summary) bool { return s.Diff(o) == "" }

// Diff describes where s and o differ; it is empty if they do not.
func (s Summary) Diff(o Summary) string {
	if len(s) != len(o) {
		return fmt.Sprintf("%d kinds of rows against %d", len(s), len(o))
	}
	var all []string
	for i, a := range s {
		switch b := o[i]; {
		case a.Kind != b.Kind:
			all = append(all, fmt.Sprintf("%s against %s", a.Kind, b.Kind))
		case a.Count != b.Count:
			all = append(all, fmt.Sprintf("%s: %d rows against %d", a.Kind, a.Count, b.Count))
		case a.SHA256 != b.SHA256:
			all = append(all, fmt.Sprintf("%s: as many rows, but not the same", a.Kind))
		}
	}
	return strings.Join(all, ", ")
}

// String has a line for each kind.
func (s Summary) String() string {
	var b strings.Builder
	for _, sum := range s {
		fmt.Fprintf(&b, "%-12s%12d  %x\n", sum.Kind, sum.Count, sum.SHA256[:8])
	}
	return b.String()
}

// SummarizeAs is Summarize for a store that was filled from a stream of the given version. What later versions have
// beside that, as far as a store derives it from what it is given, is not looked at.
func SummarizeAs(ctx context.Context, r store.Reader, version int) (Summary, error) {
	h := NewHash()
	err := r.Rows(ctx, func(row store.Row) error {
		if version < 6 {
			switch v := row.(type) {
			case store.Log, store.LogTile, store.Checkpoint:
				return nil
			case store.AuditEntry:
				v.Digest, v.Leaf, v.Hash = nil, 0, nil
				return h.Add(v)
			}
		}
		if version < 3 {
			switch v := row.(type) {
			case store.Lineage:
				return nil
			case store.Certificate:
				v.Lineage = 0
				return h.Add(v)
			}
		}
		return h.Add(row)
	})
	return h.Summary(), err
}

// Summarize reads all rows of a store.
func Summarize(ctx context.Context, r store.Reader) (Summary, error) {
	h := NewHash()
	if err := r.Rows(ctx, h.Add); err != nil {
		return nil, err
	}
	return h.Summary(), nil
}

// A Hash makes the Summary of rows that pass by in the order of the stream.
type Hash struct {
	enc     encoder
	checker checker
	sums    sums
}

// NewHash starts a Summary.
func NewHash() *Hash { return &Hash{sums: newSums(kindsOf(Version))} }

// Add counts a row. Its error is an ErrInvalid for a row that the stream could not hold.
func (h *Hash) Add(row store.Row) error {
	_, err := h.line(row)
	return err
}

// line counts a row and returns its line, until the next one.
func (h *Hash) line(row store.Row) ([]byte, error) {
	l := wireOf(row)
	if l == nil {
		return nil, &Error{Why: fmt.Sprintf("no place for a %T", row)}
	}
	if err := h.checker.check(l); err != nil {
		return nil, &Error{Row: printable(Describe(row)), Why: err.Error()}
	}
	data, err := h.enc.encode(l)
	if err != nil {
		return nil, &Error{Row: printable(Describe(row)), Why: printable(err.Error())}
	}
	h.sums.add(h.checker.kind, data)
	return data, nil
}

// Summary is of the rows so far.
func (h *Hash) Summary() Summary { return h.sums.summary() }

// sums are the counts and hashes of a stream under way, by kind.
type sums struct {
	kinds  []string
	counts []int64
	hashes []hash.Hash
}

// kindsOf are the kinds that streams of a version have, of 2 or later.
func kindsOf(version int) (names []string) {
	for _, kind := range store.Kinds() {
		if kind.Since <= version {
			names = append(names, kind.Name)
		}
	}
	return names
}

func newSums(kinds []string) sums {
	s := sums{kinds: kinds, counts: make([]int64, len(kinds))}
	for range kinds {
		s.hashes = append(s.hashes, sha256.New())
	}
	return s
}

func (s *sums) add(kind int, line []byte) {
	s.counts[kind]++
	s.hashes[kind].Write(line)
}

func (s *sums) summary() Summary {
	var out Summary
	for i, kind := range s.kinds {
		out = append(out, Sum{kind, s.counts[i], Digest(s.hashes[i].Sum(nil))})
	}
	return out
}
