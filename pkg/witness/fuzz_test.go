package witness_test

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"cauase/pkg/testkit/pkitest"
	"cauase/pkg/witness"
)

// FuzzAnswers: whatever a daemon says, it is taken apart or refused, and nothing of it is believed that no CA vouches for.
func FuzzAnswers(f *testing.F) {
	l := grown(3)
	f.Add([]byte(`{"checkpoint":"x","statement":{}}`), int64(0))
	f.Add([]byte(`{"checkpoint":"x","consistency":["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],"statement":null}`), int64(7))
	f.Add([]byte(`{"leaf":"{}","index":1,"size":2,"inclusion":[],"checkpoint":"`+"x"+`","statement":{"payload":"{}","digest":"sha256","signature":"AA=="}}`), int64(1))
	good, err := witness.Answer{Checkpoint: string(l.Signed()), Statement: []byte(`{"payload":"{\"log_key\":\"x\",\"log_epochs\":[]}","digest":"sha256","signature":"AA=="}`)}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, int64(2))
	ca := pkitest.NewCA(f, "CA", start, start.Add(1000*time.Hour))
	by := witness.Vouching{CAs: []*x509.Certificate{ca.Crt}, At: start.Add(time.Hour)}
	f.Fuzz(func(t *testing.T, data []byte, from int64) {
		if a, err := witness.ParseAnswer(data); err == nil {
			if _, err := a.Verify(by, from); !errors.Is(err, witness.ErrAnswer) {
				t.Errorf("believed: %v", err)
			}
		} else if !errors.Is(err, witness.ErrAnswer) {
			t.Error(err)
		}
		if p, err := witness.ParseProof(data); err == nil {
			if _, err := p.Verify(by, data); !errors.Is(err, witness.ErrAnswer) {
				t.Errorf("believed: %v", err)
			}
		} else if !errors.Is(err, witness.ErrAnswer) {
			t.Error(err)
		}
		if _, err := witness.ParseSavedProof(data); err != nil && !errors.Is(err, witness.ErrAnswer) {
			t.Error(err)
		}
	})
}

// FuzzState: a file is a state, written as we write it, or damaged.
func FuzzState(f *testing.F) {
	l := grown(3)
	s := witness.First(l.Head(0), start)
	text, err := s.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := witness.ParseState(data)
		if err != nil {
			if !errors.Is(err, witness.ErrDamaged) {
				t.Error(err)
			}
			return
		}
		again, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := witness.ParseState(again); err != nil || !back.Same(s) {
			t.Errorf("%v\n%s", err, again)
		}
	})
}
