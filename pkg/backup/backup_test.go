package backup

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// small is the chunk size of most tests: as few blocks as show everything.
const small = 64

// key returns the key of a kind and owner.
func key(t testing.TB, kind pki.KeyType, owner string) crypto.Signer {
	t.Helper()
	return pkitest.SharedKey(t, kind, owner)
}

// text returns n bytes in which no 16 are like any others.
func text(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %010d\n", i)
	}
	return b.Bytes()[:n]
}

// seal makes a backup of clear.
func seal(t testing.TB, clear []byte, chunk int, to ...crypto.Signer) (*Writer, []byte) {
	t.Helper()
	var pubs []crypto.PublicKey
	for _, k := range to {
		pubs = append(pubs, k.Public())
	}
	var out bytes.Buffer
	w, err := create(&out, pubs, chunk)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(clear); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w, out.Bytes()
}

// unseal reads all that can be read.
func unseal(sealed []byte, chunk int, k crypto.PrivateKey) ([]byte, error) {
	r, err := open(bytes.NewReader(sealed), k, chunk)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestRoundTrip(t *testing.T) {
	recipients := []crypto.Signer{
		key(t, pki.KeyRSA2048, "alice"), key(t, pki.KeyECDSAP256, "bob"),
		key(t, pki.KeyECDSAP384, "carol"), key(t, pki.KeyEd25519, "dave"),
	}
	for _, size := range []int{0, 1, 15, 16, 17, small - 33, small - 32, small - 1, small, small + 1, 2 * small, 2*small + 15, 7*small - 1, 100 * small, writeSize, writeSize + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			clear := text(size)
			w, sealed := seal(t, clear, small, recipients...)
			if len(w.Header().Recipients) != len(recipients) || w.Size() != int64(size) {
				t.Errorf("%d recipients, %d bytes", len(w.Header().Recipients), w.Size())
			}
			for _, k := range recipients {
				got, err := unseal(sealed, small, k)
				if err != nil || !bytes.Equal(got, clear) {
					t.Errorf("%T: %d bytes, %v", k, len(got), err)
				}
			}
			if err := w.Verify(bytes.NewReader(sealed)); err != nil {
				t.Error(err)
			}
			if _, err := unseal(sealed, small, key(t, pki.KeyECDSAP256, "stranger")); !errors.Is(err, ErrNotRecipient) {
				t.Errorf("a stranger: %v", err)
			}
			r, err := open(iotest.OneByteReader(bytes.NewReader(sealed)), recipients[1], small)
			if err == nil {
				err = iotest.TestReader(r, clear)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}
