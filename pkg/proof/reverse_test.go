package proof

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// A zone is a name server on loopback which answers from a table. What is not there does not exist; an empty entry is a failure of the server.
type zone map[string][]string

func (z zone) serve(t *testing.T) Resolver {
	t.Helper()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		question := q.Question[0]
		records, known := z[question.Name+" "+dns.TypeToString[question.Qtype]]
		switch {
		case known && len(records) == 0:
			reply.Rcode = dns.RcodeServerFailure
		case !known && !z.has(question.Name):
			reply.Rcode = dns.RcodeNameError
		}
		for _, record := range records {
			rr, err := dns.NewRR(question.Name + " 60 IN " + dns.TypeToString[question.Qtype] + " " + record)
			if err != nil {
				t.Error(err)
			}
			reply.Answer = append(reply.Answer, rr)
		}
		if size := 512; w.LocalAddr().Network() == "udp" && reply.Len() > size {
			reply.Truncate(size)
		}
		_ = w.WriteMsg(reply)
	})
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stream, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		t.Skip("the same port of TCP is taken")
	}
	var served sync.WaitGroup
	t.Cleanup(served.Wait)
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: stream, Handler: handler}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		served.Go(func() { _ = server.ActivateAndServe() })
		<-started
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return ResolverAt(packets.LocalAddr().String())
}

func (z zone) has(name string) bool {
	for key := range z {
		if strings.HasPrefix(key, name+" ") {
			return true
		}
	}
	return false
}

// Only a name that leads back to the address is one of its names: whoever has the address says what it is called, whoever has the
// name says where it leads.
func TestReverse(t *testing.T) {
	many := []string{}
	z := zone{
		"1.2.0.192.in-addr.arpa. PTR": {"A.Example.", "forged.example.", "elsewhere.example.", "*.example.", "a.example."},
		"a.example. A":                {"203.0.113.9", "192.0.2.1"},
		"elsewhere.example. A":        {"192.0.2.2"},
		"2.2.0.192.in-addr.arpa. PTR": {"forged.example."},
		"3.2.0.192.in-addr.arpa. PTR": {},
		"4.2.0.192.in-addr.arpa. PTR": {"broken.example."},
		"broken.example. A":           {},
		"broken.example. AAAA":        {},
		"5.2.0.192.in-addr.arpa. PTR": {"broken.example.", "five.example."},
		"five.example. A":             {"192.0.2.5"},
		"7.2.0.192.in-addr.arpa. PTR": {"192.0.2.7."},
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR": {"six.example."},
		"six.example. AAAA": {"2001:db8::1"},
	}
	for i := range 100 {
		name := text("n%02d.example.", i)
		many = append(many, name)
		z[name+" A"] = []string{"192.0.2.6"}
	}
	z["6.2.0.192.in-addr.arpa. PTR"] = many
	r := NewReverse(z.serve(t))
	for _, tt := range []struct {
		name, address string
		want          string
		err           error
	}{
		{"forward-confirmed", "192.0.2.1", "a.example", nil},
		{"mapped", "::ffff:192.0.2.1", "a.example", nil},
		{"forged", "192.0.2.2", "", nil},
		{"unknown", "192.0.2.99", "", nil},
		{"the server fails", "192.0.2.3", "", ErrNoAnswer},
		{"nobody knows where the name leads", "192.0.2.4", "", ErrNoAnswer},
		{"one of two names fails", "192.0.2.5", "five.example", nil},
		{"an address for a name", "192.0.2.7", "", ErrNoAnswer},
		{"IPv6", "2001:db8::1", "six.example", nil},
		{"IPv6 with a zone", "2001:db8::1%eth0", "six.example", nil},
		{"no address", "@", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := r.Names(t.Context(), tt.address)
			if strings.Join(got, " ") != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	got, err := r.Names(t.Context(), "192.0.2.6")
	if err != nil || len(got) != maxReverse {
		t.Errorf("of a hundred names %d were looked at, %v", len(got), err)
	}
}

// A silent one never answers.
type silent struct{ asked atomic.Int64 }

func (s *silent) LookupAddr(ctx context.Context, _ string) ([]string, error) {
	s.asked.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s *silent) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Name servers that do not answer cost a few seconds, however many ask, and there are never many questions at a time.
func TestReverseOfSilentServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &silent{}
		r := NewReverse(s)
		begun := time.Now()
		var waiting sync.WaitGroup
		for i := range 10 * maxLookups {
			waiting.Go(func() {
				address := netip.AddrFrom4([4]byte{192, byte(i), 0, 1}).String()
				if i >= 256 {
					address = netip.AddrFrom4([4]byte{193, byte(i), 0, 1}).String()
				}
				if names, err := r.Names(t.Context(), address); !errors.Is(err, ErrNoAnswer) || names != nil {
					t.Errorf("got %q, %v", names, err)
				}
			})
		}
		synctest.Wait()
		if asked := s.asked.Load(); asked != maxLookups {
			t.Errorf("%d questions at a time", asked)
		}
		waiting.Wait()
		if took := time.Since(begun); took > reverseTime {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Second) // all have given up
		// The same address is one question, whoever has given up meanwhile.
		asked := s.asked.Load()
		ctx, cancel := context.WithCancel(t.Context())
		waiting.Go(func() { _, _ = r.Names(ctx, "198.51.100.1") })
		synctest.Wait()
		cancel()
		for range 20 {
			waiting.Go(func() { _, _ = r.Names(t.Context(), "198.51.100.1") })
		}
		waiting.Wait()
		if n := s.asked.Load() - asked; n != 1 {
			t.Errorf("%d questions about one address", n)
		}
	})
}

// lame does not answer about one network.
type lame struct {
	silent
	network netip.Prefix
}

func (l *lame) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	if l.network.Contains(netip.MustParseAddr(addr)) {
		return l.silent.LookupAddr(ctx, addr)
	}
	return []string{"a.example."}, nil
}

func (l *lame) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("2001:db8:1::1")}, nil
}

// TestReverseOfOneNetwork: whoever has a network with name servers that do not answer keeps nobody else from being looked up.
func TestReverseOfOneNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lame{network: netip.MustParsePrefix("2001:db8:666::/48")}
		r := NewReverse(l)
		var waiting sync.WaitGroup
		for i := range 4 * maxLookups {
			waiting.Go(func() {
				if _, err := r.Names(t.Context(), fmt.Sprintf("2001:db8:666:%x::1", i)); !errors.Is(err, ErrNoAnswer) {
					t.Errorf("error %v", err)
				}
			})
		}
		synctest.Wait()
		if asked := l.asked.Load(); asked != maxOfNetwork {
			t.Errorf("%d questions about one network", asked)
		}
		begun := time.Now()
		if names, err := r.Names(t.Context(), "2001:db8:1::1"); err != nil || len(names) != 1 || time.Since(begun) > 0 {
			t.Errorf("another one: %q, %v", names, err)
		}
		waiting.Wait()
		synctest.Wait()
		if r.mu.Lock(); len(r.networks) > 0 {
			t.Errorf("%d networks are remembered", len(r.networks))
		}
		r.mu.Unlock()
	})
}
