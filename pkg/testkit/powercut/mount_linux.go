package powercut

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// An inode is what the kernel knows of a file.
type inode struct {
	fs.Inode
	disk *disk
	file *file
}

func (d *disk) mount(at string) (*fuse.Server, error) {
	root := &inode{disk: d, file: d.root}
	return fs.Mount(at, root, &fs.Options{MountOptions: fuse.MountOptions{
		AllowOther: true, DirectMountStrict: true, FsName: "powercut", Name: "powercut", Options: []string{"default_permissions"},
	}, RootStableAttr: &fs.StableAttr{Ino: d.root.number, Mode: syscall.S_IFDIR}})
}

// enter locks the disk, whose power may be cut.
func (n *inode) enter() (leave func(), errno syscall.Errno) {
	n.disk.mu.Lock()
	if n.disk.dead {
		n.disk.mu.Unlock()
		return func() {}, syscall.EIO
	}
	return n.disk.mu.Unlock, 0
}

func (f *file) attr(out *fuse.Attr) {
	out.Ino, out.Mode, out.Owner = f.number, f.mode, fuse.Owner{Uid: f.uid, Gid: f.gid}
	out.Size, out.Nlink, out.Blksize = uint64(len(f.data)), 1, 4096
	out.Blocks = (out.Size + 511) / 512
	if f.target != "" {
		out.Size = uint64(len(f.target))
	}
}

func (n *inode) of(ctx context.Context, f *file, out *fuse.EntryOut) *fs.Inode {
	f.attr(&out.Attr)
	return n.NewInode(ctx, &inode{disk: n.disk, file: f}, fs.StableAttr{Ino: f.number, Mode: f.mode & syscall.S_IFMT})
}

// Lookup finds a name.
func (n *inode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	leave, errno := n.enter()
	defer leave()
	if errno != 0 {
		return nil, errno
	}
	f := n.file.children[name]
	if f == nil {
		return nil, syscall.ENOENT
	}
	return n.of(ctx, f, out), 0
}

// Getattr says what a file is like.
func (n *inode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	leave, errno := n.enter()
	defer leave()
	if errno == 0 {
		n.file.attr(&out.Attr)
	}
	return errno
}

// Setattr sets size, mode and owner. The latter two are durable at once, as nothing here depends on that.
func (n *inode) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	leave, errno := n.enter()
	defer leave()
	if errno != 0 {
		return errno
	}
	if mode, ok := in.GetMode(); ok {
		n.file.mode = n.file.mode&syscall.S_IFMT | mode&0o7777
	}
	if uid, ok := in.GetUID(); ok {
		n.file.uid = uid
	}
	if gid, ok := in.GetGID(); ok {
		n.file.gid = gid
	}
	if size, ok := in.GetSize(); ok {
		n.disk.write(n.file, write{at: int64(size)})
	}
	n.file.attr(&out.Attr)
	return 0
}

// Open opens a file. What the kernel has of it stays.
func (n *inode) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	leave, errno := n.enter()
	defer leave()
	return nil, fuse.FOPEN_KEEP_CACHE, errno
}

func (n *inode) add(ctx context.Context, name string, mode uint32) (*file, syscall.Errno) {
	if n.file.children[name] != nil {
		return nil, syscall.EEXIST
	}
	var uid, gid uint32
	if caller, ok := fuse.FromContext(ctx); ok {
		uid, gid = caller.Uid, caller.Gid
	}
	f := n.disk.make(mode, uid, gid)
	n.disk.link(n.file, name, f)
	return f, 0
}

// Create makes a file.
func (n *inode) Create(ctx context.Context, name string, _ uint32, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	leave, errno := n.enter()
	defer leave()
	if errno != 0 {
		return nil, nil, 0, errno
	}
	f, errno := n.add(ctx, name, syscall.S_IFREG|mode&0o7777)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return n.of(ctx, f, out), nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Mkdir makes a folder.
func (n *inode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	leave, errno := n.enter()
	defer leave()
	if errno != 0 {
		return nil, errno
	}
	f, errno := n.add(ctx, name, syscall.S_IFDIR|mode&0o7777)
	if errno != 0 {
		return nil, errno
	}
	return n.of(ctx, f, out), 0
}

// Symlink makes a link.
func (n *inode) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	leave, errno := n.enter()
	defer leave()
	if errno != 0 {
		return nil, errno
	}
	f, errno := n.add(ctx, name, syscall.S_IFLNK|0o777)
	if errno != 0 {
		return nil, errno
	}
	f.target = target
	return n.of(ctx, f, out), 0
}

// Readlink reads one.
func (n *inode) Readlink(context.Context) ([]byte, syscall.Errno) {
	leave, errno := n.enter()
	defer leave()
	return []byte(n.file.target), errno
}

// Link gives a file another name.
func (n *inode) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	leave, errno := n.enter()
	defer leave()
	if errno != 0 {
		return nil, errno
	}
	if n.file.children[name] != nil {
		return nil, syscall.EEXIST
	}
	f := target.(*inode).file
	n.disk.link(n.file, name, f)
	return n.of(ctx, f, out), 0
}

// Unlink takes a name.
func (n *inode) Unlink(_ context.Context, name string) syscall.Errno {
	leave, errno := n.enter()
	defer leave()
	if errno != 0 {
		return errno
	}
	n.disk.link(n.file, name, nil)
	return 0
}

// Rmdir removes a folder.
func (n *inode) Rmdir(_ context.Context, name string) syscall.Errno {
	leave, errno := n.enter()
	defer leave()
	switch f := n.file.children[name]; {
	case errno != 0:
		return errno
	case f == nil:
		return syscall.ENOENT
	case len(f.children) > 0:
		return syscall.ENOTEMPTY
	}
	n.disk.link(n.file, name, nil)
	return 0
}

// Rename moves a file, in place of another.
func (n *inode) Rename(_ context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	leave, errno := n.enter()
	defer leave()
	if errno != 0 {
		return errno
	}
	folder := to.(*inode).file
	const noReplace = 1
	switch {
	case flags&^noReplace != 0:
		return syscall.EINVAL
	case n.file.children[name] == nil:
		return syscall.ENOENT
	case n.file == folder && name == newName:
		return 0
	case flags == noReplace && folder.children[newName] != nil:
		return syscall.EEXIST
	}
	n.disk.rename(n.file, name, folder, newName)
	return 0
}

// Readdir lists a folder.
func (n *inode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	leave, errno := n.enter()
	defer leave()
	if errno != 0 {
		return nil, errno
	}
	all := make([]fuse.DirEntry, 0, len(n.file.children))
	for name, f := range n.file.children {
		all = append(all, fuse.DirEntry{Name: name, Mode: f.mode, Ino: f.number})
	}
	return fs.NewListDirStream(all), 0
}

// Read reads.
func (n *inode) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	leave, errno := n.enter()
	defer leave()
	if errno != 0 {
		return nil, errno
	}
	if off >= int64(len(n.file.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, n.file.data[off:])]), 0
}

// Write writes, to what is lost when the power is cut.
func (n *inode) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	leave, errno := n.enter()
	defer leave()
	if errno != 0 {
		return 0, errno
	}
	n.disk.write(n.file, write{off, append([]byte{}, data...)})
	return uint32(len(data)), 0
}

// Allocate makes room.
func (n *inode) Allocate(_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	leave, errno := n.enter()
	defer leave()
	if errno == 0 && mode == 0 && off+size > uint64(len(n.file.data)) {
		n.disk.write(n.file, write{at: int64(off + size)})
	}
	return errno
}

// Fsync makes a file or a folder durable.
func (n *inode) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	leave, errno := n.enter()
	defer leave()
	if errno == 0 {
		n.disk.sync(n.file)
	}
	return errno
}

// Statfs says that there is room.
func (n *inode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Blocks, out.Bfree, out.Bavail = 4096, 1<<24, 1<<23, 1<<23
	out.Files, out.Ffree, out.NameLen = 1<<20, 1<<19, 255
	return 0
}
