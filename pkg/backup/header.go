// Package backup reads the container that the dump of a certificate authority travels in,
// encrypted to its users (docs/protocol.md, "Backups").
package backup

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
)

// magic is what a backup begins with.
const magic = "caucase\x00"

// MaxHeaderSize bounds the header in bytes. A key encrypted to one user takes about 1.2 KiB in
// it, or 2.2 for an RSA 8192, so there is room for thousands.
const MaxHeaderSize = 16 << 20

// keyIDSize is the length of a SHA-1.
const keyIDSize = 20

// ErrNotBackup says that a file is none, or not one of ours.
var ErrNotBackup = errors.New("not a backup")

// A Header says how a backup is encrypted, and to whom.
type Header struct {
	Cipher     Cipher      `json:"cipher"`
	Recipients []Recipient `json:"key_list"`
}

// A Cipher is an algorithm with its parameter, if it takes one.
type Cipher struct {
	Name      string `json:"name"`
	Parameter string `json:"parameter,omitzero"` // hexadecimal
}

// A Recipient is a user who can decrypt a backup.
type Recipient struct {
	KeyID  string `json:"id"` // hexadecimal, see pki.KeyID
	Cipher Cipher `json:"cipher"`
	Key    string `json:"key"` // session keys encrypted to the user, hexadecimal
}

// ReadHeader reads the header from the beginning of a backup, and leaves r at the payload. It
// allocates no more than r really holds, whatever length it claims.
func ReadHeader(r io.Reader) (Header, error) {
	var start [len(magic) + 4]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return Header{}, fmt.Errorf("%w: it is too short", ErrNotBackup)
		}
		return Header{}, err
	}
	if string(start[:len(magic)]) != magic {
		return Header{}, fmt.Errorf("%w: it does not begin like one", ErrNotBackup)
	}
	size := int64(binary.LittleEndian.Uint32(start[len(magic):]))
	if size > MaxHeaderSize {
		return Header{}, fmt.Errorf("%w: a header of %d bytes, more than %d", ErrNotBackup, size, int64(MaxHeaderSize))
	}
	text, err := io.ReadAll(io.LimitReader(r, size))
	if err != nil {
		return Header{}, err
	}
	if int64(len(text)) < size {
		return Header{}, fmt.Errorf("%w: it ends within its header", ErrNotBackup)
	}
	var h Header
	if err := json.Unmarshal(text, &h); err != nil {
		return Header{}, fmt.Errorf("%w: its header is not the JSON it should be", ErrNotBackup)
	}
	for i, recipient := range h.Recipients {
		if id, err := hex.DecodeString(recipient.KeyID); err != nil || len(id) != keyIDSize {
			return Header{}, fmt.Errorf("%w: recipient %d has a key identifier that is none", ErrNotBackup, i+1)
		}
	}
	return h, nil
}
