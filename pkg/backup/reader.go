package backup

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"hash"
	"io"
)

// ahead is how far, beyond a chunk and its HMAC, a reader looks to learn whether that was the last
// one: if so, there is at most a block of padding.
const ahead = aes.BlockSize + 1

// A Reader decrypts a backup. It keeps two chunks, about 20 MiB.
type Reader struct {
	from   io.Reader
	header Header
	chunk  int // bytes of clear text in a chunk

	keys  []*sessionKeys // candidates, until one is found right
	iv    []byte
	cbc   cipher.BlockMode // then set
	mac   hash.Hash        // and this
	seal  []byte           // read, not decrypted yet: up to a chunk, its HMAC, and ahead
	clear []byte           // where chunks are decrypted to
	rest  []byte           // of the clear text, verified, not read by the caller yet
	last  bool             // the last chunk was decrypted
	err   error            // for all further reads
}

// Open begins to decrypt a backup with key: an RSA key (any crypto.Decrypter), *ecdsa.PrivateKey or
// ed25519.PrivateKey. The error is ErrNotBackup, ErrNotRecipient, ErrDamaged if the backup was made
// for the key but the key cannot decrypt what it says, or one of r.
func Open(r io.Reader, key crypto.PrivateKey) (*Reader, error) {
	return open(r, key, chunkSize)
}

func open(r io.Reader, key crypto.PrivateKey, chunk int) (*Reader, error) {
	h, err := ReadHeader(r)
	if err != nil {
		return nil, err
	}
	// A header of an unknown kind may have unknown recipients.
	if _, err := h.iv(); err != nil {
		return nil, err
	}
	keys, err := openKeys(h, key)
	if err != nil {
		return nil, err
	}
	return newReader(r, h, keys, chunk)
}

func newReader(r io.Reader, h Header, keys []*sessionKeys, chunk int) (*Reader, error) {
	iv, err := h.iv()
	if err != nil {
		return nil, err
	}
	return &Reader{from: r, header: h, chunk: chunk, keys: keys, iv: iv}, nil
}

// Header returns the header of the backup. Nothing vouches for it but that its initialisation
// vector and one of its keys decrypt the payload.
func (r *Reader) Header() Header { return r.header }

// Read gives clear text, only such as is followed by its HMAC. It ends with io.EOF after the last
// chunk, if the padding is right and nothing follows; with ErrDamaged for all that is wrong; or with
// the error of what the backup is read from.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 && r.err == nil {
		if r.last {
			r.err = io.EOF
			break
		}
		r.err = r.next()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next decrypts and verifies a chunk.
func (r *Reader) next() error {
	if r.clear == nil {
		r.seal = make([]byte, 0, r.chunk+sha256.Size+ahead)
		r.clear = make([]byte, r.chunk+sha256.Size+aes.BlockSize)
	}
	n, err := io.ReadFull(r.from, r.seal[len(r.seal):cap(r.seal)])
	r.seal = r.seal[:len(r.seal)+n]
	switch {
	case err == nil:
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		r.last = true
	default:
		return err
	}
	sealed := r.seal
	if !r.last {
		sealed = r.seal[:r.chunk+sha256.Size]
	}
	if len(sealed)%aes.BlockSize != 0 {
		return ErrDamaged
	}
	data, err := r.decrypt(sealed)
	if err != nil {
		return err
	}
	r.rest = data
	r.seal = append(r.seal[:0], r.seal[len(sealed):]...)
	return nil
}

// decrypt returns the data of a chunk. At the first one it finds out which session keys are right.
func (r *Reader) decrypt(sealed []byte) ([]byte, error) {
	if r.cbc != nil {
		return r.decryptWith(r.cbc, r.mac, sealed)
	}
	for _, keys := range r.keys {
		block, err := aes.NewCipher(keys.aes())
		if err != nil {
			return nil, err
		}
		cbc, mac := cipher.NewCBCDecrypter(block, r.iv), hmac.New(sha256.New, keys.mac())
		if data, err := r.decryptWith(cbc, mac, sealed); err == nil {
			r.cbc, r.mac = cbc, mac
			return data, nil
		}
	}
	return nil, ErrDamaged
}

func (r *Reader) decryptWith(cbc cipher.BlockMode, mac hash.Hash, sealed []byte) ([]byte, error) {
	clear := r.clear[:len(sealed)]
	cbc.CryptBlocks(clear, sealed)
	if r.last {
		padding := paddingOf(clear)
		if padding == 0 {
			return nil, ErrDamaged
		}
		clear = clear[:len(clear)-padding]
	}
	if len(clear) < sha256.Size {
		return nil, ErrDamaged
	}
	data, sum := clear[:len(clear)-sha256.Size], clear[len(clear)-sha256.Size:]
	if len(data) > r.chunk {
		return nil, ErrDamaged
	}
	mac.Write(data)
	if !hmac.Equal(mac.Sum(nil), sum) {
		return nil, ErrDamaged
	}
	return data, nil
}

// paddingOf returns the length of the PKCS#7 padding at the end of clear, or 0 if there is none.
func paddingOf(clear []byte) int {
	if len(clear) < aes.BlockSize {
		return 0
	}
	n := int(clear[len(clear)-1])
	if n == 0 || n > aes.BlockSize {
		return 0
	}
	want := bytes.Repeat([]byte{byte(n)}, n)
	if subtle.ConstantTimeCompare(clear[len(clear)-n:], want) != 1 {
		return 0
	}
	return n
}
