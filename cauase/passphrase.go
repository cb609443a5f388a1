package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// tries is how often somebody at a terminal may mistype a passphrase.
const tries = 3

func encryptFlag() cli.Flag {
	return &cli.BoolFlag{Name: "encrypt", Usage: "keep the new key encrypted with a passphrase, which is asked for, or read from --" + manners.FlagPassphraseFile + "; renewals keep it"}
}

func (t *tool) passphrases() manners.Passphrases {
	t.warnOpenPassphrase()
	return manners.Passphrases{File: t.passphraseFile, Stdin: t.stdin, Prompt: t.prompt}
}

// unlock returns paths with what it takes to read the keys there, asking for passphrases if need be. Keys that are
// written keep the passphrase of the one before.
func (t *tool) unlock(paths pemfile.PairPaths) (pemfile.PairPaths, error) {
	t.warnOpen(paths.KeyPath())
	locked := paths.LockedKeys()
	if len(locked) == 0 {
		return paths, nil
	}
	lock := pemfile.NewLock(nil)
	for _, key := range locked {
		if err := t.open(lock, key); err != nil {
			return paths, err
		}
	}
	paths.Attributes.Lock = lock
	return paths, nil
}

// open has a lock open a key: by a passphrase that was given in this run before, or by the one that is asked for.
func (t *tool) open(lock *pemfile.Lock, key pemfile.LockedKey) error {
	if err := key.Check(); err != nil {
		return err
	}
	for _, known := range t.known {
		if lock.Add(key, known) == nil {
			return nil
		}
	}
	for n := 1; ; n++ {
		passphrase, err := t.passphrases().Ask(key.Path)
		if err != nil {
			return err
		}
		err = lock.Add(key, passphrase)
		switch {
		case err == nil:
			t.known = append(t.known, passphrase)
			return nil
		case !errors.Is(err, pki.ErrPassphrase):
			return manners.WithHint(err, "openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW converts it into another file")
		case t.passphraseFile != "":
			return manners.WithHint(err, "the first line of %s does not open it", t.passphraseFile)
		case n == tries:
			return err
		}
		t.warn("wrong passphrase, try again")
	}
}

// lockNew has a key that is about to be made be encrypted. One that is there in the clear stays as it is, so it must not be
// taken for encrypted.
func (t *tool) lockNew(paths pemfile.PairPaths, replaced bool) (pemfile.PairPaths, error) {
	if paths.Attributes.Lock != nil {
		return paths, nil // it has a passphrase, which is kept
	}
	if key, err := pemfile.ReadKey(paths.KeyPath()); err == nil && key != nil && !replaced {
		return paths, manners.WithHint(fmt.Errorf("--encrypt: %s holds a key that is not encrypted", paths.KeyPath()),
			"--force makes a new one; openssl pkcs8 -topk8 -in FILE -out NEW encrypts the one that is there into another file")
	}
	passphrase, err := t.passphrases().Choose(paths.KeyPath())
	if err != nil {
		return paths, err
	}
	t.known = append(t.known, passphrase)
	paths.Attributes.Lock = pemfile.NewLock(passphrase)
	return paths, nil
}

// warnOpen tells of a key that every user of the machine can read, once for each file.
func (t *tool) warnOpen(path string) {
	if !t.readableByAll(path) {
		return
	}
	if _, err := pemfile.ReadKey(path); err != nil && !errors.Is(err, pki.ErrEncrypted) {
		return // there is none in it
	}
	t.warned = append(t.warned, path)
	t.warn("%s holds a private key that every user of this machine can read: chmod 600 %s, and if others have been here, have a new key", path, path)
}

// warnOpenPassphrase does so of the file of a passphrase.
func (t *tool) warnOpenPassphrase() {
	t.warnOpenSecret(t.passphraseFile, "passphrase")
}

func (t *tool) warnOpenSecret(path, what string) {
	if t.readableByAll(path) {
		t.warned = append(t.warned, path)
		t.warn("%s holds a "+what+" that every user of this machine can read: chmod 600 %s, and if others have been here, choose another", path, path)
	}
}

// readableByAll reports whether a file that nothing was said about yet can be read by every user of the machine.
func (t *tool) readableByAll(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 && !slices.Contains(t.warned, path)
}
