package crash

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"cauase/pkg/pgtest"
)

// postgresOf copies the database of a folder to PostgreSQL once, and from there for each who asks.
func postgresOf(folder string) func(testing.TB, string) (string, int) {
	template := pgtest.Filled(postgres, func(ctx context.Context, dsn string) error {
		cmd := exec.CommandContext(ctx, cauased, "manage", "copy", "--to", dsn)
		cmd.Env = environment(folder, filepath.Join(folder, "cauase.sqlite"))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("cauased manage copy: %w\n%s", err, out)
		}
		return nil
	})
	return func(t testing.TB, _ string) (dsn string, _ int) {
		if exists(filepath.Join(folder, "cauase.sqlite")) {
			dsn = template(t)
		} else {
			dsn = postgres(t).NewDatabase(t)
		}
		address, err := url.Parse(dsn)
		check(t, err)
		port, err := strconv.Atoi(address.Port())
		check(t, err)
		return dsn, port
	}
}
