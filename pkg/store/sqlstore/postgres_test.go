package sqlstore_test

import (
	"testing"

	"cauase/pkg/pgtest"
	"cauase/pkg/store"
	"cauase/pkg/store/storetest"
)

func TestPostgres(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, server.NewDatabase(t)) })
}
