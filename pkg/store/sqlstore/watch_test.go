package sqlstore

import (
	"context"
	"net"
	"testing"
	"time"

	"cauase/pkg/pgtest"
	"cauase/pkg/store"
)

// listenSilently is the address of somebody who takes connections and says nothing.
func listenSilently(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestWatch(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	dsn := server.NewDatabase(t)
	run(t, dsn, "CREATE SCHEMA other")
	db, writer, other := mustOpen(t, dsn), mustOpen(t, dsn), mustOpen(t, with(t, dsn, "search_path", "other"))
	if _, ok := mustOpen(t, t.TempDir()+"/db.sqlite").Store().(store.Watcher); ok {
		t.Error("a SQLite file can be watched")
	}
	ctx, stop := context.WithCancel(t.Context())
	news, ended := make(chan struct{}, 100), make(chan struct{})
	go func() {
		defer close(ended)
		db.Store().(store.Watcher).Watch(ctx, func() { news <- struct{}{} })
	}()
	expect := func(what string, want bool) {
		t.Helper()
		patience := 10 * time.Second
		if !want {
			patience = 200 * time.Millisecond
		}
		select {
		case <-news:
			if !want {
				t.Errorf("%s: news", what)
			}
		case <-time.After(patience):
			if want {
				t.Fatalf("%s: no news", what)
			}
		}
	}
	add := func(db *DB, name string, fail error) {
		t.Helper()
		err := db.Update(t.Context(), func(tx store.Tx) error {
			_, err := tx.AddCounter(t.Context(), store.Services, name, 1)
			if err == nil {
				err = fail
			}
			return err
		})
		if err != fail {
			t.Fatal(err)
		}
	}
	expect("listening", true)
	add(writer, store.CounterCRLNumber, nil)
	expect("a CRL number", true)
	add(writer, store.CounterCA, nil)
	expect("a CA", true)
	add(writer, store.CounterReceivedCSR, nil)
	expect("something else", false)
	add(other, store.CounterCA, nil)
	expect("another schema's", false)
	server.Restart(t)
	expect("reconnected", true)
	for writer.Ping(t.Context()) != nil {
		time.Sleep(time.Millisecond) // a Ping fails at once while the server is known to be away
	}
	add(writer, store.CounterCA, nil)
	expect("a CA after the restart", true)
	stop()
	<-ended
}
