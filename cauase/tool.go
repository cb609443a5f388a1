package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// A tool is one run of the program.
type tool struct {
	environment
	settings

	client   *client.Client
	trusted  []*x509.Certificate // what the CA store holds, or will when the command succeeds
	firstUse bool                // nothing but the network vouches for it
	invited  bool                // an invitation does, and nothing was stored before
	unsaved  bool                // it does not yet
	vouched  bool                // the daemon has vouched for its HTTPS certificate
	roots    []*x509.Certificate // what the store of roots is to hold, if anything

	rootsFirst bool             // nothing but the network vouches for roots
	testimony  enroll.Testimony // of the CA's log, to be kept when the command has succeeded
	logEvent   string           // what the hook has to hear of it
	known      [][]byte         // passphrases that were given in this run
	warned     []string         // files with keys that others can read
	changed    []string         // kinds of files that changed, for the hook
	holder     pemfile.Pair     // whose certificate was renewed, and who is to tell the daemon which CA certificates are stored
	p12Made    *p12View         // the PKCS #12 file that this run has made beside the certificate, if any
	corrected  []string         // of what the request asks for that is signed
}

// action adds to a command what all have in common: hints for errors
// from below, and the hook when something has changed, also when the rest failed.
func (t *tool) action(do func(c *cli.Context) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		err := t.addHints(do(c))
		if manners.Code(err) == manners.ExitForked {
			t.unsaved, t.vouched, t.roots, t.testimony = false, false, nil, enroll.Testimony{}
		}
		// What failed leaves nothing behind. What is pending has not failed.
		if t.unsaved && manners.Code(err) != manners.ExitError {
			err = join(err, t.saveTrust())
		}
		if t.testimony.Next != nil && manners.Code(err) != manners.ExitError {
			t.keepTestimony()
		}
		if err == nil && t.holder.Crt != nil {
			t.confirm(c.Context)
		}
		if t.vouched && manners.Code(err) != manners.ExitError {
			err = join(err, t.rememberVouched())
		}
		if t.roots != nil && manners.Code(err) != manners.ExitError {
			err = join(err, t.saveRoots())
		}
		if len(t.changed) > 0 && t.onRenew != "" {
			err = join(err, t.runHook(c.Context))
		}
		return err
	}
}

// confirm tells the daemon that the CA certificates are stored, as those are waited for who have said so before. Daemons of before, and caucase's, do not want
// to know, and nothing here depends on it.
func (t *tool) confirm(ctx context.Context) {
	if newest := client.Newest(t.trusted); newest != nil && t.client != nil && t.holder.Key != nil {
		_ = t.client.ConfirmCA(ctx, t.holder.Crt, t.holder.Key, newest.SubjectKeyId)
	}
}

// join is errors.Join, except that one error stays itself.
func join(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return errors.Join(a, b)
}

// addHints adds to an error what its reader can do about it.
func (t *tool) addHints(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && !isWrapped(err) {
		var all []error
		for _, err := range joined.Unwrap() {
			all = append(all, t.addHints(err))
		}
		return errors.Join(all...)
	}
	if hint := t.hint(err); hint != "" {
		return manners.WithHint(err, "%s", hint)
	}
	return err
}

// isWrapped tells fmt.Errorf with several %w, one sentence, from errors.Join.
func isWrapped(err error) bool { return !strings.Contains(err.Error(), "\n") }

const hintNotAUser = "the certificate in --user-key is expired, revoked, or not one of a user of this CA"

// notAUser begins a hint that has more to say, where a daemon takes nobody for a user.
func notAUser(err error) string {
	if !client.IsStatus(err, http.StatusUnauthorized) {
		return ""
	}
	return hintNotAUser + "; "
}

func (t *tool) hint(err error) string {
	var known *manners.Error
	switch {
	case err == nil, errors.As(err, &known) && known.Hint != "":
		return ""
	case client.IsStatus(err, http.StatusUnauthorized) && t.userKey == "":
		return "give a user's key and certificate with --user-key"
	case client.IsStatus(err, http.StatusUnauthorized):
		return hintNotAUser
	case errors.Is(err, client.ErrUnfitForTLS):
		return "request a new certificate, without those names, and have another user sign it, or the operator by cauased manage approve"
	}
	_, hint := enroll.Explain(err, enroll.Reader{CAFile: t.caStore.Path, CatchUp: t.catchUp})
	return hint
}

func (t *tool) note(format string, args ...any) {
	if t.quiet {
		return
	}
	text := fmt.Sprintf(format, args...)
	if manners.Say(t.stderr, manners.Message{Tool: toolName, Level: "note", Text: text}) {
		return
	}
	fmt.Fprintf(t.stderr, "%s: %s %s\n", toolName, manners.Label(t.stderr, "note"), pki.EscapeText(text))
}

func (t *tool) warn(format string, args ...any) {
	text := manners.Plain(fmt.Sprintf(format, args...))
	if manners.Say(t.stderr, manners.Message{Tool: toolName, Level: "warning", Text: text}) {
		return
	}
	fmt.Fprintf(t.stderr, "%s: %s %s\n", toolName, manners.Label(t.stderr, "warning"), pki.EscapeText(text))
}

// connect makes the client of the authority at work.
func (t *tool) connect() (*client.Client, error) {
	if t.client != nil {
		return t.client, nil
	}
	if t.caURL == "" {
		return nil, manners.WithHint(errors.New("the CA's address is not given"), "give --ca-url http://HOST[:PORT] or set CAUASE_CA_URL")
	}
	if err := client.CheckURL(t.caURL); err != nil {
		return nil, fmt.Errorf("%s: %w", t.urlFrom, err)
	}
	c, err := client.New(client.Options{
		URL:       t.caURL,
		Authority: t.authority,
		Clock:     t.clock,
		CatchUp:   t.catchUp,
		UserAgent: toolName + "/" + strings.Trim(manners.Version(), "()"),
	})
	t.client = c
	return c, err
}

// trust brings the CA certificates up to date, and returns the client with them. The
// store is written by saveTrust, once the command has succeeded or is pending.
func (t *tool) trust(ctx context.Context) (*client.Client, error) {
	c, err := t.connect()
	if err != nil {
		return nil, err
	}
	local, err := t.caStore.ReadCertificates()
	if err != nil {
		return nil, err
	}
	trust, err := c.UpdateTrust(ctx, local, t.pins)
	if err != nil {
		return nil, err
	}
	t.trusted, t.firstUse, t.unsaved = trust.CAs, trust.FirstUse, true
	return c, nil
}

// saveTrust stores what is trusted, and only then says so.
func (t *tool) saveTrust() error {
	t.unsaved = false
	changed, err := t.storeCAs(t.caStore, t.trusted)
	switch {
	case err != nil:
	case t.firstUse:
		t.noteFirstContact("", t.caStore.Path, t.trusted)
	case t.invited:
		for _, ca := range t.trusted {
			t.note("by the invitation, trusting %q, %s, in %s", pki.SubjectString(ca.RawSubject), client.PinOf(ca), t.caStore.Path)
		}
	}
	if changed {
		t.changed = append(t.changed, "ca")
	}
	return err
}

// storeCAs writes CA certificates to a store, whose folder is made if it is ours.
func (t *tool) storeCAs(store pemfile.Store, cas []*x509.Certificate) (changed bool, err error) {
	if err := t.makeFor(store.Path); err != nil {
		return false, err
	}
	return store.WriteCertificates(cas)
}

// noteFirstContact says which CAs are trusted since nobody has said which ones to trust.
func (t *tool) noteFirstContact(what, path string, cas []*x509.Certificate) {
	for _, ca := range cas {
		t.note("first contact: from now on trusting %s%q, %s, in %s; compare this fingerprint with the CA's administrators", what, pki.SubjectString(ca.RawSubject), client.PinOf(ca), path)
	}
}

// engine makes what gets and renews the certificate at paths. What asks the daemon needs its
// Client, too.
func (t *tool) engine(paths pemfile.PairPaths) *enroll.Engine {
	return &enroll.Engine{Clock: t.clock, Paths: paths, KeyType: t.keyType}
}

// verification is what issued certificates are verified against.
func (t *tool) verification() enroll.Trust {
	return enroll.Trust{CAs: t.trusted, Roots: func(ctx context.Context) ([]*x509.Certificate, error) {
		return t.followRoots(ctx, t.keepRoots)
	}}
}

// followRoots brings the roots up to date. Where they are not to be kept, they serve to verify a
// chain, and the CA that has issued the certificate vouches for them.
func (t *tool) followRoots(ctx context.Context, keep bool) ([]*x509.Certificate, error) {
	local, err := t.rootStore.ReadCertificates()
	if err != nil {
		return nil, err
	}
	pins := t.pins
	if !keep {
		pins = nil
	}
	trust, err := t.client.UpdateRoots(ctx, client.Trust{CAs: t.trusted, FirstUse: t.firstUse}, local, pins)
	if err != nil {
		return nil, err
	}
	if keep {
		t.roots, t.rootsFirst = trust.CAs, trust.FirstUse
	}
	return trust.CAs, nil
}

func (t *tool) saveRoots() error {
	changed, err := t.storeCAs(t.rootStore, t.roots)
	if err == nil && t.rootsFirst {
		t.noteFirstContact("root ", t.rootStore.Path, t.roots)
	}
	if changed {
		t.changed = append(t.changed, "root")
	}
	t.roots = nil
	return err
}

// runHook runs the program of --on-renew.
func (t *tool) runHook(ctx context.Context) error {
	slices.Sort(t.changed)
	// Also when interrupted: the files have changed, and no later run would notice.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), t.onRenew)
	cmd.Env = append(os.Environ(), "CAUASE_CHANGED="+strings.Join(slices.Compact(t.changed), ","))
	if t.logEvent != "" {
		cmd.Env = append(cmd.Env, "CAUASE_LOG="+t.logEvent)
	}
	// Standard output is for what the command prints.
	cmd.Stdout, cmd.Stderr = t.stderr, t.stderr
	if err := manners.CheckScript(cmd.Path); err != nil {
		return hookError(err)
	}
	if err := cmd.Run(); err != nil {
		if explained := manners.ExplainStart(cmd.Path, err); explained != err {
			return hookError(explained)
		}
		if errors.Is(err, exec.ErrDot) || errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			return manners.WithHint(hookError(err), "--on-renew takes the path of an executable, such as ./reload or /usr/local/bin/reload")
		}
		return hookError(err)
	}
	return nil
}

func hookError(err error) error {
	return manners.WithCode(fmt.Errorf("files have changed, but --on-renew failed: %w", err), manners.ExitHook)
}
