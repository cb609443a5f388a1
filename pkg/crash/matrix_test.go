package crash

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cauase/pkg/testkit"
	"cauase/pkg/testkit/faults"
)

// A story is something that daemon or operator do, which is disturbed.
type story struct {
	name    string
	prepare func(t testing.TB, dir, database string) // changes the world in which it happens, if given
	// happen does it, with a fault, and has nothing run any more when it returns but what it leaves to settle.
	// It returns what counted as a step.
	happen func(r *run) []faults.Step
	// settle looks at what is left, has it done to the end, and checks.
	settle func(r *run)
	files  bool // it is about files: the database need not be that of PostgreSQL, too
}

// A run is a story that happens once.
type run struct {
	*testing.T
	world    *world
	story    *story
	dir      string // a copy of the world's files
	database string
	port     int // of the database
	fault    faults.Fault
	before   []string // names of files
	acked    bool     // whoever asked for it was told that it is done
	hit      *faults.Step
	values   map[string]any // what the story has to remember
}

// options are those for the tracer.
func (r *run) options(armed bool) faults.Options {
	return faults.Options{Folder: r.dir, Port: r.port, Armed: armed, Fault: r.fault}
}

// traced takes over what the tracer has seen.
func (r *run) traced(p *faults.Process) []faults.Step {
	r.Helper()
	steps, hit, err := p.Steps()
	if err != nil {
		r.Fatal(err)
	}
	r.hit = hit
	return steps
}

// An engine is what holds the database.
type engine struct {
	name string
	// prepared returns a function that makes a copy of the database of a folder.
	prepared func(folder string) func(t testing.TB, dir string) (database string, port int)
}

var engines = []engine{{"sqlite", sqliteIn}, {"postgres", postgresOf}}

func sqliteIn(string) func(testing.TB, string) (string, int) {
	return func(_ testing.TB, dir string) (string, int) { return filepath.Join(dir, "cauase.sqlite"), 0 }
}

// sample is how many points of a story are tried, the same each time: few in make test, else as many as CAUASE_CRASH
// says, or all.
func sample(t testing.TB) int {
	t.Helper()
	switch text := os.Getenv("CAUASE_CRASH"); text {
	case "":
		return 3
	case "all":
		return math.MaxInt
	default:
		n, err := strconv.Atoi(text)
		check(t, err)
		return n
	}
}

// tally counts over all stories.
type tally struct{ points, tried, before, missed atomic.Int64 }

// TestMatrix disturbs the daemon and cauased manage at each step by which they change what lasts: they die there, or the
// call fails, once or from there on. Then cauased manage check finds nothing wrong, the daemon starts, and whatever
// somebody was told is done. After a call that failed the daemon goes on, and the next attempt succeeds.
func TestMatrix(t *testing.T) {
	needTracer(t)
	w := newWorld(t)
	var counts tally
	done := newLedger(t)
	t.Cleanup(func() {
		t.Logf("%d points, of which %d were tried now, %d before; %d did not come", counts.points.Load(), counts.tried.Load(), counts.before.Load(), counts.missed.Load())
		if n := counts.missed.Load(); n*10 > counts.tried.Load() {
			t.Errorf("%d points did not come", n)
		}
	})
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			for _, s := range stories {
				if s.files && e.name != "sqlite" {
					continue
				}
				t.Run(s.name, func(t *testing.T) { walk(t, w, e, &s, &counts, done) })
			}
		})
	}
}

// walk has a story happen undisturbed, which tells its steps, and then once for each point.
func walk(t *testing.T, w *world, e engine, s *story, counts *tally, done *ledger) {
	prepared := *w
	prepared.dir = t.TempDir()
	copyFiles(t, prepared.dir, w.dir)
	if s.prepare != nil {
		s.prepare(t, prepared.dir, filepath.Join(prepared.dir, "cauase.sqlite"))
	}
	copied := e.prepared(prepared.dir)
	once := func(t *testing.T, f faults.Fault) (r *run, steps []faults.Step) {
		r = &run{T: t, world: &prepared, story: s, dir: t.TempDir(), fault: f, values: map[string]any{}}
		copyFiles(t, r.dir, prepared.dir)
		r.database, r.port = copied(t, r.dir)
		r.before = testkit.Files(t, r.dir)
		steps = s.happen(r)
		s.settle(r)
		return r, steps
	}
	var steps []faults.Step
	t.Run("undisturbed", func(t *testing.T) {
		var r *run
		r, steps = once(t, faults.Fault{})
		if !r.acked {
			t.Error("undisturbed, it is not done")
		}
	})
	if t.Failed() {
		return
	}
	var points []point
	for _, step := range steps {
		for _, f := range faults.Possible(step) {
			points = append(points, point{step, f})
		}
	}
	t.Logf("%d steps, %d points", len(steps), len(points))
	counts.points.Add(int64(len(points)))
	for _, p := range pick(points, t.Name(), sample(t)) {
		if done.has(t.Name(), p) {
			counts.before.Add(1)
			continue
		}
		t.Run(p.name(), func(t *testing.T) {
			t.Parallel()
			counts.tried.Add(1)
			r, _ := once(t, p.fault)
			switch {
			case t.Failed():
				t.Logf("step %v: %v", r.hit, p.fault)
			case r.hit == nil:
				counts.missed.Add(1)
			}
			if !t.Failed() {
				done.add(t, p)
			}
		})
	}
}

// A point is a step and what becomes of it.
type point struct {
	step  faults.Step
	fault faults.Fault
}

func (p point) name() string {
	text := fmt.Sprintf("%04d %s %s %v", p.step.Number, p.step.Kind, strings.TrimPrefix(p.step.File, "./"), p.fault)
	return strings.NewReplacer("/", "-", " ", "_").Replace(text)
}

// pick returns those that are to be tried: all, or a sample that is the same each time, spread over the story.
func pick(points []point, name string, count int) []point {
	if len(points) <= count {
		return points
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	first := int(h.Sum32() % uint32(len(points)))
	var some []point
	for i := range count {
		some = append(some, points[(first+i*len(points)/count)%len(points)])
	}
	return some
}

// A ledger keeps which points have passed with this very program, so that a walk that was interrupted goes on.
type ledger struct {
	path string // empty: it keeps nothing
	mu   sync.Mutex
	done map[string]bool
}

func newLedger(t testing.TB) *ledger {
	l := &ledger{done: map[string]bool{}}
	folder := os.Getenv("CAUASE_CRASH_LEDGER")
	if folder == "" {
		return l
	}
	program, err := os.ReadFile(cauased)
	check(t, err)
	h := fnv.New64a()
	h.Write(program)
	check(t, os.MkdirAll(folder, 0o755))
	l.path = filepath.Join(folder, fmt.Sprintf("%x", h.Sum64()))
	text, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line, whole := strings.CutSuffix(line, "\n"); whole {
			l.done[line] = true
		}
	}
	return l
}

func (l *ledger) has(story string, p point) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done[story+"/"+p.name()]
}

func (l *ledger) add(t testing.TB, p point) {
	if l.path == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	check(t, err)
	defer f.Close()
	_, err = f.WriteString(t.Name() + "\n")
	check(t, err)
}
