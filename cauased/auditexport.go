package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
)

// auditExportCommand writes the log out with all that a third party needs to verify it.
func auditExportCommand(stdout io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "export",
		Usage: "print the audit log with what a third party needs to verify it",
		Description: "Prints a JSON object for each entry, one a line: the leaf as it is in the tree, the entire entry, and the salt with which the\n" +
			"leaf commits to it. docs/audit-log.md says how it is verified. With --format syslog, a message (RFC 5424) for each.\n\n" +
			"Examples:\n" +
			"  cauased manage audit export --db cauase.sqlite > log.jsonl\n" +
			"  cauased manage audit export --db cauase.sqlite --format syslog --after-leaf 1000",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.StringFlag{Name: "format", Value: "json", Usage: "`FORM` of a line: json or syslog"},
			cli.Int(urfave.IntFlag{Name: "after-leaf", Value: -1, DefaultText: "all", Usage: "only leaves after this `NUMBER`"}),
		},
		Action: func(c *urfave.Context) error {
			if c.Args().Present() {
				return cli.WithHint(errors.New("unexpected argument: "+c.Args().First()), "see cauased manage audit export --help")
			}
			format, err := cli.Choice("--format", c.String("format"), []string{"json", "syslog"})
			if err != nil {
				return err
			}
			return exportAudit(c, format, stdout)
		},
	}
}

func exportAudit(c *urfave.Context, format string, stdout io.Writer) error {
	db, err := openToInspect(c)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(stdout)
	err = db.View(c.Context, func(r store.Reader) error {
		log, err := r.Log(c.Context)
		if err != nil {
			return err
		}
		var line []byte
		return r.Audit(c.Context, audit.Filter{}, func(e audit.Entry) error {
			if e.Hash == nil || e.Leaf <= int64(c.Int("after-leaf")) {
				return nil
			}
			if format == "syslog" {
				line = syslogLine(line[:0], log.Origin, e)
			} else {
				line = exportLine(line[:0], log.Secret, e)
			}
			_, err := out.Write(append(line, '\n'))
			return err
		})
	})
	return errors.Join(err, out.Flush(), db.Close())
}

// exportLine is an entry as a line of JSON, in which leaf and entry stand as they are hashed.
func exportLine(b, secret []byte, e audit.Entry) []byte {
	salt := merkle.Salt(secret, e.Leaf)
	b = e.MerkleLeaf(secret).Append(append(b, `{"leaf":`...))
	b = append(merkle.AppendMember(b, "salt"), '"')
	b = append(base64.StdEncoding.AppendEncode(b, salt[:]), '"')
	b = e.Append(merkle.AppendMember(b, "entry"))
	return append(merkle.AppendHex(merkle.AppendMember(b, "hash"), e.Hash), '}')
}

// syslogLine is an entry as a message of RFC 5424: facility 10 (security), severity 6 or, of a refusal, 4.
func syslogLine(b []byte, origin string, e audit.Entry) []byte {
	severity := 6
	if e.Result == audit.Refused {
		severity = 4
	}
	param := func(name, value string) {
		if value != "" {
			b = append(b, ' ')
			b = append(append(b, name...), `="`...)
			b = append(append(b, escapeParam(value)...), '"')
		}
	}
	b = fmt.Appendf(b, "<%d>1 %s - cauased - %s [cauase@32473", 10*8+severity, e.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), messageID(string(e.Action)))
	param("log", origin)
	param("leaf", fmt.Sprint(e.Leaf))
	param("hash", hex.EncodeToString(e.Hash))
	param("seq", fmt.Sprint(e.Seq))
	param("authority", e.Authority)
	param("actor", e.Actor.String())
	param("address", e.Actor.Address)
	param("object", e.Object.String())
	param("result", string(e.Result))
	param("request", e.Actor.RequestID)
	b = append(b, "] \xef\xbb\xbf"...)
	return append(b, oneLine(e.Detail)...)
}

// messageID is a message id: printable, without spaces, of at most 32 characters.
func messageID(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), 32)]
}

// oneLine keeps text of others from making lines of its own.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

func escapeParam(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`).Replace(oneLine(s))
}
