package powercut

import (
	"math/rand/v2"
	"sync"
	"syscall"
)

// sector is what a disk writes as a whole.
const sector = 512

// A disk holds files in memory, twice: as programs see them, and as they are when the power is cut.
type disk struct {
	mu      sync.Mutex
	root    *file
	dead    bool
	inodes  uint64
	entries []entry        // of folders, not yet durable, in the order in which they were made
	dirty   map[*file]bool // files with writes that are not durable
}

// A file is one, or a folder, or a link.
type file struct {
	number    uint64
	mode      uint32
	uid, gid  uint32
	target    string // of a link
	data      []byte // as programs see it
	durable   []byte
	writes    []write // that lead from one to the other
	children  map[string]*file
	remaining map[string]*file // durable children
}

// A write is one that is not durable. Without data, it sets the size.
type write struct {
	at   int64
	data []byte
}

// An entry is a change of a folder. Without a file, the name is removed. A rename takes away another name at once.
type entry struct {
	folder *file
	name   string
	file   *file
	from   *file
	old    string
}

func newDisk() *disk {
	d := &disk{dirty: map[*file]bool{}}
	d.root = d.make(syscall.S_IFDIR|0o777, 0, 0)
	return d
}

func (d *disk) make(mode, uid, gid uint32) *file {
	d.inodes++
	f := &file{number: d.inodes, mode: mode, uid: uid, gid: gid}
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		f.children, f.remaining = map[string]*file{}, map[string]*file{}
	}
	return f
}

// link gives a file a name, or takes it.
func (d *disk) link(folder *file, name string, f *file) {
	if f == nil {
		delete(folder.children, name)
	} else {
		folder.children[name] = f
	}
	d.entries = append(d.entries, entry{folder: folder, name: name, file: f})
}

func (d *disk) write(f *file, w write) {
	f.data = apply(f.data, w)
	f.writes = append(f.writes, w)
	d.dirty[f] = true
}

func apply(to []byte, w write) []byte {
	if w.data == nil {
		if int64(len(to)) > w.at {
			return to[:w.at:w.at]
		}
		return append(to, make([]byte, w.at-int64(len(to)))...)
	}
	if end := w.at + int64(len(w.data)); int64(len(to)) < end {
		to = append(to, make([]byte, end-int64(len(to)))...)
	}
	copy(to[w.at:], w.data)
	return to
}

// sync makes a file durable, and all that was done to folders before, as the journals of ext4 and xfs do.
func (d *disk) sync(f *file) {
	for _, w := range f.writes {
		f.durable = apply(f.durable, w)
	}
	f.writes = nil
	delete(d.dirty, f)
	d.keep(len(d.entries))
}

func (d *disk) keep(entries int) {
	for _, e := range d.entries[:entries] {
		if e.file == nil {
			delete(e.folder.remaining, e.name)
		} else {
			e.folder.remaining[e.name] = e.file
		}
		if e.from != nil {
			delete(e.from.remaining, e.old)
		}
	}
	d.entries = d.entries[entries:]
}

// rename moves a name.
func (d *disk) rename(from *file, old string, to *file, name string) {
	f := from.children[old]
	delete(from.children, old)
	to.children[name] = f
	d.entries = append(d.entries, entry{folder: to, name: name, file: f, from: from, old: old})
}

// syncAll makes everything durable.
func (d *disk) syncAll() {
	for f := range d.dirty {
		d.sync(f)
	}
	d.keep(len(d.entries))
}

// lose is what the power takes with it: the last changes of folders, and any sectors of what was written and not synced, as a
// cache writes in the order it likes. It returns how many writes were lost, or parts of them.
func (d *disk) lose(random *rand.Rand) (lost int) {
	d.keep(random.IntN(len(d.entries) + 1))
	d.entries = nil
	kept := random.Float64()
	for f := range d.dirty {
		for _, w := range f.writes {
			if w.data == nil {
				if random.Float64() < kept {
					f.durable = apply(f.durable, w)
				} else {
					lost++
				}
				continue
			}
			for from := 0; from < len(w.data); from += sector {
				if random.Float64() >= kept {
					lost++
					continue
				}
				f.durable = apply(f.durable, write{w.at + int64(from), w.data[from:min(from+sector, len(w.data))]})
			}
		}
		f.writes = nil
	}
	clear(d.dirty)
	d.restore(d.root)
	return lost
}

// restore shows programs what is durable.
func (d *disk) restore(f *file) {
	f.data = append([]byte(nil), f.durable...)
	if f.children == nil {
		return
	}
	clear(f.children)
	for name, child := range f.remaining {
		f.children[name] = child
		d.restore(child)
	}
}
