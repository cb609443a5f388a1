package backup

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"runtime"
	"testing"

	"cauase/pkg/pki"
)

// A failing writer takes some calls, then does what it is told.
type failing struct {
	left int
	fail func(p []byte) (int, error)
}

func (f *failing) Write(p []byte) (int, error) {
	if f.left == 0 {
		return f.fail(p)
	}
	f.left--
	return len(p), nil
}

func TestWriterErrors(t *testing.T) {
	bob := key(t, pki.KeyECDSAP256, "bob")
	full := errors.New("no space left on device")
	clear := text(3*writeSize + 100)
	const writes = 5 // the header, three full buffers, the rest
	for _, c := range []struct {
		name string
		fail func(p []byte) (int, error)
		want error
	}{
		{"an error", func([]byte) (int, error) { return 0, full }, full},
		{"an error after some", func(p []byte) (int, error) { return len(p) / 2, full }, full},
		{"less, without an error", func(p []byte) (int, error) { return len(p) - 1, nil }, io.ErrShortWrite},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n := range writes + 1 {
				w, err := create(&failing{n, c.fail}, []crypto.PublicKey{bob.Public()}, chunkSize)
				if n == 0 {
					if !errors.Is(err, c.want) {
						t.Errorf("the header: %v", err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.Copy(w, bytes.NewReader(clear))
				if err == nil {
					err = w.Close()
				}
				if n == writes {
					if err != nil {
						t.Errorf("none: %v", err)
					}
					continue
				}
				if !errors.Is(err, c.want) {
					t.Errorf("write %d: %v", n, err)
				}
				if err := w.Close(); !errors.Is(err, c.want) {
					t.Errorf("write %d, closed: %v", n, err)
				}
				if err := w.Verify(bytes.NewReader(nil)); !errors.Is(err, c.want) {
					t.Errorf("write %d, verified: %v", n, err)
				}
				if _, err := w.Write(clear); err == nil {
					t.Errorf("write %d: another succeeded", n)
				}
			}
		})
	}
}

func TestWriterAfterClose(t *testing.T) {
	bob := key(t, pki.KeyECDSAP256, "bob")
	w, sealed := seal(t, text(7), small, bob)
	if _, err := w.Write([]byte("more")); !errors.Is(err, errClosed) {
		t.Errorf("written: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	if err := w.Verify(bytes.NewReader(sealed)); err != nil {
		t.Errorf("verified: %v", err)
	}
	open, err := Create(io.Discard, []crypto.PublicKey{bob.Public()})
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Verify(bytes.NewReader(sealed)); err == nil {
		t.Error("verified before it was closed")
	}
}

// The sizes of writes leave no trace.
func TestWritesOfAllSizes(t *testing.T) {
	bob := key(t, pki.KeyECDSAP256, "bob")
	clear := text(9*small + 3)
	for _, size := range []int{1, 3, 16, small - 1, small, small + 1, 5 * small} {
		var out bytes.Buffer
		w, err := create(&out, []crypto.PublicKey{bob.Public()}, small)
		if err != nil {
			t.Fatal(err)
		}
		for rest := clear; len(rest) > 0; {
			n := min(size, len(rest))
			if m, err := w.Write(rest[:n]); m != n || err != nil {
				t.Fatal(m, err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := unseal(out.Bytes(), small, bob); err != nil || !bytes.Equal(got, clear) {
			t.Errorf("writes of %d: %d bytes, %v", size, len(got), err)
		}
	}
}

// Two backups of the same content have nothing in common.
func TestNothingIsReused(t *testing.T) {
	bob := key(t, pki.KeyECDSAP256, "bob")
	one, a := seal(t, text(small), small, bob)
	two, b := seal(t, text(small), small, bob)
	if *one.keys == *two.keys || one.header.Cipher.Parameter == two.header.Cipher.Parameter ||
		one.header.Recipients[0].Key == two.header.Recipients[0].Key || bytes.Equal(a[payloadOf(a):], b[payloadOf(b):]) {
		t.Error("something was used again")
	}
}

// zeros is a long clear text.
func zeros(size int64) io.Reader { return io.LimitReader(zero{}, size) }

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// through seals and opens size bytes at once, without keeping any.
func through(t testing.TB, size int64, k crypto.Signer) {
	t.Helper()
	from, to := io.Pipe()
	go func() {
		w, err := Create(to, []crypto.PublicKey{k.Public()})
		if err == nil {
			_, err = io.Copy(w, zeros(size))
		}
		if err == nil {
			err = w.Close()
		}
		to.CloseWithError(err)
	}()
	r, err := Open(from, k)
	var got int64
	if err == nil {
		got, err = io.Copy(io.Discard, r)
	}
	if err != nil || got != size {
		t.Fatalf("%d of %d bytes, %v", got, size, err)
	}
}

func TestMemoryStaysFlat(t *testing.T) {
	k := key(t, pki.KeyECDSAP256, "bob")
	allocated := func(size int64) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		through(t, size, k)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	little, much := allocated(20<<20), allocated(200<<20)
	if much > little+1<<20 || much > 32<<20 {
		t.Errorf("%d bytes allocated for 20 MiB, %d for 200", little, much)
	}
}

func BenchmarkSeal(b *testing.B) {
	const size = 64 << 20
	to := []crypto.PublicKey{key(b, pki.KeyECDSAP256, "bob").Public()}
	b.SetBytes(size)
	for b.Loop() {
		w, err := Create(io.Discard, to)
		if err == nil {
			_, err = io.Copy(w, zeros(size))
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	const size = 64 << 20
	bob := key(b, pki.KeyECDSAP256, "bob")
	_, sealed := seal(b, make([]byte, size), chunkSize, bob)
	b.SetBytes(size)
	for b.Loop() {
		r, err := Open(bytes.NewReader(sealed), bob)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
