package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// A requestView is what a request is for: what would be signed, where the daemon says that, and what it
// asks for otherwise.
type requestView struct {
	ID             string   `json:"id,omitempty"`
	Digest         string   `json:"digest,omitempty"`
	Profile        string   `json:"profile,omitempty"`
	Validity       int64    `json:"validity_seconds,omitzero"`
	Subject        string   `json:"subject"`
	SANs           []string `json:"sans"`
	Key            string   `json:"key"`
	KeyID          string   `json:"key_id"`
	KeyFingerprint string   `json:"key_fingerprint,omitempty"`
	contentView

	ReceivedAt *time.Time     `json:"received_at,omitempty"`
	Submitter  *submitterView `json:"submitter,omitempty"`

	Namesakes     []namesakeView `json:"namesakes,omitempty"` // who has a name of it already
	MoreNamesakes bool           `json:"more_namesakes,omitempty"`

	Approvals *approvalsView `json:"approvals,omitempty"` // where several users have to approve it, or a rule says something to them

	// Extensions are the kinds of all that the request asks for, Dropped those that it does not get.
	Extensions []string `json:"extensions,omitempty"`
	Dropped    []string `json:"dropped,omitempty"`

	// Previewed says that all this would be in the certificate, and not just what is asked for.
	Previewed bool   `json:"previewed"`
	Problem   string `json:"problem,omitempty"`

	// Corrected is what was changed of what the request asks for, Notes what else of it is not used.
	Corrected []string `json:"-"`
	Notes     []string `json:"-"`

	// Unverified says why somebody else may have written all this, "" if only the daemon can.
	Unverified string `json:"unverified,omitempty"`
}

// A namesakeView is a lineage with a valid certificate that has a name of the request already.
type namesakeView struct {
	Lineage  string    `json:"lineage"`
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"not_after"`
	Name     string    `json:"name,omitempty"`
}

// approvalsView are how many users have to approve a request, and who has.
type approvalsView struct {
	Needed int            `json:"needed"`
	Rule   string         `json:"rule,omitempty"`
	Reason string         `json:"reason,omitempty"`
	By     []approverView `json:"by"`
	Others []approverView `json:"others,omitempty"` // of something else, such as with another profile
}

type approverView struct {
	Lineage string    `json:"lineage"`
	Subject string    `json:"subject"`
	At      time.Time `json:"at"`
}

func viewApprovals(a *client.Approvals) *approvalsView {
	if a == nil {
		return nil
	}
	list := func(of []client.Approver) []approverView {
		views := []approverView{}
		for _, one := range of {
			views = append(views, approverView{pki.EscapeText(one.Lineage), pki.EscapeText(one.Subject), one.At.UTC()})
		}
		return views
	}
	return &approvalsView{a.Needed, pki.EscapeText(a.Rule), pki.EscapeText(a.Reason), list(a.By), list(a.Others)}
}

// text says how it stands: "1 of 2 approvals, by CN=alice".
func (v *approvalsView) text() string {
	text := fmt.Sprintf("%d of %d", len(v.By), v.Needed)
	for i, of := range [][]approverView{v.By, v.Others} {
		for j, one := range of {
			switch {
			case j > 0:
				text += " and "
			case i > 0:
				text += "; of something else, such as with another profile, by "
			default:
				text += ", by "
			}
			text += safe(one.Subject)
		}
	}
	return text
}

// text warns of it.
func (n namesakeView) text() string {
	subject, name := orDash(n.Subject), ""
	if n.Name != "" {
		name = " for " + n.Name
	}
	return fmt.Sprintf("%s has a valid certificate%s until %s, lineage %s", subject, name, timeText(n.NotAfter), n.Lineage)
}

// A submitterView is who has sent a request: a user by name, anybody else by address.
type submitterView struct {
	Kind    string `json:"kind"`
	Subject string `json:"subject,omitempty"`
	manners.Serial
	Address string `json:"address,omitempty"`
}

func viewSubmitter(s *client.Submitter) *submitterView {
	if s == nil {
		return nil
	}
	v := &submitterView{Kind: pki.EscapeText(s.Kind), Subject: pki.EscapeText(s.Subject), Address: pki.EscapeText(s.Address)}
	if serial, err := pki.ParseSerial(s.Serial); err == nil {
		v.Serial = manners.SerialOf(serial)
	}
	return v
}

// text names the submitter, and the name of users first.
func (s *submitterView) text(decimal bool) string {
	if s == nil {
		return ""
	}
	text := s.Kind
	switch {
	case s.Subject != "":
		text += " " + s.Subject
	case !s.Serial.IsZero():
		text += " with serial " + s.Serial.Text(decimal)
	}
	if s.Address != "" {
		text += ", " + s.Address
	}
	return safe(text)
}

func viewRequest(req *pki.Request) requestView {
	sum := sha256.Sum256(req.CSR.RawSubjectPublicKeyInfo)
	view := requestView{
		Digest:         req.Digest.String(),
		Key:            pki.DescribeKey(req.CSR.PublicKey),
		KeyID:          fmt.Sprintf("%x", req.KeyID),
		KeyFingerprint: "sha256:" + hex.EncodeToString(sum[:]),
	}
	view.contain(req.CSR.RawSubject, req.CSR.Extensions)
	for _, ext := range req.CSR.Extensions {
		view.Extensions = append(view.Extensions, extensionName(ext.Id.String()))
	}
	return view
}

// contain has the view show these names and extensions.
func (v *requestView) contain(subject []byte, extensions []pkix.Extension) {
	v.Subject = pki.SubjectString(subject)
	v.SANs = append([]string{}, pki.SANStrings(extensions)...)
	v.contentView = viewContent(extensions)
}

// viewSubmitted describes what would be signed. Requests that cauased would not accept are described, too: a
// reference daemon does, and they are pending there.
func viewSubmitted(s client.Submitted) requestView {
	req, err := pki.ParseRequest(s.PEM)
	if err != nil {
		view := requestView{ID: s.ID.String(), Profile: pki.EscapeText(s.Profile), SANs: []string{}, Problem: pki.EscapeText(err.Error())}
		if digest, err := s.Digest(); err == nil {
			view.Digest = digest.String()
		}
		view.came(s)
		return view
	}
	view := viewRequest(req)
	view.came(s)
	view.ID, view.Profile, view.Problem = s.ID.String(), pki.EscapeText(s.Profile), pki.EscapeText(s.Problem)
	if p := s.Preview; p != nil {
		view.Profile, view.Validity, view.Previewed = pki.EscapeText(p.Profile), int64(p.Validity/time.Second), true
		view.contain(p.Subject, p.Extensions)
		for _, ext := range req.CSR.Extensions {
			if !slices.ContainsFunc(p.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(ext.Id) }) {
				view.Dropped = append(view.Dropped, extensionName(ext.Id.String()))
			}
		}
	}
	return view
}

// came has the view show when and from whom the request came.
func (v *requestView) came(s client.Submitted) {
	if !s.Received.IsZero() {
		at := s.Received.UTC()
		v.ReceivedAt = &at
	}
	v.Submitter = viewSubmitter(s.Submitter)
	for _, n := range s.Namesakes {
		v.Namesakes = append(v.Namesakes, namesakeView{pki.EscapeText(n.Lineage), pki.EscapeText(n.Subject), n.NotAfter.UTC(), pki.EscapeText(n.Name)})
	}
	v.MoreNamesakes = s.MoreNamesakes
	v.Approvals = viewApprovals(s.Approvals)
}

// validity is how long the certificate would be valid, "" where the daemon does not say.
func (v requestView) validity() string {
	if v.Validity == 0 {
		return ""
	}
	return pki.FormatDuration(time.Duration(v.Validity) * time.Second)
}

func (p *printer) request(v requestView) {
	p.field("request", v.ID)
	p.requestDetails(v, v.Subject, v.Key, v.Profile, v.validity())
}

func (p *printer) requestDetails(v requestView, subject, key, profile, validity string) {
	if v.ReceivedAt != nil {
		p.field("received", timeText(*v.ReceivedAt))
	}
	p.field("from", v.Submitter.text(p.decimal))
	p.field("profile", safe(profile))
	p.field("validity", validity)
	p.field("subject", safe(subject))
	p.field("names", strings.Join(safeNames(v.SANs), ", "))
	p.field("key", key)
	p.field("key id", v.KeyID)
	p.field("key hash", v.KeyFingerprint)
	p.content(v.contentView)
	p.field("asks for", strings.Join(v.Extensions, ", "))
	p.field("not granted", strings.Join(v.Dropped, ", "))
	for _, n := range v.Namesakes {
		p.field("WARNING", safe(n.text()))
	}
	switch {
	case v.MoreNamesakes && len(v.Namesakes) == 0:
		p.field("note", "so many lineages have a name of it that not all were looked at; none of those that were is valid")
	case v.MoreNamesakes:
		p.field("WARNING", "and more have a name of it")
	}
	if v.Approvals != nil {
		p.field("approvals", v.Approvals.text())
		p.field("rule", safe(v.Approvals.Rule))
		p.field("because", safe(v.Approvals.Reason))
	}
	for _, change := range v.Corrected {
		p.field("corrected", safe(change))
	}
	for _, note := range v.Notes {
		p.field("note", safe(note))
	}
	p.field("problem", safe(v.Problem))
	p.field("unverified", v.Unverified)
	p.field("digest", v.Digest)
}

// requests prints a table, with a block of details below each row.
func (p *printer) requests(views []requestView) {
	if len(views) == 0 {
		p.line("No request is pending.")
		return
	}
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tPROFILE\tVALIDITY\tKEY\tSUBJECT")
	for _, v := range views {
		subject := orDash(v.Subject)
		if v.Key == "" {
			subject = "(not acceptable)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", v.ID, orDash(safe(v.Profile)), orDash(v.validity()), orDash(v.Key), safe(subject))
	}
	w.Flush()
	heading, rows, _ := strings.Cut(table.String(), "\n")
	p.line("%s", heading)
	details := &printer{w: p.w, indent: "    ", decimal: p.decimal}
	for i, row := range strings.Split(strings.TrimSuffix(rows, "\n"), "\n") {
		p.line("%s", row)
		details.requestDetails(views[i], "", "", "", "")
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
