package sqlstore

import (
	"os"
	"testing"

	"cauase/pkg/testkit"
)

func TestMain(m *testing.M) {
	testkit.Parallel(6) // they wait for servers, locks and each other
	os.Exit(m.Run())
}
