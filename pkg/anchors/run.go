package anchors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"cauase/pkg/pki"
)

// ErrRoot means that the store is the machine's, and only its administrator changes it.
var ErrRoot = errors.New("only root may change it")

// ErrPassword means that the store has a password which was not given, or another one.
var ErrPassword = errors.New("its password is needed, or is another one")

// find finds a program, also where administrators have theirs and not everybody looks.
func find(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, folder := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(folder, program)); err == nil {
			return path
		}
	}
	return ""
}

// maxOutput bounds how much of what a program says is in an error.
const maxOutput = 1000

// run runs a tool of the platform, which is not asked anything: no terminal, and answers in English.
func run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LANGUAGE=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.String(), nil
	}
	said := strings.Join(strings.Fields(stderr.String()+" "+stdout.String()), " ")
	if len(said) > maxOutput {
		said = said[:maxOutput] + "…"
	}
	for _, sign := range []string{"SEC_ERROR_BAD_PASSWORD", "could not authenticate", "password was incorrect", "SEC_ERROR_READ_ONLY"} {
		if strings.Contains(said, sign) {
			return "", fmt.Errorf("%s: %w", filepath.Base(program), ErrPassword)
		}
	}
	return "", fmt.Errorf("%s: %w: %s", filepath.Base(program), err, pki.EscapeText(said))
}

// writable reports whether files can be made in a folder.
func writable(folder string) bool {
	f, err := os.CreateTemp(folder, ".cauase-")
	if err != nil {
		return false
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	return true
}

// A scratch is a folder for what tools read from files, for its owner only.
type scratch string

func newScratch() (scratch, func(), error) {
	dir, err := os.MkdirTemp("", "cauase-")
	return scratch(dir), func() { _ = os.RemoveAll(dir) }, err
}

func (s scratch) file(name string, content []byte) (string, error) {
	path := filepath.Join(string(s), name)
	return path, os.WriteFile(path, content, 0o600)
}
