package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/testkit/pkitest"
)

// completes returns what is offered behind a command line, whose last word is at work and may be empty.
func (s *shell) completes(words ...string) []string {
	s.Helper()
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), environment{
		args: append(append([]string{"cauase"}, words...), "--generate-bash-completion"), stdout: &stdout, stderr: &stderr, clock: s.daemon.Clock,
		prompt: func(text string) ([]byte, error) {
			s.Errorf("asks %q", text)
			return nil, os.ErrInvalid
		},
	})
	if code != 0 || stderr.String() != "" {
		s.Errorf("%q: exit %d, %s", words, code, stderr.String())
	}
	lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
	return slices.DeleteFunc(lines, func(line string) bool { return line == "" || line == ":files" })
}

// The ids of pending requests are completed, with what they are for, from a daemon that is trusted already.
func TestCompletionOfPendingRequests(t *testing.T) {
	defer func(limit time.Duration) { completionLimit = limit }(completionLimit)
	completionLimit = time.Minute
	s := newShell(t)
	s.admin()
	for _, name := range []string{"a", "b"} {
		s.write(name+".csr", pkitest.NamedRequest(t, pkitest.Key(t), name))
		s.ok("csr send " + name + ".csr")
	}
	// Nobody is trusted because somebody completes a command line.
	before := s.files()
	if got := s.completes("csr", "show", ""); len(got) != 0 || !slices.Equal(s.files(), before) {
		t.Errorf("on first contact: %q, files %v", got, s.files())
	}
	s.ok("csr list")
	before = s.files()
	both := []string{"1001\tCN=b", "1000\tCN=a"}
	for _, test := range []struct {
		words []string
		want  []string
	}{
		{[]string{"csr", "show", ""}, both},
		{[]string{"csr", "get", "10"}, both},
		{[]string{"csr", "sign", "1000"}, []string{"1000\tCN=a"}},
		{[]string{"csr", "sign", "1000", ""}, []string{"1001\tCN=b"}},
		{[]string{"csr", "reject", "--reason", "no", ""}, both},
		{[]string{"crt", "get", ""}, both},
		{[]string{"crt", "get", "1000", ""}, nil},
		{[]string{"csr", "show", "2"}, nil},
		{[]string{"csr", "show", "--json", "--mode", "user", ""}, nil},
		{[]string{"--user-key", "nowhere.pem", "csr", "show", ""}, nil},
		{[]string{"--user-key=", "csr", "show", ""}, nil},
		{[]string{"csr", "show", "--ca-url", "http://127.0.0.1:1", ""}, nil},
		{[]string{"csr", "show", "--threshold", "x", ""}, nil},
		{[]string{"csr", "list", ""}, nil},
		{[]string{"csr", "send", ""}, nil},
	} {
		if got := s.completes(test.words...); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.words, got, test.want)
		}
	}
	if !slices.Equal(s.files(), before) {
		t.Errorf("files %v, before %v", s.files(), before)
	}
	// A daemon that does not answer is not waited for.
	wait := make(chan struct{})
	s.daemon.Intercept(func(http.ResponseWriter, *http.Request) bool {
		<-wait
		return false
	})
	completionLimit = 50 * time.Millisecond
	if got := s.completes("csr", "show", ""); len(got) != 0 {
		t.Errorf("without an answer: %q", got)
	}
	close(wait)
	s.daemon.Intercept(nil)
	completionLimit = time.Minute
	// Nobody is asked for a passphrase.
	s.typing("x", "x")
	s.daemon.CAU.AutoApprove = 1
	s.ok("request --mode user --cn locked --encrypt")
	if got := s.completes("--user-key", "locked.pem", "csr", "show", ""); len(got) != 0 {
		t.Errorf("with a passphrase: %q", got)
	}
}
