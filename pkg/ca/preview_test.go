package ca

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// What is foretold of a request is what is signed.
func TestPreviewIsWhatIsSigned(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.Profiles, cfg.row.Profiles = profiles(t), []string{"web", "short", "long", "marked", "server", "email"}
	a := w.open(cfg)
	usage := pkix.Extension{Id: []int{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 1, 0x86}} // with keyCertSign
	asked := x509.CertificateRequest{Subject: pkix.Name{CommonName: "web"}, DNSNames: []string{"web.example.org"}, ExtraExtensions: []pkix.Extension{usage}}
	previewOf := func(id int64, how Approval) Preview {
		t.Helper()
		req, err := a.Request(w.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Preview(w.ctx, how, req, req)
		if err != nil || len(got) != 2 {
			t.Fatalf("%d previews, error %v", len(got), err)
		}
		return got[0]
	}
	for name, c := range map[string]struct {
		profile string
		how     Approval
	}{
		"as requested":         {"", Approval{}},
		"by its profile":       {"marked", Approval{}},
		"by another":           {"web", Approval{Profile: "marked"}},
		"by a shorter one":     {"", Approval{Profile: "short"}},
		"for longer":           {"long", Approval{Validity: 8 * 365 * 24 * time.Hour}},
		"for a minute":         {"", Approval{Validity: time.Minute}},
		"beyond the CA's life": {"long", Approval{Validity: 10 * 365 * 24 * time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			id := w.submitted(a, csrFor(t, newKey(t), asked), c.profile).ID
			preview := previewOf(id, c.how)
			if preview.Problem != nil {
				t.Fatal(preview.Problem)
			}
			issued, err := a.Approve(w.ctx, alice, id, c.how)
			if err != nil {
				t.Fatal(err)
			}
			crt := issued.Certificate
			if string(crt.RawSubject) != string(preview.Subject) || !crt.NotAfter.Equal(w.clock.Now().Add(preview.Validity).Truncate(time.Second)) || w.recorded(a, crt).Profile != preview.Profile {
				t.Errorf("%+v, but signed was %s until %s as %s", preview, pki.SubjectString(crt.RawSubject), crt.NotAfter, w.recorded(a, crt).Profile)
			}
			// What every certificate of the authority has: constraints, key identifiers, pointer to the list.
			always := []string{"2.5.29.19", "2.5.29.14", "2.5.29.35", "2.5.29.31"}
			rest := slices.DeleteFunc(slices.Clone(crt.Extensions), func(e pkix.Extension) bool { return slices.Contains(always, e.Id.String()) })
			if !slices.EqualFunc(rest, preview.Extensions, func(a, b pkix.Extension) bool {
				return a.Id.Equal(b.Id) && a.Critical == b.Critical && string(a.Value) == string(b.Value)
			}) {
				t.Errorf("foretold were %v, signed %v", preview.Extensions, rest)
			}
			if after := previewOf(id, Approval{Profile: "none"}); after.Problem == nil {
				t.Error("a profile that there is not")
			}
		})
	}
	id := w.submitted(a, csrFor(t, newKey(t), asked), "").ID
	for _, how := range []Approval{{Profile: "none"}, {Validity: 200 * 365 * 24 * time.Hour}, {Profile: "email"}} {
		_, err := a.Approve(w.ctx, alice, id, how)
		if preview := previewOf(id, how); preview.Problem == nil || err == nil || preview.Problem.Error() != err.Error() {
			t.Errorf("foretold was %v, and happens %v", preview.Problem, err)
		}
	}
}
