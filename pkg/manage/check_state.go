package manage

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/logkey"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/token"
)

// counters are those that authorities keep.
func counters() []string {
	return []string{store.CounterCRLNumber, store.CounterReceivedCSR, store.CounterPruned, store.CounterRefusedAuto, store.CounterCA, store.CounterImportedCRL, store.CounterListed}
}

func counter(v store.Counter) []problem {
	switch {
	case v.Value < 0:
		return []problem{errorf("it is negative: %d", v.Value)}
	case v.Authority == "" && v.Name == store.CounterAuthorities:
		return nil
	}
	if v.Authority == "" && v.Name == store.CounterAuthorities {
		return nil
	}
	for _, name := range counters() {
		if v.Name == name && v.Authority != "" {
			return nil
		}
	}
	return []problem{warningf("this version does not know it")}
}

func (c *checker) setting(v store.Setting) []problem {
	if keyID, list, ok, err := ca.ExternalList(v.Name, v.Value); ok {
		return c.externalList(v.Authority, keyID, list, err)
	}
	if strings.HasPrefix(v.Name, store.SettingConsents) {
		if _, err := ca.ParseConsents(v.Value); err != nil {
			return []problem{errorf("%v", err)}
		}
		return nil
	}
	switch v.Name {
	case store.SettingAutoApprove:
		if _, err := store.ParseCount(v.Value); err != nil {
			return []problem{errorf("%.40q is not a number of requests", v.Value)}
		}
	case store.SettingMaxUsers:
		if _, err := store.ParseCount(v.Value); err != nil {
			return []problem{errorf("%.40q is not a number of users", v.Value)}
		}
	case store.SettingNextKeyType:
		if _, err := pki.ParseKeyType(v.Value); err != nil {
			return []problem{errorf("%.40q is not a type of key", v.Value)}
		}
	case store.SettingKeyPlace:
		uri, err := token.Parse(v.Value)
		if err == nil {
			err = token.CheckPlace(uri)
		}
		if err != nil {
			return []problem{errorf("no new CA key can be made: %v", err)}
		}
	case store.SettingStrictFollower:
		if _, err := ca.ParseStrictFollower(v.Value); err != nil {
			return []problem{errorf("%v: no new CA certificate can be made", err)}
		}
	case store.SettingCORSKeys, store.SettingBackupClaim, store.SettingNetloc, store.SettingOutboxLease, store.SettingLogStatement:
		// Whoever uses them makes them anew when they cannot be read.
	case store.SettingInvitationsSince:
		if _, err := time.Parse(time.RFC3339, v.Value); err != nil {
			return []problem{errorf("%.40q is not a time: no invitation is accepted", v.Value)}
		}
	case store.SettingRestored:
		if _, err := ca.ParseForgetting(v.Value); err != nil {
			return []problem{errorf("%v: hosts are not asked for what was forgotten", err)}
		}
	case store.SettingBackupLast, store.SettingFirstUser, store.SettingLogDisputes:
		if !json.Valid([]byte(v.Value)) {
			return []problem{warningf("it cannot be read")}
		}
	case logkey.Setting:
		if _, err := logkey.Parse(v.Value); err != nil {
			return []problem{errorf("%v: no checkpoint of the audit log can be signed", err)}
		}
	default:
		return []problem{warningf("this version does not know it")}
	}
	return nil
}

// invitation checks what is known of an invitation.
func (c *checker) invitation(v store.Invitation) []problem {
	problems := append(c.notFuture("when it was made", v.MadeAt), c.notFuture("when it was withdrawn", v.VoidedAt)...)
	switch known := v.Uses > 0; {
	case v.ID == "":
		problems = append(problems, errorf("it has no id"))
	case known && v.Used > v.Uses:
		problems = append(problems, errorf("it was used %d times, and is good for %d", v.Used, v.Uses))
	case !known && v.Used > 0:
		problems = append(problems, errorf("it was used, and nothing says how often it may be"))
	case !known && v.VoidedAt.IsZero():
		problems = append(problems, warningf("nothing is known of it"))
	}
	return problems
}

// revocation checks a revocation by itself, and adds it to the list that is to be verified.
func (c *checker) revocation(v store.Revocation) []problem {
	problems := c.notFuture("its time", v.RevokedAt)
	if v.KeepUntil.Before(v.RevokedAt) {
		problems = append(problems, warningf("it is kept until %s, before it was made", v.KeepUntil.Format(time.RFC3339)))
	}
	t := c.tally(v.Authority)
	if _, err := pki.ParseReason(pki.ReasonName(v.Reason)); err != nil {
		problems = append(problems, errorf("there is no reason %d", v.Reason))
	}
	if !t.listed || t.broken {
		return problems
	}
	entries, err := t.entries.Append(v.Serial.Bytes(), v.RevokedAt, v.Reason)
	if err != nil {
		t.broken = true
		return append(problems, errorf("no list can hold it: %v", err))
	}
	t.entries = entries
	return problems
}

// revokedCertificate compares a revocation with its certificate.
func revokedCertificate(v store.Revocation, crt store.Certificate) (problems []problem) {
	if v.KeyID != nil && !bytes.Equal(v.KeyID, crt.KeyID) {
		problems = append(problems, errorf("it names another key than certificate %d has", crt.ID))
	}
	if v.KeyID == nil && v.Reason == store.KeyCompromise {
		problems = append(problems, warningf("it does not name the compromised key, that of certificate %d: it could be certified again", crt.ID))
	}
	if v.KeepUntil.Before(crt.NotAfter) {
		problems = append(problems, errorf("it is kept until %s, and certificate %d is valid until %s",
			v.KeepUntil.Format(time.RFC3339), crt.ID, crt.NotAfter.Format(time.RFC3339)))
	}
	return problems
}

// rememberCRL remembers a list until the revocations have been read.
func (c *checker) rememberCRL(v store.CRL) []problem {
	c.crls = append(c.crls, v)
	t := c.tally(v.Authority)
	t.listed = t.listed || t.current(v)
	return nil
}

// current reports whether the entries of a list are the revocations as they are now. An older one,
// which has to be made anew, cannot be verified any more.
func (t *tally) current(v store.CRL) bool {
	return v.Number == t.counters[store.CounterCRLNumber] && v.Pruned == t.counters[store.CounterPruned]
}

// crl checks a list, after all revocations have been read.
func (c *checker) crl(v store.CRL) (problems []problem) {
	t := c.tally(v.Authority)
	add := func(p problem) { problems = append(problems, p) }
	if last := t.counters[store.CounterCRLNumber]; v.Number > last || v.Number < 1 {
		add(errorf("its number is %d, and the last one given out %d", v.Number, last))
	}
	if last := t.counters[store.CounterPruned]; v.Pruned > last || v.Pruned < 0 {
		add(errorf("%d batches of old entries were dropped before it was made, and %d to this day", v.Pruned, last))
	}
	if !v.NextUpdate.After(v.ThisUpdate) {
		add(errorf("it ends at %s, before it begins", v.NextUpdate.Format(time.RFC3339)))
	}
	problems = append(problems, c.notFuture("its time", v.ThisUpdate)...)
	ca := c.cas[caRef{v.Authority, v.CAID}]
	switch {
	case ca == nil:
		add(errorf("its authority has no CA %d", v.CAID))
	case ca.crt != nil && t.current(v) && !t.broken:
		_, err := pki.AssembleCRL(pki.CRLTemplate{Issuer: ca.crt, Number: v.Number,
			ThisUpdate: v.ThisUpdate, NextUpdate: v.NextUpdate, Entries: t.entries.Octets()}, v.Signature)
		if err != nil {
			add(errorf("its signature is not one of CA %d over the revocations there are: %v", v.CAID, err))
		}
	}
	return problems
}

// compareCounters compares the counters of an authority with its rows.
func (c *checker) compareCounters(t *tally) (problems []problem) {
	if n := t.counters[store.CounterCA]; n < int64(len(t.cas)) {
		problems = append(problems, errorf("counter %s is %d, and there are %d CAs", store.CounterCA, n, len(t.cas)))
	}
	switch n := t.counters[store.CounterReceivedCSR]; {
	case n < t.pending:
		problems = append(problems, errorf("counter %s is %d, and %d requests are pending", store.CounterReceivedCSR, n, t.pending))
	case n < t.pending+t.signed:
		problems = append(problems, warningf("counter %s is %d, and there are %d requests, pending or signed: more may be approved without asking than should be",
			store.CounterReceivedCSR, n, t.pending+t.signed))
	}
	return problems
}
