package sqlstore

import (
	"fmt"
	"syscall"

	"cauase/pkg/store"
)

// minSpace is what must be free on the database's disk for it to count as usable: SQLite can go
// on a little by overwriting its log while the next request that needs more fails.
const minSpace = 256 << 10

// checkSpace returns an error if there is no room for the database to grow.
func checkSpace(path string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < minSpace {
		return fmt.Errorf("%w: %d bytes are left on its disk", store.ErrUnavailable, free)
	}
	return nil
}
