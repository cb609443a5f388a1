package enroll

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/witness"
)

// Classes of errors that callers ask for. An error of the same class as the one before is no
// news.
const (
	ClassNetwork  = "network"
	ClassNotCA    = "not a CA"
	ClassServer   = "server error"
	ClassRejected = "rejected"
	ClassExpired  = "expired"
	ClassRevoked  = "revoked"
	ClassFork     = "log fork"
	ClassOther    = "other"
)

// A Reader is who is told what to do about an error, for hints that name what is in front of
// them. Options are named as on command lines.
type Reader struct {
	CAFile  string  // where the CA certificates are kept
	CatchUp float64 // spans that are allowed already
	Links   string  // the option that allows symbolic links, "" if there is none
}

// What hints say that more than one error has.
const (
	impostor = "somebody may be answering in the CA's place"
	reach    = "is the daemon running there, and is --ca-url right?"
	noHost   = "is the name in --ca-url right? The name servers of this machine do not know it"
)

// explanations say of which class an error is, and what can be done about it. The first that fits counts;
// {ca} stands for the file of CA certificates.
var explanations = []struct {
	err         error
	class, hint string
}{
	{client.ErrInvitedElsewhere, "invitation", impostor + ", or {ca} is of another CA: choose another place for this one's"},
	{client.ErrNoInvitations, "invitation", "without one a request waits until a user signs it"},
	{client.ErrNoProofs, "proof", "without one a request waits until a user signs it"},
	{witness.ErrFork, ClassFork, "nothing was taken from it, and nothing is until it shows the log that was seen here: ask the CA's administrators, who have cauased manage audit verify; somebody may have rewritten what the CA has done, or an old copy of its database was put in place without declaring that; cauase log check compares, and only if the new log is right, cauase log accept"},
	{witness.ErrDamaged, "log state", "put the file of checkpoints back from a copy, or, after asking the CA's administrators, begin anew with cauase log accept"},
	{witness.ErrAnswer, "log", impostor + "; nothing was taken from it"},
	{client.ErrNotLogged, "not logged", "it was issued before there was a log or by a daemon of before, or with a stolen key of a CA: ask the CA's administrators"},
	{client.ErrNotCA, ClassNotCA, "check --ca-url: it is the http:// address and port of cauased"},
	{client.ErrTooLong, ClassNotCA, ""},
	{client.ErrRoots, "roots", impostor + ", or the authority has got another root: then remove the file of roots after making sure; nothing has been stored"},
	{client.ErrIncompleteChain, "certificate chain", impostor + "; nothing is stored that others could not verify"},
	{client.ErrUnknownAnchor, "unknown anchor", impostor + ", or an old backup does; if it was set up anew, remove {ca} after making sure"},
	{client.ErrChain, "chain", impostor + "; if it was set up anew, remove {ca} after making sure"},
	{client.ErrPin, "fingerprint", "compare with the fingerprint the CA's administrators gave you; a CA about to retire may be served beside the new one: pin both"},
	{client.ErrCRLRollback, "CRL rollback", "the local list stays; if the CA was restored from a backup, tell its administrators"},
	{client.ErrCRL, "CRL", "the local list stays"},
	{client.ErrVouchedBefore, "HTTPS", impostor},
	{client.ErrNoReference, "HTTPS", impostor},
	{client.ErrUnverifiedHTTPS, "HTTPS", impostor + "; only if it is a reference caucased, which cannot vouch for itself, give --caucase: then nothing it says is authenticated"},
	{client.ErrVoucher, "HTTPS", impostor},
	{ErrKeyType, "key type", "choose one with --key-type"},
	{ErrOvertaken, ClassOther, ""},
	{client.ErrWrongKey, "wrong key", ""},
	{client.ErrWrongNames, "wrong names", ""},
	{client.ErrIssuerWithdrawn, "withdrawn CA", "whoever has the key of the request gets another one for it with cauase request and the same files; if that is refused, make a new request, with a new key (cauase request, cauase-rerequest)"},
	{pki.ErrUnknownIssuer, "unknown issuer", "the CAs trusted are those in {ca}; is --mode or --authority right? If it is, " + impostor},
	{pki.ErrNotYetValid, "not yet valid", "compare the clocks of this machine and of the CA's"},
	{pki.ErrExpired, ClassExpired, ""},
	{ErrRejected, ClassRejected, "ask the CA's administrators why"},
	{pemfile.ErrExposed, "not safe", "take the right to write from others (chmod, chown, setfacl), choose another place, or, for an agent, say with --owner USER whose files they are: that user does the job then"},
	{pemfile.ErrNotRegular, "not a file", ""},
	{pemfile.ErrIrreplaceable, "not replaceable", "until it can be, no certificate is asked for"},
	{pemfile.ErrMismatch, "mismatch", ""},
	{pemfile.ErrUnusable, "unusable", ""},
	{syscall.ENOSPC, "disk full", "free some space"},
	{syscall.EROFS, "read-only", "under systemd, name the folder in ReadWritePaths="},
	{syscall.EBUSY, "busy", "a file that is mounted by itself, as containers do it, cannot be replaced: mount the folder that it is in"},
	{fs.ErrPermission, "permission", "is this the right user to run it?"},
	{fs.ErrNotExist, "missing", ""},
	{pki.ErrEncrypted, "encrypted key", "a program that nobody sits in front of needs a key without a passphrase, in a file that only its user can read"},
	{pki.ErrInvalid, "invalid", ""},
	{context.DeadlineExceeded, ClassNetwork, ""},
	{io.ErrUnexpectedEOF, ClassNetwork, ""},
	{io.EOF, ClassNetwork, ""},
}

// Explain says of which class an error of this package, or of those below it, is, and what its reader can
// do about it, "" for nothing that would not be obvious.
func Explain(err error, r Reader) (class, hint string) {
	switch {
	case errors.Is(err, client.ErrNoAnchor):
		return "no anchor", r.anchorHint(err)
	case errors.Is(err, pemfile.ErrSymlink):
		hint = "give the path that it points to"
		if r.Links != "" {
			hint += ", or allow links with " + r.Links
		}
		return "symbolic link", hint
	}
	for _, e := range explanations {
		if errors.Is(err, e.err) {
			return e.class, strings.ReplaceAll(e.hint, "{ca}", r.CAFile)
		}
	}
	return explainAnswer(err)
}

func (r Reader) anchorHint(err error) string {
	hint := "if this machine's clock is wrong, correct it; else ask the CA's administrators for its fingerprint and give it as --ca-fingerprint sha256:…"
	if errors.Is(err, pki.ErrExpired) && r.CatchUp == 0 {
		hint += ", or follow it from the expired certificate, on its word alone, with --catch-up SPANS"
	}
	return hint + fmt.Sprintf(", or, to trust whoever answers, remove %s", r.CAFile)
}

// explainAnswer explains what the daemon has answered, or why it has not.
func explainAnswer(err error) (class, hint string) {
	var status *client.StatusError
	if errors.As(err, &status) {
		switch {
		case strings.Contains(status.Error(), "HTTP request to an HTTPS server"):
			return ClassNotCA, "that is the port of HTTPS; --ca-url takes the one of HTTP: one less, or 80 for 443"
		case client.IsUninvited(err):
			return "invitation", "ask whoever has invited you for another invitation"
		case client.IsUnproven(err):
			return "proof", "the daemon's operators say in its configuration which hosts it knows, and what those may have; compare the clocks of both machines if it says that a proof is old"
		case status.Status == http.StatusInsufficientStorage:
			return "too many pending", "an administrator has to sign or reject some"
		case status.Status >= 500:
			return ClassServer, ""
		}
		return fmt.Sprint("status ", status.Status), ""
	}
	if ofFile(err) {
		return ClassOther, ""
	}
	var unverified *tls.CertificateVerificationError
	var op *net.OpError
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &unverified):
		return "HTTPS", impostor + ", or --ca-url names the host differently from its --netloc"
	case errors.As(err, &dns) && dns.IsNotFound:
		return ClassNetwork, noHost
	case errors.As(err, &dns):
		return ClassNetwork, "the name servers of this machine have not answered: is its network up?"
	case errors.As(err, &op) && op.Op == "dial":
		return ClassNetwork, reach
	case errors.As(err, &op), errors.As(err, &timeout):
		return ClassNetwork, ""
	}
	return ClassOther, ""
}

// ofFile reports whether an error is one of a file. The system's errors have what it takes to be taken for those of a
// network.
func ofFile(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	return errors.As(err, &path) || errors.As(err, &link)
}
