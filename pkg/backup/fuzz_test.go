package backup

import (
	"bytes"
	"crypto"
	"slices"
	"testing"
)

// What can be read of anything made out of a backup without its session keys is a beginning of
// that backup, and when it reads as whole it is the whole.
func FuzzOpen(f *testing.F) {
	k := vectorKey(f, "ed25519")
	clear := text(3*small + 5)
	_, sealed := seal(f, clear, small, k)
	head, payload := sealed[:payloadOf(sealed)], sealed[payloadOf(sealed):]
	f.Add(head, payload)
	f.Add(head, payload[:segment])
	f.Add(head, payload[segment:])
	f.Add(head, slices.Concat(payload, payload))
	f.Add(head[:len(head)-1], payload)
	f.Add([]byte(magic+"\x02\x00\x00\x00{}"), []byte{})
	golden := readFile(f, vector)
	f.Add(golden[:payloadOf(golden)], golden[payloadOf(golden):])
	f.Fuzz(func(t *testing.T, head, payload []byte) {
		got, err := unseal(slices.Concat(head, payload), small, k)
		if err == nil && !bytes.Equal(got, clear) && string(got) != vectorClear {
			t.Errorf("reads as %q", got)
		}
		if err != nil && !bytes.HasPrefix(clear, got) {
			t.Errorf("begins with %q", got)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	k := vectorKey(f, "ed25519")
	f.Add([]byte{}, uint8(0), uint8(1))
	f.Add(text(64), uint8(3), uint8(200))
	f.Add(bytes.Repeat([]byte{16}, 96), uint8(0), uint8(16))
	f.Fuzz(func(t *testing.T, clear []byte, blocks, write uint8) {
		chunk := 16 * (int(blocks) + 1)
		var out bytes.Buffer
		w, err := create(&out, []crypto.PublicKey{k.Public()}, chunk)
		if err != nil {
			t.Fatal(err)
		}
		for part := range slices.Chunk(clear, int(write)+1) {
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := unseal(out.Bytes(), chunk, k)
		if err != nil || !bytes.Equal(got, clear) {
			t.Errorf("%d bytes of %d, %v", len(got), len(clear), err)
		}
		if err := w.Verify(&out); err != nil {
			t.Error(err)
		}
	})
}
