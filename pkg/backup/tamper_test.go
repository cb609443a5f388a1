package backup

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"cauase/pkg/pki"
)

const segment = small + 32 // bytes of payload for each chunk but the last

// payloadOf returns where the payload begins.
func payloadOf(sealed []byte) int {
	return len(magic) + 4 + int(binary.LittleEndian.Uint32(sealed[len(magic):]))
}

// Whatever bit changes, the content stays or there is none. It stays where the header says
// something about others, and where a digit a to f becomes upper case.
func TestEveryByteFlipped(t *testing.T) {
	alice, bob := key(t, pki.KeyECDSAP256, "alice"), key(t, pki.KeyEd25519, "bob")
	clear := text(3*small + 20)
	w, sealed := seal(t, clear, small, bob, alice)
	payload := payloadOf(sealed)
	bobs := bytes.Index(sealed, []byte(`"id":`))
	bobsEnd := bobs + bytes.IndexByte(sealed[bobs:], ']')
	bobsEnd = bobs + bytes.Index(sealed[bobs:bobsEnd], []byte(`},{`))
	cosmetic := 0
	for i := range sealed {
		for bit := range 9 {
			change := byte(1) << bit
			if bit == 8 {
				change = 0xff
			}
			changed := bytes.Clone(sealed)
			changed[i] ^= change
			where := fmt.Sprintf("byte %d of %d ^ %#x", i, payload, change)
			got, err := unseal(changed, small, alice)
			switch {
			case err == nil:
				cosmetic++
				isDigit := change == 0x20 && i < payload && strings.IndexByte("abcdef", sealed[i]) >= 0
				if isOther := i >= bobs && i < bobsEnd; !isDigit && !isOther {
					t.Errorf("%s went unnoticed", where)
				}
				if !bytes.Equal(got, clear) {
					t.Errorf("%s: other content", where)
				}
			case i >= payload:
				if err != ErrDamaged {
					t.Errorf("%s: %v", where, err)
				}
				if want := clear[:(i-payload)/segment*small]; !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes given, %d were sound", where, len(got), len(want))
				}
			case len(got) > 0:
				t.Errorf("%s: %d bytes given", where, len(got))
			case !errors.Is(err, ErrNotBackup) && !errors.Is(err, ErrNotRecipient) && !errors.Is(err, ErrDamaged):
				t.Errorf("%s: %v", where, err)
			}
			if w.Verify(bytes.NewReader(changed)) != ErrDamaged {
				t.Errorf("%s: verified", where)
			}
		}
	}
	t.Logf("%d of %d changes are cosmetic", cosmetic, 9*len(sealed))
}

func TestEveryTruncation(t *testing.T) {
	alice := key(t, pki.KeyECDSAP256, "alice")
	for _, size := range []int{0, 5, small, 2*small - 1, 3 * small} {
		clear := text(size)
		w, sealed := seal(t, clear, small, alice)
		payload := payloadOf(sealed)
		for n := range sealed {
			got, err := unseal(sealed[:n], small, alice)
			want := ErrNotBackup
			if n >= payload {
				want = ErrDamaged
			}
			if !errors.Is(err, want) || !bytes.HasPrefix(clear, got) {
				t.Errorf("%d bytes of clear text, cut to %d of %d: %d given, %v", size, n, len(sealed), len(got), err)
			}
			if w.Verify(bytes.NewReader(sealed[:n])) != ErrDamaged {
				t.Errorf("%d bytes of clear text, cut to %d: verified", size, n)
			}
		}
	}
}

func TestSurgery(t *testing.T) {
	alice := key(t, pki.KeyECDSAP256, "alice")
	clear := text(5*small + 7)
	w, sealed := seal(t, clear, small, alice)
	_, again := seal(t, clear, small, alice)
	_, other := seal(t, bytes.ToUpper(clear), small, alice)
	_, whole := seal(t, clear[:5*small], small, alice)
	head, payload := sealed[:payloadOf(sealed)], sealed[payloadOf(sealed):]
	refused := func(name string, parts ...[]byte) {
		t.Helper()
		changed := slices.Concat(parts...)
		got, err := unseal(changed, small, alice)
		if err != ErrDamaged || !bytes.HasPrefix(clear, got) || len(got) == len(clear) {
			t.Errorf("%s: %d bytes given, %v", name, len(got), err)
		}
		if w.Verify(bytes.NewReader(changed)) == nil {
			t.Errorf("%s: verified", name)
		}
	}
	for _, unit := range []int{16, segment} {
		parts := slices.Collect(slices.Chunk(payload, unit))
		theirs := slices.Collect(slices.Chunk(other[payloadOf(other):], unit))
		without := func(i int) []byte { return slices.Concat(slices.Delete(slices.Clone(parts), i, i+1)...) }
		for i, part := range parts {
			name := fmt.Sprintf("part %d of %d bytes", i, unit)
			refused(name+" dropped", head, without(i))
			refused(name+" twice", head, slices.Concat(slices.Insert(slices.Clone(parts), i, part)...))
			refused(name+" appended", sealed, part)
			changed := slices.Clone(parts)
			changed[i] = theirs[i]
			refused(name+" of another", head, slices.Concat(changed...))
			refused(name+" of another inserted", head, slices.Concat(slices.Insert(slices.Clone(parts), i, theirs[i])...))
			for j := range i {
				changed := slices.Clone(parts)
				changed[i], changed[j] = changed[j], changed[i]
				refused(fmt.Sprintf("%s swapped with %d", name, j), head, slices.Concat(changed...))
			}
		}
	}
	refused("another's payload", head, other[payloadOf(other):])
	refused("the same content sealed again", head, again[payloadOf(again):])
	refused("a shorter payload", head, whole[payloadOf(whole):])
	refused("no payload", head)
	for _, tail := range []int{1, 15, 16, 17, 32, 48, segment, 3 * segment} {
		refused(fmt.Sprintf("%d bytes more", tail), sealed, make([]byte, tail))
	}
	refused("itself appended", sealed, sealed)

	if w.Verify(bytes.NewReader(again)) != ErrDamaged || w.Verify(bytes.NewReader(other)) != ErrDamaged {
		t.Error("took another backup for this one")
	}
}

// The reference ends a clear text of whole chunks after the last of their HMACs, and reads one that
// has an empty chunk there as well. So do we.
func TestEmptyLastChunk(t *testing.T) {
	alice := key(t, pki.KeyECDSAP256, "alice")
	for _, chunks := range []int{1, 2} {
		clear := text(chunks * small)
		var out bytes.Buffer
		w, err := create(&out, []crypto.PublicKey{alice.Public()}, small)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(clear); err != nil {
			t.Fatal(err)
		}
		w.endChunk()
		if err := w.Close(); err != nil { // puts another HMAC
			t.Fatal(err)
		}
		got, err := unseal(out.Bytes(), small, alice)
		if err != nil || !bytes.Equal(got, clear) {
			t.Errorf("%d chunks: %d bytes, %v", chunks, len(got), err)
		}
		if size := out.Len() - payloadOf(out.Bytes()); size != chunks*segment+32+16 {
			t.Errorf("%d chunks: a payload of %d bytes", chunks, size)
		}
	}
}

// What the format cannot tell: a clear text whose first bytes after a chunk look like padding, cut
// right after them. docs/backup-format.md says so, and what is inside has to have an end of its own.
func TestCutAfterWhatLooksLikePadding(t *testing.T) {
	alice := key(t, pki.KeyECDSAP256, "alice")
	lookalike := bytes.Repeat([]byte{16}, 16)
	w, sealed := seal(t, slices.Concat(text(small), lookalike, text(small)), small, alice)
	cut := sealed[:payloadOf(sealed)+segment+len(lookalike)]
	if got, err := unseal(cut, small, alice); err != nil || len(got) != small {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if w.Verify(bytes.NewReader(cut)) != ErrDamaged {
		t.Error("verified")
	}
}

func TestRealChunks(t *testing.T) {
	alice := key(t, pki.KeyECDSAP256, "alice")
	clear := text(2*chunkSize + 5)
	_, sealed := seal(t, clear, chunkSize, alice)
	got, err := unseal(sealed, chunkSize, alice)
	if err != nil || !bytes.Equal(got, clear) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	head, payload := sealed[:payloadOf(sealed)], sealed[payloadOf(sealed):]
	const real = chunkSize + 32
	one, two, three := payload[:real], payload[real:2*real], payload[2*real:]
	for _, c := range []struct {
		name  string
		parts [][]byte
		given int
	}{
		{"swapped", [][]byte{head, two, one, three}, 0},
		{"first dropped", [][]byte{head, two, three}, 0},
		{"second dropped", [][]byte{head, one, three}, chunkSize},
		{"second twice", [][]byte{head, one, two, two, three}, 2 * chunkSize},
		{"cut after the first", [][]byte{head, one}, 0},
		{"cut in the third", [][]byte{head, one, two, three[:16]}, chunkSize},
		{"appended", [][]byte{sealed, three}, 2 * chunkSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := unseal(slices.Concat(c.parts...), chunkSize, alice)
			if err != ErrDamaged || !bytes.Equal(got, clear[:c.given]) {
				t.Errorf("%d bytes given, %v", len(got), err)
			}
		})
	}
}

func TestReaderErrors(t *testing.T) {
	alice := key(t, pki.KeyECDSAP256, "alice")
	clear := text(2*small + 9)
	w, sealed := seal(t, clear, small, alice)
	broken := errors.New("disk on fire")
	for n := range sealed {
		from := func() io.Reader { return io.MultiReader(bytes.NewReader(sealed[:n]), iotest.ErrReader(broken)) }
		r, err := open(from(), alice, small)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
		}
		if !errors.Is(err, broken) || !bytes.HasPrefix(clear, got) {
			t.Errorf("after %d bytes: %d given, %v", n, len(got), err)
		}
		if err := w.Verify(from()); !errors.Is(err, broken) {
			t.Errorf("verified after %d bytes: %v", n, err)
		}
	}
}

// All bytes of the padding count, though no change to a file can reach one without harm to the HMAC
// before it.
func TestPadding(t *testing.T) {
	block := func(end ...byte) []byte { return append(bytes.Repeat([]byte{'x'}, 32-len(end)), end...) }
	for _, test := range []struct {
		name  string
		clear []byte
		want  int
	}{
		{"one", block(1), 1},
		{"three", block(3, 3, 3), 3},
		{"a block", block(bytes.Repeat([]byte{16}, 16)...), 16},
		{"none", block(0), 0},
		{"more than a block", block(bytes.Repeat([]byte{17}, 17)...), 0},
		{"first byte wrong", block(4, 3, 3), 0},
		{"all but the last wrong", block(1, 2, 3), 0},
		{"nothing", nil, 0},
	} {
		if got := paddingOf(test.clear); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}
