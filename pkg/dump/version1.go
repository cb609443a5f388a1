package dump

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// A line1 is a line of version 1. That version had no authorities, sign-offs and profiles, one text for the
// actor and the object of an audit entry, and of CAs the key only.
type line1 struct {
	CA          *caWire          `json:"ca,omitzero"`
	CRL         *crlWire         `json:"crl,omitzero"`
	Request     *requestWire     `json:"request,omitzero"`
	Certificate *certificateWire `json:"certificate,omitzero"`
	Revocation  *revocationWire  `json:"revocation,omitzero"`
	Counter     *counterWire     `json:"counter,omitzero"`
	Setting     *settingWire     `json:"setting,omitzero"`
	Audit       *auditWire       `json:"audit,omitzero"`
	End         *endWire         `json:"end,omitzero"`

	written time.Time
}

// kinds1 are the kinds of version 1, in their order.
var kinds1 = []string{"ca", "crl", "request", "certificate", "revocation", "counter", "setting", "audit"}

// ofDaemon are the settings that version 1 has under the users' authority and that belong to the daemon.
var ofDaemon = []string{store.SettingCORSKeys, store.SettingBackupClaim, store.SettingBackupLast}

// kind is the index of the line's kind in kinds1, -1 for the end; things is how many the line holds.
func (l *line1) kind() (kind, things int) {
	kind = -1
	for i, there := range []bool{l.CA != nil, l.CRL != nil, l.Request != nil, l.Certificate != nil,
		l.Revocation != nil, l.Counter != nil, l.Setting != nil, l.Audit != nil} {
		if there {
			kind = i
			things++
		}
	}
	if l.End != nil {
		things++
	}
	return kind, things
}

// state1 infers what version 1 does not say: a key is erased when its certificate has expired, and otherwise only
// from a CA that was set aside (disowned).
func state1(ca *caWire, written time.Time) store.CAState {
	switch {
	case len(ca.Key) > 0:
		return store.CAUsable
	case fromMicros(ca.NotAfter).Before(written):
		return store.CAErased
	}
	return store.CADisowned
}

func key1(key []byte) store.KeyRef {
	if len(key) == 0 {
		return store.KeyRef{}
	}
	return store.KeyInRow(key)
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

// row is the row of a line, nil for a line that has none.
func (l *line1) row() store.Row {
	switch {
	case l.CA != nil:
		v := l.CA
		return store.CA{ID: v.ID, Authority: v.Authority, CreatedAt: fromMicros(v.CreatedAt),
			NotBefore: fromMicros(v.NotBefore), NotAfter: fromMicros(v.NotAfter), KeyID: v.KeyID,
			Certificate: v.Certificate, State: state1(v, l.written), Key: key1(v.Key), Link: v.Link}
	case l.CRL != nil:
		v := l.CRL
		return store.CRL{Authority: v.Authority, CAID: v.CAID, Number: v.Number, ThisUpdate: fromMicros(v.ThisUpdate),
			NextUpdate: fromMicros(v.NextUpdate), Pruned: v.Pruned, Signature: v.Signature}
	case l.Request != nil:
		v := l.Request
		return derived(store.Request{Authority: v.Authority, ID: v.ID, ReceivedAt: fromMicros(v.ReceivedAt),
			Submitter: v.Submitter, PEM: v.CSR, Digest: v.CSRDigest, KeyID: v.KeyID, Subject: v.Subject, SANs: v.SANs}, 1)
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
		v := store.Setting(*l.Setting)
		if v.Authority == store.Users && slices.Contains(ofDaemon, v.Name) {
			v.Authority = ""
		}
		return v
	case l.Audit != nil:
		v := l.Audit
		actor := audit.ParseActor(v.Actor, v.Address)
		actor.RequestID = v.RequestID
		return store.AuditEntry{Entry: audit.Entry{Seq: v.Seq, Time: fromMicros(v.Time), Authority: v.Authority,
			Actor: actor, Action: v.Action, Object: audit.ParseObject(v.Object), Result: v.Result,
			Detail: v.Detail}}
	}
	return nil
}

// maxHeld bounds the lines that are held back, in bytes: those of CAs, until it is known which authorities there
// are, and those of settings, of which some move to the front. A CA takes about two thousand.
const maxHeld = 64 << 20

// An upgrader1 turns a stream of version 1 into rows of the present layout.
type upgrader1 struct {
	held     []store.Row
	heldSize int
}

// rows1 gives the rows of a stream of version 1, as they are now.
func (d *Reader) rows1(yield func(store.Row, error) bool) {
	for {
		row, size, err := d.row1()
		if err != nil {
			yield(nil, err)
			return
		}
		if len(d.old.held) > 0 && (row == nil || Kind(row) != Kind(d.old.held[0])) && !d.release(yield) {
			return
		}
		if row == nil {
			d.summary = d.hash.Summary() // with those that were just released
			return
		}
		switch row.(type) {
		case store.CA, store.Setting:
			if d.old.heldSize += size; d.old.heldSize > maxHeld {
				yield(nil, d.refuse(printable(Describe(row)), fmt.Sprintf("there are more than %d bytes of them", maxHeld)))
				return
			}
			d.old.held = append(d.old.held, row)
		default:
			if !d.pass(row, yield) {
				return
			}
		}
	}
}

// release gives the rows that are held, in the order of now, and before CAs the authorities that they imply.
func (d *Reader) release(yield func(store.Row, error) bool) bool {
	held := d.old.held
	d.old.held, d.old.heldSize = nil, 0
	firsts := make(map[store.AuthorityName]bool)
	var implied []store.Row
	for _, row := range held {
		if ca, ok := row.(store.CA); ok && !firsts[ca.Authority] {
			firsts[ca.Authority] = true
			authority, known := store.Standard(ca.Authority, ca.CreatedAt)
			if !known {
				yield(nil, d.refuse(printable(Describe(row)), fmt.Sprintf("authority: %q is none", printable(string(ca.Authority)))))
				return false
			}
			implied = append(implied, authority)
		}
	}
	slices.SortStableFunc(implied, byName)
	slices.SortStableFunc(held, byName)
	for _, row := range append(implied, held...) {
		if !d.pass(row, yield) {
			return false
		}
	}
	return true
}

// byName orders authorities and settings, and leaves CAs as they are.
func byName(a, b store.Row) int {
	switch v := a.(type) {
	case store.Authority:
		w, _ := b.(store.Authority)
		return cmp.Compare(v.Name, w.Name)
	case store.Setting:
		w, _ := b.(store.Setting)
		return cmp.Or(cmp.Compare(v.Authority, w.Authority), cmp.Compare(v.Name, w.Name))
	}
	return 0
}

// pass gives a row that can stand where it does.
func (d *Reader) pass(row store.Row, yield func(store.Row, error) bool) bool {
	if err := d.addNow(row); err != nil {
		yield(nil, err)
		return false
	}
	return yield(row, nil)
}

// row1 reads a line of version 1 and returns its row and its length, nil for the end of the stream.
func (d *Reader) row1() (store.Row, int, error) {
	data, err := d.next(MaxLine)
	if err != nil {
		return nil, 0, err
	}
	l := line1{written: d.meta.Created}
	if err := json.Unmarshal(data, &l, json.RejectUnknownMembers(true)); err != nil {
		return nil, 0, d.refuse("", why(err))
	}
	kind, things := l.kind()
	if things != 1 {
		return nil, 0, d.refuse("", holds(things).Error())
	}
	if err := d.canonical(data, &l); err != nil {
		return nil, 0, err
	}
	if l.End != nil {
		return nil, 0, d.end(Summary(*l.End))
	}
	row := l.row()
	if !Sound(row) {
		return nil, 0, d.refuse(printable(Describe(row)), "a text holds a NUL")
	}
	d.sums.add(kind, data)
	return row, len(data), nil
}
