package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"cauase/pkg/backup"
	"cauase/pkg/pki"
)

// A report is what was found, as --json prints it.
type report struct {
	Keys    []keyReport    `json:"keys"`
	Backups []backupReport `json:"backups"`
}

type keyReport struct {
	File  string `json:"file"`
	ID    string `json:"id"`
	Users []user `json:"users,omitzero"`
}

type backupReport struct {
	File       string      `json:"file"`
	Cipher     string      `json:"cipher"`
	Recipients []recipient `json:"recipients"`
}

type recipient struct {
	ID     string `json:"id"`
	Cipher string `json:"cipher"`
	Users  []user `json:"users,omitzero"`
}

func reportBackup(path string, h backup.Header, known users) backupReport {
	b := backupReport{File: path, Cipher: h.Cipher.Name, Recipients: []recipient{}}
	for _, r := range h.Recipients {
		b.Recipients = append(b.Recipients, recipient{r.KeyID, r.Cipher.Name, known.of(r.KeyID)})
	}
	return b
}

// A style is how people want to see identifiers and users.
type style struct {
	plain   bool // identifiers without what the reference has around them
	named   bool // users were asked for
	decimal bool // serial numbers are decimal
}

// text prints what the reference prints, and the users behind it if they were asked for.
func (r report) text(w io.Writer, how style) error {
	show := func(id string, of []user) string {
		if !how.plain {
			id = "b'" + id + "'"
		}
		if !how.named {
			return id
		}
		var all []string
		for _, u := range of {
			all = append(all, u.text(how.decimal))
		}
		if len(all) == 0 {
			all = []string{"no certificate known"}
		}
		return id + " " + strings.Join(all, "; ")
	}
	var out strings.Builder
	for _, k := range r.Keys {
		fmt.Fprintln(&out, pki.EscapeText(k.File), show(k.ID, k.Users))
	}
	for _, b := range r.Backups {
		fmt.Fprintln(&out, pki.EscapeText(b.File))
		for _, to := range b.Recipients {
			fmt.Fprintln(&out, " ", show(to.ID, to.Users))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (u user) text(decimal bool) string {
	s := fmt.Sprintf("%s, serial %s, %s to %s, %s", u.Subject, u.Serial.Text(decimal),
		u.NotBefore.Format(time.DateOnly), u.NotAfter.Format(time.DateOnly), u.Status)
	if u.Issuer == unknownIssuer {
		s += ", not issued by the CA given"
	}
	return s
}
