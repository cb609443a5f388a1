package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"cauase/pkg/pki"
)

// CheckScript refuses a script that cannot be started, whoever starts it. One with the line ends of Windows has the system look
// for an interpreter whose name ends with a carriage return, and say that the script is not there.
func CheckScript(path string) error {
	interpreter, windows := interpreterOf(path)
	if windows {
		return fmt.Errorf("%s has Windows line ends: the system looks for an interpreter named %q; save it with those of Unix", path, interpreter)
	}
	if name, _, _ := strings.Cut(interpreter, " "); name != "" {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return ExplainStart(path, err)
		}
	}
	return nil
}

// maxFirstLine is how much of a script the kernel reads.
const maxFirstLine = 256

// interpreterOf is what a script names in its first line, "" for a program or one that cannot be read, and whether that line
// ends as those of Windows do.
func interpreterOf(path string) (interpreter string, windows bool) {
	file, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer file.Close()
	begin := make([]byte, maxFirstLine)
	n, _ := io.ReadFull(file, begin)
	line, found := strings.CutPrefix(string(begin[:n]), "#!")
	line, _, whole := strings.Cut(line, "\n")
	if !found {
		return "", false
	}
	windows = whole && strings.HasSuffix(line, "\r")
	return strings.Trim(line, " \t"), windows
}

// ExplainStart says what may be wrong with a program that cannot be started.
func ExplainStart(path string, err error) error {
	switch interpreter, _ := interpreterOf(path); {
	case errors.Is(err, fs.ErrNotExist) && interpreter != "":
		name, _, _ := strings.Cut(interpreter, " ")
		return fmt.Errorf("the interpreter %s, which its first line names, is not there", pki.EscapeText(name))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s cannot be executed: chmod +x makes it a program, unless its file system is mounted noexec: %w", path, err)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%s is neither a program for this system nor a script, whose first line is one such as #!/bin/sh: %w", path, err)
	case errors.Is(err, syscall.ETXTBSY):
		return fmt.Errorf("%s is being written just now: %w", path, err)
	}
	return err
}
