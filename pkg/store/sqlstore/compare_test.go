package sqlstore

import (
	"reflect"

	"github.com/google/go-cmp/cmp"
)

// difference is cmp.Diff of values most of which are the same, thousands of rows among them: that is seen at once.
func difference(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return cmp.Diff(want, got)
}
