package backup

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

const (
	// chunkSize is how many bytes of clear text come before each HMAC.
	chunkSize = 10 << 20
	// writeSize is how many bytes are encrypted and written at once.
	writeSize = 64 << 10
)

var errClosed = errors.New("the backup is closed")

// A Writer encrypts the clear text that is written to it. It keeps 64 KiB of it.
type Writer struct {
	to     io.Writer
	header Header
	start  []byte // the header as written
	keys   *sessionKeys
	chunk  int // bytes of clear text in a chunk

	mac     hash.Hash
	cbc     cipher.BlockMode
	pending []byte // cut, not encrypted yet
	fill    int    // bytes of clear text in this chunk
	size    int64  // and in all
	done    bool
	err     error // of the first thing that failed, after which nothing else is done
}

// Create begins a backup that the holder of any of the keys can decrypt, and writes its header.
// All keys must be Usable, else nothing is written; a key that is given twice counts once. The
// caller closes the Writer to end the backup. An unclosed one is damaged to every reader.
func Create(w io.Writer, to []crypto.PublicKey) (*Writer, error) {
	return create(w, to, chunkSize)
}

func create(w io.Writer, to []crypto.PublicKey, chunk int) (*Writer, error) {
	switch {
	case len(to) == 0:
		return nil, ErrNoRecipient
	case len(to) > MaxRecipients:
		return nil, fmt.Errorf("%w, not %d", ErrTooManyRecipients, len(to))
	}
	keys, iv := new(sessionKeys), make([]byte, aes.BlockSize)
	rand.Read(keys[:]) // never fails
	rand.Read(iv)
	h := Header{Cipher: Cipher{Name: payloadCipher, Parameter: hex.EncodeToString(iv)}}
	known := map[string]bool{}
	for i, pub := range to {
		r, err := sealKeys(keys, pub)
		if err != nil {
			return nil, fmt.Errorf("recipient %d: %w", i+1, err)
		}
		if !known[r.KeyID] {
			known[r.KeyID] = true
			h.Recipients = append(h.Recipients, r)
		}
	}
	start, err := h.encode()
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(keys.aes())
	if err != nil {
		return nil, err
	}
	if err := writeAll(w, start); err != nil {
		return nil, err
	}
	return &Writer{
		to: w, header: h, start: start, keys: keys, chunk: chunk,
		mac: hmac.New(sha256.New, keys.mac()), cbc: cipher.NewCBCEncrypter(block, iv),
		pending: make([]byte, 0, writeSize),
	}, nil
}

// Header returns the header of the backup.
func (w *Writer) Header() Header { return w.header }

// Size returns how many bytes of clear text were written.
func (w *Writer) Size() int64 { return w.size }

// Write encrypts p.
func (w *Writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, errClosed
	}
	written := 0
	for len(p) > 0 && w.err == nil {
		if w.fill == w.chunk {
			w.endChunk()
		}
		n := min(len(p), w.chunk-w.fill)
		w.mac.Write(p[:n])
		w.cut(p[:n])
		w.fill += n
		w.size += int64(n)
		written += n
		p = p[n:]
	}
	if w.err != nil {
		return 0, w.err // what of it arrived is of no use
	}
	return written, nil
}

// Close ends the backup. It does not close what the backup is written to.
func (w *Writer) Close() error {
	if w.done || w.err != nil {
		w.done = true
		return w.err
	}
	w.done = true
	// Like the reference: no empty chunk at the end, unless there is no other.
	w.endChunk()
	padding := aes.BlockSize - len(w.pending)%aes.BlockSize
	w.cut(bytes.Repeat([]byte{byte(padding)}, padding))
	w.flush()
	return w.err
}

// endChunk puts the HMAC of all clear text so far.
func (w *Writer) endChunk() {
	w.cut(w.mac.Sum(nil))
	w.fill = 0
}

// cut takes what is to be encrypted next.
func (w *Writer) cut(p []byte) {
	for len(p) > 0 {
		n := min(len(p), cap(w.pending)-len(w.pending))
		w.pending = append(w.pending, p[:n]...)
		p = p[n:]
		if len(w.pending) == cap(w.pending) {
			w.flush()
		}
	}
}

// flush encrypts and writes what was cut: whole blocks, as writeSize is a number of them.
func (w *Writer) flush() {
	if w.err == nil {
		w.cbc.CryptBlocks(w.pending, w.pending)
		w.err = writeAll(w.to, w.pending)
	}
	w.pending = w.pending[:0]
}

// writeAll does not trust a Writer that writes less and says nothing.
func writeAll(w io.Writer, p []byte) error {
	n, err := w.Write(p)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// Verify reads a whole backup with the session keys of this one, which must be closed, and returns
// nil only if it is this one: the same header, all of the clear text as it was written, and nothing
// after it. It returns ErrDamaged if it is not.
func (w *Writer) Verify(r io.Reader) error {
	switch {
	case w.err != nil:
		return w.err
	case !w.done:
		return errors.New("the backup is not closed")
	}
	start := make([]byte, len(w.start))
	if _, err := io.ReadFull(r, start); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return ErrDamaged
		}
		return err
	}
	if !bytes.Equal(start, w.start) {
		return ErrDamaged
	}
	back, err := newReader(r, w.header, []*sessionKeys{w.keys}, w.chunk)
	if err != nil {
		return err
	}
	size, err := io.Copy(io.Discard, back)
	if err != nil {
		return err
	}
	if size != w.size || !hmac.Equal(back.mac.Sum(nil), w.mac.Sum(nil)) {
		return ErrDamaged
	}
	return nil
}
