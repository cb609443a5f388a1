package caucase

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"cauase/pkg/audit"
	"cauase/pkg/ledger"
	"cauase/pkg/ledger/ledgertest"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
	"cauase/pkg/witness"
)

// newLogSite is a site with a log.
func newLogSite(t *testing.T) (s *site, log *ledgertest.Log, disputed *int) {
	t.Helper()
	log, disputed = ledgertest.New("key"), new(int)
	s = newSite(t, func(cfg *Config) {
		cfg.Ledger = ledger.New(ledger.Config{
			Source: log, Clock: cfg.Clock, Log: cfg.Log, Disputed: func() { *disputed++ },
			Record: func(ctx context.Context, actor audit.Actor, d ledger.Dispute) (bool, error) {
				return ledger.RecordIn(s.Store)(ctx, actor, d)
			},
		})
	})
	return s, log, disputed
}

func raw(hashes []merkle.Hash) [][]byte {
	var list [][]byte
	for _, h := range hashes {
		list = append(list, h[:])
	}
	return list
}

func (s *site) grow(log *ledgertest.Log, n int) {
	for range n {
		log.Append(s.Clock.Now(), "cas", "crt.sign", nil)
	}
}

// trusted vouches by the CAs of services.
func (s *site) trusted() witness.Vouching {
	s.t.Helper()
	cas, err := s.Services.CACertificates(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return witness.Vouching{CAs: cas, At: s.Clock.Now()}
}

// What goes over the wire is proved to an implementation that shares nothing with ours.
func TestLogOverTheWire(t *testing.T) {
	s, log, disputed := newLogSite(t)
	crt, _ := s.issue(s.Services)
	s.grow(log, 3)
	log.Append(s.Clock.Now(), "cas", "crt.sign", crt.Leaf.Raw)
	roots := map[int64]merkle.Hash{}
	c := s.client(nil)
	for size := int64(4); size < 600; size += 1 + size/3 {
		s.grow(log, int(size-log.Size()))
		head := log.Head(0)
		roots[size] = head.Root
		for from, root := range roots {
			got := s.do(c, http.MethodGet, fmt.Sprintf("http:/cas/log/checkpoint?size=%d&root=%s", from, base64.URLEncoding.EncodeToString(root[:])), "")
			answer, err := witness.ParseAnswer([]byte(got.body))
			if err != nil || got.StatusCode != 200 || got.Header.Get("Cache-Control") != "no-store" {
				t.Fatal(got.Status, err, got.body)
			}
			verified, err := answer.Verify(s.trusted(), from)
			if err != nil || verified.Size != size || verified.Root != head.Root {
				t.Fatalf("%+v, %v", verified, err)
			}
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(from), uint64(size), raw(answer.Consistency), root[:], head.Root[:]); err != nil {
				t.Errorf("%d to %d: %v", from, size, err)
			}
		}
		digest := sha256.Sum256(crt.Leaf.Raw)
		for at := range roots {
			got := s.do(c, http.MethodGet, fmt.Sprintf("http:/cas/log/proof?digest=%x&size=%d", digest, at), "")
			p, err := witness.ParseProof([]byte(got.body))
			if err != nil || got.StatusCode != 200 || p.Index != 3 || p.Size != at {
				t.Fatal(got.Status, err, got.body)
			}
			root := roots[at]
			leaf := rfc6962.DefaultHasher.HashLeaf([]byte(p.Leaf))
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, 3, uint64(at), leaf, raw(p.Inclusion), root[:]); err != nil {
				t.Errorf("at %d: %v", at, err)
			}
		}
		got := s.do(c, http.MethodGet, fmt.Sprintf("http:/cas/log/proof?digest=%x", digest), "")
		p, err := witness.ParseProof([]byte(got.body))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Verify(s.trusted(), crt.Leaf.Raw); err != nil {
			t.Error(err)
		}
		if _, err := p.Verify(s.trusted(), append(crt.Leaf.Raw, 0)); err == nil {
			t.Error("proof for another certificate")
		}
		again := s.do(c, http.MethodGet, fmt.Sprintf("http:/cas/log/proof?digest=%x", digest), "", "If-None-Match", got.Header.Get("ETag"))
		if again.StatusCode != http.StatusNotModified {
			t.Error(again.Status)
		}
	}
	if *disputed != 0 {
		t.Error("disputed")
	}
}

// What makes no sense is refused, and strangers learn nothing that they have not.
func TestLogRefuses(t *testing.T) {
	s, log, disputed := newLogSite(t)
	c := s.client(nil)
	crt, _ := s.issue(s.Services)
	digest := sha256.Sum256(crt.Leaf.Raw)
	if got := s.do(c, http.MethodGet, "http:/cas/log/checkpoint", ""); got.StatusCode != 503 || !strings.Contains(got.body, "no checkpoint") {
		t.Error(got.Status, got.body)
	}
	s.grow(log, 5)
	log.Append(s.Clock.Now(), "cas", "crt.sign", crt.Leaf.Raw)
	zero := base64.URLEncoding.EncodeToString(make([]byte, 32))
	for target, status := range map[string]int{
		"/cas/log/checkpoint":                                     200,
		"/cau/log/checkpoint":                                     200,
		"/cas/log/checkpoint?size=6":                              200,
		"/cas/log/checkpoint?size=0":                              200,
		"/cas/log/checkpoint?size=7":                              200,
		"/cas/log/checkpoint?size=281474976710656":                200,
		"/cas/log/checkpoint?size=281474976710657":                400,
		"/cas/log/checkpoint?size=-1":                             400,
		"/cas/log/checkpoint?size=+1":                             400,
		"/cas/log/checkpoint?size=0x1":                            400,
		"/cas/log/checkpoint?size=":                               400,
		"/cas/log/checkpoint?size=1&size=1":                       400,
		"/cas/log/checkpoint?size=99999999999999999999999":        400,
		"/cas/log/checkpoint?root=" + zero:                        400,
		"/cas/log/checkpoint?size=1&root=AAAA":                    400,
		"/cas/log/checkpoint?size=1&root=" + zero:                 200,
		"/cas/log/checkpoint?size=%zz":                            400,
		"/cas/log/proof":                                          400,
		"/cas/log/proof?digest=00":                                400,
		"/cas/log/proof?digest=" + strings.Repeat("00", 32):       404,
		"/cas/log/proof?digest=" + strings.Repeat("zz", 32):       400,
		fmt.Sprintf("/cas/log/proof?digest=%x", digest):           200,
		fmt.Sprintf("/cau/log/proof?digest=%x", digest):           404, // it is not of that authority
		fmt.Sprintf("/cas/log/proof?digest=%x&size=6", digest):    200,
		fmt.Sprintf("/cas/log/proof?digest=%x&size=5", digest):    404, // it was not in it then
		fmt.Sprintf("/cas/log/proof?digest=%x&size=7", digest):    404,
		fmt.Sprintf("/cas/log/proof?digest=%x&size=0", digest):    400,
		fmt.Sprintf("/cas/log/proof?digest=%x&digest=00", digest): 400,
		"/cas/log":              405,
		"/log/checkpoint":       404,
		"/https/log/checkpoint": 404,
	} {
		if got := s.do(c, http.MethodGet, "http:"+target, ""); got.StatusCode != status {
			t.Errorf("%s: %s, want %d: %s", target, got.Status, status, got.body)
		}
	}
	if got := s.do(c, http.MethodPut, "http:/cas/log/checkpoint", ""); got.StatusCode != 405 {
		t.Error(got.Status)
	}
	if *disputed != 0 {
		t.Error("disputed")
	}
}

// A host that has seen another log under our signature is evidence against ours: it is told of once, whoever shows it however often.
// What is not signed by our key, anybody can make up.
func TestLogDisputed(t *testing.T) {
	s, log, disputed := newLogSite(t)
	c := s.client(nil)
	s.grow(log, 20)
	honest := log.Clone()
	entries := func() (n int) {
		t.Helper()
		err := s.Store.View(t.Context(), func(r store.Reader) error {
			return r.Audit(t.Context(), audit.Filter{Action: audit.DisputeLog}, func(audit.Entry) error { n++; return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	show := func(of *ledgertest.Log) answer {
		t.Helper()
		h := of.Head(0)
		return s.do(c, http.MethodGet, fmt.Sprintf("http:/cas/log/checkpoint?size=%d&root=%s", h.Size, base64.URLEncoding.EncodeToString(h.Root[:])), "",
			witness.HeaderCheckpoint, base64.StdEncoding.EncodeToString([]byte(h.Signed)))
	}
	if got := show(honest); got.StatusCode != 200 || *disputed != 0 {
		t.Fatal(got.Status, *disputed)
	}
	log.Rewrite(7, s.Clock.Now())
	s.grow(log, 3)
	for range 5 {
		if got := show(honest); got.StatusCode != 200 {
			t.Fatal(got.Status, got.body)
		}
	}
	if *disputed != 5 || entries() != 1 || strings.Count(s.log.String(), "another log under our signature") != 1 {
		t.Errorf("%d, %d entries\n%s", *disputed, entries(), s.log)
	}
	// Signed by somebody else, or of another size than it says.
	other := ledgertest.New("somebody else")
	s.grow(other, 30)
	show(other)
	h := honest.Head(0)
	got := s.do(c, http.MethodGet, fmt.Sprintf("http:/cas/log/checkpoint?size=%d", h.Size-1), "", witness.HeaderCheckpoint, base64.StdEncoding.EncodeToString([]byte(h.Signed)))
	if got.StatusCode != 400 {
		t.Error(got.Status)
	}
	for _, bad := range []string{"!", "AAAA", base64.StdEncoding.EncodeToString(make([]byte, 9000))} {
		if got := s.do(c, http.MethodGet, "http:/cas/log/checkpoint?size=1", "", witness.HeaderCheckpoint, bad); got.StatusCode != 400 {
			t.Error(bad[:4], got.Status)
		}
	}
	if *disputed != 5 {
		t.Error("strangers count")
	}
	// Longer than ours, as after an old copy of the database was put in place.
	longer := honest.Clone()
	for range 40 {
		s.grow(longer, 9)
		show(longer)
	}
	if n := entries(); n < 2 || n > 16 {
		t.Errorf("%d entries", n)
	}
	err := s.Store.View(t.Context(), func(r store.Reader) error {
		all, err := ledger.Disputes(t.Context(), r, s.Clock.Now())
		if len(all) != entries() || all[0].Size != 20 || all[0].OurRoot == "" || all[1].OurRoot != "" {
			t.Errorf("%+v", all)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// What a declared restore has left out is no evidence.
	*disputed = 0
	s.grow(honest, 30)
	log.Replace(honest)
	log.Restore(25, s.Clock.Now())
	s.grow(log, 1)
	show(honest)
	if *disputed != 0 {
		t.Error("of before the restore")
	}
}

// The CA vouches for the log's key across rollovers, once for each: anybody may ask, and the CA's key is not to be kept busy.
func TestLogStatement(t *testing.T) {
	s, log, _ := newLogSite(t)
	c := s.client(nil)
	s.grow(log, 2)
	statement := func() string {
		t.Helper()
		got := s.do(c, http.MethodGet, "http:/cas/log/checkpoint", "")
		var a struct{ Statement json.RawMessage }
		if err := json.Unmarshal([]byte(got.body), &a); err != nil || got.StatusCode != 200 {
			t.Fatal(got.Status, got.body)
		}
		return string(a.Statement)
	}
	first := statement()
	s.grow(log, 2)
	if statement() != first {
		t.Error("signed anew")
	}
	log.SetKey("second")
	second := statement()
	if second == first || statement() != second {
		t.Error("not about the new key")
	}
	before, err := s.Services.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(2*testSpan + time.Hour)
	if statement() != second { // there is a successor, which does not sign yet
		t.Error("signed anew")
	}
	s.Clock.Advance(testSpan + time.Hour)
	third := statement()
	if third == second {
		t.Error("not by the new CA")
	}
	a := witness.Answer{Checkpoint: string(log.Signed()), Statement: []byte(third)}
	if _, err := a.Verify(witness.Vouching{CAs: before, At: s.Clock.Now()}, 0); err == nil {
		t.Error("by the old CA")
	}
	if _, err := a.Verify(s.trusted(), 0); err != nil {
		t.Error(err)
	}
}
