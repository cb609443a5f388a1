package caucase

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// FuzzCookie: any Cookie header can be read, and what we write is read back as it was.
func FuzzCookie(f *testing.F) {
	for _, seed := range []string{
		"", `__Host-cors=""`, `__Host-cors="{\"http://y.example\": \"eyJ\"\054}"`, `a=b; __Host-cors={"x":"y"}`, `__Host-cors="\`, `cors="\37`, "__Host-cors=;__Host-cors=", `a="b;c"; cors=1`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		value, _ := cookieValue([]string{header})
		again, ok := cookieValue([]string{"first=1; __Host-cors=" + quoteCookie(value) + "; last=2"})
		if !ok || again != value {
			t.Errorf("%q came back as %q", value, again)
		}
	})
}

// FuzzCORSKeys: what can be read is written so that it is read again.
func FuzzCORSKeys(f *testing.F) {
	f.Add([]byte("# comment\n\n2031-01-01T00:00:00Z 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"))
	f.Add([]byte("2031-01-01T00:00:00Z\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parseCORSKeys(data)
		if err != nil {
			return
		}
		again, err := parseCORSKeys(encodeCORSKeys(keys))
		if err != nil || len(again) != len(keys) {
			t.Fatalf("%v", err)
		}
		for i := range keys {
			if !again[i].expiry.Equal(keys[i].expiry.Truncate(time.Second)) || string(again[i].secret) != string(keys[i].secret) {
				t.Errorf("key %d changed", i)
			}
		}
	})
}

// FuzzTarget: any path and method gets an answer of ours that is not an internal error.
func FuzzTarget(f *testing.F) {
	s := newSite(f)
	for _, seed := range [][2]string{{"GET", "/"}, {"PUT", "/cas/crt/1"}, {"OPTIONS", "*"}, {"DELETE", "//cas///csr/%31"}, {"POST", "/cors"}, {"get", "/cau/crl/-1"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		r := &http.Request{Method: method, URL: &url.URL{Path: path}, Header: http.Header{}, Body: http.NoBody, RemoteAddr: "192.0.2.1:1"}
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r.WithContext(t.Context()))
		if w.Code >= 500 || w.Header().Get("Date") == "" {
			t.Errorf("%q %q: %d %s", method, path, w.Code, w.Body)
		}
	})
}
