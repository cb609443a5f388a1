package updater

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"math/big"

	"cauase/pkg/client"
)

// heldLists are the revocation lists that a worker has: what a daemon is to know to tell of newer ones.
type heldLists struct {
	number *big.Int // the highest
	tag    string   // see client.RevalidateCRLs
}

// announceLists says which lists are on disk, for whoever waits for newer ones.
func (w *worker) announceLists(s *snapshot) {
	held := &heldLists{tag: w.known.tag}
	for _, crl := range s.crls {
		if crl.Number != nil && (held.number == nil || crl.Number.Cmp(held.number) > 0) {
			held.number = crl.Number
		}
	}
	old := w.lists.Load()
	if s.crl.state != StoreGood || held.number == nil {
		held = nil
	}
	if old == held || old != nil && held != nil && old.tag == held.tag && old.number.Cmp(held.number) == 0 {
		return
	}
	w.lists.Store(held)
	if w.o.onLists != nil {
		w.o.onLists()
	}
}

// rememberLists remembers lists that were just stored, also across restarts.
func (w *worker) rememberLists(crls []*x509.RevocationList, tag string) {
	w.known.crls, w.known.tag = crls, tag
	lists := &fetchedLists{Tag: tag, Digest: digestOfCRLs(crls)}
	if tag == "" || !lists.plausible() {
		lists = nil
	}
	if old := w.memory.Lists; old == lists || old != nil && lists != nil && *old == *lists {
		return
	}
	w.memory.Lists = lists
	w.save()
}

func digestOfCRLs(crls []*x509.RevocationList) string {
	sum := sha256.New()
	for _, crl := range crls {
		one := sha256.Sum256(crl.Raw)
		sum.Write(one[:])
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// refresh has everything looked at now, whatever has failed before.
func (w *worker) refresh() {
	w.asked.Store(true)
	w.wake()
}

// take hands in lists that the daemon has sent by itself.
func (w *worker) take(served *client.ServedCRLs) {
	w.pushed.Store(served)
	w.wake()
}
