package updater

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/pemfile"
)

// TestPartialList: a delta CRL that somebody puts beside the complete list, where servers would take it for one, is gone a
// moment later; where the agent must not remove it, it says so.
func TestPartialList(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		_, stop := h.start()
		time.Sleep(time.Minute)
		good := h.read("crl.pem")
		delta := h.daemon.CAS.PartialCRL(h.daemon.CAS.Newest(), 99, time.Now())
		h.write("crl.pem", slices.Concat(good, delta))
		time.Sleep(2 * time.Minute)
		if !bytes.Equal(h.read("crl.pem"), good) {
			t.Error("the delta is still there")
		}
		stop()
		// At its start an agent knows no other lists than those.
		h.write("crl.pem", slices.Concat(delta, good))
		_, stop = h.start()
		time.Sleep(2 * time.Minute)
		if got, partial, err := pemfile.CRLStore(h.job.CRL).LookAtCRLs(); err != nil || len(got) != 1 || len(partial) != 0 {
			t.Errorf("%d lists, %d partial, %v", len(got), len(partial), err)
		}
		stop()
		h.job.CRL = h.path("crls")
		must(t, os.Mkdir(h.job.CRL, 0o755))
		h.write("crls/own.pem", delta)
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		s := h.status(a)
		if s.State != StateBlocked || len(s.CRLs) != 1 || len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Message, "own.pem") || !strings.Contains(s.Problems[0].Message, "delta CRL") {
			t.Errorf("%+v", s)
		}
		must(t, os.Remove(h.path("crls/own.pem")))
		time.Sleep(2 * time.Minute)
		if s := h.status(a); s.State != StateOK {
			t.Errorf("after it was removed: %+v", s)
		}
	})
}
