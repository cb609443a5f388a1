package updater

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// Classes of errors that code asks for. An error of the same class as the one before is no
// news.
const (
	classNetwork  = "network"
	classNotCA    = "not a CA"
	classServer   = "server error"
	classRejected = "rejected"
	classExpired  = "expired"
	classRevoked  = "revoked"
	classOther    = "other"
)

// kinds map errors to classes and to what to do about them. The first that fits counts.
var kinds = []struct {
	err         error
	class, hint string
}{
	{client.ErrNotCA, classNotCA, "check the CA's URL: it is the http:// address and port of cauased"},
	{client.ErrTooLong, classNotCA, ""},
	{client.ErrRoots, "roots", "somebody may be answering in the CA's place, or the authority has got another root: then remove the file of roots after making sure; the roots here stay"},
	{client.ErrIncompleteChain, "certificate chain", "nothing is stored that others could not verify; the certificate here stays"},
	{client.ErrNoAnchor, "no anchor", "if this machine's clock is wrong, correct it; else ask the CA's administrators for its fingerprint and give it as --ca-fingerprint sha256:… (ca-fingerprint in a configuration file), or allow --catch-up"},
	{client.ErrUnknownAnchor, "unknown anchor", "somebody may be answering in the CA's place, or an old backup does; if it was set up anew, remove the file of CA certificates after making sure"},
	{client.ErrChain, "chain", "somebody may be answering in the CA's place; the CA certificates here stay"},
	{client.ErrPin, "fingerprint", "compare with the fingerprint the CA's administrators gave you; right after a rollover pin both CA certificates"},
	{client.ErrCRLRollback, "CRL rollback", "the list here stays; if the CA was restored from a backup, tell its administrators"},
	{client.ErrCRL, "CRL", "the list here stays"},
	{enroll.ErrKeyType, "key type", "choose one with --key-type (key-type in a configuration file)"},
	{enroll.ErrOvertaken, classOther, ""},
	{client.ErrWrongKey, "wrong key", ""},
	{client.ErrWrongNames, "wrong names", ""},
	{pki.ErrUnknownIssuer, "unknown issuer", "somebody may be answering in the CA's place"},
	{pki.ErrNotYetValid, "not yet valid", "compare the clocks of this machine and of the CA's"},
	{pki.ErrExpired, classExpired, ""},
	{enroll.ErrRejected, classRejected, "ask the CA's administrators why; another request is handed in when the file of the CSR changes"},
	{pemfile.ErrSymlink, "symbolic link", "give the path that it points to, or allow it with --follow-symlinks"},
	{pemfile.ErrNotRegular, "not a file", ""},
	{pemfile.ErrMismatch, "mismatch", ""},
	{pemfile.ErrUnusable, "unusable", ""},
	{syscall.ENOSPC, "disk full", "free some space"},
	{syscall.EROFS, "read-only", ""},
	{fs.ErrPermission, "permission", "does the agent run as the right user?"},
	{fs.ErrNotExist, "missing", ""},
	{pki.ErrInvalid, "invalid", ""},
	{context.DeadlineExceeded, classNetwork, ""},
	{io.ErrUnexpectedEOF, classNetwork, ""},
	{io.EOF, classNetwork, ""},
}

func classify(err error) string {
	class, _ := explain(err)
	return class
}

func explain(err error) (class, hint string) {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.class, k.hint
		}
	}
	var refused *client.StatusError
	if errors.As(err, &refused) {
		if refused.Status == http.StatusInsufficientStorage {
			return "too many pending", "an administrator has to sign or reject some"
		}
		if refused.Status >= 500 {
			return classServer, ""
		}
		return fmt.Sprint("status ", refused.Status), ""
	}
	var op *net.OpError
	var dns *net.DNSError
	var timeout net.Error
	if errors.As(err, &op) || errors.As(err, &dns) || errors.As(err, &timeout) {
		return classNetwork, "is the daemon running there, and is the CA's URL right? The files stay as they are meanwhile"
	}
	return classOther, ""
}
