package endtoend

import (
	"fmt"
	"os"
	"strings"

	"github.com/miekg/dns"
)

// envZone has this program be a name server: the file that it names is the zone, in the format of RFC 1035.
const envZone = "CAUASE_TEST_ZONE"

// serveZone answers from a file until it is killed. What is not in there does not exist.
func serveZone(file string) {
	content, err := os.ReadFile(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	records := map[string][]dns.RR{}
	zone := dns.NewZoneParser(strings.NewReader(string(content)), ".", file)
	for rr, ok := zone.Next(); ok; rr, ok = zone.Next() {
		records[rr.Header().Name] = append(records[rr.Header().Name], rr)
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		of, known := records[q.Question[0].Name]
		if !known {
			reply.Rcode = dns.RcodeNameError
		}
		for _, rr := range of {
			if rr.Header().Rrtype == q.Question[0].Qtype {
				reply.Answer = append(reply.Answer, rr)
			}
		}
		_ = w.WriteMsg(reply)
	})
	server := &dns.Server{Addr: "127.0.0.1:53", Net: "udp", Handler: handler, NotifyStartedFunc: func() { fmt.Println("serving") }}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}
