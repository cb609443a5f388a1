package store

// CounterAuthorities counts the changes to the rows of authorities, so that a stale copy is noticed.
// It belongs to the daemon as a whole. PutAuthority adds to it.
const CounterAuthorities = "authorities"

// Counters that authorities keep. Each starts at zero.
const (
	CounterCRLNumber   = "crl_number"      // number of the newest CRL made or due
	CounterReceivedCSR = "received_csr"    // requests ever accepted, for auto-approval
	CounterPruned      = "pruned"          // revocations dropped from the lists, in batches
	CounterRefusedAuto = "refused_auto"    // automatic approvals refused and on record
	CounterImportedCRL = "brought_crl"     // lists imported of CAs whose keys are elsewhere, so that a stale copy is noticed
	CounterListed      = "crl_this_update" // not a count: the latest thisUpdate of lists that others have made for its CAs, in seconds since 1970
	CounterCA          = "ca"              // changes to the authority's CA certificates, so that a stale copy is noticed
)

// KeyCompromise is the reason that bars a key from ever being certified again (RFC 5280 5.3.1).
const KeyCompromise = 1

// Settings that authorities keep.
const (
	SettingAutoApprove = "auto_approve_count" // locked by --lock-auto-approve-count at its first use
	SettingNextKeyType = "next_key_type"      // of the next CA key, set by an operator; removed when it is made
	SettingKeyPlace    = "key_place"          // where CA keys are made: a PKCS #11 URI of a token; never set: in the database
	SettingConsents    = "cors/"              // and a lineage of users: what that user lets web pages of other origins do
	// SettingStrictFollower is when a client was last seen that follows only to CA certificates of the same subject (RFC 3339), or "none".
	SettingStrictFollower = "strict_follower"
	// SettingLogStatement is the last signed statement about the key of the daemon's log, for daemons that cannot sign one.
	SettingLogStatement = "log-statement"
	// SettingRestored describes, in JSON, the last restore: what may have been forgotten, and for how long hosts are asked for it.
	SettingRestored    = "restored"
	SettingExternalCRL = "external_crl/" // and a key identifier in hex: the list of a CA that is kept elsewhere, DER in base64
)

// NoStrictFollower is the value of SettingStrictFollower where there was never one.
const NoStrictFollower = "none"

// SettingFirstUser describes, in JSON, the invitation that a daemon has made for the first user, and where it is.
const SettingFirstUser = "first_user"

// Settings of the daemon as a whole, filed under the empty AuthorityName.
const (
	SettingCORSKeys    = "cors_keys"    // of all daemons on one database, as text
	SettingBackupClaim = "backup_claim" // which daemon is just taking a backup, and until when
	SettingBackupLast  = "backup_last"  // the last backup that was taken, by whichever daemon
	// SettingInvitationsSince is when the database was last restored (RFC 3339): older invitations do not count.
	SettingInvitationsSince = "invitations_since"
	// SettingMaxUsers is how many lineages of users there may be at once, as the last daemon to start was told.
	SettingMaxUsers = "max_users"
	// SettingLogDisputes is evidence, in JSON, that hosts have seen another log.
	SettingLogDisputes = "log-disputes"
	// SettingOutboxLease says which daemon delivers events, and until when.
	SettingOutboxLease = "outbox_lease"
	SettingNetloc      = "netloc" // HOST[:PORT] at which verifiers reach the daemons, as the last one to start was told
)
