package main

import (
	"context"
	"crypto/tls"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
)

// completionLimit is how long somebody who completes a command line is kept waiting for a daemon. Tests change it.
var completionLimit = time.Second

// commandsOfIDs are those of which the first argument, or each, may be the id of a pending request.
var commandsOfIDs = []string{"csr show", "csr get", "csr sign", "csr reject", "crt get"}

// pendingIDs are the ids of the requests that are pending, each with its subject behind a tab, for whoever completes a
// command line that begins with words. It asks nobody, writes nothing, trusts nobody who is not trusted already, and says
// nothing of what does not work: the command will.
func pendingIDs(env environment, words []string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), completionLimit)
	defer cancel()
	found := make(chan []string, 1)
	go func() { found <- findPending(ctx, env, words) }()
	select {
	case lines := <-found:
		return lines
	case <-ctx.Done(): // files, too, may take their time
		return nil
	}
}

func findPending(ctx context.Context, env environment, words []string) (lines []string) {
	env.stdin, env.stdout, env.stderr, env.prompt = nil, io.Discard, io.Discard, nil
	t := &tool{environment: env}
	app := &cli.App{
		Name: toolName, Writer: io.Discard, ErrWriter: io.Discard, HideHelp: true, HideVersion: true, DisableSliceFlagSeparator: true,
		Flags: globalFlags(), Before: t.readSettings, ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			for _, request := range t.listPending(c.Context) {
				lines = append(lines, request.ID+"\t"+orDash(subjectOrNames(request.Subject, request.SANs)))
			}
			return nil
		},
	}
	if err := app.RunContext(ctx, append(globalsIn(words, app.Flags, newApp(env).Commands), "--", "csr")); err != nil {
		return nil
	}
	return lines
}

// globalsIn is a command line with those of the tool's options that are in words.
func globalsIn(words []string, globals []cli.Flag, commands []*cli.Command) []string {
	args := reorderArgs(append([]string{toolName}, words...), globals, commands)
	kept := args[:1:1]
	for i := 1; i < len(args); i++ {
		name, _, hasValue := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		flag := findFlag(globals, name)
		if !strings.HasPrefix(args[i], "-") || flag == nil {
			break
		}
		kept = append(kept, args[i])
		if takesValue(flag) && !hasValue && i+1 < len(args) {
			i++
			kept = append(kept, args[i])
		}
	}
	return kept
}

// listPending lists the requests that are pending, none if a passphrase or trust is missing for that.
func (t *tool) listPending(ctx context.Context) []requestView {
	paths := pemfile.PairPaths{Crt: t.userKey}
	if t.userKey == "" || len(paths.LockedKeys()) > 0 {
		return nil
	}
	user, err := pemfile.ReadPair(paths)
	if err != nil || user.Crt == nil {
		return nil
	}
	local, err := t.caStore.ReadCertificates()
	if err != nil || len(local) == 0 {
		return nil
	}
	c, err := t.connect()
	if err != nil {
		return nil
	}
	trust, err := c.UpdateTrust(ctx, local, t.pins)
	if err != nil || trust.FirstUse {
		return nil
	}
	session, err := c.Connect(ctx, tls.Certificate{Certificate: [][]byte{user.Crt.Raw}, PrivateKey: user.Key, Leaf: user.Crt}, trust.CAs,
		client.Caucase{Allowed: t.caucase, Vouched: t.vouchedBefore(c.URL()) != ""})
	if err != nil {
		return nil
	}
	defer session.Close()
	pending, err := session.Pending(ctx)
	if err != nil {
		return nil
	}
	views := make([]requestView, 0, len(pending))
	for _, one := range slices.Backward(pending) { // the newest first
		views = append(views, viewSubmitted(one))
	}
	return views
}
