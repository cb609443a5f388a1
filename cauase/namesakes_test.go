package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// Whoever is about to sign is warned of certificates that have the names already, and told when there are more.
func TestNamesakesAreWarnedOf(t *testing.T) {
	until := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		view requestView
		want []string
	}{
		"one":          {requestView{Namesakes: []namesakeView{{"7", "CN=web", until, "*.web.example"}}}, []string{"WARNING", "CN=web has a valid certificate for *.web.example until 2026-05-01", "lineage 7"}},
		"no subject":   {requestView{Namesakes: []namesakeView{{"7", "", until, "web.example"}}}, []string{"- has a valid certificate for web.example"}},
		"other daemon": {requestView{Namesakes: []namesakeView{{"7", "CN=web", until, ""}}}, []string{"CN=web has a valid certificate until"}},
		"more":         {requestView{Namesakes: []namesakeView{{"7", "CN=web", until, "a"}}, MoreNamesakes: true}, []string{"and more have a name of it"}},
		"only more":    {requestView{MoreNamesakes: true}, []string{"not all were looked at"}},
	} {
		var out bytes.Buffer
		(&printer{w: &out}).request(test.view)
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q lacks %q", name, out.String(), want)
			}
		}
	}
	var out bytes.Buffer
	(&printer{w: &out}).request(requestView{})
	if strings.Contains(out.String(), "WARNING") {
		t.Errorf("%q", out.String())
	}
}
