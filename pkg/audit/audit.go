// Package audit says who did what to what, and when. An Entry is written in the same
// transaction as the change it tells of, so that neither exists without the other.
package audit

import (
	"context"
	"math/big"
	"time"
)

// An Action names what was done.
type Action string

// The actions that are recorded.
const (
	CreateCA    Action = "ca.create"
	ExpireCA    Action = "ca.expire"
	Submit      Action = "csr.submit"
	Reject      Action = "csr.reject"
	Expire      Action = "csr.expire"  // it was pending for too long
	Approve     Action = "csr.approve" // one of several users who have to
	Sign        Action = "crt.sign"
	Renew       Action = "crt.renew"
	Revoke      Action = "crt.revoke"
	LockAuto    Action = "auto-approve.lock"
	MakeCRL     Action = "crl.generate"
	SetKeyType  Action = "ca.next-key-type"
	OwnSubjects Action = "ca.own-subjects"
	CopyDB      Action = "database.copy"
	TakeBackup  Action = "backup.take"
	Restore     Action = "backup.restore"
	ImportCA    Action = "ca.import"
	ExportCA    Action = "ca.export"
	ImportCRL   Action = "crl.import"
	ImportAll   Action = "database.import"
	Recover     Action = "crt.recover" // one that was issued after the backup that was restored

	MakeInvitation Action = "invitation.make"
	UseInvitation  Action = "invitation.use"
	VoidInvitation Action = "invitation.void"

	AddAuthority    Action = "authority.add"
	ChangeAuthority Action = "authority.change"
	RetireAuthority Action = "authority.retire"
	RequestSignoff  Action = "signoff.request"
	InstallSignoff  Action = "signoff.install"
	DropSignoff     Action = "signoff.drop"
	RevokeCA        Action = "ca.revoke"
	RotateCA        Action = "ca.rotate"   // a generation was started out of turn
	ActivateCA      Action = "ca.activate" // sooner than its age would have it
	WithdrawCA      Action = "ca.withdraw" // somebody else may have its key
	HoldCA          Action = "ca.hold"     // a holder has confirmed to have it; recorded if that is refused

	PruneLog   Action = "log.prune"    // entries were deleted for their age; their hashes are still in the tree
	Fork       Action = "lineage.fork" // a certificate was renewed that had been renewed before
	EndLineage Action = "lineage.end"

	DisputeLog Action = "log.dispute" // a host has shown a checkpoint, signed by our key, that the log does not have

	SealKeys   Action = "keys.seal"   // private keys that were in the clear
	RekeyKeys  Action = "keys.rekey"  // what opens private keys was changed
	UnlockKeys Action = "keys.unlock" // or was refused

	GrantOrigin    Action = "cors.grant" // web pages of an origin may act in a user's name
	DenyOrigin     Action = "cors.deny"
	WithdrawOrigin Action = "cors.withdraw"
)

// Actions returns all actions that are recorded.
func Actions() []Action {
	return []Action{
		CreateCA, ExpireCA, Submit, Reject, Expire, Approve, Sign, Renew, Revoke, LockAuto, MakeCRL, SetKeyType, OwnSubjects, CopyDB, TakeBackup, Restore, ImportCA,
		ExportCA, ImportCRL, ImportAll, Recover, MakeInvitation, UseInvitation, VoidInvitation, AddAuthority, ChangeAuthority, RetireAuthority,
		RequestSignoff, InstallSignoff, DropSignoff, RevokeCA, RotateCA, ActivateCA, WithdrawCA, HoldCA, PruneLog, Fork, EndLineage, DisputeLog, SealKeys, RekeyKeys, UnlockKeys, GrantOrigin, DenyOrigin, WithdrawOrigin,
	}
}

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
	Authority string // name of the authority; empty for the daemon as a whole
	Actor     Actor
	Action    Action
	Object    Object
	Result    Result
	Detail    string // reason of a refusal, or what else is worth knowing; never a secret
	Digest    []byte // SHA-256 of the certificate that was issued; nil: none was

	// The store assigns these, too.
	Leaf int64  // its place in the Merkle tree, from 0
	Hash []byte // of the leaf; nil: it was recorded before there was a tree, and has not been entered
}

// NewEntry starts an Entry for what actor did at now.
func NewEntry(now time.Time, authority string, actor Actor, action Action, object Object) Entry {
	return Entry{
		Time:      now,
		Authority: authority,
		Actor:     actor,
		Action:    action,
		Object:    object,
		Result:    OK,
	}
}

// Filter selects entries. The zero Filter selects all of them.
type Filter struct {
	AfterSeq  int64     // only entries with a larger Seq
	Since     time.Time // zero: no bound
	Until     time.Time // exclusive; zero: no bound
	Authority string
	Action    Action

	ActorKind    Kind
	ActorSerial  *big.Int // of the certificate that the actor has shown
	Address      string   // from which the actor came
	ObjectKind   ObjectKind
	ObjectID     string
	ObjectSerial *big.Int // of the certificate that it was done to
	Lineage      string   // id of that of the actor's certificate or of the object; with its first request, whose id it is

	Limit  int  // at most so many, 0: no limit
	Newest bool // newest first
}

// Log is where entries go. A store's transaction is one.
type Log interface {
	AppendAudit(ctx context.Context, e Entry) error
}
