// Package backup seals and opens the container that the dump of a certificate authority travels
// in, encrypted to its users. docs/backup-format.md describes it for those who would write another
// reader, and says what it protects from. The package knows nothing of what is inside.
package backup

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// magic is what a backup begins with.
const magic = "caucase\x00"

// MaxHeaderSize bounds the header in bytes. A key encrypted to one user takes about 1.2 KiB in
// it, or 2.2 for an RSA 8192, so there is room for thousands.
const MaxHeaderSize = 16 << 20

// MaxRecipients bounds the keys that a backup is made for. Were all of them RSA 8192, the header
// would still be within its bound. When reading, only the size of the header is bounded.
const MaxRecipients = 4096

// payloadCipher is how the reference calls AES-256-CBC around chunks of 10 MiB.
const payloadCipher = "aes256_cbc_pkcs7_hmac_10M_sha256"

// keyIDSize is the length of a SHA-1.
const keyIDSize = 20

// Why something is not, or does not become, a backup that can be read.
var (
	// ErrNotBackup says that a file is not a backup, or one of an unknown kind.
	ErrNotBackup = errors.New("not a backup")
	// ErrNotRecipient says that a backup was not made for a key.
	ErrNotRecipient = errors.New("the backup was not made for this key")
	// ErrDamaged is the one answer to everything that is wrong behind the header, so that nobody
	// learns which check failed.
	ErrDamaged = errors.New("the backup is damaged, or incomplete, or was tampered with")
	// ErrNoRecipient says that a backup for nobody was asked for.
	ErrNoRecipient = errors.New("a backup needs at least one recipient")
	// ErrTooManyRecipients says that a backup was asked for more than MaxRecipients keys.
	ErrTooManyRecipients = fmt.Errorf("a backup is for at most %d keys", MaxRecipients)
)

var errHeaderJSON = fmt.Errorf("%w: its header is not the JSON it should be", ErrNotBackup)

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
	text, err := readHeaderText(r)
	if err != nil {
		return Header{}, err
	}
	return parseHeader(text)
}

// readHeaderText reads up to the payload, and returns the JSON.
func readHeaderText(r io.Reader) ([]byte, error) {
	var start [len(magic) + 4]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: it is too short", ErrNotBackup)
		}
		return nil, err
	}
	if string(start[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it does not begin like one", ErrNotBackup)
	}
	size := int64(binary.LittleEndian.Uint32(start[len(magic):]))
	if size > MaxHeaderSize {
		return nil, fmt.Errorf("%w: a header of %d bytes, more than %d", ErrNotBackup, size, int64(MaxHeaderSize))
	}
	text, err := io.ReadAll(io.LimitReader(r, size))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) < size {
		return nil, fmt.Errorf("%w: it ends within its header", ErrNotBackup)
	}
	return text, nil
}

func parseHeader(text []byte) (Header, error) {
	var raw struct {
		Cipher     Cipher         `json:"cipher"`
		Recipients jsontext.Value `json:"key_list"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return Header{}, errHeaderJSON
	}
	recipients, err := parseRecipients(raw.Recipients)
	return Header{Cipher: raw.Cipher, Recipients: recipients}, err
}

// parseRecipients stops at the first invalid entry, before millions of empty ones take a
// hundred times the memory of the text.
func parseRecipients(text jsontext.Value) (all []Recipient, err error) {
	if len(text) == 0 {
		return nil, nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(text))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '[' {
		return nil, errHeaderJSON
	}
	for d.PeekKind() != ']' {
		var r Recipient
		if err := json.UnmarshalDecode(d, &r); err != nil {
			return nil, errHeaderJSON
		}
		all = append(all, r)
		if id, err := hex.DecodeString(r.KeyID); err != nil || len(id) != keyIDSize {
			return nil, fmt.Errorf("%w: the key identifier of recipient %d is invalid", ErrNotBackup, len(all))
		}
	}
	return all, nil
}

// iv returns the initialisation vector, if the payload is encrypted in the one known way.
func (h Header) iv() ([]byte, error) {
	if h.Cipher.Name != payloadCipher {
		return nil, fmt.Errorf("%w: its cipher is %.60q, and only %s is known", ErrNotBackup, h.Cipher.Name, payloadCipher)
	}
	iv, err := hex.DecodeString(h.Cipher.Parameter)
	if err != nil || len(iv) != aes.BlockSize {
		return nil, fmt.Errorf("%w: its initialisation vector is invalid", ErrNotBackup)
	}
	return iv, nil
}

// encode returns all that stands before the payload.
func (h Header) encode() ([]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if len(text) > MaxHeaderSize {
		return nil, fmt.Errorf("a header of %d bytes, more than %d", len(text), int64(MaxHeaderSize))
	}
	start := binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(text)))
	return append(start, text...), nil
}
