package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/store/sqlstore"
)

const flagDrillDirectory = "directory"

// drillCommand proves that a backup can be restored.
func drillCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "drill",
		Usage:     "prove that a backup can be restored, in a database that is thrown away",
		ArgsUsage: "BACKUP KEY",
		Description: "Restores BACKUP with KEY into a database of its own, checks every row there, and has each\n" +
			"authority issue, renew and revoke a certificate and publish that. The daemon and its database are\n" +
			"not involved, and KEY stays in use. Do it on a schedule, on a machine that you trust with CA keys.\n\n" +
			"The database is in a private directory, in memory where there is room, and removed at the end, also\n" +
			"when interrupted; after kill -9 or a loss of power, by the next drill. Exit code 0: everything is\n" +
			"proved. 1: the backup cannot be restored, or not used. 2: it can, but the check has found errors.\n\n" +
			"Example:\n" +
			"  cauased manage drill /backup/20260501030000.rows.caucased user.pem",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			passphraseFlag("`FILE` with the passphrase of KEY in its first line, if KEY is encrypted (default: ask)"),
			&urfave.StringFlag{Name: flagDrillDirectory, Usage: "`DIRECTORY` to make the private one in (default: /dev/shm, or that for temporary files)"},
			skipBadRowsFlag(),
			expectCAFlag(),
			&urfave.BoolFlag{Name: "json", Usage: "print what was proved as a JSON object"},
		},
		Action: func(c *urfave.Context) error {
			if c.NArg() != 2 {
				return cli.WithHint(errors.New("BACKUP and KEY are needed, in this order"), "see cauased manage drill --help")
			}
			return drill(c, clk, stdout, stderr)
		},
	}
}

func drill(c *urfave.Context, clk clock.Clock, stdout, stderr io.Writer) (err error) {
	from, err := openSealed(c, stderr)
	if err != nil {
		return err
	}
	if err := from.Probe(); err != nil {
		return withBackupHint(err, c)
	}
	ctx, done := untilSignal(c.Context)
	defer done()
	place, err := openScratch(c.String(flagDrillDirectory), c.Args().First())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.remove()) }()
	db, err := sqlstore.Open(ctx, filepath.Join(place.path, "drill.sqlite"), sqlstore.Options{})
	if err != nil {
		return err
	}
	p := newPrinter(c, stdout)
	meter := newRowMeter(clk, stderr)
	report := func(proof manage.Proof) {
		meter.clear()
		p.line("proved: %s (%s)", proof.Name, proof.Detail)
	}
	if c.Bool("json") {
		report = func(manage.Proof) {}
	}
	drilled, err := manage.Drill(ctx, db, clk, from, meter.rows, report)
	meter.clear()
	if closed := db.Close(); err == nil {
		err = closed
	}
	if c.Bool("json") {
		if e := cli.WriteJSON(stdout, drilled); err == nil {
			err = e
		}
	} else {
		for _, f := range drilled.Findings {
			p.line("%s: %s: %s", f.Severity, f.Row, f.Problem)
		}
		if err == nil {
			printContents(p, c.Args().First(), drilled.Contents)
			p.line("The backup can be restored with this key. %s is removed.", place.path)
		}
		if err == nil {
			err = p.err
		}
	}
	if errors.Is(err, manage.ErrDrillFindings) {
		return cli.WithCode(err, cli.ExitPending)
	}
	return withBackupHint(err, c)
}

// A scratch is a private directory that is removed at the end.
type scratch struct {
	path string
	lock *os.File // as long as it is held, no other drill removes the directory
}

const (
	scratchPrefix = "cauase-drill-"
	memory        = "/dev/shm"
	// scratchRoom is how much room a database and its log may take, in sizes of its backup.
	scratchRoom = 4
)

// openScratch makes a scratch in dir, or if that is empty in memory where there is room for the backup's
// database, else among temporary files. It removes what drills that were killed have left there.
func openScratch(dir, backupPath string) (*scratch, error) {
	if dir == "" {
		dir = os.TempDir()
		if info, err := os.Stat(backupPath); err == nil && hasRoom(memory, info.Size()*scratchRoom+64<<20) {
			dir = memory
		}
	}
	removeOrphans(dir)
	path, err := os.MkdirTemp(dir, scratchPrefix) // 0700
	if err != nil {
		return nil, err
	}
	lock, err := lockDirectory(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &scratch{path, lock}, nil
}

func (s *scratch) remove() error {
	err := os.RemoveAll(s.path)
	if err != nil {
		err = cli.WithHint(fmt.Errorf("%s could not be removed: %w", s.path, err), "it holds the keys of the CA: remove it yourself")
	}
	_ = s.lock.Close()
	return err
}

func lockDirectory(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// removeOrphans removes directories of ours that nobody holds.
func removeOrphans(dir string) {
	found, _ := filepath.Glob(filepath.Join(dir, scratchPrefix+"*")) // the pattern is good
	for _, path := range found {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
			continue
		}
		if lock, err := lockDirectory(path); err == nil {
			_ = os.RemoveAll(path)
			_ = lock.Close()
		}
	}
}
