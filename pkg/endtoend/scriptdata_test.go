package endtoend

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // for the command sql
)

// json PATH REGEXP reads stdout as JSON, follows PATH (.name and .0 steps) and matches what
// is there; json PATH -> NAME sets a variable to it. The length of a list is its .len.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	var value any
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	d.UseNumber()
	ts.Check(d.Decode(&value))
	if d.More() {
		ts.Fatalf("stdout holds more than one JSON value")
	}
	for _, step := range strings.Split(strings.Trim(args[0], "."), ".") {
		if step == "" {
			continue
		}
		next, err := follow(value, step)
		if err != nil {
			ts.Fatalf("%s at %q: %v", args[0], step, err)
		}
		value = next
	}
	text, ok := value.(string)
	if !ok {
		var out bytes.Buffer
		ts.Check(json.NewEncoder(&out).Encode(value))
		text = strings.TrimSpace(out.String())
	}
	if len(args) == 3 && args[1] == "->" {
		ts.Setenv(args[2], text)
		return
	}
	if matches(ts, args[1], text) == neg {
		ts.Fatalf("%s is %s", args[0], text)
	}
}

func follow(value any, step string) (any, error) {
	switch v := value.(type) {
	case map[string]any:
		if next, ok := v[step]; ok {
			return next, nil
		}
		return nil, fmt.Errorf("no such member")
	case []any:
		if step == "len" {
			return json.Number(strconv.Itoa(len(v))), nil
		}
		if i, err := strconv.Atoi(step); err == nil && i < len(v) {
			return v[i], nil
		}
		return nil, fmt.Errorf("no such element of %d", len(v))
	}
	return nil, fmt.Errorf("%T has no parts", value)
}

// make KIND FILE writes a file that openssl would not make, see makers.
func cmdMake(ts *testscript.TestScript, neg bool, args []string) {
	makeFile, ok := makers[args[0]]
	if !ok || len(args) != 2 {
		ts.Fatalf("usage: make KIND FILE; no kind %q", args[0])
	}
	data, err := makeFile()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

// serve html|redirect|junk|close puts a server that is no authority in the daemon's place;
// serve stop removes it.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	s := stateOf(ts)
	answers := map[string]http.HandlerFunc{
		"html": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<!DOCTYPE html><title>Please log in</title>")
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		"junk":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "\x1b[2Jhello\x07") },
		"hostile": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "go \x1b[31maway\x1b[0m \u202e now")
		},
		"close": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	if args[0] == "stop" {
		if s.close != nil {
			s.close()
			s.close = nil
		}
		return
	}
	s.answer.Store(answers[args[0]])
	if s.close != nil {
		return // it keeps its port: somebody else might take it in between
	}
	l, err := net.Listen("tcp", ts.Getenv("NETLOC"))
	ts.Check(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.answer.Load().(http.HandlerFunc)(w, r)
	})}
	go func() { _ = server.Serve(l) }()
	s.close = func() { _ = server.Close() }
}

// sql DB STATEMENT runs one statement on a SQLite database nobody has open.
func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.Exec(args[1])
	ts.Check(err)
	ts.Check(db.Close())
}

// raw METHOD PATH STATUS [FILE] sends a request to the daemon's HTTP port and checks the
// status of the answer.
func cmdRaw(ts *testscript.TestScript, neg bool, args []string) {
	var body []byte
	if len(args) == 4 {
		body = []byte(ts.ReadFile(args[3]))
	}
	req, err := http.NewRequest(args[0], ts.Getenv("URL")+args[1], bytes.NewReader(body))
	ts.Check(err)
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	if strconv.Itoa(resp.StatusCode) != args[2] {
		ts.Fatalf("%s %s: %s, want %s", args[0], args[1], resp.Status, args[2])
	}
}
