package caucase

import (
	"bytes"
	"context"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"cauase/pkg/audit"
	"cauase/pkg/server"
)

//go:embed consent.html
var consentHTML string

// getConsent shows the page on which a user decides about an origin.
func (f *FrontEnd) getConsent(x *server.Exchange) (server.Perform, error) {
	if !x.Secure() {
		return func(context.Context, audit.Actor) error {
			target := f.cfg.Netloc.SecureBase(x.Request) + "/cors"
			if q := x.Request.URL.RawQuery; q != "" {
				target += "?" + q
			}
			x.Header().Set("Location", target)
			return x.Empty(http.StatusFound)
		}, nil
	}
	query, err := url.ParseQuery(x.Request.URL.RawQuery)
	if err != nil {
		return nil, server.Refuse(http.StatusBadRequest, "malformed query")
	}
	origin, returnTo, err := consentParameters(query, "return")
	if err != nil {
		return nil, err
	}
	return func(context.Context, audit.Actor) error {
		page, err := template.New("consent").Parse(consentHTML)
		if err != nil {
			return err
		}
		var buf bytes.Buffer
		err = page.Execute(&buf, struct{ Origin, Return, Self string }{origin, returnTo, f.cfg.Netloc.String()})
		if err != nil {
			return err
		}
		h := x.Header()
		h.Set("Cache-Control", server.NoStore)
		// No form-action: it would also forbid the redirect that follows the form.
		h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Frame-Options", "DENY")
		// With no-referrer, browsers would send the form from the origin "null".
		h.Set("Referrer-Policy", "same-origin")
		return x.Reply(http.StatusOK, "text/html; charset=utf-8", buf.Bytes())
	}, nil
}

// postConsent takes the user's decision and sends the browser back. Only our own page may
// ask for that.
func (f *FrontEnd) postConsent(x *server.Exchange) (server.Perform, error) {
	if !x.Secure() {
		return nil, server.ErrNotFound
	}
	if _, foreign := f.foreignOrigin(x.Request); foreign {
		return nil, server.Refuse(http.StatusForbidden, "only the user decides about an origin")
	}
	if err := x.ContentType(server.TypeForm); err != nil {
		return nil, err
	}
	body, err := x.Body(keepForm)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, server.Refuse(http.StatusBadRequest, "malformed form")
	}
	origin, returnTo, err := consentParameters(form, "return_to")
	if err != nil {
		return nil, err
	}
	decision := form["grant"]
	if len(decision) != 1 || decision[0] != "0" && decision[0] != "1" {
		return nil, server.Refuse(http.StatusBadRequest, "grant must be 0 or 1")
	}
	return func(ctx context.Context, _ audit.Actor) error {
		valid, _ := f.readGrants(x.Request)
		p, err := f.person(x)
		if err != nil {
			return err
		}
		allowed := decision[0] == "1"
		decided, err := f.decide(ctx, valid, p.name(), origin, allowed)
		if err == nil && p.users != nil {
			err = p.users.Consent(ctx, p.actor, origin, allowed)
		}
		if err != nil {
			return err
		}
		h := x.Header()
		h.Set("Cache-Control", server.NoStore)
		h.Set("Set-Cookie", decided.cookie())
		h.Set("Location", returnTo)
		return x.Empty(http.StatusFound)
	}, nil
}

// consentParameters reads the origin that a decision is about, and where to go then: a
// web address, not one that runs a script.
func consentParameters(values url.Values, returnName string) (origin, returnTo string, err error) {
	if len(values["origin"]) != 1 || len(values[returnName]) != 1 {
		return "", "", server.Refuse(http.StatusBadRequest, "origin and %s are needed, once each", returnName)
	}
	origin, returnTo = values.Get("origin"), values.Get(returnName)
	if err := CheckOrigin(origin); err != nil {
		return "", "", server.Refuse(http.StatusBadRequest, "%v", err)
	}
	u, err := url.Parse(returnTo)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.ContainsAny(returnTo, "\r\n\x00") {
		return "", "", server.Refuse(http.StatusBadRequest, "%s is not a web address", returnName)
	}
	return origin, returnTo, nil
}
