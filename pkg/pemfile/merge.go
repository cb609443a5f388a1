package pemfile

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"

	"cauase/pkg/pki"
)

// A segment is a piece of a PEM file: a block, or the text between two.
type segment struct {
	raw   []byte
	block *pem.Block // nil for text
}

// segments cuts a file into what its bytes are, in their order.
func segments(content []byte) ([]segment, error) {
	blocks, err := pki.SplitPEM(content)
	if err != nil || len(bytes.TrimSpace(content)) == 0 {
		return nil, err
	}
	var all []segment
	for _, block := range blocks {
		// The blocks were found in this order, by these lines.
		begin := bytes.Index(content, []byte("-----BEGIN "+block.Type+"-----"))
		if begin < 0 {
			return nil, errNotText
		}
		last := []byte("-----END " + block.Type + "-----")
		end := begin + bytes.Index(content[begin:], last) + len(last)
		if line := bytes.IndexByte(content[end:], '\n'); line >= 0 {
			end += line + 1
		} else {
			end = len(content)
		}
		if begin > 0 {
			all = append(all, segment{raw: content[:begin]})
		}
		all = append(all, segment{content[begin:end], block})
		content = content[end:]
	}
	if len(content) > 0 {
		all = append(all, segment{raw: content})
	}
	return all, nil
}

// errNotText is a file that can be read, but is no text that others could have written into.
var errNotText = errors.New("is not PEM")

// What is of a pair in a file.
type part int

const (
	partOther part = iota // what somebody else has put there, and keeps
	partKey
	partParameters // of the key
	partLeaf
	partChain
)

// A parted file is one whose segments are known to be of a pair or not.
type parted struct {
	segments []segment
	parts    []part
}

// takeApart finds a pair in a file, whose key is in it or is given. If it is given, other keys are not of the pair.
func takeApart(content []byte, key crypto.Signer) (*parted, error) {
	all, err := segments(content)
	if err != nil {
		return nil, err
	}
	p := &parted{all, make([]part, len(all))}
	given := key != nil
	for i, s := range all {
		if s.block == nil || !pki.IsPrivateKeyBlock(s.block) {
			continue
		}
		found, err := pki.ParsePrivateKeyBlock(s.block)
		if given && (err != nil || !pki.SameKey(found.Public(), key.Public())) {
			continue
		}
		p.parts[i] = partKey
		p.ownParameters(i)
		if err == nil {
			key = found
		}
	}
	p.findCertificates(key)
	return p, nil
}

// ownParameters are those that OpenSSL writes before a key on a curve: they are a part of it.
func (p *parted) ownParameters(key int) {
	for i := key - 1; i >= 0; i-- {
		if b := p.segments[i].block; b != nil {
			if b.Type == "EC PARAMETERS" {
				p.parts[i] = partParameters
			}
			return
		}
	}
}

// findCertificates finds the certificate of the key, or, if there is none, the first that is not a CA's, and the chain
// behind it. Other certificates, such as a root, are not of the pair.
func (p *parted) findCertificates(key crypto.Signer) {
	crts := map[int]*x509.Certificate{}
	var leaf *x509.Certificate
	ofKey := false
	for i, s := range p.segments {
		if s.block == nil || s.block.Type != "CERTIFICATE" {
			continue
		}
		crt, err := pki.ParseCertificateDER(s.block.Bytes)
		if err != nil {
			continue
		}
		crts[i] = crt
		switch is := key != nil && pki.SameKey(key.Public(), crt.PublicKey); {
		case is && !ofKey, leaf == nil && !crt.IsCA:
			leaf, ofKey = crt, is
		}
	}
	if leaf == nil {
		return
	}
	var after []*x509.Certificate
	for i := range p.segments {
		switch crt := crts[i]; {
		case crt == nil:
		case pki.SameKey(crt.PublicKey, leaf.PublicKey):
			p.parts[i] = partLeaf
		default:
			after = append(after, crt)
		}
	}
	chain := chainOf(leaf, after)
	for i, crt := range crts {
		if slices.Contains(chain, crt) {
			p.parts[i] = partChain
		}
	}
}

// with puts a pair together again with what else is in the file, each part where it was: a key, nil to keep the one that
// is there, and the certificate with its chain. What was not there comes behind what it follows.
func (p *parted) with(key []byte, crt *x509.Certificate, chain []*x509.Certificate) []byte {
	content := map[part][]byte{partKey: key, partLeaf: pki.EncodeCertificatePEM(crt.Raw)}
	for _, ca := range chain {
		content[partChain] = append(content[partChain], pki.EncodeCertificatePEM(ca.Raw)...)
	}
	var out []byte
	add := func(piece []byte) {
		if n := len(out); n > 0 && out[n-1] != '\n' && len(piece) > 0 {
			out = append(out, '\n')
		}
		out = append(out, piece...)
	}
	place := func(what part) {
		add(content[what])
		delete(content, what)
	}
	if key != nil && !slices.Contains(p.parts, partKey) {
		place(partKey)
		if !slices.Contains(p.parts, partLeaf) {
			place(partLeaf)
		}
	}
	for i, s := range p.segments {
		what := p.parts[i]
		switch {
		case what == partOther, key == nil && (what == partKey || what == partParameters):
			add(s.raw)
		case what != partParameters:
			place(what)
		}
		if what == partKey && !slices.Contains(p.parts, partLeaf) {
			place(partLeaf)
			what = partLeaf
		}
		if what == partLeaf && !slices.Contains(p.parts, partChain) {
			place(partChain)
		}
	}
	for _, what := range []part{partLeaf, partChain} {
		place(what)
	}
	return out
}

// merged is what a file is to hold with a new pair in it: key is encoded, nil to keep the one that is there. A file that
// cannot be read is given up.
func merged(content, key []byte, crt *x509.Certificate, chain []*x509.Certificate) []byte {
	p, err := takeApart(content, nil)
	if err != nil {
		p = &parted{}
	}
	return p.with(key, crt, chain)
}

// mergedCrt is what a file beside that of the key is to hold with a new certificate in it. The key before was old, nil
// for none; a copy of it in this file is replaced, too. It reports whether there is any key in the file.
func mergedCrt(content []byte, old crypto.Signer, key []byte, crt *x509.Certificate, chain []*x509.Certificate) (with []byte, secret bool) {
	p, err := takeApart(content, old)
	switch {
	case err != nil:
		p = &parted{}
	case old == nil || !slices.Contains(p.parts, partKey):
		key = nil
	}
	secret = slices.ContainsFunc(p.segments, func(s segment) bool { return s.block != nil && pki.IsPrivateKeyBlock(s.block) })
	if !secret {
		key = nil
	}
	return p.with(key, crt, chain), secret
}

// mergedKey is what a file that has only the key is to hold with another one in it.
func mergedKey(content, key []byte) []byte {
	p, err := takeApart(content, nil)
	if err != nil || !slices.Contains(p.parts, partKey) {
		return key
	}
	var out []byte
	for i, s := range p.segments {
		switch p.parts[i] {
		case partKey:
			out, key = append(out, key...), nil
		case partParameters:
		default:
			out = append(out, s.raw...)
		}
	}
	return out
}
