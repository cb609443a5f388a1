package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/signal"
	"syscall"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/archive"
	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/store"
)

// backupCommand takes one backup now. It may do so while the daemon runs.
func backupCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "backup",
		Usage:     "take a backup, encrypted to all users",
		ArgsUsage: "DIRECTORY|FILE",
		Description: "Writes everything in the database into a new file, which any user whose certificate is valid\n" +
			"now can decrypt with its key, reads it back and verifies it. In a DIRECTORY it gets a name from the\n" +
			"time; a FILE must not be there yet. The daemon need not be stopped. Its own backups, which it takes\n" +
			"with --" + flagBackupDirectory + ", go on as scheduled; if DIRECTORY is where it keeps them, this one counts.\n\n" +
			"Example:\n" +
			"  cauased manage backup --db cauase.sqlite /media/usb",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.BoolFlag{Name: "json", Usage: "print what was written as a JSON object"},
		},
		Action: func(c *urfave.Context) error {
			if c.NArg() != 1 {
				return cli.WithHint(errors.New("one directory or file is needed, after the options"), "see cauased manage backup --help")
			}
			b, err := takeBackup(c, clk)
			if err != nil {
				return err
			}
			for _, x := range b.Excluded {
				remark(stderr, "warning", "user %s, serial %s, cannot decrypt it: %s", x.Subject, cli.SerialOf(x.Serial).Text(c.Bool(cli.FlagDecimal)), x.Why)
			}
			return printBackup(c, stdout, b)
		},
	}
}

func takeBackup(c *urfave.Context, clk clock.Clock) (_ archive.Backup, err error) {
	db, err := openExisting(c)
	if err != nil {
		return archive.Backup{}, err
	}
	defer func() { err = closed(err, db) }()
	ctx, done := untilSignal(c.Context)
	defer done()
	b, err := archive.Take(ctx, db, clk, cli.Version(), c.Args().First())
	switch {
	case errors.Is(err, archive.ErrNoUser):
		return b, cli.WithHint(err, "become a user first, by the invitation that the daemon has made, or one of cauased manage invite")
	case errors.Is(err, fs.ErrExist):
		return b, cli.WithHint(fmt.Errorf("backup: %w", err), "a backup replaces nothing: give another name, or a directory")
	case err != nil:
		return b, fmt.Errorf("backup: %w", err)
	}
	err = db.Update(ctx, func(tx store.Tx) error {
		return b.Audit(ctx, tx, clk.Now(), audit.Actor{Kind: audit.Operator})
	})
	if err != nil {
		return b, fmt.Errorf("backup: %s is complete and verified, but that it was taken is not on record: %w", b.Path, err)
	}
	return b, nil
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM, so that the command can clean up. A second
// one kills the process.
func untilSignal(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

type backupJSON struct {
	File       string    `json:"file"`
	Time       time.Time `json:"time"`
	Size       int64     `json:"size"`
	Rows       int64     `json:"rows"`
	Recipients int       `json:"recipients"`
	Excluded   []string  `json:"excluded"` // serials
	Seconds    float64   `json:"duration_seconds"`

	Users []excludedJSON `json:"excluded_users"`
}

// excludedJSON is a user who cannot decrypt a backup.
type excludedJSON struct {
	Subject string `json:"subject"`
	cli.Serial
	Reason string `json:"reason"`
}

func printBackup(c *urfave.Context, w io.Writer, b archive.Backup) error {
	if !c.Bool("json") {
		p := newPrinter(c, w)
		p.line("%s: %d bytes, %d rows, for %s; verified", b.Path, b.Size, b.Rows.Rows(), plural(b.Recipients, "user"))
		return p.err
	}
	out := backupJSON{b.Path, b.At.UTC(), b.Size, b.Rows.Rows(), b.Recipients, []string{}, b.Took.Seconds(), []excludedJSON{}}
	for _, x := range b.Excluded {
		serial := cli.SerialOf(x.Serial)
		out.Excluded = append(out.Excluded, serial.Hex)
		out.Users = append(out.Users, excludedJSON{x.Subject, serial, x.Why})
	}
	return cli.WriteJSON(w, out)
}
