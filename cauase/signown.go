package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"

	manners "cauase/pkg/cli"
)

// signing reads how a request is to be signed by the user who makes it, nil if it is not.
func signing(c *cli.Context) (*client.Approval, error) {
	if !c.Bool("sign") {
		if c.IsSet("validity") {
			return nil, errUsage(c, "--validity is for the user who signs: give --sign, too")
		}
		return nil, nil
	}
	validity, err := givenValidity(c)
	if err != nil {
		return nil, err
	}
	return &client.Approval{Profile: c.String("profile"), Validity: validity}, nil
}

// signOwn signs a request that was just submitted from here, and no other one that is shown in its place.
func (t *tool) signOwn(ctx context.Context, r *enrolment, how client.Approval) error {
	session := r.engine.User
	found, err := session.Show(ctx, r.ID, how)
	if err == nil {
		how.Shown = &r.Digest
		var view requestView
		if how, view, err = bind(how, nil, found); err == nil {
			if len(view.Dropped) > 0 {
				t.note("not granted by the profile: %s", strings.Join(view.Dropped, ", "))
			}
			err = session.Approve(ctx, r.ID, how)
		}
	}
	if err == nil || client.IsStatus(err, http.StatusNotFound) {
		return nil // which is signed already, or rejected: collecting it tells
	}
	return manners.WithHint(fmt.Errorf("sign request %s: %w", r.ID, err), "key and request are kept in %s and %s, and the request is pending", r.engine.Paths.KeyPath(), r.csr)
}
