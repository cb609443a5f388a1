package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"cauase/pkg/cli"
)

const flagPassphraseFile = "passphrase-file"

func passphraseFlag(usage string) urfave.Flag {
	return &urfave.StringFlag{Name: flagPassphraseFile, Usage: usage}
}

// A passphraseSource asks for passphrases, or reads the one that --passphrase-file holds.
type passphraseSource struct {
	file   string
	stderr io.Writer
}

// ask returns the passphrase for what is described.
func (s passphraseSource) ask(what string) ([]byte, error) {
	if s.file != "" {
		return s.read()
	}
	return s.prompt("Passphrase for " + what + ": ")
}

// choose returns a new passphrase, which has to be typed twice.
func (s passphraseSource) choose(what string) ([]byte, error) {
	if s.file != "" {
		return s.read()
	}
	one, err := s.prompt("New passphrase for " + what + ": ")
	if err != nil {
		return nil, err
	}
	two, err := s.prompt("The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(one, two) {
		return nil, errors.New("the two passphrases are not the same")
	}
	return one, nil
}

// read returns the first line of the file.
func (s passphraseSource) read() ([]byte, error) {
	data, err := readInput(s.file)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagPassphraseFile, err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, fmt.Errorf("--%s: the first line of %s is empty", flagPassphraseFile, s.file)
	}
	return line, nil
}

// prompt reads a line from the terminal without showing it.
func (s passphraseSource) prompt(text string) (_ []byte, err error) {
	fd := int(os.Stdin.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, cli.WithHint(errors.New("a passphrase is needed, and there is no terminal to ask for it"),
			"put it into a file, and give that with --%s", flagPassphraseFile)
	}
	// An interrupt must not leave the terminal without echo.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-done:
			signal.Stop(interrupted)
		case sig := <-interrupted:
			_ = term.Restore(fd, state)
			signal.Stop(interrupted)
			signal.Reset(sig)
			_ = syscall.Kill(os.Getpid(), sig.(syscall.Signal))
		}
	}()
	fmt.Fprint(s.stderr, text)
	passphrase, err := term.ReadPassword(fd)
	fmt.Fprintln(s.stderr)
	return passphrase, err
}
