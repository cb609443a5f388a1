package updater

import (
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"

	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// TestHookThatCannotStart: it is said what is wrong with a script, in words that say what to do.
func TestHookThatCannotStart(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		says    string
	}{
		"Windows":              {"#!/bin/sh\r\necho\r\n", 0o700, `has Windows line ends: the system looks for an interpreter named "/bin/sh\r"`},
		"Windows, by env":      {"#!/usr/bin/env sh\r\necho\r\n", 0o700, "has Windows line ends"},
		"Windows below":        {"#!/bin/sh\ntrue \r\n", 0o700, ""},
		"no interpreter":       {"#! /no/such/shell -e\n", 0o700, "the interpreter /no/such/shell, which its first line names, is not there"},
		"no first line":        {"echo\n", 0o700, "is neither a program for this system nor a script"},
		"not executable":       {"#!/bin/sh\n", 0o600, "chmod +x"},
		"one that can, by env": {"#!/usr/bin/env sh\ntrue\n", 0o700, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "hook")
			must(t, os.WriteFile(path, []byte(c.content), c.mode))
			var err error
			for range 20 {
				err = runHook(t.Context(), HookRun{Path: path, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)})
				if !errors.Is(err, syscall.ETXTBSY) {
					break
				}
			}
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %s", err, c.says)
			}
		})
	}
}

func inUTF16(text string) (all []byte) {
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		all = append(all, byte(unit), byte(unit>>8))
	}
	return all
}

// TestRequestInAnyForm: the request that is configured is taken as other tools write it.
func TestRequestInAnyForm(t *testing.T) {
	h := newHost(t, t.TempDir())
	text := string(h.read("web.csr"))
	block, _ := pem.Decode([]byte(text))
	want, err := pki.ParseRequest([]byte(text))
	must(t, err)
	for name, content := range map[string][]byte{
		"PEM": []byte(text), "DER": block.Bytes, "text before it": []byte("PKCS #10 Certificate Request\nName: web\n\n" + text),
		"a byte order mark": []byte("\ufeff" + text), "UTF-16": inUTF16(text), "CRLF": []byte(strings.ReplaceAll(text, "\n", "\r\n")),
	} {
		h.write("web.csr", content)
		if got, err := readRequest(&h.job); err != nil || digestOf(got) != digestOf(want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.write("web.csr", append([]byte(text), h.read("web.key")...))
	if _, err := readRequest(&h.job); err == nil {
		t.Error("a key beside the request")
	}
}

// TestDERStaysDER: a key or a certificate in DER is used and is not replaced by PEM, which is said at once.
func TestDERStaysDER(t *testing.T) {
	h := newRealHost(t)
	if all, err := Once(t.Context(), h.o, []Job{h.job}); err != nil || all[0].State != StateOK {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, name := range []string{"web.crt", "web.key"} {
		text := h.read(name)
		block, _ := pem.Decode(text)
		for form, content := range map[string][]byte{"DER": block.Bytes, "UTF-16": inUTF16(string(text))} {
			h.write(name, content)
			all, err := Once(t.Context(), h.o, []Job{h.job})
			must(t, err)
			if s := all[0]; s.State != StateBlocked || s.Certificate == nil || !strings.Contains(s.Problems[0].Message, name) || !strings.Contains(s.Problems[0].Message, form) {
				t.Errorf("%s in %s: %+v", name, form, s)
			}
			if err := (pemfile.PairPaths{Crt: h.job.Crt, Key: h.job.Key}).Check(); err == nil || !strings.Contains(err.Error(), form) {
				t.Error(err)
			}
			if string(h.read(name)) != string(content) {
				t.Errorf("%s was replaced", name)
			}
		}
		h.write(name, text)
	}
}
