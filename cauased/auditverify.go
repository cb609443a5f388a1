package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// auditVerifyCommand verifies the audit log.
func auditVerifyCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "verify",
		Usage: "prove that no entry of the audit log was deleted, changed or moved",
		Description: "Recomputes the Merkle tree over the log from its entries, and compares hashes, tiles, the head of the tree and all\n" +
			"checkpoints that are on record. It may run beside the daemon, and changes nothing. Whoever can write to the\n" +
			"database, and has the key of the log, can make all of that anew: compare with a checkpoint that was kept elsewhere\n" +
			"(--against), as every host with an agent does.\n\n" +
			"Exit code 0: nothing is wrong. 1: faults were found. 2: the log could not be verified.\n" +
			fmt.Sprintf("The first %d faults are listed, all are counted.\n\n", maxFindings) +
			"Examples:\n" +
			"  cauased manage audit verify --db cauase.sqlite\n" +
			"  cauased manage audit verify --db cauase.sqlite --against checkpoint.txt --json | jq '.faults[]'",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.BoolFlag{Name: "json", Usage: "print the result and the faults as a JSON object"},
			cli.Int(urfave.IntFlag{Name: "from", Usage: "only from the tree of this `SIZE` on, which is taken for granted"}),
			&urfave.StringFlag{Name: "against", Usage: "compare with the signed checkpoint in `FILE`, which was kept elsewhere"},
			&urfave.StringFlag{Name: "key", Usage: "the `KEY` of the log, as verify and agents show it, in place of the one on record"},
		},
		OnUsageError: func(c *urfave.Context, err error, sub bool) error { return unverified(cli.UsageError(c, err, sub)) },
		Action: func(c *urfave.Context) error {
			if c.Args().Present() {
				return unverified(errors.New("unexpected argument: " + c.Args().First()))
			}
			return verifyLog(c, clk, stdout, stderr)
		},
	}
}

func unverified(err error) error {
	return cli.WithHint(&cli.Error{Err: err, Code: exitUnchecked, Failed: true}, "see cauased manage audit verify --help")
}

// verifyOptions reads the flags.
func verifyOptions(c *urfave.Context) (opt manage.LogOptions, err error) {
	if opt.From = int64(c.Int("from")); opt.From < 0 {
		return opt, fmt.Errorf("--from: %d is negative", opt.From)
	}
	if text := c.String("key"); text != "" {
		key, err := merkle.ParseKey(text)
		if err != nil {
			return opt, fmt.Errorf("--key: %w", err)
		}
		opt.Key = &key
	}
	if path := c.String("against"); path != "" {
		f, err := os.Open(path)
		if err != nil {
			return opt, fmt.Errorf("--against: %w", err)
		}
		opt.Against, err = io.ReadAll(io.LimitReader(f, merkle.MaxCheckpoint+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return opt, fmt.Errorf("--against: %w", err)
		}
		if _, err := merkle.ReadCheckpoint(opt.Against); err != nil {
			return opt, fmt.Errorf("--against: %s: %w", path, err)
		}
	}
	return opt, nil
}

type verifyJSON struct {
	Database string             `json:"database"`
	Complete bool               `json:"complete"`
	Log      manage.VerifiedLog `json:"log"`
	Faults   []manage.LogFault  `json:"faults"` // the first of them
}

func verifyLog(c *urfave.Context, clk clock.Clock, stdout, stderr io.Writer) error {
	opt, err := verifyOptions(c)
	if err != nil {
		return unverified(err)
	}
	db, err := openToInspect(c)
	if err != nil {
		return uncheckable(err)
	}
	ctx, done := untilSignal(c.Context)
	defer done()
	meter, p := newRowMeter(clk, stderr), newPrinter(c, stdout)
	faults, listed := []manage.LogFault{}, 0
	var log manage.VerifiedLog
	err = db.View(ctx, func(r store.Reader) (err error) {
		log, err = manage.VerifyLog(ctx, r, opt, func(f manage.LogFault) {
			if listed++; listed > maxFindings {
				return
			}
			if c.Bool("json") {
				faults = append(faults, f)
				return
			}
			meter.clear()
			p.line("%s: %s", f.Kind, f.Problem)
		}, meter.rows)
		return err
	})
	meter.clear()
	err = errors.Join(err, db.Close())
	switch {
	case c.Bool("json"):
		p.err = cli.WriteJSON(stdout, verifyJSON{sqlstore.Redact(c.String(flagDB)), err == nil, log, faults})
	case err == nil:
		if listed > maxFindings {
			p.line("… and %d more", listed-maxFindings)
		}
		printLog(p, log)
	}
	switch {
	case err != nil:
		return &cli.Error{Err: fmt.Errorf("audit verify: it could not be completed: %w", err), Code: exitUnchecked, Failed: true}
	case p.err != nil:
		return &cli.Error{Err: p.err, Code: exitUnchecked, Failed: true}
	case log.Faults > 0:
		return cli.WithHint(fmt.Errorf("audit verify: %d faults were found", log.Faults), "keep a copy of the database as it is now, then see docs/audit-log.md")
	}
	return nil
}

func printLog(p *printer, log manage.VerifiedLog) {
	p.line("log %s: %d leaves, root %s, epoch %d", log.Origin, log.Size, log.Root, log.Epoch)
	if log.From > 0 {
		p.line("the first %d were taken for granted", log.From)
	}
	if log.Pruned > 0 {
		p.line("the entries of %d leaves were pruned; their hashes are there", log.Pruned)
	}
	if log.Waiting > 0 {
		p.line("%d entries of an earlier version of cauased are not in the tree yet", log.Waiting)
	}
	switch {
	case log.Signed == 0 && log.Size > 0:
		p.line("no checkpoint is on record: nothing of it is signed")
	case log.Size > 0:
		p.line("%d checkpoints; the last one is of %d leaves, at %s, by the key %s", log.Checkpoints, log.Signed, log.SignedAt.UTC().Format(time.RFC3339), log.Key)
	}
	p.line("%d faults", log.Faults)
}
