package witness

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/envelope"
	"cauase/pkg/merkle"
	"cauase/pkg/pki"
)

// HeaderCheckpoint is the header in which a host shows the newest checkpoint that it keeps, a signed note in base64.
const HeaderCheckpoint = "Cauase-Checkpoint"

// Bounds on messages.
const (
	// MaxAnswer bounds an answer, in bytes: most of it are epochs.
	MaxAnswer = 1 << 20
	// maxProof bounds the hashes of a proof, of which one for a tree of 2^48 leaves has fewer.
	maxProof = 100
)

// ErrAnswer is what a daemon says of its log and cannot be believed: nobody who is trusted here vouches for it.
var ErrAnswer = errors.New("what the daemon says of its log cannot be believed")

func doubt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrAnswer, pki.EscapeText(fmt.Sprintf(format, args...)))
}

// An Answer is that of GET /{authority}/log/checkpoint. Nothing of it is verified.
type Answer struct {
	// Checkpoint is the newest one, a signed note.
	Checkpoint string `json:"checkpoint"`
	// Consistency proves that the tree of the checkpoint begins with the one that was asked about; not there if none was, or if that one
	// is larger.
	Consistency []merkle.Hash `json:"consistency,omitempty"`
	// Statement is the envelope by which the authority vouches for the log's key and epochs.
	Statement jsontext.Value `json:"statement"`
}

// A Proof is the answer of GET /{authority}/log/proof. Nothing of it is verified.
type Proof struct {
	Leaf      string         `json:"leaf"` // the data of the leaf
	Index     int64          `json:"index"`
	Size      int64          `json:"size"` // of the tree that the proof is for
	Inclusion []merkle.Hash  `json:"inclusion"`
	Check     string         `json:"checkpoint,omitempty"` // of that tree, a signed note, if there is one
	Statement jsontext.Value `json:"statement"`
}

// A SavedProof is a Proof with the certificate that it is about: all that somebody needs who trusts the CA, and asks nobody.
type SavedProof struct {
	Version     int    `json:"version"`
	Certificate string `json:"certificate"` // PEM
	Proof       Proof  `json:"proof"`
}

// Encode writes what ParseSavedProof reads.
func (s SavedProof) Encode() ([]byte, error) {
	s.Version = version
	text, err := json.Marshal(s, jsontext.WithIndent("  "), json.FormatNilSliceAsNull(false))
	return append(text, '\n'), err
}

// ParseSavedProof reads a proof from a file. Errors are ErrAnswer.
func ParseSavedProof(data []byte) (s SavedProof, err error) {
	if err := parse(data, &s, func() bool { return s.Certificate != "" && s.Proof.Leaf != "" && len(s.Proof.Inclusion) <= maxProof }); err != nil {
		return SavedProof{}, err
	}
	if s.Version != version {
		return SavedProof{}, doubt("the proof is of version %d, and this program knows %d", s.Version, version)
	}
	return s, nil
}

// Encode writes what ParseAnswer reads.
func (a Answer) Encode() ([]byte, error) { return json.Marshal(a) }

// Encode writes what ParseProof reads.
func (p Proof) Encode() ([]byte, error) { return json.Marshal(p, json.FormatNilSliceAsNull(false)) }

// ParseAnswer reads an answer. Members that are not known are passed over: daemons of later versions may say more. Errors are ErrAnswer.
func ParseAnswer(data []byte) (a Answer, err error) {
	return a, parse(data, &a, func() bool { return a.Checkpoint != "" && len(a.Consistency) <= maxProof })
}

// ParseProof reads an answer, like ParseAnswer.
func ParseProof(data []byte) (p Proof, err error) {
	return p, parse(data, &p, func() bool { return p.Leaf != "" && len(p.Inclusion) <= maxProof })
}

func parse(data []byte, into any, complete func() bool) error {
	switch {
	case len(data) > MaxAnswer:
		return doubt("an answer of %d bytes", len(data))
	case json.Unmarshal(data, into) != nil || !complete():
		return doubt("it is not of the form that it has to have")
	}
	return nil
}

// A Head is a checkpoint that the key of a log has signed for which a CA vouches.
type Head struct {
	merkle.Checkpoint
	Signed string // the note
	Key    merkle.Key
	Epochs []Epoch // oldest first; the last one is that of the checkpoint

	// From is the size of the tree that Consistency is to prove the beginning of.
	From        int64
	Consistency []merkle.Hash
}

// An Epoch is where an epoch of a log began.
type Epoch struct {
	Epoch int64       `json:"epoch"`
	Size  int64       `json:"size"`
	Root  merkle.Hash `json:"root"`
	Time  int64       `json:"time"` // seconds since 1970
}

// Began is when the epoch did.
func (e Epoch) Began() time.Time { return time.Unix(e.Time, 0).UTC() }

// A Vouching CA is one that is trusted, at a time at which it is valid.
type Vouching struct {
	CAs []*x509.Certificate
	At  time.Time

	// Then says that a CA counts also if it is not valid at At but was when the checkpoint was signed: for proofs that are kept for years.
	Then bool
}

// Verify verifies who has signed an answer, that is, all but the proof. from is the size that was asked about. Errors are ErrAnswer.
func (a Answer) Verify(by Vouching, from int64) (Head, error) {
	h, err := by.verify(a.Statement, a.Checkpoint)
	h.From, h.Consistency = from, a.Consistency
	return h, err
}

func (by Vouching) verify(statement []byte, signed string) (Head, error) {
	if c, err := merkle.ReadCheckpoint([]byte(signed)); err == nil && by.Then {
		by.At = c.Time // which the key says that the CA vouches for
	}
	key, epochs, err := by.statement(statement)
	if err != nil {
		return Head{}, err
	}
	h := Head{Signed: signed, Key: key, Epochs: epochs}
	if h.Checkpoint, err = merkle.OpenCheckpoint([]byte(signed), key); err != nil {
		return Head{}, doubt("the checkpoint: %v", err)
	}
	last := slices.IndexFunc(epochs, func(e Epoch) bool { return e.Epoch == h.Epoch })
	switch {
	case last < 0:
		return Head{}, doubt("no CA vouches for epoch %d of the log", h.Epoch)
	case last < len(epochs)-1:
		// Of before the restore: the statement was made since.
		h.Epochs = epochs[:last+1]
	}
	if h.Size < h.Epochs[last].Size {
		return Head{}, doubt("a checkpoint of size %d in an epoch that began at size %d", h.Size, h.Epochs[last].Size)
	}
	return h, nil
}

// statement verifies the envelope by which a CA vouches for the key and the epochs of a log.
func (by Vouching) statement(text []byte) (merkle.Key, []Epoch, error) {
	none := merkle.Key{}
	message, err := envelope.Parse(text)
	if err != nil {
		return none, nil, doubt("the statement about its key: %v", err)
	}
	vouched := slices.ContainsFunc(by.CAs, func(ca *x509.Certificate) bool {
		return pki.CheckValidity(ca, by.At) == nil && message.Verify(ca.PublicKey) == nil
	})
	switch valid := func(ca *x509.Certificate) bool { return pki.CheckValidity(ca, by.At) == nil }; {
	case vouched:
	case !slices.ContainsFunc(by.CAs, valid):
		return none, nil, doubt("the CA certificates that are trusted here have expired, so that nobody vouches for the key of the log")
	default:
		return none, nil, doubt("no trusted CA vouches for the key of the log")
	}
	payload, err := envelope.DecodeLogKey(message.Payload())
	if err != nil {
		return none, nil, doubt("the statement about its key: %v", err)
	}
	key, err := merkle.ParseKey(payload.Key)
	if err != nil {
		return none, nil, doubt("the key of the log: %v", err)
	}
	epochs := make([]Epoch, 0, len(payload.Epochs))
	for i, e := range payload.Epochs {
		if len(e.Root) != merkle.HashSize || e.Size < 0 || e.Size > merkle.MaxSize || e.Epoch < 1 || i > 0 && e.Epoch <= payload.Epochs[i-1].Epoch {
			return none, nil, doubt("epoch %d of the log makes no sense", e.Epoch)
		}
		epochs = append(epochs, Epoch{e.Epoch, e.Size, merkle.Hash(e.Root), e.Time})
	}
	return key, epochs, nil
}

// An Inclusion is a certificate's place in the log, proved.
type Inclusion struct {
	Leaf merkle.Leaf
	Head Head
}

// Verify verifies that the log has the issuance of a certificate, given by its DER, at a checkpoint.
// Errors are ErrAnswer.
func (p Proof) Verify(by Vouching, der []byte) (Inclusion, error) {
	if p.Check == "" {
		return Inclusion{}, doubt("there is no checkpoint of size %d beside the proof", p.Size)
	}
	head, err := by.verify(p.Statement, p.Check)
	if err != nil {
		return Inclusion{}, err
	}
	leaf, err := merkle.ParseLeaf([]byte(p.Leaf))
	digest := sha256.Sum256(der)
	switch {
	case err != nil:
		return Inclusion{}, doubt("the leaf: %v", err)
	case string(leaf.ObjectDigest) != string(digest[:]):
		return Inclusion{}, doubt("the leaf is of another certificate, with the SHA-256 %x, not %x", leaf.ObjectDigest, digest)
	case leaf.Index != p.Index || head.Size != p.Size:
		return Inclusion{}, doubt("the proof is for leaf %d of %d, and beside it are leaf %d and a checkpoint of %d", p.Index, p.Size, leaf.Index, head.Size)
	}
	if err := merkle.CheckInclusion(p.Index, merkle.HashLeaf([]byte(p.Leaf)), head.Size, head.Root, p.Inclusion); err != nil {
		return Inclusion{}, doubt("leaf %d is not proved to be in the log of size %d with root %s", p.Index, head.Size, head.Root)
	}
	return Inclusion{leaf, head}, nil
}
