package manage

import (
	"bufio"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"cauase/pkg/backup"
	"cauase/pkg/caucase"
	"cauase/pkg/dump"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// ErrContent means that what a backup holds is neither ours nor of caucase.
var ErrContent = errors.New("the backup holds neither rows of cauase nor a database of caucase")

// A Sealed is a backup and the key of a user that opens it.
type Sealed struct {
	// Open begins to read the backup. It is called again when a transaction has to start over.
	Open func() (io.ReadCloser, error)
	Key  crypto.Signer
	// SkipBadRows leaves out of a backup of caucase what cannot be used, see [caucase.Database].
	SkipBadRows bool

	// ExpectCAs are the fingerprints (sha256: and hex) of CA certificates that the backup has to hold with their keys.
	ExpectCAs []string
}

// Formats of what is in a backup.
const (
	FormatRows    = "cauase-rows"
	FormatCaucase = "caucase"
)

// An openBackup is a backup that is being read.
type openBackup struct {
	file    io.Closer
	format  string
	meta    dump.Meta // of a backup of cauase
	dump    *dump.Reader
	caucase *caucase.Database
}

// peekSize is how many bytes of a clear text show its format.
const peekSize = 512

// open decrypts the beginning of the backup. Of one of caucase, which is small, it reads everything.
func (s Sealed) open() (_ *openBackup, err error) {
	file, err := s.Open()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = file.Close() // it was only read
		}
	}()
	clear, err := backup.Open(bufio.NewReaderSize(file, 1<<20), s.Key)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(clear, 64<<10)
	start, err := in.Peek(peekSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	o := &openBackup{file: file}
	switch {
	case dump.Is(start):
		o.format = FormatRows
		if o.dump, err = dump.Read(in); err != nil {
			return nil, err
		}
		o.meta = o.dump.Meta()
	case caucase.IsDump(start):
		o.format = FormatCaucase
		if o.caucase, err = caucase.ReadDump(in); err != nil {
			return nil, err
		}
		o.caucase.SkipBadRows = s.SkipBadRows
		// To the last HMAC, which is not there if the end was cut off.
		if n, err := io.Copy(io.Discard, in); err != nil || n > 0 {
			return nil, errors.Join(err, ifAny(n))
		}
	default:
		return nil, ErrContent
	}
	return o, nil
}

func ifAny(n int64) error {
	if n > 0 {
		return fmt.Errorf("%w: %d bytes follow its end", ErrContent, n)
	}
	return nil
}

// version is that of the stream of rows in the backup.
func (o *openBackup) version() int {
	if o.dump == nil {
		return dump.Version
	}
	return o.meta.Version
}

func (o *openBackup) close() { _ = o.file.Close() }

// rows gives what the backup holds, to its verified end, as long as ctx lasts.
func (o *openBackup) rows(ctx context.Context, now time.Time) iter.Seq2[store.Row, error] {
	rows := o.theirRows(now)
	if o.dump != nil {
		rows = o.dump.Rows()
	}
	return func(yield func(store.Row, error) bool) {
		for row, err := range rows {
			if err == nil {
				err = ctx.Err()
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (o *openBackup) theirRows(now time.Time) iter.Seq2[store.Row, error] {
	if o.caucase == nil {
		return nil
	}
	return o.caucase.Rows(now)
}

// ReadHolderKey finds the one private key in a file, which may hold certificates, too.
func ReadHolderKey(f File, ask AskPassphrase) (crypto.Signer, error) {
	blocks, err := pki.SplitPEM(f.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	var found crypto.Signer
	for i, block := range blocks {
		if block.Type == "EC PARAMETERS" || !pki.IsPrivateKeyBlock(block) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%s: there is more than one private key", f.Name)
		}
		from := fmt.Sprintf("%s, block %d", f.Name, i+1)
		if found, err = readKey(from, block, ask); err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%s: there is no private key in PEM form", f.Name)
	}
	return found, nil
}

// Probe fails unless the key opens the backup and the format of its content is known.
func (s Sealed) Probe() error {
	o, err := s.open()
	if err != nil {
		return err
	}
	o.close()
	return nil
}
