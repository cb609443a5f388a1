// Package store describes what an authority remembers: the rows, the Store that keeps
// them and the errors it returns. It holds no SQL; package sqlstore does.
//
// Conventions of every implementation:
//   - Times are kept to the microsecond and come back in UTC.
//   - Rows of one authority are never seen through another.
//   - A row that is not there is ErrNotFound; one that may not be there twice is ErrExists.
//   - What Update has returned nil for survives kill -9 and power loss.
package store

import (
	"context"
	"errors"
	"iter"
	"math/big"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/merkle"
)

// An AuthorityName names one of the certificate authorities that share a database. It is that of the
// paths under which the authority is served. What belongs to the daemon as a whole, such as its
// settings, is filed under the empty one.
type AuthorityName string

// The authorities that every daemon has, made from its flags. What an authority may do follows from
// its row, never from its name.
const (
	Users    AuthorityName = "cau"   // signs the people and programs who administer the daemon
	Services AuthorityName = "cas"   // signs the product
	HTTPS    AuthorityName = "https" // signs the daemon's own server certificate, nothing else
)

var (
	// ErrNotFound means that there is no such row.
	ErrNotFound = errors.New("store: not found")
	// ErrExists means that a row with the same unique value (id, serial, digest, …) exists.
	ErrExists = errors.New("store: exists already")
	// ErrChanged means that a row is not any more what it was when it was read.
	ErrChanged = errors.New("store: changed meanwhile")
	// ErrNewerSchema means that a later version of cauase has changed the database's layout.
	ErrNewerSchema = errors.New("store: the database is of a newer version of cauase")
	// ErrOlderSchema means that an earlier version of cauase has made the database's layout, and that it was to be left as it is.
	ErrOlderSchema = errors.New("store: the database is of an earlier version of cauase")
	// ErrUnavailable means that the database cannot be used now: busy, full, read-only, gone.
	// The operation has not happened.
	ErrUnavailable = errors.New("store: the database is not available")
	// ErrUncertain means that the connection was lost while a transaction was being committed,
	// and that nobody could be asked since: the operation has happened or not.
	ErrUncertain = errors.New("store: the outcome is not known")
)

// A Role says what an authority is for, and so what its certificates are good for.
type Role string

// The roles.
const (
	RoleUsers    Role = "users"    // the people and programs who administer the daemon
	RoleServices Role = "services" // the product
	RoleDaemon   Role = "daemon"   // the daemon's own server certificates, nothing else
	RoleRoot     Role = "root"     // signs CA certificates of other authorities, nothing else
)

// An Authority is what is decided about one certificate authority, for all daemons on the database.
type Authority struct {
	Name      AuthorityName
	Title     string // what its CA certificates are called, for people
	Role      Role
	Parent    AuthorityName // signs its CA certificates; empty: each signs itself
	Subject   []byte        // DER of the name of its CA certificates; nil: made from title and netloc, or the predecessor's
	Permitted []string      // names that its certificates may be for, such as "dns:.lab.example" or "ip:10.0.0.0/8"; empty: any

	Span    time.Duration // validity of an issued certificate, unless its profile or the approver says otherwise
	Life    int           // validity of a CA certificate, in spans
	KeyType string        // of the first CA key; later ones follow their predecessor

	Profile  string   // of requests that name none
	Profiles []string // that may be asked for beside it; none: where Profile is as-requested, those that only narrow it

	MaxPending  int           // pending requests, above which new ones are refused
	AutoApprove int           // how many of the first requests ever are signed at once
	CRLLife     time.Duration // validity of a revocation list; 0: about a third of a span

	CreatedAt time.Time
	RetiredAt time.Time // from then on it signs revocation lists only; zero: it is not retired

	// Damage says why the row cannot be read, of which then nothing but the name is known. It is not stored.
	Damage string
}

// A CAState says what can be done with a CA, apart from what time alone decides.
type CAState string

// The states of CAs.
const (
	CAUsable   CAState = "usable"   // its key can be used, when its time has come
	CAErased   CAState = "erased"   // its certificate has expired and its key is gone
	CADisowned CAState = "disowned" // set aside, as it was made while the clock was far ahead; its key is gone
	CAExternal CAState = "external" // its key is elsewhere: only its certificate is known here
	CARevoked  CAState = "revoked"  // its certificate was revoked by the parent, its key is gone
	// CACompromised: it was withdrawn, as somebody else may have its key, which is gone here. Its certificates on record can be
	// exchanged for others, and are good for nothing else.
	CACompromised CAState = "compromised"
)

// A KeyRef says where the private key of a CA is: in whose custody, and how to find it there.
type KeyRef struct {
	Custody string // names the implementation of custody, such as "row"; empty when there is no key
	Ref     []byte // means something to that implementation only; of "row" it is the key, PKCS#8 DER
}

// A CA is one generation of an authority: a CA certificate and its key.
type CA struct {
	ID          int64 // assigned by AddCA, growing with age
	Authority   AuthorityName
	CreatedAt   time.Time // when it was made; NotBefore may be backdated
	NotBefore   time.Time
	NotAfter    time.Time
	KeyID       []byte // its subject key identifier, the AKI of what it signs
	Certificate []byte // DER
	Anchor      []byte // DER of a self-signed certificate for the same name and key, where Certificate is signed by a parent; nil otherwise
	State       CAState
	Key         KeyRef // where its key is; the zero KeyRef unless State is CAUsable
	Link        []byte // the envelope (JSON) by which its predecessor vouches for it; nil for the first
	ParentLink  []byte // the one by which it, as Anchor, vouches for Certificate; nil where there is no Anchor

	ParentAuthority AuthorityName // that has signed it; empty: it is self-signed
	ParentCA        int64         // CA.ID of the generation of the parent that has; 0: self-signed, or not known here

	Activation  Activation
	ActivatedAt time.Time // since when it signs, whatever its age; of one that is yet to be adopted, when it begins to at the latest
}

// An Activation says when a generation begins to sign.
type Activation string

// The ways to begin.
const (
	ByAge       Activation = ""        // a span after it was made
	AtOnce      Activation = "now"     // as soon as it was made
	WhenAdopted Activation = "adopted" // when the hosts hold it
	// WhenAdoptedWithdraw is WhenAdopted; those before it become CACompromised then.
	WhenAdoptedWithdraw Activation = "adopted, withdraw"
)

// Waiting reports whether it is still to be decided that a generation begins to sign.
func (a Activation) Waiting() bool { return a == WhenAdopted || a == WhenAdoptedWithdraw }

// Trusted is the certificate known to those who trust this CA itself and not its parent: a self-signed one.
func (c CA) Trusted() []byte {
	if c.Anchor != nil {
		return c.Anchor
	}
	return c.Certificate
}

// A Signoff is a key of an authority and the request to its parent, by whose consent they become
// its next generation. It is for parents that cannot sign at once.
type Signoff struct {
	Authority   AuthorityName
	ID          int64 // assigned by AddSignoff, growing
	CreatedAt   time.Time
	NotBefore   time.Time // that is asked for
	NotAfter    time.Time
	KeyID       []byte // SHA-1 of the public key bits
	Key         KeyRef
	Request     []byte    // PKCS#10, DER
	Certificate []byte    // DER; nil until it is signed off
	InstalledAt time.Time // when the parent's certificate was put in place; zero: it waits
}

// A Request is a certificate signing request that waits for a decision.
type Request struct {
	Authority  AuthorityName
	ID         int64 // random, 63 bits; becomes the id of the certificate issued for it
	ReceivedAt time.Time
	Submitter  string // audit.Actor in text form
	PEM        []byte // byte for byte as submitted
	Digest     []byte // SHA-256 of the DER, unique within the authority
	KeyID      []byte // SHA-1 of the public key bits
	Subject    string // for display
	SANs       []string
	Profile    string // that was asked for; empty: the authority's default
	Address    string // from which it was submitted; empty: from none, or from one that is not known
	Asked      string // policy.Asker as JSON: who has asked, and how; empty: not known
}

// Method says why a certificate was issued.
type Method string

// The methods of issuance.
const (
	Signed       Method = "signed"        // a user approved the request
	AutoSigned   Method = "auto-signed"   // one of the first N requests
	Invited      Method = "invited"       // by an invitation of a user or an operator
	Renewed      Method = "renewed"       // its predecessor's holder asked
	Internal     Method = "internal"      // the daemon's own HTTPS certificate
	TemplateSign Method = "template-sign" // a user approved the key, and gave the rest in a template
	Recovered    Method = "recovered"     // after the backup that was restored; on record since its holder has shown it
	CASigned     Method = "ca"            // a CA certificate of an authority below this one
)

// A Certificate is the record of one issued certificate.
type Certificate struct {
	Authority AuthorityName
	ID        int64    // of the request it answers; random for a renewal
	Serial    *big.Int // unique within the authority
	CAID      int64    // CA.ID of the signer
	Subject   string   // for display
	SANs      []string // for display
	NotBefore time.Time
	NotAfter  time.Time
	KeyID     []byte // SHA-1 of the public key bits
	IssuedAt  time.Time
	IssuedBy  string // audit.Actor in text form
	Method    Method
	Renews    *big.Int // serial of the certificate it renews, nil otherwise
	CSR       []byte   // PEM, byte for byte as submitted; nil for a renewal
	CSRDigest []byte   // SHA-256 of the DER
	DER       []byte
	Profile   string        // by which it was made; empty: as requested
	Validity  time.Duration // that was granted, and that renewals get; 0: the authority's span
	Lineage   int64         // Lineage.ID, of which it is one certificate

	Asked      string // policy.Asker as JSON: who has asked for it, and how; empty: not known, or a renewal
	Rule       string // of the policy that has approved it; empty: none
	RuleDigest []byte // SHA-256 of that rule as it was
}

// A Revocation withdraws a certificate until it has expired anyway.
type Revocation struct {
	Authority AuthorityName
	Seq       int64     // assigned by AddRevocation, growing: the order in which they were made
	Serial    *big.Int  // unique within the authority
	KeyID     []byte    // of the certificate when it is known, nil otherwise
	RevokedAt time.Time // as the lists say it
	KeepUntil time.Time // RFC 5280 3.3: past the certificate's expiry, so that a CRL after it shows it
	Reason    int       // RFC 5280 5.3.1 CRLReason
}

// A Revoked is what lists say of a revocation.
type Revoked struct {
	Seq       int64
	Serial    []byte // big-endian, the caller's to keep
	RevokedAt time.Time
	Reason    int
}

// A CRL holds what is needed to rebuild the latest revocation list of one CA, byte for byte: the
// entries are those of the revocations. The list itself would be written anew, tens of megabytes of
// it, for every revocation.
type CRL struct {
	Authority  AuthorityName
	CAID       int64
	Number     int64
	ThisUpdate time.Time
	NextUpdate time.Time
	Pruned     int64 // value of CounterPruned when it was made: with another, the entries are others
	Signature  []byte
}

// A Store keeps the rows of all authorities.
type Store interface {
	// View runs fn on a consistent snapshot. fn must not keep the Reader.
	View(ctx context.Context, fn func(Reader) error) error

	// Update runs fn in a transaction that no other Update overlaps, and returns once its
	// changes are durable, or with fn's error and none of them. fn may run more than once, so
	// that it must only change what it can set anew; it must not keep the Tx, nor wait for another Update.
	// When Update fails at the commit, it has not happened (ErrUnavailable), or that is not known (ErrUncertain).
	Update(ctx context.Context, fn func(Tx) error) error

	// Ping reports whether the store can be read and written now.
	Ping(ctx context.Context) error

	// Close waits for running operations and releases the database.
	Close() error
}

// A Watcher is a Store that several daemons may share, and that tells one what others change.
type Watcher interface {
	Store
	// Watch calls changed, from one goroutine, soon after another daemon may have changed counters,
	// until ctx ends. It may call too often and, when connections break, not at all: look now and then.
	Watch(ctx context.Context, changed func())
	// Now returns the time of the database's clock, which is common to those daemons.
	Now(ctx context.Context) (time.Time, error)
}

// A Scrubber is a Store that can be rid of what it has deleted.
type Scrubber interface {
	// Scrub rewrites what has held private keys, so that none can be read from the disk that is in no row.
	Scrub(ctx context.Context) error
}

// A Reader answers from one snapshot.
type Reader interface {
	// Authorities returns all authorities, retired ones included, by name.
	Authorities(ctx context.Context) ([]Authority, error)
	Authority(ctx context.Context, name AuthorityName) (Authority, error)

	// Signoffs returns the authority's requests to its parent, oldest first.
	Signoffs(ctx context.Context, a AuthorityName) ([]Signoff, error)

	// CAs returns the authority's CA certificates, expired ones included, oldest first.
	CAs(ctx context.Context, a AuthorityName) ([]CA, error)

	// IsCAKey reports whether a CA certificate of any authority has this key.
	IsCAKey(ctx context.Context, keyID []byte) (bool, error)

	Request(ctx context.Context, a AuthorityName, id int64) (Request, error)
	RequestByDigest(ctx context.Context, a AuthorityName, digest []byte) (Request, error)
	// Submittable returns what decides about a request with this digest and key that is submitted, and Approvable what decides about
	// the pending one with this id, which has that key, when the user with this certificate approves it, which the CA with the last id has
	// issued. Against a user without one nothing is said.
	Submittable(ctx context.Context, a AuthorityName, digest, keyID []byte) (Submittable, error)
	Approvable(ctx context.Context, a AuthorityName, id int64, keyID []byte, users AuthorityName, serial *big.Int, ca int64) (Approvable, error)
	// Requests returns at most limit pending requests (0: all), oldest first.
	Requests(ctx context.Context, a AuthorityName, limit int) ([]Request, error)
	CountRequests(ctx context.Context, a AuthorityName) (int, error)
	// CountSubmitters returns how many pending requests there are of each submitter.
	CountSubmitters(ctx context.Context, a AuthorityName) (map[string]int, error)

	// Approvals returns what users have consented to of a pending request, by Lineage.
	Approvals(ctx context.Context, a AuthorityName, request int64) ([]Approval, error)

	// Rejection returns what is remembered of the request with this id, and RejectionByDigest of the one with this
	// digest: ErrNotFound unless it was rejected.
	Rejection(ctx context.Context, a AuthorityName, id int64) (Rejection, error)
	RejectionByDigest(ctx context.Context, a AuthorityName, digest []byte) (Rejection, error)

	Certificate(ctx context.Context, a AuthorityName, id int64) (Certificate, error)
	CertificateBySerial(ctx context.Context, a AuthorityName, serial *big.Int) (Certificate, error)
	// CertificateByCSR returns the newest certificate issued for the request with this digest, renewals excepted.
	CertificateByCSR(ctx context.Context, a AuthorityName, digest []byte) (Certificate, error)
	// KeyInUse reports whether a pending request or a recorded certificate has this key.
	KeyInUse(ctx context.Context, a AuthorityName, keyID []byte) (bool, error)
	// Certificates returns at most limit certificates with an ID larger than afterID, by ID.
	Certificates(ctx context.Context, a AuthorityName, afterID int64, limit int) ([]Certificate, error)
	// CountCertificates counts the certificates whose NotAfter lies before t, all of them for the
	// zero time. It is for display: its cost grows with their number.
	CountCertificates(ctx context.Context, a AuthorityName, t time.Time) (int, error)

	// RenewalByCSR returns the newest certificate that the request with this digest has made of the one on record with
	// the serial renews.
	RenewalByCSR(ctx context.Context, a AuthorityName, digest []byte, renews *big.Int) (Certificate, error)

	// Renewable returns what the renewal of the certificate on record with this serial depends on, with a key.
	Renewable(ctx context.Context, a AuthorityName, serial *big.Int, keyID []byte) (Renewable, error)

	Lineage(ctx context.Context, a AuthorityName, id int64) (Lineage, error)
	// LineageOf returns the lineage of the certificate on record with this serial.
	LineageOf(ctx context.Context, a AuthorityName, serial *big.Int) (Lineage, error)
	// Lineages returns at most limit lineages (0: all) that follow after, oldest first.
	Lineages(ctx context.Context, a AuthorityName, after LineagePage, limit int) ([]Lineage, error)
	// EndedLineage returns the lineage with this subject that had begun at t and has ended since, or is ending; of several the
	// one that ended last.
	EndedLineage(ctx context.Context, a AuthorityName, subject string, t time.Time) (Lineage, error)
	// LineagesNamed returns the lineages that have a name with this text, whatever its kind and theirs are, and LineagesUnder
	// those with the name of a host, or a wildcard, directly under a domain: of more than limit names those of the youngest lineages. A
	// lineage is there once for each such name of it. The order is not specified.
	LineagesNamed(ctx context.Context, a AuthorityName, text string, limit int) ([]Named, error)
	LineagesUnder(ctx context.Context, a AuthorityName, domain string, limit int) ([]Named, error)
	// LineageNames returns the names of a lineage, by kind and text.
	LineageNames(ctx context.Context, a AuthorityName, id int64) ([]Name, error)
	// Unnamed reports whether there are lineages whose names are not known yet.
	Unnamed(ctx context.Context) (bool, error)
	// EndingLineages returns at most limit lineages that are LineageEnding.
	EndingLineages(ctx context.Context, a AuthorityName, limit int) ([]Lineage, error)
	// CountLineages counts the active ones of which a certificate is valid at t.
	CountLineages(ctx context.Context, a AuthorityName, t time.Time) (int, error)
	// CountForked counts those of which a certificate is valid at t and that have ever forked.
	CountForked(ctx context.Context, a AuthorityName, t time.Time) (int, error)
	// LineageCertificates returns at most limit certificates (0: all) of a lineage, newest first.
	LineageCertificates(ctx context.Context, a AuthorityName, id int64, limit int) ([]Certificate, error)
	// LineageFaults calls fn with what contradicts itself about lineages, at the time now, until fn fails.
	LineageFaults(ctx context.Context, now time.Time, fn func(LineageFault) error) error

	Revocation(ctx context.Context, a AuthorityName, serial *big.Int) (Revocation, error)
	// Standing returns what is said against the certificate with this serial, which the CA with this id has issued; 0: that is not known.
	// It need not be on record.
	Standing(ctx context.Context, a AuthorityName, serial *big.Int, ca int64) (Standing, error)
	// KeyCompromised reports whether a certificate with this key was revoked because of
	// KeyCompromise, whichever authority on record had issued it, and the revocation is still kept.
	KeyCompromised(ctx context.Context, keyID []byte) (bool, error)
	// Revocations returns at most limit (0: all) revocations with a Seq larger than afterSeq, by Seq.
	Revocations(ctx context.Context, a AuthorityName, afterSeq int64, limit int) ([]Revocation, error)
	// Revoked calls fn with what lists say of these revocations, until it fails. It is for a million of them.
	Revoked(ctx context.Context, a AuthorityName, afterSeq int64, limit int, fn func(Revoked) error) error
	// RevokedSpan returns the smallest and the largest Seq of the revocations that are kept, zero without any.
	RevokedSpan(ctx context.Context, a AuthorityName) (first, last int64, err error)
	// CountRevocations counts the revocations that are kept, for display: it reads them all.
	CountRevocations(ctx context.Context, a AuthorityName) (int, error)

	// KEKs returns all of them, by authority.
	KEKs(ctx context.Context) ([]KEK, error)

	CRL(ctx context.Context, a AuthorityName, caID int64) (CRL, error)

	Invitation(ctx context.Context, a AuthorityName, id string) (Invitation, error)
	// Invitations returns at most limit (0: all) of those on record, the ones that end first before others.
	Invitations(ctx context.Context, a AuthorityName, limit int) ([]Invitation, error)
	CountInvitations(ctx context.Context, a AuthorityName) (int, error)

	// Deliveries returns at most limit (0: all) for a hook of those that are due at t, those first that have been for longest.
	Deliveries(ctx context.Context, hook string, t time.Time, limit int) ([]Delivery, error)
	// CountDeliveries returns how many there are for each hook.
	CountDeliveries(ctx context.Context) (map[string]int, error)

	// Adoptions returns at most limit (0: all) with a Lineage larger than after, by Lineage.
	Adoptions(ctx context.Context, a AuthorityName, after int64, limit int) ([]Adoption, error)
	// Adoption returns what one lineage has confirmed, ErrNotFound when it never has.
	Adoption(ctx context.Context, a AuthorityName, lineage int64) (Adoption, error)
	// CountHolders counts the lineages that are active and have a certificate that is valid at t, by what is known of their
	// holders having one of some CAs. Stragglers returns at most limit (0: all) of those that are not known to have any of them, the oldest first. Both look
	// at no more than so many lineages (0: all), whatever becomes of them, and return the last that they have looked at; zero: there are no
	// more. See CountAllHolders and FindStragglers.
	CountHolders(ctx context.Context, a AuthorityName, t time.Time, of Sought, after LineagePage, lineages int) (h Holders, last LineagePage, err error)
	Stragglers(ctx context.Context, a AuthorityName, t time.Time, of Sought, after LineagePage, lineages, limit int) (found []Straggler, last LineagePage, err error)

	// Counter returns a counter's value, 0 when it was never set.
	Counter(ctx context.Context, a AuthorityName, name string) (int64, error)
	// Setting returns a setting's value, ErrNotFound when it was never set.
	Setting(ctx context.Context, a AuthorityName, name string) (string, error)

	// Log returns the head of the Merkle tree over the audit log, without the entries of Updates that are under way.
	Log(ctx context.Context) (Log, error)
	// LogHashes returns hashes of that tree by their indexes in the order of tlog.StoredHashIndex: it reads for a merkle.HashReader.
	LogHashes(ctx context.Context, indexes []int64) ([]merkle.Hash, error)
	// LogTile returns the hashes of a tile that there are; of level 0 only while it is complete, ErrNotFound otherwise.
	LogTile(ctx context.Context, at merkle.Tile) ([]merkle.Hash, error)
	// LatestCheckpoint returns the signed checkpoint of the largest tree, ErrNotFound when there is none.
	LatestCheckpoint(ctx context.Context) (Checkpoint, error)
	// Checkpoints returns at most limit that follow after, of whose Size and Time nothing else counts, by Size and Time.
	Checkpoints(ctx context.Context, after Checkpoint, limit int) ([]Checkpoint, error)
	// LogEntryByDigest returns the newest entry that issues the certificate with this SHA-256, and is in the tree.
	LogEntryByDigest(ctx context.Context, digest []byte) (audit.Entry, error)

	// Audit calls fn with each entry that f selects, in order, until fn fails.
	Audit(ctx context.Context, f audit.Filter, fn func(audit.Entry) error) error

	// Rows calls fn with every row of every authority, until fn fails. The order is that in which
	// Load takes them and the same for every store that holds the same rows: authorities by name, CAs
	// by ID, sign-offs by authority and ID, CRLs by CA, requests by age, approvals by authority, request and lineage,
	// rejections by authority and ID, lineages and adoptions by authority and ID, certificates in the order of issuance, revocations by authority and Seq,
	// invitations by authority and ID, deliveries by ID, counters and settings by authority and name, the audit log by Seq. Texts are ordered byte by
	// byte. What Ping writes is left out. Memory does not grow with their number. fn must not use
	// the Reader.
	Rows(ctx context.Context, fn func(Row) error) error
}

// A Tx reads what it has written, and writes.
type Tx interface {
	Reader
	audit.Log

	// AddCA stores a new generation and returns its ID.
	AddCA(ctx context.Context, ca CA) (int64, error)
	// EraseCAKey forgets where the private key of a CA is, and the key itself when it is in the row,
	// and sets the CA's state, CAErased, CADisowned, CARevoked or CACompromised; its certificate and link stay.
	EraseCAKey(ctx context.Context, a AuthorityName, id int64, state CAState) error

	// ActivateCA stores when a generation begins to sign.
	ActivateCA(ctx context.Context, a AuthorityName, id int64, how Activation, at time.Time) error

	// PutAuthority stores an authority in place of the one with its name, and counts the change.
	PutAuthority(ctx context.Context, a Authority) error

	// AddSignoff stores a request to an authority's parent and returns its ID.
	AddSignoff(ctx context.Context, s Signoff) (int64, error)
	// PutSignoff stores a changed one in place of the one with its ID, ErrNotFound when there is none.
	// A key that it no longer refers to is erased as by EraseCAKey.
	PutSignoff(ctx context.Context, s Signoff) error
	// DeleteSignoff removes one, and erases its key as EraseCAKey does.
	DeleteSignoff(ctx context.Context, a AuthorityName, id int64) error

	AddRequest(ctx context.Context, r Request) error
	// AddReceived stores a request and counts it by CounterReceivedCSR. Unlike AddRequest it need not tell at once that there is such a
	// request: Update fails then. So does TakeRequest, which is DeleteRequest otherwise.
	AddReceived(ctx context.Context, r Request) error
	TakeRequest(ctx context.Context, a AuthorityName, id int64) error
	// DeleteRequest removes a pending request; ErrNotFound when it is not pending.
	DeleteRequest(ctx context.Context, a AuthorityName, id int64) error

	// PutApproval stores the consent of a user to a pending request, in place of an earlier one. It goes with the request.
	PutApproval(ctx context.Context, v Approval) error

	// PutRejection stores that a request was rejected, in place of an earlier rejection of the same request.
	PutRejection(ctx context.Context, r Rejection) error
	// PruneRejections deletes at most limit rejections, oldest first, of those that were made before t or that are not
	// among the newest keep ones, and returns how many.
	PruneRejections(ctx context.Context, a AuthorityName, t time.Time, keep, limit int) (int, error)

	// AddLineage stores a new lineage with its names; nil: they are not known yet. PutLineage stores a changed one in place of the one
	// with its ID, ErrNotFound when there is none; its names stay.
	AddLineage(ctx context.Context, l Lineage, names []Name) error
	PutLineage(ctx context.Context, l Lineage) error
	// NameLineages finds out the names of at most limit lineages where they are not known, by their certificates, and
	// returns how many those were. Daemons of versions that know of no names leave such lineages behind.
	NameLineages(ctx context.Context, limit int) (int, error)
	// RevokeLineage revokes, as like says, those certificates of a lineage that are valid at now or later and not
	// revoked, and returns how many. Each revocation is kept until keep after the certificate's expiry.
	RevokeLineage(ctx context.Context, a AuthorityName, id int64, now time.Time, like Revocation, keep time.Duration) (int, error)

	AddCertificate(ctx context.Context, c Certificate) error
	// AddFirst stores a certificate that begins the lineage l, and that lineage with its names. Like AddRenewal it need not tell at
	// once that there is such a certificate or lineage: Update fails then.
	AddFirst(ctx context.Context, c Certificate, l Lineage, names []Name) error
	// AddRenewal stores a certificate that renews what was is about, and what becomes of its lineage. It is ErrChanged if was
	// does not hold any more: Lineage, that it is not Revoked, and CAs; or if the key of c is that of a CA, or compromised.
	// It need not tell at once: then Update fails.
	AddRenewal(ctx context.Context, was Renewable, c Certificate, l Lineage) error
	// PruneCertificates deletes at most limit certificates whose NotAfter lies before t, and returns how many.
	// A renewal stays as long as the certificate that it renews could be used, so that it is known what came of
	// it. Lineages go with their last certificate.
	PruneCertificates(ctx context.Context, a AuthorityName, t time.Time, limit int) (int, error)

	// AddRevocation stores a revocation and returns its Seq.
	AddRevocation(ctx context.Context, r Revocation) (int64, error)
	// PruneRevocations deletes at most limit revocations whose KeepUntil lies before t, and
	// returns their serials.
	PruneRevocations(ctx context.Context, a AuthorityName, t time.Time, limit int) ([]*big.Int, error)

	// PutInvitation stores what has become of an invitation, in place of what was known of it.
	PutInvitation(ctx context.Context, i Invitation) error
	// PruneInvitations deletes at most limit invitations whose Until lies before t, and returns how many.
	PruneInvitations(ctx context.Context, a AuthorityName, t time.Time, limit int) (int, error)

	// AddDelivery stores an event, whatever its ID. PutDelivery stores a changed one in place of the one with its ID, and DeleteDelivery
	// removes it: ErrNotFound when there is none, as after another daemon has delivered it.
	AddDelivery(ctx context.Context, d Delivery) error
	PutDelivery(ctx context.Context, d Delivery) error
	DeleteDelivery(ctx context.Context, id int64) error

	// PutAdoption stores what the holder of a lineage's certificate has confirmed, in place of an earlier one. It goes with the lineage.
	PutAdoption(ctx context.Context, v Adoption) error

	// PutKEK stores one in place of the authority's earlier one.
	PutKEK(ctx context.Context, k KEK) error
	// PutCAKey stores where the private key of a CA that has one is now. What was there is erased as by EraseCAKey.
	PutCAKey(ctx context.Context, a AuthorityName, id int64, key KeyRef) error

	// PutCRL stores a CA's CRL in place of its older one.
	PutCRL(ctx context.Context, c CRL) error

	// BeginEpoch has the tree over the audit log be in its next epoch, as after a restore: who has seen a larger one learns that it was declared.
	BeginEpoch(ctx context.Context, now time.Time) error
	// Checkpoint has a checkpoint signed with the commit, as one is after entries, though nothing may have been recorded.
	Checkpoint(ctx context.Context, now time.Time) error
	// PruneAudit deletes at most limit entries, oldest first, that were recorded before t, and returns how many those were and the first
	// leaf that is left. The hashes of their leaves stay, which is why they go by complete tiles.
	PruneAudit(ctx context.Context, t time.Time, limit int) (pruned int, first int64, err error)
	// ThinCheckpoints deletes checkpoints, so that of those from before until one is left in each span of time, and returns how many it has looked
	// at beginning after a time, limit at most, and where it has ended.
	ThinCheckpoints(ctx context.Context, after, until time.Time, span time.Duration, limit int) (looked int, last time.Time, err error)

	// AddCounter adds delta to a counter and returns its new value.
	AddCounter(ctx context.Context, a AuthorityName, name string, delta int64) (int64, error)
	PutSetting(ctx context.Context, a AuthorityName, name, value string) error
	// DeleteSetting removes a setting; one that was never set is fine.
	DeleteSetting(ctx context.Context, a AuthorityName, name string) error

	// Load fills a store that holds nothing, ErrExists otherwise, with rows in the order of Rows.
	// It keeps what other methods assign: IDs of CAs, Seqs of revocations and of audit entries, the
	// order of certificates; later rows get larger ones. The first error of rows ends it.
	// What Ping writes does not count as something held. Certificates without a lineage, as in backups of
	// before, get theirs by what they renew, and lineages their names.
	Load(ctx context.Context, rows iter.Seq2[Row, error]) error
}
