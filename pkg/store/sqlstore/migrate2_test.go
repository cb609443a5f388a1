package sqlstore

import (
	"bytes"
	"context"
	"testing"
	"time"

	"cauase/pkg/store"
)

func layout2() releasedLayout {
	l := releasedLayout{name: "layout2", tables: layout1().with(map[string]string{"authority": "name", "signoff": "authority, id"})}
	l.check = func(t *testing.T, r released, old map[string][]record) {
		t.Helper()
		l.same(t, r, old)
		r.view(t, func(ctx context.Context, s store.Reader) error {
			checkLineages(ctx, t, s, old["certificate"])
			return nil
		})
	}
	return l
}

// firstOf is the id of the first certificate that one descends from.
func firstOf(all []record, crt record) any {
	for _, other := range all {
		renews, _ := crt["renews"].([]byte)
		if renews != nil && other["authority"] == crt["authority"] && bytes.Equal(other["serial"].([]byte), renews) {
			return firstOf(all, other)
		}
	}
	return crt["id"]
}

// checkLineages checks that each first certificate has a lineage, and that it names the newest certificate.
func checkLineages(ctx context.Context, t *testing.T, s store.Reader, certificates []record) {
	t.Helper()
	type key struct {
		authority string
		id        int64
	}
	count, newest := map[key]int64{}, map[key]record{}
	for _, crt := range certificates {
		k := key{crt["authority"].(string), firstOf(certificates, crt).(int64)}
		count[k]++
		newest[k] = crt
	}
	renewed := 0
	for k, n := range count {
		l, err := s.Lineage(ctx, store.AuthorityName(k.authority), k.id)
		if err != nil {
			t.Errorf("%s, lineage %d: %v", k.authority, k.id, err)
			continue
		}
		_, err = s.Revocation(ctx, l.Authority, fromSerial(newest[k]["serial"].([]byte)))
		if ended := l.State != store.LineageActive; ended != (err == nil) || l.Renewals != n-1 || (l.Role != "") != (k.authority == "cau" && !ended) ||
			!bytes.Equal(l.Newest.Bytes(), newest[k]["serial"].([]byte)) {
			t.Errorf("%d certificates, revoked: %v, have lineage %+v", n, err == nil, l)
		}
		if n > 1 {
			renewed++
		}
	}
	if renewed == 0 {
		t.Error("there was nothing that renews another")
	}
	if err := s.LineageFaults(ctx, time.Now(), func(f store.LineageFault) error { t.Errorf("%+v", f); return nil }); err != nil {
		t.Error(err)
	}
}
