package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// FlagPassphraseFile names the file that a passphrase is read from. There is no variable for a passphrase: others can
// read the environment of a process, and programs that it starts inherit it.
const FlagPassphraseFile = "passphrase-file"

// Passphrases are read from a file, or else asked for at the terminal.
type Passphrases struct {
	File   string // "" to ask, "-" for standard input
	Stdin  io.Reader
	Prompt func(text string) ([]byte, error) // asks at the terminal; its error is ErrNoTerminal if there is none
}

// ErrNoTerminal says that there is nobody to ask.
var ErrNoTerminal = errors.New("a passphrase is needed, and there is no terminal to ask for it")

// Ask returns the passphrase for what is described.
func (p Passphrases) Ask(what string) ([]byte, error) {
	if p.File != "" {
		return p.read()
	}
	return p.prompt("Passphrase for " + what + ": ")
}

// Choose returns a new passphrase, which has to be typed twice.
func (p Passphrases) Choose(what string) ([]byte, error) {
	if p.File != "" {
		return p.read()
	}
	one, err := p.prompt("New passphrase for " + what + ": ")
	if err != nil {
		return nil, err
	}
	if len(one) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	two, err := p.prompt("The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(one, two) {
		return nil, errors.New("the two passphrases are not the same")
	}
	return one, nil
}

func (p Passphrases) prompt(text string) ([]byte, error) {
	err := ErrNoTerminal
	if p.Prompt != nil {
		var passphrase []byte
		if passphrase, err = p.Prompt(text); err == nil {
			return passphrase, nil
		}
	}
	if errors.Is(err, ErrNoTerminal) {
		return nil, WithHint(err, "put it into a file that only you can read, and give that with --%s", FlagPassphraseFile)
	}
	return nil, err
}

// maxPassphraseFile is more than any passphrase, in bytes.
const maxPassphraseFile = 64 << 10

// read returns the first line of the file.
func (p Passphrases) read() ([]byte, error) {
	data, err := p.content()
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", FlagPassphraseFile, err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, fmt.Errorf("--%s: the first line of %s is empty", FlagPassphraseFile, p.File)
	}
	return line, nil
}

func (p Passphrases) content() ([]byte, error) {
	from := p.Stdin
	if p.File != "-" {
		f, err := os.Open(p.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	if from == nil {
		return nil, fs.ErrNotExist
	}
	return io.ReadAll(io.LimitReader(from, maxPassphraseFile))
}

// Terminal returns what asks for a line at the terminal without showing it: at the one of standard input, or, where
// that is something else, at the one that controls the process.
func Terminal(stderr io.Writer) func(text string) ([]byte, error) {
	return func(text string) ([]byte, error) {
		if term.IsTerminal(int(os.Stdin.Fd())) {
			return prompt(os.Stdin, stderr, text)
		}
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return nil, ErrNoTerminal
		}
		defer tty.Close()
		return prompt(tty, tty, text)
	}
}

func prompt(in *os.File, out io.Writer, text string) ([]byte, error) {
	fd := int(in.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, ErrNoTerminal
	}
	// An interrupt must not leave the terminal without echo.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
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
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				_ = self.Signal(sig)
			}
		}
	}()
	fmt.Fprint(out, text)
	passphrase, err := term.ReadPassword(fd)
	fmt.Fprintln(out)
	return passphrase, err
}
