package caucase

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"cauase/pkg/caucase/caucasetest"
)

// emptyDump is the statements of a dump in which everything is possible and nothing is there.
func emptyDump(t testing.TB) (statements []string) {
	t.Helper()
	for _, s := range strings.Split(strings.TrimSuffix(string(caucasetest.Dump(t, "0.9.17")), "\x00"), "\x00") {
		if !strings.HasPrefix(s, "INSERT") {
			statements = append(statements, s)
		}
	}
	return statements
}

func join(statements []string) string { return strings.Join(statements, "\x00") + "\x00" }

// replaced returns the statements with one that begins like prefix replaced by others.
func replaced(statements []string, prefix string, by ...string) []string {
	var out []string
	for _, s := range statements {
		if prefix != "" && strings.HasPrefix(s, prefix) {
			out, prefix = append(out, by...), ""
			continue
		}
		out = append(out, s)
	}
	return out
}

func TestHostileDumps(t *testing.T) {
	good := emptyDump(t)
	if _, err := ReadDump(strings.NewReader(join(good))); err != nil {
		t.Fatal(err)
	}
	before := func(s string) string { return join(replaced(good, "COMMIT;", s, "COMMIT;")) }
	create := func(s string) string { return join(replaced(good, "CREATE TABLE casrevoked", s)) }
	revoked := func(values string) string { return before(`INSERT INTO "casrevoked" VALUES(` + values + ");") }
	const columns = "expiration_date INTEGER, key TEXT, crt TEXT"
	for name, tc := range map[string]struct{ dump, want string }{
		"empty":                  {"", "statement 1: the dump ends here"},
		"only a NUL":             {"\x00", `statement 1: "" where BEGIN TRANSACTION; is expected`},
		"no transaction":         {join(good[1:]), "statement 1:"},
		"begins otherwise":       {join(replaced(good, "BEGIN", "BEGIN;")), "statement 1:"},
		"begins twice":           {before("BEGIN TRANSACTION;"), `"BEGIN TRANSACTION;" where`},
		"no commit":              {join(good[:len(good)-1]), "it is not complete"},
		"commit without NUL":     {strings.TrimSuffix(join(good), "\x00"), "it is not complete"},
		"cut off in the middle":  {join(good)[:500], "it is not complete"},
		"after commit":           {join(good) + "DROP TABLE casca;\x00", "something follows after COMMIT"},
		"NUL after commit":       {join(good) + "\x00", "something follows after COMMIT"},
		"empty statement":        {before(""), `"" where`},
		"rolls back":             {before("ROLLBACK;"), `"ROLLBACK;" where`},
		"ATTACH":                 {before("ATTACH DATABASE '/etc/passwd' AS x;"), `"ATTACH DATABASE '/etc/passwd' AS x;" where`},
		"PRAGMA":                 {before("PRAGMA writable_schema=ON;"), `"PRAGMA writable_schema=ON;" where`},
		"DELETE":                 {before(`DELETE FROM "sqlite_sequence";`), "DELETE FROM"},
		"UPDATE":                 {before("UPDATE casca SET key='x';"), "UPDATE"},
		"SELECT":                 {before("SELECT load_extension('x');"), "SELECT"},
		"VACUUM INTO":            {before("VACUUM INTO '/tmp/x';"), "VACUUM"},
		"comment":                {before("-- nothing"), "-- nothing"},
		"trigger":                {before("CREATE TRIGGER t AFTER INSERT ON casca BEGIN SELECT 1; END;"), "CREATE TRIGGER"},
		"view":                   {before("CREATE VIEW casca AS SELECT 1;"), "CREATE VIEW"},
		"index":                  {before("CREATE INDEX i ON casca (key);"), "CREATE INDEX"},
		"virtual table":          {before("CREATE VIRTUAL TABLE casca USING fts5(x);"), "CREATE VIRTUAL"},
		"temporary table":        {before("CREATE TEMP TABLE casca (x);"), "CREATE TEMP"},
		"unknown table":          {before("CREATE TABLE mine (x INTEGER);"), `caucase has no table "mine"`},
		"schema table":           {before(`CREATE TABLE sqlite_master (type TEXT);`), `caucase has no table "sqlite_master"`},
		"prefix alone":           {before("CREATE TABLE cas (x INTEGER);"), `caucase has no table "cas"`},
		"capitals":               {before("CREATE TABLE CASCA (" + columns + ");"), `caucase has no table "CASCA"`},
		"table twice":            {before("CREATE TABLE casca (" + columns + ");"), "table casca is created twice"},
		"lower case keyword":     {before("create table casca (" + columns + ");"), "create table"},
		"if not exists":          {before("CREATE TABLE IF NOT EXISTS casca (" + columns + ");"), `caucase has no table "IF"`},
		"as select":              {create("CREATE TABLE casrevoked AS SELECT 1;"), `"AS" where its columns are expected`},
		"column too many":        {create("CREATE TABLE casrevoked (serial TEXT PRIMARY KEY, revocation_date INTEGER, expiration_date INTEGER, x TEXT);"), "something follows after its columns"},
		"column missing":         {create("CREATE TABLE casrevoked (serial TEXT PRIMARY KEY, revocation_date INTEGER);"), "not declared as caucase does it"},
		"columns swapped":        {create("CREATE TABLE casrevoked (revocation_date INTEGER, serial TEXT PRIMARY KEY, expiration_date INTEGER);"), "no column serial where it is expected"},
		"other type":             {create("CREATE TABLE casrevoked (serial BLOB PRIMARY KEY, revocation_date INTEGER, expiration_date INTEGER);"), "column serial is not declared as caucase does it"},
		"default":                {create("CREATE TABLE casrevoked (serial TEXT PRIMARY KEY DEFAULT (random()), revocation_date INTEGER, expiration_date INTEGER);"), "not declared as caucase does it"},
		"check":                  {create("CREATE TABLE casrevoked (serial TEXT PRIMARY KEY, revocation_date INTEGER CHECK (1), expiration_date INTEGER);"), "not declared as caucase does it"},
		"without rowid":          {create("CREATE TABLE casrevoked (serial TEXT PRIMARY KEY, revocation_date INTEGER, expiration_date INTEGER) WITHOUT ROWID;"), "something follows after its columns"},
		"stacked":                {create("CREATE TABLE casrevoked (serial TEXT PRIMARY KEY, revocation_date INTEGER, expiration_date INTEGER); DROP TABLE casca;"), "something follows after its columns"},
		"comment in table":       {create("CREATE TABLE casrevoked (serial TEXT PRIMARY KEY, /* x */ revocation_date INTEGER, expiration_date INTEGER);"), "in the declaration of a table"},
		"line comment":           {create("CREATE TABLE casrevoked (serial TEXT PRIMARY KEY, -- x\nrevocation_date INTEGER, expiration_date INTEGER);"), "in the declaration of a table"},
		"endless declaration":    {create("CREATE TABLE casrevoked (" + strings.Repeat("x ", 1000)), "too long"},
		"unclosed name":          {create(`CREATE TABLE "casrevoked (serial TEXT`), "where a name is expected"},
		"not a name":             {create(`CREATE TABLE "cas;revoked" (serial TEXT`), "where a name is expected"},
		"no name":                {create(`CREATE TABLE `), "not the declaration of a table"},
		"invalid UTF-8":          {create("CREATE TABLE casrevoked\xff (serial TEXT"), "in the declaration of a table"},
		"table missing":          {join(replaced(good, "CREATE TABLE casrevoked")), "there is no table casrevoked"},
		"neither config nor crl": {join(replaced(good, "CREATE TABLE casconfig (")), "neither a table casconfig nor cascrl"},
		"row before its table":   {join(replaced(good, "BEGIN TRANSACTION;", "BEGIN TRANSACTION;", `INSERT INTO "casrevoked" VALUES('1',2,3);`)), `there is no table "casrevoked"`},
		"row of unknown table":   {before(`INSERT INTO "sqlite_master" VALUES(1);`), `there is no table "sqlite_master"`},
		"unquoted table":         {before("INSERT INTO casrevoked VALUES('1',2,3);"), "no name of a table in quotation marks"},
		"or replace":             {before(`INSERT OR REPLACE INTO "casrevoked" VALUES('1',2,3);`), "INSERT OR REPLACE"},
		"column list":            {before(`INSERT INTO "casrevoked" (serial) VALUES('1');`), `" (serial) VA"… where VALUES(…) is expected`},
		"from select":            {before(`INSERT INTO "casrevoked" SELECT * FROM casca;`), `" SELECT * FR"… where VALUES(…) is expected`},
		"several rows":           {before(`INSERT INTO "casrevoked" VALUES('1',2,3),('2',3,4);`), `"),('2',3,4);" after value 3`},
		"stacked on a row":       {before(`INSERT INTO "casrevoked" VALUES('1',2,3);DELETE FROM casca;`), "after value 3"},
		"on conflict":            {before(`INSERT INTO "casrevoked" VALUES('1',2,3) ON CONFLICT DO NOTHING;`), "after value 3"},
		"returning":              {before(`INSERT INTO "casrevoked" VALUES('1',2,3) RETURNING serial;`), "after value 3"},
		"no end":                 {before(`INSERT INTO "casrevoked" VALUES('1',2,3)`), "after value 3"},
		"function":               {revoked("'1',random(),3"), `value 2: "random(),3);" is neither`},
		"file":                   {revoked("readfile('/etc/shadow'),2,3"), "value 1:"},
		"subselect":              {revoked("(SELECT key FROM casca),2,3"), "value 1:"},
		"expression":             {revoked("'1',2+3,3"), `"+3,3);" after value 2`},
		"concatenation":          {revoked("'1'||'2',2,3"), "after value 1"},
		"cast":                   {revoked("CAST(1 AS TEXT),2,3"), "value 1:"},
		"parameter":              {revoked("?,2,3"), "value 1:"},
		"real":                   {revoked("'1',2.5,3"), `".5,3);" after value 2`},
		"exponent":               {revoked("'1',2e5,3"), "after value 2"},
		"hexadecimal":            {revoked("'1',0x10,3"), "after value 2"},
		"too large an integer":   {revoked("'1',9223372036854775808,3"), "value 2:"},
		"minus alone":            {revoked("'1',-,3"), "value 2:"},
		"two minus":              {revoked("'1',--2,3"), "value 2:"},
		"space before":           {revoked("'1', 2,3"), "value 2:"},
		"lower case null":        {revoked("'1',null,3"), "value 2:"},
		"NULLs":                  {revoked("'1',NULLNULL,3"), "after value 2"},
		"unclosed text":          {revoked("'1"), "text without its closing quote"},
		"quotes in a row":        {revoked("''',2,3"), "text without its closing quote"},
		"double quotes":          {revoked(`"1",2,3`), "value 1:"},
		"unclosed bytes":         {revoked("X'31"), "bytes without their closing quote"},
		"not hex":                {revoked("X'313',2,3"), "is not hexadecimal"},
		"not bytes":              {revoked("X'zz',2,3"), "is not hexadecimal"},
		"small x":                {revoked("x'31',2,3"), "value 1:"},
		"too few values":         {revoked("'1',2"), "2 values for the 3 columns"},
		"too many values":        {revoked("'1',2,3,4"), "4 values for the 3 columns"},
		"far too many values":    {revoked("1" + strings.Repeat(",1", 1000)), "too many values"},
		"no values":              {revoked(""), "value 1:"},
		"NULL for a serial":      {revoked("NULL,2,3"), "column serial of casrevoked: is NULL"},
		"integer for text":       {revoked("1,2,3"), "is an integer where text is expected"},
		"text for integer":       {revoked("'1','2',3"), "is text where an integer is expected"},
		"bytes for integer":      {revoked("'1',X'02',3"), "is text where an integer is expected"},
		"counter twice":          {before("INSERT INTO \"cascounter\" VALUES('x',1);\x00INSERT INTO \"cascounter\" VALUES('x',2);"), "there twice"},
		"setting twice":          {before("INSERT INTO \"casconfig_once\" VALUES('x','1');\x00INSERT INTO \"casconfig_once\" VALUES('x','2');"), "there twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadDump(strings.NewReader(tc.dump))
			if !errors.Is(err, ErrNotCaucase) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Errorf("the refusal has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestLiterals(t *testing.T) {
	good := emptyDump(t)
	dump := join(replaced(good, "COMMIT;",
		`INSERT INTO "cascounter" VALUES('it''s ''quoted''; -- all of it',-9223372036854775808);`,
		`INSERT INTO "cascounter" VALUES(X'616263',9223372036854775807);`,
		`INSERT INTO "cascounter" VALUES('',0);`,
		`INSERT INTO "cascrt" VALUES(1,NULL,NULL,X'',NULL);`,
		"COMMIT;"))
	db, err := ReadDump(strings.NewReader(dump))
	if err != nil {
		t.Fatal(err)
	}
	counters := db.authorities["cas"].counter
	if counters["it's 'quoted'; -- all of it"] != -1<<63 || counters["abc"] != 1<<63-1 || len(counters) != 3 {
		t.Errorf("%v", counters)
	}
	if crt := db.authorities["cas"].crt[0]; crt.csr == nil || crt.crt != nil {
		t.Errorf("%v", crt)
	}
}

func TestHugeDumps(t *testing.T) {
	head := join(replaced(emptyDump(t), "COMMIT;"))
	for name, tc := range map[string]struct {
		more io.Reader
		want string
	}{
		"a statement without end": {io.LimitReader(endless("x"), maxStatement+10), "longer than"},
		"a value": {io.MultiReader(strings.NewReader(`INSERT INTO "casrevoked" VALUES('`),
			io.LimitReader(endless("1"), maxValue+1), strings.NewReader("',2,3);\x00")), "is longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadDump(io.MultiReader(strings.NewReader(head), tc.more))
			if !errors.Is(err, ErrNotCaucase) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// endless repeats itself.
type endless string

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e[i%len(e)]
	}
	return len(p), nil
}

// A disk that fails is not a dump that is wrong.
func TestReaderFails(t *testing.T) {
	broken := errors.New("the disk is on fire")
	_, err := ReadDump(io.MultiReader(strings.NewReader("BEGIN TRANSACTION;\x00CREATE"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || errors.Is(err, ErrNotCaucase) {
		t.Errorf("%v", err)
	}
}

func TestSlowReader(t *testing.T) {
	dump := caucasetest.Dump(t, "0.9.17")
	if _, err := ReadDump(iotest.OneByteReader(bytes.NewReader(dump))); err != nil {
		t.Error(err)
	}
}

// No refusal shows what was in the dump of a key.
func TestRefusalsKeepSecrets(t *testing.T) {
	dump := string(caucasetest.Dump(t, "0.9.17"))
	key := strings.Index(dump, "X'2D2D2D2D2D424547494E20525341")
	for _, at := range []int{2, 100, 500, 1000} {
		broken := dump[:key+at] + "'" + dump[key+at:]
		_, err := ReadDump(strings.NewReader(broken))
		if err == nil || strings.Contains(err.Error(), dump[key+at:key+at+24]) {
			t.Errorf("%v", err)
		}
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	dump := caucasetest.Dump(t, "0.9.17")
	for n := 0; n < len(dump); n += 97 {
		if _, err := ReadDump(bytes.NewReader(dump[:n])); err == nil {
			t.Fatalf("%d of %d bytes were taken for the whole", n, len(dump))
		}
	}
	if _, err := ReadDump(bytes.NewReader(dump[:len(dump)-1])); err == nil {
		t.Error("the last NUL byte was not missed")
	}
}

func FuzzReadDump(f *testing.F) {
	// Real ones are large, and their keys slow: what is special about them are these few.
	var few []string
	for _, s := range strings.Split(string(caucasetest.Dump(f, "0.9.8")), "\x00") {
		if len(s) < 200 {
			few = append(few, s)
		}
	}
	f.Add([]byte(strings.Join(few, "\x00")))
	good := emptyDump(f)
	f.Add([]byte(join(good)))
	f.Add([]byte(join(replaced(good, "COMMIT;", `INSERT INTO "casrevoked" VALUES('it''s',-2,NULL);`, "COMMIT;"))))
	f.Add([]byte(join(replaced(good, "COMMIT;", `INSERT INTO "cascrt" VALUES(1,X'61',NULL,'-----BEGIN',NULL);`, `INSERT INTO "casrevoked" VALUES('-5',1,2);`, "COMMIT;"))))
	f.Add([]byte("BEGIN TRANSACTION;\x00CREATE TABLE \"casca\" (expiration_date INTEGER,key TEXT,crt TEXT)\x00COMMIT;\x00"))
	f.Fuzz(func(t *testing.T, dump []byte) {
		db, err := ReadDump(bytes.NewReader(dump))
		if err != nil {
			if !errors.Is(err, ErrNotCaucase) {
				t.Errorf("%v", err)
			}
			return
		}
		db.SkipBadRows = true
		for _, err := range db.Rows(time.Unix(1795272328, 0)) {
			if err != nil {
				return
			}
		}
	})
}
