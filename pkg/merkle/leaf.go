package merkle

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/go-json-experiment/json"
)

// A Leaf is what the log says of one entry to everybody who is given a proof. What else is in the entry is not in it but
// for a commitment, which says nothing to those who do not have the entry and its salt.
type Leaf struct {
	Index        int64 // in the tree, from 0
	Time         time.Time
	Authority    string
	Action       string
	Result       string
	ObjectDigest []byte // SHA-256 of the DER of the certificate that was issued; empty where none was
	Entry        Hash   // Commit of the entire entry
}

// maxLeaf bounds the data of a leaf that is parsed.
const maxLeaf = 4096

// Append appends the data of the leaf: canonical JSON, one line without its end.
func (l Leaf) Append(b []byte) []byte {
	b = append(b, `{"v":1`...)
	b = AppendNumber(AppendMember(b, "leaf"), l.Index)
	b = AppendTime(AppendMember(b, "time"), l.Time)
	b = AppendText(AppendMember(b, "authority"), l.Authority)
	b = AppendText(AppendMember(b, "action"), l.Action)
	b = AppendText(AppendMember(b, "result"), l.Result)
	b = AppendHex(AppendMember(b, "object_digest"), l.ObjectDigest)
	b = append(AppendMember(b, "entry"), '"')
	b = base64.StdEncoding.AppendEncode(b, l.Entry[:])
	return append(b, '"', '}')
}

// ParseLeaf reads the data of a leaf. Anything but the canonical form is ErrMalformed.
func ParseLeaf(data []byte) (Leaf, error) {
	if len(data) > maxLeaf {
		return Leaf{}, malformed("a leaf of %d bytes", len(data))
	}
	var wire struct {
		V         int    `json:"v"`
		Leaf      int64  `json:"leaf"`
		Time      string `json:"time"`
		Authority string `json:"authority"`
		Action    string `json:"action"`
		Result    string `json:"result"`
		Digest    string `json:"object_digest"`
		Entry     []byte `json:"entry"`
	}
	if err := json.Unmarshal(data, &wire, json.RejectUnknownMembers(true)); err != nil {
		return Leaf{}, malformed("a leaf that is not JSON of its form")
	}
	if wire.V != 1 {
		return Leaf{}, malformed("a leaf of version %d; this version knows 1", wire.V)
	}
	l := Leaf{Index: wire.Leaf, Authority: wire.Authority, Action: wire.Action, Result: wire.Result}
	var err1, err2 error
	l.Time, err1 = time.Parse(timeForm, wire.Time)
	l.ObjectDigest, err2 = hex.DecodeString(wire.Digest)
	copy(l.Entry[:], wire.Entry)
	if err1 != nil || err2 != nil || l.Index < 0 || l.Index >= MaxSize || !bytes.Equal(l.Append(nil), data) {
		return Leaf{}, malformed("a leaf that is not in its canonical form")
	}
	return l, nil
}

// SaltSize is the size of a salt in bytes.
const SaltSize = 16

// Salt is the salt of a leaf. Each leaf has its own, so that an entry can be shown without any other being guessed at.
func Salt(secret []byte, leaf int64) (salt [SaltSize]byte) {
	mac := hmac.New(sha256.New, secret)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(leaf))
	mac.Write(n[:])
	copy(salt[:], mac.Sum(nil))
	return salt
}

// Commit is the commitment to an entire entry, in its canonical form.
func Commit(salt [SaltSize]byte, entry []byte) (h Hash) {
	sum := sha256.New()
	sum.Write(salt[:])
	sum.Write(entry)
	sum.Sum(h[:0])
	return h
}
