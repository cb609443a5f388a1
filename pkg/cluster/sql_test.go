package cluster

import (
	"net/url"
	"strings"
	"testing"
)

// databaseOf is the name of the database in an address.
func databaseOf(t testing.TB, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}
