package caucase

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"cauase/pkg/envelope"
	"cauase/pkg/store"
)

// longSuccession is an authority with so many generations.
type longSuccession struct {
	Core
	links int
}

func (l longSuccession) Succession(context.Context) (links [][]byte, err error) {
	for i := range l.links {
		links = append(links, fmt.Appendf(nil, `{"payload": "%d", "digest": null}`, i))
	}
	return links, nil
}

// Short spans make many generations. Of their links only so many are served as a client reads, the newest.
func TestLongChain(t *testing.T) {
	const links = envelope.MaxList + 5
	s := newSite(t, func(c *Config) { instead(c, longSuccession{named(c, store.Services), links}) })
	got := s.do(http.DefaultClient, http.MethodGet, "http:/cas/crt/ca.crt.json", "")
	list, err := envelope.ParseList([]byte(got.body))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != envelope.MaxList || string(list[len(list)-1].Payload()) != fmt.Sprint(links-1) {
		t.Errorf("%d links, the last is %s", len(list), list[len(list)-1].Payload())
	}
}
