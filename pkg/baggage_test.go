package pkg

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// baggage are trees of packages that come with an import or two and are hard to get rid of
// again, and the tools that need them. What a tool contains must be kept up to date on
// every host that has it.
var baggage = map[string][]string{
	"google.golang.org/grpc":          {},
	"github.com/letsencrypt/boulder":  {},                     // judges our checks in tests
	"github.com/zmap":                 {"cauased"},            // lints what is approved
	"google.golang.org/protobuf":      {"cauased", "updater"}, // by way of Prometheus
	"github.com/prometheus":           {"cauased", "updater"},
	"modernc.org/sqlite":              {"cauased", "keyid"},
	"github.com/jackc/pgx":            {"cauased", "keyid"},
	"github.com/go-jose/go-jose":      {},
	"github.com/titanous/rocacheck":   {}, // a judge, too
	"testing":                         {},
	"cauase/pkg/testkit":              {},
	"cauase/pkg/pgtest":               {},
	"cauase/pkg/client/clienttest":    {},
	"cauase/pkg/store/storetest":      {},
	"github.com/rogpeppe/go-internal": {},
	"github.com/Shopify/toxiproxy":    {},
}

func TestBaggage(t *testing.T) {
	for _, tool := range []string{"cauase", "cauased", "keyid", "probe", "rerequest", "updater"} {
		out, err := exec.Command("go", "list", "-deps", "cauase/"+tool).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		imported := strings.Fields(string(out))
		if len(imported) < 50 {
			t.Fatalf("%s has only %d packages", tool, len(imported))
		}
		for tree, owners := range baggage {
			i := slices.IndexFunc(imported, func(p string) bool { return p == tree || strings.HasPrefix(p, tree+"/") })
			switch needed := slices.Contains(owners, tool); {
			case i >= 0 && !needed:
				t.Errorf("%s contains %s", tool, imported[i])
			case i < 0 && needed:
				t.Errorf("%s no longer contains %s: take it off the list", tool, tree)
			}
		}
	}
}
