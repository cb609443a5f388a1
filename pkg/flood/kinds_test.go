package flood

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// A kind is what one connection of a crowd does: it begins, and the crowd holds it.
type kind func(d *target, m *mob, ip string) error

// kinds are ways to take much and give little.
var kinds = map[string]kind{
	"idle": func(d *target, m *mob, ip string) error { return d.half(m, ip, "") },
	"slow header": func(d *target, m *mob, ip string) error {
		return d.half(m, ip, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", 10_000))
	},
	"unfinished handshake": func(d *target, m *mob, ip string) error {
		c, err := from(ip).Dial("tcp", d.https)
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + strings.Repeat("x", 10_000)))
		m.hold(c, true)
		return err
	},
	"never reads": func(d *target, m *mob, ip string) error {
		c, f, err := d.h2(ip, 1<<30)
		if err != nil {
			return err
		}
		m.hold(c, false)
		return d.ask(f, 16)
	},
	"rapid reset": func(d *target, m *mob, ip string) error {
		c, f, err := d.h2(ip, 65535)
		if err != nil {
			return err
		}
		m.hold(c, true)
		for n := range uint32(200) {
			if err := d.open(f, 2*n+1); err != nil {
				return err
			}
			if err := f.WriteRSTStream(2*n+1, http2.ErrCodeCancel); err != nil {
				return err
			}
		}
		return nil
	},
	"pings": func(d *target, m *mob, ip string) error {
		return d.frames(m, ip, 2000, func(f *http2.Framer) error { return f.WritePing(false, [8]byte{1}) })
	},
	"settings": func(d *target, m *mob, ip string) error {
		return d.frames(m, ip, 2000, func(f *http2.Framer) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
		})
	},
	"endless header": func(d *target, m *mob, ip string) error {
		c, f, err := d.h2(ip, 65535)
		if err != nil {
			return err
		}
		m.hold(c, true)
		block := headers("GET", "/cas/crl", "x-long", strings.Repeat("x", 8000))
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block}); err != nil {
			return err
		}
		for range 50 {
			if err := f.WriteContinuation(1, false, headers("GET", "/cas/crl", "x-long", strings.Repeat("y", 8000))); err != nil {
				return err
			}
		}
		return nil
	},
}

// open sends a request on a stream.
func (d *target) open(f *http2.Framer, stream uint32) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: headers("GET", "/cas/crt/ca.crt.json"), EndStream: true, EndHeaders: true})
}

// ask sends so many requests.
func (d *target) ask(f *http2.Framer, streams uint32) error {
	for n := range streams {
		if err := d.open(f, 2*n+1); err != nil {
			return err
		}
	}
	return nil
}

// frames sends so many frames, whose answers it does not read.
func (d *target) frames(m *mob, ip string, count int, send func(*http2.Framer) error) error {
	c, f, err := d.h2(ip, 65535)
	if err != nil {
		return err
	}
	m.hold(c, false)
	_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second)) // the daemon stops reading, which is as it should be
	for range count {
		if err := send(f); err != nil {
			return err
		}
	}
	return nil
}

// TestKindsOfCrowds is for a thousand connections of each kind, of a hundred addresses, in a long run, and fewer otherwise.
func TestKindsOfCrowds(t *testing.T) {
	count := min(200*scale(), 1000)
	for name, begin := range kinds {
		t.Run(name, func(t *testing.T) {
			p := newPast(t, 10)
			d := start(t, p.dir, 4096)
			user, honest := d.asks(p.user), d.stranger()
			m := newMob(t)
			each(count, func(n int) {
				if err := begin(d, m, crowd(n%100)); err != nil {
					return // it is up to the daemon
				}
			})
			d.settle()
			t.Logf("%d of %d were cut off", m.cutOff(), count)
			user.served(t, "a user")
			honest.served(t, "a stranger")
			d.stayedSmall(p.list)
		})
	}
}
