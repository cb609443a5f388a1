package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// standardInput is what stands for it in the place of a file.
const standardInput = "-"

// readRequest reads the request in a file, or on standard input for "-", however a tool has written it. Nothing else of
// the file is returned.
func (t *tool) readRequest(path string) ([]byte, error) {
	data, name, err := t.readInput(path)
	if err != nil {
		return nil, err
	}
	found, err := pki.ReadLocalRequest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if found.Note != "" {
		t.note("%s: %s", name, found.Note)
	}
	return found.PEM, nil
}

// readInput reads a file, or standard input for "-", and says what to call it.
func (t *tool) readInput(path string) (data []byte, name string, err error) {
	if path != standardInput {
		if info, err := os.Stat(path); err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 {
			return nil, path, manners.WithHint(fmt.Errorf("%s %w", path, pemfile.ErrNotRegular), "- in its place stands for standard input")
		}
		data, err = pemfile.Read(path)
		return data, path, err
	}
	name = "standard input"
	if t.stdin == nil {
		return nil, name, errors.New("there is no standard input")
	}
	if data, err = io.ReadAll(io.LimitReader(t.stdin, pki.MaxBundleSize+1)); err != nil {
		return nil, name, fmt.Errorf("%s: %w", name, err)
	}
	return data, name, nil
}

// parseRequest reads the request in a file as one that a daemon accepts.
func (t *tool) parseRequest(path string) (*pki.Request, error) {
	text, err := t.readRequest(path)
	if err != nil {
		return nil, err
	}
	req, err := pki.ParseRequest(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return req, nil
}

// onceFromInput refuses to read standard input twice.
func onceFromInput(paths []string) error {
	n := 0
	for _, path := range paths {
		if path == standardInput {
			n++
		}
	}
	if n > 1 {
		return manners.WithHint(errors.New("standard input is named more than once"), "- stands for it, and it can be read once")
	}
	return nil
}

// beside is the name of a file that goes with one that holds a request: web.crt.pem with web.csr.pem.
func beside(path, kind string) string {
	for _, suffix := range []string{".csr.pem", ".req.pem", ".csr.der", ".csr", ".req", ".p10", ".pem", ".der", ".txt"} {
		if stem, found := strings.CutSuffix(path, suffix); found && stem != "" && !strings.HasSuffix(stem, "/") {
			return stem + kind
		}
	}
	return path + kind
}
