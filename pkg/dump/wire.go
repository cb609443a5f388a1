package dump

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// A line is one line after the first: an object with one member, whose name is the kind. The order
// of the members below is the one in which they are written; members that are omitempty are left
// out when they have no value, all others are always there.
type line struct {
	CA          *caWire          `json:"ca,omitzero"`
	CRL         *crlWire         `json:"crl,omitzero"`
	Request     *requestWire     `json:"request,omitzero"`
	Certificate *certificateWire `json:"certificate,omitzero"`
	Revocation  *revocationWire  `json:"revocation,omitzero"`
	Counter     *counterWire     `json:"counter,omitzero"`
	Setting     *settingWire     `json:"setting,omitzero"`
	Audit       *auditWire       `json:"audit,omitzero"`
	End         *endWire         `json:"end,omitzero"`
}

// members counts what the line holds: there has to be one thing.
func (l *line) members() (n int) {
	for _, there := range []bool{l.CA != nil, l.CRL != nil, l.Request != nil, l.Certificate != nil,
		l.Revocation != nil, l.Counter != nil, l.Setting != nil, l.Audit != nil, l.End != nil} {
		if there {
			n++
		}
	}
	return n
}

type caWire struct {
	ID          int64               `json:"id"`
	Authority   store.AuthorityName `json:"authority"`
	CreatedAt   int64               `json:"created_at"`
	NotBefore   int64               `json:"not_before"`
	NotAfter    int64               `json:"not_after"`
	KeyID       []byte              `json:"key_id"`
	Certificate []byte              `json:"certificate"`
	Key         []byte              `json:"key,omitempty"`
	Link        []byte              `json:"link,omitempty"`
}

type crlWire struct {
	Authority  store.AuthorityName `json:"authority"`
	CAID       int64               `json:"ca_id"`
	Number     int64               `json:"number"`
	ThisUpdate int64               `json:"this_update"`
	NextUpdate int64               `json:"next_update"`
	Pruned     int64               `json:"pruned"`
	Signature  []byte              `json:"signature"`
}

type requestWire struct {
	Authority  store.AuthorityName `json:"authority"`
	ID         int64               `json:"id"`
	ReceivedAt int64               `json:"received_at"`
	Submitter  string              `json:"submitter"`
	CSR        []byte              `json:"csr"`
	CSRDigest  []byte              `json:"csr_digest"`
	KeyID      []byte              `json:"key_id"`
	Subject    string              `json:"subject"`
	SANs       names               `json:"sans,omitempty"`
}

type certificateWire struct {
	Authority store.AuthorityName `json:"authority"`
	ID        int64               `json:"id"`
	Serial    string              `json:"serial"`
	CAID      int64               `json:"ca_id"`
	Subject   string              `json:"subject"`
	SANs      names               `json:"sans,omitempty"`
	NotBefore int64               `json:"not_before"`
	NotAfter  int64               `json:"not_after"`
	KeyID     []byte              `json:"key_id"`
	IssuedAt  int64               `json:"issued_at"`
	IssuedBy  string              `json:"issued_by"`
	Method    store.Method        `json:"method"`
	Renews    string              `json:"renews,omitempty"`
	CSR       []byte              `json:"csr,omitempty"`
	CSRDigest []byte              `json:"csr_digest,omitempty"`
	DER       []byte              `json:"der"`
}

type revocationWire struct {
	Authority store.AuthorityName `json:"authority"`
	Seq       int64               `json:"seq"`
	Serial    string              `json:"serial"`
	KeyID     []byte              `json:"key_id,omitempty"`
	RevokedAt int64               `json:"revoked_at"`
	KeepUntil int64               `json:"keep_until"`
	Reason    int                 `json:"reason"`
}

type counterWire struct {
	Authority store.AuthorityName `json:"authority"`
	Name      string              `json:"name"`
	Value     int64               `json:"value"`
}

type settingWire struct {
	Authority store.AuthorityName `json:"authority"`
	Name      string              `json:"name"`
	Value     string              `json:"value"`
}

type auditWire struct {
	Seq       int64        `json:"seq"`
	Time      int64        `json:"time"`
	Authority string       `json:"authority"`
	Actor     string       `json:"actor"`
	Address   string       `json:"address"`
	Action    audit.Action `json:"action"`
	Object    string       `json:"object"`
	Result    audit.Result `json:"result"`
	Detail    string       `json:"detail"`
	RequestID string       `json:"request_id"`
}

// endWire is the last line. Like names it is given up once it is too long: an empty element takes
// three bytes in a line and many more in memory.
type endWire Summary

// UnmarshalJSONFrom reads a list of sums.
func (e *endWire) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return readList(d, '{', len(kinds()), func() error {
		var sum Sum
		err := json.UnmarshalDecode(d, &sum)
		*e = append(*e, sum)
		return err
	})
}

// names are those in a row.
type names []string

// UnmarshalJSONFrom reads a list of strings.
func (n *names) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return readList(d, '"', maxNames, func() error {
		t, err := d.ReadToken()
		*n = append(*n, t.String())
		return err
	})
}

// readList calls element at the start of each element of a list, all of one kind and at most limit.
func readList(d *jsontext.Decoder, kind jsontext.Kind, limit int, element func() error) error {
	if t, err := d.ReadToken(); err != nil {
		return err
	} else if t.Kind() != '[' {
		return errors.New("not a list")
	}
	for n := 0; d.PeekKind() == kind; n++ {
		if n == limit {
			return fmt.Errorf("a list of more than %d", limit)
		}
		if err := element(); err != nil {
			return err
		}
	}
	t, err := d.ReadToken()
	if err == nil && t.Kind() != ']' {
		err = errors.New("not a list of what belongs there")
	}
	return err
}

// text is what can be written of s. SQLite does not make sure that texts are UTF-8, and PostgreSQL
// takes no NUL; where such is, it came from a peer and is for people to read.
func text[T ~string](s T) T {
	if sound(string(s)) {
		return s
	}
	return T(strings.ReplaceAll(strings.ToValidUTF8(string(s), "\ufffd"), "\x00", "\ufffd"))
}

func sound(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func texts(list []string) names {
	var out names
	for _, s := range list {
		out = append(out, text(s))
	}
	return out
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// serialText returns "" for nil, which serialOf reads again.
func serialText(n *big.Int) string {
	if n == nil {
		return ""
	}
	return n.String()
}

// serialOf reads a number in decimal digits of which check has seen that there are not too many. What is no
// number becomes nil.
func serialOf(s string) *big.Int {
	if s == "" {
		return nil
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil
	}
	return n
}

// wireOf is the line of a row. It is nil for a row of a kind that has no place in the stream.
func wireOf(row store.Row) *line {
	switch v := row.(type) {
	case store.CA:
		return &line{CA: &caWire{v.ID, v.Authority, micros(v.CreatedAt), micros(v.NotBefore), micros(v.NotAfter),
			v.KeyID, v.Certificate, v.Key, v.Link}}
	case store.CRL:
		return &line{CRL: &crlWire{v.Authority, v.CAID, v.Number, micros(v.ThisUpdate), micros(v.NextUpdate),
			v.Pruned, v.Signature}}
	case store.Request:
		return &line{Request: &requestWire{v.Authority, v.ID, micros(v.ReceivedAt), text(v.Submitter),
			v.PEM, v.Digest, v.KeyID, text(v.Subject), texts(v.SANs)}}
	case store.Certificate:
		return &line{Certificate: &certificateWire{v.Authority, v.ID, serialText(v.Serial), v.CAID,
			text(v.Subject), texts(v.SANs), micros(v.NotBefore), micros(v.NotAfter), v.KeyID,
			micros(v.IssuedAt), text(v.IssuedBy), text(v.Method), serialText(v.Renews), v.CSR, v.CSRDigest, v.DER}}
	case store.Revocation:
		return &line{Revocation: &revocationWire{v.Authority, v.Seq, serialText(v.Serial), v.KeyID,
			micros(v.RevokedAt), micros(v.KeepUntil), v.Reason}}
	case store.Counter:
		return &line{Counter: &counterWire{v.Authority, text(v.Name), v.Value}}
	case store.Setting:
		return &line{Setting: &settingWire{v.Authority, text(v.Name), text(v.Value)}}
	case store.AuditEntry:
		return &line{Audit: &auditWire{v.Seq, micros(v.Time), text(v.Authority), text(v.Actor.String()), text(v.Actor.Address),
			text(v.Action), text(v.Object.String()), text(v.Result), text(v.Detail), text(v.Actor.RequestID)}}
	}
	return nil
}

// row is the row of a line, nil for a line that has none.
func (l *line) row() store.Row {
	switch {
	case l.CA != nil:
		v := l.CA
		return store.CA{ID: v.ID, Authority: v.Authority, CreatedAt: fromMicros(v.CreatedAt),
			NotBefore: fromMicros(v.NotBefore), NotAfter: fromMicros(v.NotAfter), KeyID: v.KeyID,
			Certificate: v.Certificate, Key: v.Key, Link: v.Link}
	case l.CRL != nil:
		v := l.CRL
		return store.CRL{Authority: v.Authority, CAID: v.CAID, Number: v.Number, ThisUpdate: fromMicros(v.ThisUpdate),
			NextUpdate: fromMicros(v.NextUpdate), Pruned: v.Pruned, Signature: v.Signature}
	case l.Request != nil:
		v := l.Request
		return store.Request{Authority: v.Authority, ID: v.ID, ReceivedAt: fromMicros(v.ReceivedAt),
			Submitter: v.Submitter, PEM: v.CSR, Digest: v.CSRDigest, KeyID: v.KeyID, Subject: v.Subject, SANs: v.SANs}
	case l.Certificate != nil:
		v := l.Certificate
		return store.Certificate{Authority: v.Authority, ID: v.ID, Serial: serialOf(v.Serial), CAID: v.CAID,
			Subject: v.Subject, SANs: v.SANs, NotBefore: fromMicros(v.NotBefore), NotAfter: fromMicros(v.NotAfter),
			KeyID: v.KeyID, IssuedAt: fromMicros(v.IssuedAt), IssuedBy: v.IssuedBy, Method: v.Method,
			Renews: serialOf(v.Renews), CSR: v.CSR, CSRDigest: v.CSRDigest, DER: v.DER}
	case l.Revocation != nil:
		v := l.Revocation
		return store.Revocation{Authority: v.Authority, Seq: v.Seq, Serial: serialOf(v.Serial), KeyID: v.KeyID,
			RevokedAt: fromMicros(v.RevokedAt), KeepUntil: fromMicros(v.KeepUntil), Reason: v.Reason}
	case l.Counter != nil:
		return store.Counter(*l.Counter)
	case l.Setting != nil:
		return store.Setting(*l.Setting)
	case l.Audit != nil:
		v := l.Audit
		actor := audit.ParseActor(v.Actor)
		actor.Address, actor.RequestID = v.Address, v.RequestID
		return store.AuditEntry{Entry: audit.Entry{Seq: v.Seq, Time: fromMicros(v.Time), Authority: v.Authority,
			Actor: actor, Action: v.Action, Object: audit.ParseObject(v.Object), Result: v.Result,
			Detail: v.Detail}}
	}
	return nil
}
