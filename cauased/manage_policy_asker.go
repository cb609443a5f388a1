package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/config"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// askedFor finds the request that the argument means: a file, or the id of one on record; and the names of the daemon. A database need not be there
// for a file.
func askedFor(c *urfave.Context, clk clock.Clock) (on manage.Recorded, own []string, err error) {
	argument := c.Args().First()
	id, notID := strconv.ParseInt(argument, 10, 64)
	_, notFile := os.Stat(argument)
	byID := notID == nil && notFile != nil
	if !byID {
		on, err = requestIn(argument)
		if err != nil {
			return on, nil, err
		}
	}
	on.Asker.FrontEnd = "caucase"
	rows := store.Standards(clk.Now())
	if _, err := os.Stat(c.String(flagDB)); err == nil || byID || sqlstore.IsURL(c.String(flagDB)) || c.IsSet(flagDB) {
		db, err := openToInspect(c)
		if err != nil {
			return on, nil, err
		}
		var known []store.Authority
		if known, own, err = surroundings(c, db); err == nil && byID {
			on, err = manage.OnRecord(c.Context, db, store.AuthorityName(c.String(flagAuthority)), id)
			if errors.Is(err, manage.ErrNotPending) {
				err = fmt.Errorf("no request with the id %d is on record", id)
			}
		}
		if err = errors.Join(err, db.Close()); err != nil {
			return on, nil, err
		}
		if len(known) > 0 {
			rows = known
		}
	}
	if netloc := c.String(flagNetloc); netloc != "" {
		host, _, err := net.SplitHostPort(netloc)
		if err != nil {
			host = netloc
		}
		own = []string{strings.Trim(host, "[]")}
	}
	if byID {
		return on, own, nil
	}
	name, err := pickAuthority(rows, cmp.Or(c.String(flagAuthority), usualAuthority(clk)))
	if err != nil {
		return on, nil, err
	}
	for _, row := range rows {
		if row.Name == name {
			on.Row = row
		}
	}
	return on, own, nil
}

// usualAuthority is the one of services that every daemon has.
func usualAuthority(clk clock.Clock) string {
	return string(store.ByRole(store.Standards(clk.Now()), store.RoleServices)[0].Name)
}

// requestIn reads a request from a file.
func requestIn(path string) (on manage.Recorded, err error) {
	content, err := config.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return on, cli.WithHint(fmt.Errorf("%s: neither a file, nor the id of a request", path), "see cauased manage policy test --help")
	} else if err != nil {
		return on, err
	}
	if on.Request, err = pki.ParseRequest(content); err != nil {
		return on, fmt.Errorf("%s: %w", path, err)
	}
	return on, nil
}

// givenAsker returns who asks, as the flags say, or as is on record where they say nothing.
func givenAsker(c *urfave.Context, by policy.Asker) (policy.Asker, error) {
	shown := c.StringSlice(flagAs)
	if len(shown) > 0 {
		by = policy.Asker{Address: by.Address, FrontEnd: "caucase"}
	}
	if from := c.String(flagFrom); from != "" {
		if _, err := netip.ParseAddr(from); err != nil {
			return by, fmt.Errorf("--%s: %q is not an IP address", flagFrom, from)
		}
		by.Address = from
	}
	for _, text := range shown {
		if err := addShown(&by, text); err != nil {
			return by, cli.WithHint(fmt.Errorf("--%s: %w", flagAs, err), "see cauased manage policy test --help")
		}
	}
	return by, nil
}

func addShown(by *policy.Asker, text string) error {
	kind, value, _ := strings.Cut(text, ":")
	if value == "" && kind != "invitation" {
		return fmt.Errorf("%q says only what kind it is of", text)
	}
	switch kind {
	case "ssh":
		if by.SSH == nil {
			by.SSH = &policy.SSHHost{Fingerprint: "SHA256:as-given"}
		}
		by.SSH.Names = append(by.SSH.Names, value)
	case "certificate":
		issuer, name, named := strings.Cut(value, "=")
		if by.Certificate == nil {
			by.Certificate = &policy.Certificate{Authority: issuer, Serial: "as-given"}
		}
		if by.Certificate.Authority != issuer {
			return fmt.Errorf("certificates of %s and %s: an asker shows one", by.Certificate.Authority, issuer)
		}
		if named {
			by.Certificate.Names = append(by.Certificate.Names, name)
		}
	case "ptr":
		by.Reverse = append(by.Reverse, value)
	case "front-end":
		by.FrontEnd = value
	case "client":
		by.Client = value
	case "invitation":
		by.Invitation = cmp.Or(value, "as-given")
	default:
		return fmt.Errorf("%q begins with none of ssh:, certificate:, ptr:, front-end:, client:, and is not invitation", text)
	}
	return nil
}
