// Package audit says who did what to what, and when. An Entry is written in the same
// transaction as the change it tells of, so that neither exists without the other.
package audit

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"
)

// Kind tells how an Actor is known to us.
type Kind string

// The kinds of actor.
const (
	// Anonymous is a network peer that has shown no credentials.
	Anonymous Kind = "anonymous"
	// User has shown a valid certificate of the user authority over TLS.
	User Kind = "user"
	// Holder has proved possession of a certificate's key by a signed envelope.
	Holder Kind = "holder"
	// Daemon is cauased itself: rollover, clean-up, automatic approval.
	Daemon Kind = "daemon"
	// Operator works on the database with the daemon's own command line.
	Operator Kind = "operator"
)

// An Actor is whoever asks for an operation. Every operation of an authority takes one.
type Actor struct {
	Kind      Kind
	Serial    *big.Int // of the certificate shown; nil when there is none
	KeyID     []byte   // of the certificate shown; nil when there is none
	Address   string   // network address, without port; empty for Daemon and Operator
	RequestID string   // of the HTTP request, to find it in the access log; may be empty
}

// String is how an Actor is written in an Entry and in logs: its kind, followed by the
// serial (decimal) and key identifier (hex) of its certificate, or by its address.
func (a Actor) String() string {
	switch {
	case a.Serial != nil:
		return fmt.Sprintf("%s serial=%s key=%s", a.Kind, a.Serial, hex.EncodeToString(a.KeyID))
	case a.Address != "":
		return string(a.Kind) + " " + a.Address
	default:
		return string(a.Kind)
	}
}

// An Action names what was done.
type Action string

// The actions that are recorded.
const (
	CreateCA   Action = "ca.create"
	ExpireCA   Action = "ca.expire"
	Submit     Action = "csr.submit"
	Reject     Action = "csr.reject"
	Sign       Action = "crt.sign"
	Renew      Action = "crt.renew"
	Revoke     Action = "crt.revoke"
	LockAuto   Action = "auto-approve.lock"
	MakeCRL    Action = "crl.generate"
	SetKeyType Action = "ca.next-key-type"
	CopyDB     Action = "database.copy"
	TakeBackup Action = "backup.take"
	Restore    Action = "backup.restore"
	ImportCA   Action = "ca.import"
	ExportCA   Action = "ca.export"
	ImportCRL  Action = "crl.import"
	ImportAll  Action = "database.import"
)

// Result says how it ended.
type Result string

// The results. A refusal is recorded where someone tried to change something and had shown
// who they are; anonymous noise goes to the access log only.
const (
	OK      Result = "ok"
	Refused Result = "refused"
)

// An Entry is one line of the audit log.
type Entry struct {
	Seq       int64 // assigned by the store, growing
	Time      time.Time
	Authority string // "cau", "cas" or "https"; empty for the daemon as a whole
	Actor     string // Actor.String
	Address   string
	Action    Action
	Object    string // what it was done to: "csr 123", "crt serial=… id=…", "ca …"
	Result    Result
	Detail    string // reason of a refusal, or what else is worth knowing; never a secret
	RequestID string
}

// NewEntry starts an Entry for what actor did at now.
func NewEntry(now time.Time, authority string, actor Actor, action Action, object string) Entry {
	return Entry{
		Time:      now,
		Authority: authority,
		Actor:     actor.String(),
		Address:   actor.Address,
		Action:    action,
		Object:    object,
		Result:    OK,
		RequestID: actor.RequestID,
	}
}

// Filter selects entries. The zero Filter selects all of them.
type Filter struct {
	AfterSeq  int64     // only entries with a larger Seq
	Since     time.Time // zero: no bound
	Until     time.Time // exclusive; zero: no bound
	Authority string
	Action    Action
	Limit     int  // at most so many, 0: no limit
	Newest    bool // newest first
}

// Log is where entries go. A store's transaction is one.
type Log interface {
	AppendAudit(ctx context.Context, e Entry) error
}
