package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// FlagPassphraseFile names the file that a passphrase is read from. There is no variable for a passphrase but where a command is run
// by what knows no other way: others of the same user can read the environment of a process, and programs that it starts inherit it.
const FlagPassphraseFile = "passphrase-file"

// Passphrases are read from a file, or else asked for at the terminal.
type Passphrases struct {
	File string // "" to ask, "-" for standard input
	// Variable names the environment variable that has the passphrase, if there is no File; "": none may.
	Variable string
	Stdin    io.Reader
	Prompt   func(text string) ([]byte, error) // asks at the terminal; its error is ErrNoTerminal if there is none

	Name string // what they are called, "" for passphrase
	Flag string // what names File, "" for FlagPassphraseFile
}

func (p Passphrases) name() string { return cmp.Or(p.Name, "passphrase") }
func (p Passphrases) flag() string { return cmp.Or(p.Flag, FlagPassphraseFile) }

// ErrNoTerminal says that there is nobody to ask.
var ErrNoTerminal = errors.New("there is no terminal to ask for it")

// Ask returns the passphrase for what is described.
func (p Passphrases) Ask(what string) ([]byte, error) {
	if given, passphrase, err := p.given(); given {
		return passphrase, err
	}
	return p.prompt(strings.ToUpper(p.name()[:1]) + p.name()[1:] + " for " + what + ": ")
}

// Choose returns a new passphrase, which has to be typed twice.
func (p Passphrases) Choose(what string) ([]byte, error) {
	if given, passphrase, err := p.given(); given {
		return passphrase, err
	}
	one, err := p.prompt("New " + p.name() + " for " + what + ": ")
	if err != nil {
		return nil, err
	}
	if len(one) == 0 {
		return nil, fmt.Errorf("the %s is empty", p.name())
	}
	two, err := p.prompt("The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(one, two) {
		return nil, fmt.Errorf("the two %ss are not the same", p.name())
	}
	return one, nil
}

// given returns the passphrase of the file, or of the variable, if there is either.
func (p Passphrases) given() (given bool, passphrase []byte, err error) {
	if p.File != "" {
		passphrase, err = p.read()
		return true, passphrase, err
	}
	if p.Variable == "" {
		return false, nil, nil
	}
	value, set := os.LookupEnv(p.Variable)
	if set && value == "" {
		err = fmt.Errorf("environment variable %s is empty", p.Variable)
	}
	return set, []byte(value), err
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
		err = fmt.Errorf("a %s is needed, and %w", p.name(), err)
		if p.Variable != "" {
			return nil, WithHint(err, "put it into a file that only you can read, and give that with --%s, or into the environment variable %s", p.flag(), p.Variable)
		}
		return nil, WithHint(err, "put it into a file that only you can read, and give that with --%s", p.flag())
	}
	return nil, err
}

// Display returns what shows somebody at the terminal a text that is to be in no file and no log: at the one of stderr, or
// at the one that controls the process. It is nil if there is none.
func Display(stderr *os.File) func(text string) error {
	if term.IsTerminal(int(stderr.Fd())) {
		return func(text string) error {
			_, err := io.WriteString(stderr, text)
			return err
		}
	}
	tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
	if err != nil {
		return nil
	}
	_ = tty.Close()
	return func(text string) error {
		tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = io.WriteString(tty, text)
		return errors.Join(err, tty.Close())
	}
}

// maxPassphraseFile is more than any passphrase, in bytes.
const maxPassphraseFile = 64 << 10

// read returns the first line of the file.
func (p Passphrases) read() ([]byte, error) {
	data, err := p.content()
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", p.flag(), err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, fmt.Errorf("--%s: the first line of %s is empty", p.flag(), p.File)
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
