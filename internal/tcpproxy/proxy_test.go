package tcpproxy

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers with what it is sent.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// say sends a word.
func say(t *testing.T, c net.Conn, word string) {
	t.Helper()
	if _, err := io.WriteString(c, word); err != nil {
		t.Fatal(err)
	}
}

// hear waits for a word.
func hear(t *testing.T, c net.Conn, word string) {
	t.Helper()
	got := make([]byte, len(word))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != word {
		t.Fatalf("heard %q (%v), want %q", got, err, word)
	}
}

func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the connection ended with %v, not with a reset", err)
	}
}

// wantRefused dials. The reset may come before the dialer is content.
func wantRefused(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		wantReset(t, c)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
}

func TestPassesAndCounts(t *testing.T) {
	p := Start(t, echo(t))
	c := dial(t, p.Addr())
	say(t, c, "hello")
	hear(t, c, "hello")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Fatalf("an orderly end became %q, %v", rest, err)
	}
	if p.Sent.Load() != 5 || p.Received.Load() != 5 {
		t.Errorf("%d bytes sent, %d received", p.Sent.Load(), p.Received.Load())
	}
}

func TestCut(t *testing.T) {
	p := Start(t, echo(t))
	c := dial(t, p.Addr())
	say(t, c, "a")
	hear(t, c, "a")
	if n := p.Cut(); n != 1 {
		t.Errorf("%d connections were cut", n)
	}
	wantReset(t, c)
	c = dial(t, p.Addr())
	say(t, c, "b")
	hear(t, c, "b")
}

func TestRefuse(t *testing.T) {
	p := Start(t, echo(t))
	open := dial(t, p.Addr())
	say(t, open, "a")
	hear(t, open, "a")
	p.Refuse(true)
	wantRefused(t, p)
	say(t, open, "b")
	hear(t, open, "b")
	p.Refuse(false)
	c := dial(t, p.Addr())
	say(t, c, "c")
	hear(t, c, "c")
}

func TestNoServer(t *testing.T) {
	p := Start(t, "")
	wantRefused(t, p)
	p.SetTarget(echo(t))
	c := dial(t, p.Addr())
	say(t, c, "a")
	hear(t, c, "a")
}

func TestBlackhole(t *testing.T) {
	p := Start(t, echo(t))
	c := dial(t, p.Addr())
	say(t, c, "a")
	hear(t, c, "a")
	p.Blackhole(true)
	say(t, c, "b")
	late := dial(t, p.Addr())
	say(t, late, "c")
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !isTimeout(err) {
		t.Fatalf("something came through: %v", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	p.Blackhole(false)
	hear(t, c, "b")
	hear(t, late, "c")
	p.Blackhole(true)
	say(t, c, "d")
	p.Cut() // also what waits
	wantReset(t, c)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestDelay(t *testing.T) {
	p := Start(t, echo(t))
	c := dial(t, p.Addr())
	const delay = 20 * time.Millisecond
	p.Delay(delay)
	began := time.Now()
	say(t, c, "a")
	hear(t, c, "a")
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back took %v, no less than %v was asked for", took, 2*delay)
	}
}
