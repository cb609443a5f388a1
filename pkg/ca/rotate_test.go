package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

func (w *world) rotate(a *Authority, how Rotation) []byte {
	w.t.Helper()
	id, err := a.Rotate(w.ctx, operator, how)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	return id
}

// holderOf is whoever has the key of crt.
func (w *world) holderOf(a *Authority, crt *x509.Certificate, key crypto.Signer) (Holder, error) {
	return a.Holder(w.ctx, anonymous, crt, func(pub crypto.PublicKey) error {
		if !pki.SameKey(pub, key.Public()) {
			return errors.New("another key")
		}
		return nil
	})
}

func (w *world) confirm(a *Authority, crt *x509.Certificate, key crypto.Signer, keyID []byte) error {
	w.t.Helper()
	h, err := w.holderOf(a, crt, key)
	if err != nil {
		return err
	}
	return a.Confirm(w.ctx, h, keyID)
}

func (w *world) maintain(a *Authority) {
	w.t.Helper()
	if err := a.Maintain(w.ctx); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) holders(a *Authority) store.Holders {
	w.t.Helper()
	found, err := a.Adoption(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return found.Holders
}

// signs reports which generation, from 0, has signed what is issued now.
func (w *world) signs(a *Authority) int {
	w.t.Helper()
	st, err := a.current(w.ctx, w.clock.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	for i, g := range st.list {
		if g.id == st.signer.id {
			return i
		}
	}
	return -1
}

// TestRotateAsUsual: a generation out of turn is passive for a span, and everything goes on by the usual rule then.
func TestRotateAsUsual(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	w.clock.Advance(10 * day)
	id := w.rotate(a, Rotation{})
	if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Active, rollover.Passive}) {
		t.Errorf("%v", got)
	}
	if !bytes.Equal(a.cas.Load().newest().crt.SubjectKeyId, id) {
		t.Errorf("key identifier %x", id)
	}
	w.clock.Advance(93*day + time.Second)
	w.maintain(a)
	if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Retired, rollover.Active}) {
		t.Errorf("%v", got)
	}
	w.clock.Advance(93 * day)
	w.maintain(a)
	if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Retired, rollover.Active, rollover.Passive}) {
		t.Errorf("%v", got)
	}
}

// TestRotateNow: what is issued next is by the new one, on a daemon that was not told as well, and after a restart.
func TestRotateNow(t *testing.T) {
	w := newWorld(t)
	a, other := w.open(config(store.Services)), w.open(config(store.Services))
	before, key := w.enrol(a, "before")
	w.clock.Advance(time.Hour)
	id := w.rotate(a, Rotation{Begin: store.AtOnce})
	for name, one := range map[string]*Authority{"the one told": a, "another": other} {
		if crt := w.issue(one, "after-"+strings.ReplaceAll(name, " ", "-")).Certificate; !bytes.Equal(crt.AuthorityKeyId, id) {
			t.Errorf("%s signs with %x, want %x", name, crt.AuthorityKeyId, id)
		}
	}
	w.restart()
	a = w.open(config(store.Services))
	if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Retired, rollover.Active}) {
		t.Errorf("after a restart: %v", got)
	}
	// What the old one has signed is good still.
	if h, err := w.holderOf(a, before, key); err != nil {
		t.Errorf("%v", err)
	} else if issued, err := a.Renew(w.ctx, h, w.request(newKey(t), "before")); err != nil || !bytes.Equal(issued.Certificate.AuthorityKeyId, id) {
		t.Errorf("renewed: %v", err)
	}
	links, err := a.Succession(w.ctx)
	if err != nil || len(links) != 1 {
		t.Errorf("%d links: %v", len(links), err)
	}
}

func (w *world) request(key crypto.Signer, cn string) *pki.Request {
	w.t.Helper()
	req, err := pki.ParseRequest(csrNamed(w.t, key, cn))
	if err != nil {
		w.t.Fatal(err)
	}
	return req
}

// TestRotateWhenAdopted: hosts that tell, hosts that cannot, and hosts that are gone.
func TestRotateWhenAdopted(t *testing.T) {
	w := newWorld(t)
	a, other := w.open(config(store.Services)), w.open(config(store.Services))
	teller, tellerKey := w.enrol(a, "teller")
	mute, muteKey := w.enrol(a, "mute")
	ended, endedKey := w.enrol(a, "ended")
	first := a.cas.Load().newest().crt.SubjectKeyId
	if err := w.confirm(a, teller, tellerKey, first); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	id := w.rotate(a, Rotation{Begin: store.WhenAdopted})
	want := func(what string, h store.Holders, signs int) {
		t.Helper()
		w.maintain(other) // whoever looks
		if got := w.holders(a); got != h {
			t.Errorf("%s: %+v, want %+v", what, got, h)
		}
		if err := a.reload(w.ctx); err != nil {
			t.Fatal(err)
		}
		if got := w.signs(a); got != signs {
			t.Errorf("%s: generation %d signs, want %d", what, got, signs)
		}
	}
	want("at first", store.Holders{Seen: 3, Behind: 1, Silent: 2}, 0)
	if _, err := a.Rotate(w.ctx, operator, Rotation{Begin: store.WhenAdopted}); !errors.Is(err, ErrConflict) {
		t.Errorf("another one that waits: %v", err)
	}
	if err := w.confirm(a, teller, tellerKey, id); err != nil {
		t.Error(err)
	}
	want("one has told", store.Holders{Seen: 3, Confirmed: 1, Silent: 2}, 0)
	// A message of before, recorded by somebody, changes nothing.
	if err := w.confirm(a, teller, tellerKey, first); err != nil {
		t.Error(err)
	}
	want("a replay", store.Holders{Seen: 3, Confirmed: 1, Silent: 2}, 0)

	w.clock.Advance(time.Minute)
	h, err := w.holderOf(a, mute, muteKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Renew(w.ctx, h, w.request(newKey(t), "mute")); err != nil {
		t.Fatal(err)
	}
	want("one has renewed", store.Holders{Seen: 3, Confirmed: 1, Renewed: 1, Silent: 1}, 0)

	h, err = w.holderOf(a, ended, endedKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeOwn(w.ctx, h, Revoking{}); err != nil {
		t.Fatal(err)
	}
	want("one has ended", store.Holders{Seen: 2, Confirmed: 1, Renewed: 1}, 1)
	e := w.lastEntry(audit.ActivateCA)
	if e.Object.ID != hex.EncodeToString(id) || e.Detail != "all 2 hosts have it" || e.Actor.Kind != audit.Daemon {
		t.Errorf("%+v", e)
	}
	// A revoked one confirms nothing, nor does one that is asked for what is not there.
	if err := w.confirm(a, ended, endedKey, id); !errors.Is(err, ErrInvalid) {
		t.Errorf("a revoked one: %v", err)
	}
	if err := w.confirm(a, teller, tellerKey, []byte("nobody")); !errors.Is(err, ErrInvalid) {
		t.Errorf("another CA: %v", err)
	}
	stranger, err := x509.ParseCertificate(w.selfSigned("stranger", newKey(t)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.holderOf(a, stranger, tellerKey); !errors.Is(err, ErrInvalid) {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := w.holderOf(a, teller, muteKey); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("who has not the key: %v", err)
	}
}

func (w *world) selfSigned(cn string, key crypto.Signer) []byte {
	w.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: epoch, NotAfter: epoch.Add(day)}
	template.Subject.CommonName = cn
	crt, err := create(template, template, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return crt.Raw
}

func (w *world) lastEntry(action audit.Action) (last audit.Entry) {
	w.t.Helper()
	err := w.store.View(w.ctx, func(r store.Reader) error {
		return r.Audit(w.ctx, audit.Filter{Action: action, Newest: true, Limit: 1}, func(e audit.Entry) error {
			last = e
			return nil
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return last
}

// TestRotateDeadline: hosts that never tell hold it up until then, and an operator may end that.
func TestRotateDeadline(t *testing.T) {
	for _, tt := range []struct {
		name   string
		how    Rotation
		after  time.Duration
		signs  int
		detail string
	}{
		{"not before", Rotation{Begin: store.WhenAdopted, Latest: 7 * day}, 7*day - time.Second, 0, ""},
		{"at the time", Rotation{Begin: store.WhenAdopted, Latest: 7 * day}, 7 * day, 1, "it was time: 1 of 1 hosts are not known to have it"},
		{"as usual otherwise", Rotation{Begin: store.WhenAdopted}, 93*day - time.Second, 0, ""},
		{"and not later", Rotation{Begin: store.WhenAdopted, Latest: 1000 * day}, 93*day + time.Second, 1, "it was time: 0 of 0 hosts are not known to have it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.open(config(store.Services))
			w.enrol(a, "silent")
			w.rotate(a, tt.how)
			w.clock.Advance(tt.after)
			w.maintain(a)
			if got := w.signs(a); got != tt.signs {
				t.Errorf("generation %d signs", got)
			}
			if e := w.lastEntry(audit.ActivateCA); e.Detail != tt.detail {
				t.Errorf("%+v", e)
			}
		})
	}
	t.Run("an operator", func(t *testing.T) {
		w := newWorld(t)
		a := w.open(config(store.Services))
		if _, err := a.Activate(w.ctx, operator, false); !errors.Is(err, ErrConflict) {
			t.Errorf("nothing to activate: %v", err)
		}
		w.enrol(a, "silent")
		id := w.rotate(a, Rotation{Begin: store.WhenAdopted})
		activated, err := a.Activate(w.ctx, operator, false)
		if err != nil || !bytes.Equal(activated, id) || w.signs(a) != 1 {
			t.Errorf("%x: %v, generation %d signs", activated, err, w.signs(a))
		}
		if e := w.lastEntry(audit.ActivateCA); e.Actor.Kind != audit.Operator {
			t.Errorf("%+v", e)
		}
	})
}

// TestRotateRefused: what cannot be, and why.
func TestRotateRefused(t *testing.T) {
	w, f := newWorld(t), family{}
	root := w.join(f, rootSetup(t))
	services, https := w.open(config(store.Services)), w.open(config(store.HTTPS))
	retired := config("old")
	w.open(retired)
	retired.row.RetiredAt, retired.row.CreatedAt = epoch, epoch
	w.put(retired.row)
	gone := w.open(retired)
	for name, tt := range map[string]struct {
		a    *Authority
		how  Rotation
		want string
	}{
		"retired":                        {gone, Rotation{}, "retired"},
		"a root when adopted":            {root, Rotation{Begin: store.WhenAdopted}, "nobody has a certificate"},
		"a root that is compromised":     {root, Rotation{Begin: store.AtOnce, Compromised: true}, "add another root"},
		"the daemon's own when adopted":  {https, Rotation{Begin: store.WhenAdopted}, "whenever they connect"},
		"compromised, as usual":          {services, Rotation{Compromised: true}, "a whole span later"},
		"a time for what does not wait":  {services, Rotation{Begin: store.AtOnce, Latest: day}, "waits for hosts"},
		"a time that is over":            {services, Rotation{Begin: store.WhenAdopted, Latest: -day}, "time to wait"},
		"what only activation may be":    {services, Rotation{Begin: store.WhenAdoptedWithdraw}, "begins to sign"},
		"what nobody knows how it means": {services, Rotation{Begin: "soon"}, "begins to sign"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tt.a.Rotate(w.ctx, operator, tt.how); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
			if n := len(tt.a.cas.Load().list); n > 1 {
				t.Errorf("%d generations", n)
			}
		})
	}
	if id := w.rotate(https, Rotation{Begin: store.AtOnce, Compromised: true}); len(id) == 0 || w.signs(https) != 0 {
		t.Errorf("the daemon's own: %x", id)
	}
	if adoption, err := https.Adoption(w.ctx); adoption != nil || err != nil {
		t.Errorf("%+v, %v", adoption, err)
	}
}

// TestActivateOnce: of several who find at the same time that all hosts have it, one is on record.
func TestActivateOnce(t *testing.T) {
	w := newWorld(t)
	first := w.open(config(store.Services))
	w.rotate(first, Rotation{Begin: store.WhenAdopted})
	var all []*Authority
	for range 5 {
		all = append(all, w.open(config(store.Services)))
	}
	done := make(chan error)
	for _, a := range all {
		go func() { done <- a.Maintain(context.WithoutCancel(w.ctx)) }()
	}
	for range all {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	n := 0
	err := w.store.View(w.ctx, func(r store.Reader) error {
		n = 0
		return r.Audit(w.ctx, audit.Filter{Action: audit.ActivateCA}, func(audit.Entry) error {
			n++
			return nil
		})
	})
	if err != nil || n != 1 {
		t.Errorf("activated %d times: %v", n, err)
	}
	for _, a := range all {
		if err := a.reload(w.ctx); err != nil || w.signs(a) != 1 {
			t.Errorf("generation %d signs: %v", w.signs(a), err)
		}
	}
}

// TestTimelineOfRotation tells who has the newest CA certificate, and when it signs at the latest.
func TestTimelineOfRotation(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, key := w.enrol(a, "web")
	w.enrol(a, "mail")
	if line, err := a.Timeline(w.ctx); err != nil || line.Adoption != nil {
		t.Errorf("%+v, %v", line.Adoption, err)
	}
	w.clock.Advance(time.Hour)
	id := w.rotate(a, Rotation{Begin: store.WhenAdopted, Latest: 7 * day})
	if err := w.confirm(a, crt, key, id); err != nil {
		t.Fatal(err)
	}
	line, err := a.Timeline(w.ctx)
	if err != nil || line.Adoption == nil || line.Adoption.Holders != (store.Holders{Seen: 2, Confirmed: 1, Silent: 1}) || line.Adoption.Begin != store.WhenAdopted {
		t.Fatalf("%+v, %v", line.Adoption, err)
	}
	latest := w.clock.Now().Add(7 * day)
	if g := line.Generations[1]; !g.ActiveFrom.Equal(latest) || g.Phase != rollover.Passive || !line.Generations[0].RetiredFrom.Equal(latest) || !line.Adoption.Latest.Equal(latest) {
		t.Errorf("%+v", line.Generations)
	}
	if _, err := a.Activate(w.ctx, operator, false); err != nil {
		t.Fatal(err)
	}
	line, err = a.Timeline(w.ctx)
	if err != nil || !line.Generations[1].ActiveFrom.Equal(w.clock.Now()) || !line.Adoption.Latest.IsZero() {
		t.Errorf("%+v, %v", line, err)
	}
	w.clock.Advance(94 * day)
	if line, err := a.Timeline(w.ctx); err != nil || line.Adoption != nil {
		t.Errorf("long after: %+v, %v", line.Adoption, err)
	}
}
