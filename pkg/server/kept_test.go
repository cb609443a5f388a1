package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
)

// TestKeptAnswersLikeTagged: whatever is asked of an answer that is ready, it is what the standard library makes of the same content.
func TestKeptAnswersLikeTagged(t *testing.T) {
	modified := time.Date(2031, 5, 1, 11, 59, 0, 0, time.UTC)
	contents := map[string][]byte{
		"empty": {}, "small": []byte(strings.Repeat("x", 300)), "one write": bytes.Repeat([]byte{'y'}, maxWrite), "long": bytes.Repeat([]byte{'z'}, 3*maxWrite+1),
	}
	const tag = `"7-1-300"`
	var routes []Route
	for name, content := range contents {
		for _, at := range []time.Time{modified, {}} {
			kept, err := NewKept("text/x", tag, at, bytes.NewReader(content), int64(len(content)))
			if err != nil {
				t.Fatal(err)
			}
			path := strings.ReplaceAll(name, " ", "-")
			if at.IsZero() {
				path += "-undated"
			}
			for way, reply := range map[string]func(x *Exchange) error{
				"kept":   func(x *Exchange) error { return x.ReplyKept(kept) },
				"tagged": func(x *Exchange) error { return x.ReplyTagged("text/x", tag, at, bytes.NewReader(content)) },
			} {
				routes = append(routes, Route{Method: "GET", Path: way + "/" + path, Access: Anyone, Origin: noRule, Head: true,
					Handler: func(x *Exchange) (Perform, error) {
						return func(context.Context, audit.Actor) error { return reply(x) }, nil
					}})
			}
		}
	}
	s := newSite(t, func(cfg *Config) { cfg.FrontEnds = []FrontEnd{&shop{routes: routes}} })
	date := modified.Format(http.TimeFormat)
	ask := func(method, path string, fields []string) (int, http.Header, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.httpAddr+"/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(fields); i += 2 {
			r.Header.Add(fields[i], fields[i+1])
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		response.Header.Del("X-Request-Id")
		return response.StatusCode, response.Header, string(body)
	}
	for _, route := range routes {
		path, isKept := strings.CutPrefix(route.Path, "kept/")
		if !isKept {
			continue
		}
		for _, fields := range [][]string{
			nil,
			{"If-None-Match", tag},
			{"If-None-Match", "W/" + tag},
			{"If-None-Match", "*"},
			{"If-None-Match", `"other"`},
			{"If-None-Match", `"other", ` + tag},
			{"If-None-Match", `"other"`, "If-None-Match", tag},
			{"If-None-Match", ""},
			{"If-None-Match", tag, "If-Modified-Since", date},
			{"If-None-Match", `"other"`, "If-Modified-Since", date},
			{"If-Modified-Since", date},
			{"If-Modified-Since", modified.Add(time.Hour).Format(http.TimeFormat)},
			{"If-Match", `"other"`},
			{"If-Match", `"other"`, "If-None-Match", tag},
			{"If-Unmodified-Since", modified.Add(-time.Hour).Format(http.TimeFormat)},
			{"Range", "bytes=1-2"},
			{"Range", "bytes=1-2", "If-Range", `"other"`},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				status, header, body := ask(method, "kept/"+path, fields)
				wantStatus, wantHeader, wantBody := ask(method, "tagged/"+path, fields)
				if status != wantStatus || body != wantBody || !reflect.DeepEqual(header, wantHeader) {
					t.Errorf("%s %s with %q: %d %v, %d bytes\nwhere it is %d %v, %d bytes", method, path, fields, status, header, len(body),
						wantStatus, wantHeader, len(wantBody))
				}
			}
		}
	}
}
