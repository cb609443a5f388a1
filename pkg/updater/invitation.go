package updater

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/invite"
	"cauase/pkg/proof"
)

// invitation reads the invitation of the job, nil if there is none: it may have been used, and erased.
func (x *exchange) invitation() (*invite.Signed, error) {
	if x.job.Invite == "" {
		return nil, nil
	}
	return readInvitation(x.job)
}

func readInvitation(j *Job) (*invite.Signed, error) {
	content, err := j.attributes(nil).Read(j.Invite)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	signed, err := invite.Read(content.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.Invite, discreet(err))
	}
	return signed, nil
}

// pins are those by which a CA is known at first: those of the job and, with an invitation, what that says. One that
// cannot be read is no reason to trust whoever answers.
func (x *exchange) pins(authority client.AuthorityName, local []*x509.Certificate) ([]client.Pin, error) {
	pins := x.job.Pins
	signed, err := x.invitation()
	switch {
	case err != nil && len(local) == 0:
		return nil, err
	case signed != nil:
		pins = append(pins[:len(pins):len(pins)], client.PinsOf(signed, authority)...)
	}
	return pins, nil
}

// submitting is the engine to submit with: with what has the request signed at once, if there is something.
func (x *exchange) submitting(ctx context.Context) (*enroll.Engine, error) {
	if x.job.SSHHostKey == "" {
		return x.invited(ctx)
	}
	key, err := proof.ReadSSHKey(x.job.SSHHostKey)
	if err != nil {
		return nil, err
	}
	engine := *x.engine
	engine.Proving = &client.Proving{SSH: key, CAs: x.trusted()}
	return &engine, nil
}

// invited is the engine to submit with: with the invitation, if there is one.
func (x *exchange) invited(ctx context.Context) (*enroll.Engine, error) {
	signed, err := x.invitation()
	if err != nil || signed == nil {
		return x.engine, err
	}
	if signed.Authority != string(x.job.Authority) {
		return nil, fmt.Errorf("%s: the invitation is to the authority %s, and the certificate is to be one of %s", x.job.Invite, signed.Authority, x.job.Authority)
	}
	trust, err := x.service.TrustInvited(ctx, x.trusted(), signed)
	if err != nil {
		return nil, err
	}
	engine := *x.engine
	engine.Invitation, engine.InvitedCAs = signed, trust.Vouched
	return &engine, nil
}

// finishInvited erases the invitation of a request that was submitted with it, as soon as what it says of the CA is
// stored. It is called again after a crash.
func (w *worker) finishInvited() {
	if w.memory.Invited == "" || w.job.Invite == "" {
		return
	}
	if crts, err := w.job.caStore(w.job.CA).ReadCertificates(); err != nil || len(crts) == 0 {
		return
	}
	signed, err := readInvitation(w.job)
	if err != nil {
		return // of which the next one who needs it speaks
	}
	if signed != nil && signed.ID.String() == w.memory.Invited {
		if err := w.job.attributes(w.o.Step).Remove(w.job.Invite); err != nil {
			w.tried(TaskFiles, fmt.Errorf("the invitation, which was used, cannot be erased: %w", err), time.Minute)
			return
		}
		w.log.Info("the invitation was used, and is erased", "file", w.job.Invite, "id", w.memory.Invited)
	}
	w.memory.Invited = ""
	w.save()
}
