package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/daemon"
	"cauase/pkg/keys"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/vault"
)

const (
	flagKeySecret     = "key-secret"
	flagKeyPassphrase = "key-passphrase-from"
	flagControl       = "control-socket"

	// secretFile is the name of the secret file where no other is given, and controlFile that of the socket beside it.
	secretFile  = "key-secret"
	controlFile = "cauased.sock"

	passphraseSources = "credential:NAME, file:PATH, fd:NUMBER or prompt"
)

func keySecretFlag() urfave.Flag {
	return &urfave.StringFlag{Category: groupFiles, Name: flagKeySecret, EnvVars: env(flagKeySecret), TakesFile: true,
		DefaultText: secretFile + " beside the database, or beside --" + flagServerKey,
		Usage:       "`FILE` of the secret that the private keys of CAs are sealed with"}
}

func keyPassphraseFlag() urfave.Flag {
	return &urfave.StringFlag{Category: groupFiles, Name: flagKeyPassphrase, EnvVars: env(flagKeyPassphrase), DefaultText: "there is none",
		Usage: "`SOURCE` of a passphrase that is needed beside --" + flagKeySecret + ": " + passphraseSources}
}

func controlFlag() urfave.Flag {
	return &urfave.StringFlag{Category: groupFiles, Name: flagControl, EnvVars: env(flagControl), TakesFile: true,
		DefaultText: controlFile + " beside --" + flagKeySecret,
		Usage:       "`PATH` of the Unix socket at which cauased manage unlock reaches the daemon"}
}

// rootsSign are the commands that can want a root to sign.
var rootsSign = []string{"add", "sign", "revoke", "revoke-below", "export", "export-ca", "rotate-ca"}

// withKeys has the commands that open the database take what opens its keys.
func withKeys(commands []*urfave.Command) []*urfave.Command {
	for _, command := range commands {
		withKeys(command.Subcommands)
		if flagNamed(command.Flags, flagDB) == nil {
			continue
		}
		flags := []urfave.Flag{keySecretFlag(), keyPassphraseFlag()}
		if slices.Contains(rootsSign, command.Name) {
			flags = append(flags, rootPassphraseFlag())
		}
		for _, flag := range flags {
			if flagNamed(command.Flags, flag.Names()[0]) == nil {
				command.Flags = append(command.Flags, flag)
			}
		}
	}
	return commands
}

// keySecret is the path of the secret file that belongs to a database.
func keySecret(c *urfave.Context, database, serverKey string) string {
	if path := c.String(flagKeySecret); path != "" {
		return path
	}
	beside := database
	if sqlstore.IsURL(beside) {
		beside = serverKey
	}
	return filepath.Join(filepath.Dir(beside), secretFile)
}

// controlSocket is the path of the daemon's socket.
func controlSocket(c *urfave.Context, secret string) string {
	if path := c.String(flagControl); path != "" {
		return path
	}
	return filepath.Join(filepath.Dir(secret), controlFile)
}

// keySettings are those of the daemon.
func (r *reader) keySettings(cfg daemon.Config) daemon.Sealing {
	k := daemon.Sealing{Secret: keySecret(r.c, cfg.Database, cfg.ServerKey)}
	k.Seal = r.c.String(flagKeySecret) != "" || r.c.String(flagKeyPassphrase) != ""
	k.Socket = controlSocket(r.c, k.Secret)
	from, err := passphraseFrom(r.c.String(flagKeyPassphrase), cli.Terminal(r.c.App.ErrWriter))
	if err != nil {
		r.fail(flagKeyPassphrase, err)
	}
	k.Passphrase = from
	return k
}

// openVault returns the vault of a database that a command of manage works with.
func openVault(c *urfave.Context, flag string, st store.Store) (*vault.Vault, error) {
	from, err := passphraseFrom(c.String(flagKeyPassphrase), cli.Terminal(errWriter(c)))
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagKeyPassphrase, err)
	}
	if from == nil {
		from = func() ([]byte, error) { return nil, nil }
	}
	v := vault.New(st, clock.System(), vault.SecretFile(keySecret(c, c.String(flag), "."), from))
	if tokens, ok := keys.From(c.Context).(interface{ Over(next keys.Custody) }); ok {
		tokens.Over(v.Keyring)
	}
	return v, askForRoots(c, v)
}

// errWriter is where a command asks.
func errWriter(c *urfave.Context) io.Writer {
	if c.App == nil {
		return io.Discard
	}
	return c.App.ErrWriter
}

// askForRoots has the passphrases of roots asked for that have one of their own, by commands that can want them to sign.
func askForRoots(c *urfave.Context, v *vault.Vault) error {
	if c.Command == nil || flagNamed(c.Command.Flags, flagRootPassphrase) == nil {
		return nil
	}
	prompt := cli.Terminal(errWriter(c))
	from, err := passphraseFrom(c.String(flagRootPassphrase), prompt)
	if err != nil {
		return fmt.Errorf("--%s: %w", flagRootPassphrase, err)
	}
	v.AskOwn(func(authority string) ([]byte, error) {
		if from != nil {
			return from()
		}
		return cli.Passphrases{Prompt: prompt, Flag: flagRootPassphrase + " file:"}.Ask("the private keys of " + authority)
	})
	return nil
}

// withKeyHint says what can be done when keys could not be opened.
func withKeyHint(c *urfave.Context, err error) error {
	switch {
	case errors.Is(err, keys.ErrUnwrap):
		return cli.WithHint(err, "the passphrase is the one that was set when the keys were sealed, or by cauased manage rekey")
	case errors.Is(err, keys.ErrLocked) && c.Command != nil && flagNamed(c.Command.Flags, flagKeySecret) != nil:
		return cli.WithHint(err, "--%s names the secret file, and --%s the passphrase: %s", flagKeySecret, flagKeyPassphrase, passphraseSources)
	}
	return err
}

// passphraseFrom returns what reads the passphrase that a source has, once; nil if no source is given.
func passphraseFrom(source string, prompt func(string) ([]byte, error)) (func() ([]byte, error), error) {
	read, err := passphraseReader(source, prompt)
	if err != nil || read == nil {
		return nil, err
	}
	return sync.OnceValues(read), nil
}

func passphraseReader(source string, prompt func(string) ([]byte, error)) (func() ([]byte, error), error) {
	kind, value, _ := strings.Cut(source, ":")
	switch {
	case source == "":
		return nil, nil
	case source == "prompt":
		return func() ([]byte, error) { return nonEmpty(prompt("Passphrase for the private keys of the CAs: ")) }, nil
	case kind == "credential" && value != "" && filepath.Base(value) == value:
		return func() ([]byte, error) {
			dir := os.Getenv("CREDENTIALS_DIRECTORY")
			if dir == "" {
				return nil, fmt.Errorf("there is no credential %s: the unit has no LoadCredential= or LoadCredentialEncrypted=", value)
			}
			return passphraseFile(filepath.Join(dir, value))
		}, nil
	case kind == "file" && value != "":
		return func() ([]byte, error) { return passphraseFile(value) }, nil
	case kind == "fd":
		fd, err := strconv.ParseUint(value, 10, 16)
		if err != nil || fd == 1 || fd == 2 {
			return nil, errors.New("fd: takes the number of a file descriptor that is open for reading")
		}
		return func() ([]byte, error) {
			f := os.NewFile(uintptr(fd), "fd:"+value)
			if f == nil {
				return nil, fmt.Errorf("fd:%s is not open", value)
			}
			defer f.Close()
			return firstLine(f)
		}, nil
	}
	// It may be the passphrase itself: it is not shown.
	return nil, fmt.Errorf("it is not one of %s", passphraseSources)
}

func passphraseFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := keys.CheckPrivate(f, path); err != nil {
		return nil, err
	}
	return firstLine(f)
}

// maxPassphrase is more than any passphrase, in bytes.
const maxPassphrase = 4096

func firstLine(from io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxPassphrase))
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return nonEmpty(bytes.TrimSuffix(line, []byte("\r")), nil)
}

func nonEmpty(passphrase []byte, err error) ([]byte, error) {
	if err == nil && len(passphrase) == 0 {
		err = errors.New("the passphrase is empty")
	}
	return passphrase, err
}
