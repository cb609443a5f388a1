package caucasedb

import (
	"bytes"
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"cauase/pkg/caucase"
	"cauase/pkg/store"
)

// rowsOf collects the rows, and fails the test if there are none.
func rowsOf(t testing.TB, db *caucase.Database, now time.Time) []store.Row {
	t.Helper()
	rows, err := collect(db, now)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func collect(db *caucase.Database, now time.Time) (rows []store.Row, err error) {
	for row, err := range db.Rows(now) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// of picks the rows of one kind and authority.
func of[T store.Row](rows []store.Row, which func(T) bool) (picked []T) {
	for _, row := range rows {
		if r, ok := row.(T); ok && which(r) {
			picked = append(picked, r)
		}
	}
	return picked
}

// change runs SQL on a database. What it leaves beside it stays there.
func change(t testing.TB, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(context.Background(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// dumpOf writes a database as Python's iterdump does, which caucase uses.
func dumpOf(t testing.TB, path string) []byte {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var out bytes.Buffer
	out.WriteString("BEGIN TRANSACTION;\x00")
	type table struct{ name, sql string }
	var tables []table
	rows, err := db.Query("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var one table
		if err := rows.Scan(&one.name, &one.sql); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, one)
	}
	for _, one := range tables {
		out.WriteString(one.sql + ";\x00")
		var quoted []string
		columns, err := caucase.NewBuilder().Table(one.name, one.sql)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range columns {
			quoted = append(quoted, "quote("+c+")")
		}
		rows, err := db.Query("SELECT " + strings.Join(quoted, "||','||") + " FROM " + one.name + " ORDER BY rowid")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var values string
			if err := rows.Scan(&values); err != nil {
				t.Fatal(err)
			}
			out.WriteString(`INSERT INTO "` + one.name + `" VALUES(` + values + ");\x00")
		}
	}
	out.WriteString("COMMIT;\x00")
	return out.Bytes()
}
