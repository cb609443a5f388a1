package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"cauase/pkg/backup"
	"cauase/pkg/clock"
	"cauase/pkg/dump"
	"cauase/pkg/keys"
	"cauase/pkg/store"
	"cauase/pkg/vault"
)

// A Backup is one that was taken and verified.
type Backup struct {
	Path       string
	At         time.Time // of the snapshot
	Size       int64     // of the file, in bytes
	Took       time.Duration
	Recipients int
	Excluded   []Excluded
	Rows       dump.Summary
}

// A taker writes one backup.
type taker struct {
	store    store.Store
	clock    clock.Clock
	software string        // version that is written into backups
	keys     *keys.Keyring // of store, if that does not say itself

	// For tests: how a file is created, and what is called before each step that changes the disk.
	wrap func(file) file
	step func(name string)
}

// ring is that of the store, nil if it has none.
func (t *taker) ring() *keys.Keyring {
	if v, ok := t.store.(*vault.Vault); ok {
		return v.Keyring
	}
	return t.keys
}

func (t *taker) at(step string) {
	if t.step != nil {
		t.step(step)
	}
}

// Take writes a backup of everything in st to target: a directory, in which it gets the name that
// the daemon would give it, or a file that is not there yet. ErrNoUser if there is nobody to encrypt
// it to. When it fails it leaves nothing behind.
func Take(ctx context.Context, st store.Store, clk clock.Clock, software, target string) (Backup, error) {
	t := &taker{store: st, clock: clk, software: software}
	dir, name := target, ""
	if info, err := os.Stat(target); err != nil || !info.IsDir() {
		dir, name = filepath.Split(target)
		if name == "" {
			return Backup{}, &fs.PathError{Op: "open", Path: target, Err: fs.ErrNotExist}
		}
		if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
			return Backup{}, fmt.Errorf("%s: %w", target, fs.ErrExist)
		}
		if dir == "" {
			dir = "."
		}
		if _, err := os.Stat(dir); err != nil { // which openDirectory would make
			return Backup{}, err
		}
	}
	d, err := openDirectory(dir)
	if err != nil {
		return Backup{}, err
	}
	defer d.close()
	if _, err := d.sweep(clk.Now()); err != nil {
		return Backup{}, err
	}
	return t.take(ctx, d, name)
}

// maxNameTries is how many seconds a name may be ahead, when those before are taken.
const maxNameTries = 10

// take writes a backup into d: to a temporary name, flushed to disk, read back and verified, and
// only then under its own. If name is empty it gets that of its time.
func (t *taker) take(ctx context.Context, d *directory, name string) (_ Backup, err error) {
	start := t.clock.Now()
	temp := tempName()
	t.at("create")
	f, err := d.create(temp)
	if err != nil {
		return Backup{}, err
	}
	if t.wrap != nil {
		f = t.wrap(f)
	}
	open := true
	defer func() {
		if open {
			_ = f.Close() // err says more
		}
		if err != nil {
			_ = d.root.Remove(temp)
		}
	}()
	b := Backup{At: start}
	sealed, err := t.write(ctx, f, &b)
	if err != nil {
		return b, err
	}
	t.at("verify")
	if b.Size, err = t.verify(ctx, f, sealed); err != nil {
		return b, fmt.Errorf("read back: %w", err)
	}
	open = false
	if err := f.Close(); err != nil {
		return b, err
	}
	t.at("rename")
	if name, err = place(d, temp, name, start); err != nil {
		return b, err
	}
	t.at("sync")
	if err := d.sync(); err != nil {
		// Its name may not survive, so that it does not count.
		return b, errors.Join(err, d.root.Remove(name))
	}
	b.Path = filepath.Join(d.path, name)
	b.Took = max(t.clock.Now().Sub(start), 0)
	return b, nil
}

// place gives a backup its name, and returns it.
func place(d *directory, temp, name string, at time.Time) (string, error) {
	if name != "" {
		return name, d.rename(temp, name)
	}
	for try := range maxNameTries {
		name = FileName(at.Add(time.Duration(try) * time.Second))
		if err := d.rename(temp, name); !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
	return "", fmt.Errorf("%s: %w", name, fs.ErrExist)
}

// bufferSize is how much is written at once.
const bufferSize = 1 << 20

// write puts a snapshot of the store into f, on disk.
func (t *taker) write(ctx context.Context, f file, b *Backup) (*backup.Writer, error) {
	var sealed *backup.Writer
	err := t.store.View(ctx, func(r store.Reader) error {
		to, excluded, err := users(ctx, r, b.At)
		b.Recipients, b.Excluded = len(to), excluded
		if err != nil {
			return err
		}
		t.at("write")
		// A store may start a View over.
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := f.Truncate(0); err != nil {
			return err
		}
		out := bufio.NewWriterSize(f, bufferSize)
		if sealed, err = backup.Create(out, to); err != nil {
			return err
		}
		b.Rows, err = dump.Write(sealed, dump.Meta{Created: b.At, Software: t.software}, func(fn func(store.Row) error) error {
			return vault.Outgoing(ctx, t.clock, t.ring(), r, to, fn)
		})
		if err != nil {
			return err
		}
		if err := sealed.Close(); err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil {
		return nil, err
	}
	t.at("flush")
	return sealed, f.Sync()
}

// verify reads back what was written, to its last HMAC, and returns its size.
func (t *taker) verify(ctx context.Context, f file, sealed *backup.Writer) (int64, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	counted := &counter{ctx: ctx, from: f}
	if err := sealed.Verify(bufio.NewReaderSize(counted, bufferSize)); err != nil {
		return 0, err
	}
	return counted.n, nil
}

// A counter counts what is read, until its context ends.
type counter struct {
	ctx  context.Context //nolint:containedctx // io.Reader has no place for it
	from io.Reader
	n    int64
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}
