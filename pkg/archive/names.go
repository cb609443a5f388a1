package archive

import (
	"crypto/rand"
	"strings"
	"time"
)

// Endings of the names of backups, after the time at which they were taken: ours, and the reference's,
// whose content is SQL.
const (
	ending          = ".rows.caucased"
	referenceEnding = ".sql.caucased"
)

// stamp is how names tell the time, in UTC.
const stamp = "20060102150405"

// FileName is the name of a backup taken at t.
func FileName(t time.Time) string { return t.UTC().Format(stamp) + ending }

// parseName returns when the backup with this name was taken, and whether the name is one that we give.
func parseName(name string) (at time.Time, ours, ok bool) {
	text, ours := strings.CutSuffix(name, ending)
	if !ours {
		var reference bool
		if text, reference = strings.CutSuffix(name, referenceEnding); !reference {
			return time.Time{}, false, false
		}
	}
	// Parse takes fractions of a second that the layout does not have.
	if len(text) != len(stamp) {
		return time.Time{}, false, false
	}
	at, err := time.Parse(stamp, text)
	return at, ours, err == nil
}

// Names of files that are being written.
const tempPrefix = ".cauase-backup-"

// tempRandom is the length of what rand.Text returns, 128 bits of it.
const tempRandom = 26

func tempName() string { return tempPrefix + rand.Text() }

func isTemp(name string) bool {
	return strings.HasPrefix(name, tempPrefix) && len(name) == len(tempPrefix)+tempRandom
}
