package audit

import (
	"math/big"

	"cauase/pkg/merkle"
)

// Append appends the entire entry as canonical JSON, one line without its end: what a leaf commits to. All that is recorded of it is
// in there, but for its place in the tree and the hash.
func (e Entry) Append(b []byte) []byte {
	text := func(name, value string) { b = merkle.AppendText(merkle.AppendMember(b, name), value) }
	octets := func(name string, value []byte) { b = merkle.AppendHex(merkle.AppendMember(b, name), value) }
	b = merkle.AppendNumber(append(b, `{"seq":`...), e.Seq)
	b = merkle.AppendTime(merkle.AppendMember(b, "time"), e.Time)
	text("authority", e.Authority)
	b = append(merkle.AppendMember(b, "actor"), '{')
	text("kind", string(e.Actor.Kind))
	text("role", e.Actor.Role)
	text("serial", serialOf(e.Actor.Serial))
	octets("key_id", e.Actor.KeyID)
	text("address", e.Actor.Address)
	text("lineage", e.Actor.Lineage)
	text("request_id", e.Actor.RequestID)
	b = append(b, '}')
	text("action", string(e.Action))
	b = append(merkle.AppendMember(b, "object"), '{')
	text("kind", string(e.Object.Kind))
	text("id", e.Object.ID)
	text("serial", serialOf(e.Object.Serial))
	text("lineage", e.Object.Lineage)
	octets("digest", e.Digest)
	b = append(b, '}')
	text("result", string(e.Result))
	text("detail", e.Detail)
	return append(b, '}')
}

// serialOf is a serial number as text, empty for none.
func serialOf(n *big.Int) string {
	if n == nil {
		return ""
	}
	return serialText(n)
}

// MerkleLeaf is the leaf of the entry in the tree, whose secret makes the salts. The entry has its Seq and its Leaf.
func (e Entry) MerkleLeaf(secret []byte) merkle.Leaf {
	return merkle.Leaf{
		Index: e.Leaf, Time: e.Time, Authority: e.Authority, Action: string(e.Action), Result: string(e.Result), ObjectDigest: e.Digest,
		Entry: merkle.Commit(merkle.Salt(secret, e.Leaf), e.Append(nil)),
	}
}

// LeafHash is the hash of that leaf.
func (e Entry) LeafHash(secret []byte) merkle.Hash {
	var buf [512]byte
	return merkle.HashLeaf(e.MerkleLeaf(secret).Append(buf[:0]))
}
