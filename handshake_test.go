package kafkaws

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/gateway"
)

// wrapper is a response writer around another one, as handlers put them. It
// has a Hijack of its own, which must not be used.
type wrapper struct {
	http.ResponseWriter
	t      *testing.T
	status int
}

func (w *wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *wrapper) WriteHeader(status int) {
	w.status = status
	w.Header().Set("X-Deferred", "yes")
	w.ResponseWriter.WriteHeader(status)
}

func (w *wrapper) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.t.Error("the connection was taken from an outer writer")
	return nil, nil, errors.New("not from here")
}

// opaque hides what it wraps.
type opaque struct{ http.ResponseWriter }

// server is a server's own response writer.
type server struct {
	header http.Header
	conn   *serverConn
	// early is what the client sent with the request, err what Hijack fails
	// with.
	early string
	err   error
}

func newServer() *server { return &server{header: http.Header{}, conn: new(serverConn)} }

func (s *server) Header() http.Header         { return s.header }
func (s *server) Write(p []byte) (int, error) { return s.conn.Write(p) }

// WriteHeader leaves the response in a buffer, as net/http does.
func (s *server) WriteHeader(status int) {
	s.conn.buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = s.header.Write(&s.conn.buffered)
	s.conn.buffered.WriteString("\r\n")
}

func (s *server) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if s.err != nil {
		return nil, nil, s.err
	}
	r := bufio.NewReader(strings.NewReader(s.early))
	_, _ = r.Peek(len(s.early))
	w := bufio.NewWriter(s.conn)
	_, _ = s.conn.buffered.WriteTo(w)
	return s.conn, bufio.NewReadWriter(r, w), nil
}

// serverConn is the client's connection, whose client is silent.
type serverConn struct {
	net.Conn
	buffered, sent bytes.Buffer
	err            error // of Write
	closed         bool
	deadline       time.Time
}

func (c *serverConn) Read([]byte) (int, error) { return 0, io.EOF }

func (c *serverConn) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	return c.sent.Write(p)
}

func (c *serverConn) SetDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

func (c *serverConn) SetReadDeadline(time.Time) error  { return nil }
func (c *serverConn) SetWriteDeadline(time.Time) error { return nil }

func (c *serverConn) Close() error {
	c.closed = true
	return nil
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Extensions: the library's\r\n\r\n"

func TestHandshakeGoesThroughAllWriters(t *testing.T) {
	s := newServer()
	s.early = "early"
	s.conn.deadline = time.Now()
	s.header.Set("Server", "Caddy")
	outer := &wrapper{ResponseWriter: &wrapper{ResponseWriter: s, t: t}, t: t}
	shake := &handshake{ResponseWriter: outer, extensions: "ours"}
	conn, early, err := shake.switchProtocols([]byte(switching))
	if err != nil || conn != s.conn || string(early) != "early" {
		t.Fatalf("got %v, %q, %v", conn, early, err)
	}
	if outer.status != http.StatusSwitchingProtocols {
		t.Errorf("the outer writer saw the status %d", outer.status)
	}
	resp, err := http.ReadResponse(bufio.NewReader(&s.conn.sent), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	want := http.Header{
		"Connection":               {"Upgrade"},
		"Sec-Websocket-Accept":     {"x"},
		"Sec-Websocket-Extensions": {"ours"},
		"Server":                   {"Caddy"},
		"Upgrade":                  {"websocket"},
		"X-Deferred":               {"yes"},
	}
	for name := range want {
		if got := resp.Header[name]; !slices.Equal(got, want[name]) {
			t.Errorf("%s: got %q, want %q", name, got, want[name])
		}
	}
	if s.conn.closed || !s.conn.deadline.IsZero() {
		t.Errorf("closed: %v, deadline: %v", s.conn.closed, s.conn.deadline)
	}
}

func TestHandshakeFails(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		server   *server
		opaque   bool
		response string
		is       error
	}{
		"no response":       {server: newServer(), response: "HTTP/1.1 101 ", is: io.ErrUnexpectedEOF},
		"no hijacker":       {server: newServer(), opaque: true, response: switching, is: errNoHijack},
		"hijack fails":      {server: &server{header: http.Header{}, conn: new(serverConn), err: broken}, response: switching, is: broken},
		"connection broken": {server: &server{header: http.Header{}, conn: &serverConn{err: broken}}, response: switching, is: broken},
	} {
		t.Run(name, func(t *testing.T) {
			var w http.ResponseWriter = &wrapper{ResponseWriter: c.server, t: t}
			if c.opaque {
				w = opaque{w}
			}
			conn, early, err := (&handshake{ResponseWriter: w}).switchProtocols([]byte(c.response))
			if conn != nil || early != nil || !errors.Is(err, c.is) {
				t.Errorf("got %v, %q, %v, want %v", conn, early, err, c.is)
			}
			if name == "connection broken" && !c.server.conn.closed {
				t.Error("the connection was left open")
			}
		})
	}
}

// newHandler makes a handler without Caddy around it, and without Kafka.
func newHandler(t *testing.T) *Handler {
	h := new(Handler)
	h.applyDefaults()
	hub := gateway.NewHub(gateway.HubConfig{})
	t.Cleanup(hub.Close)
	h.resolved, h.logger, h.refusals = h, zap.NewNop(), &refusalLoggers{logger: zap.NewNop()}
	h.encodings = []offered{{subprotocol: "kafka-text", plain: &gateway.Encoding{Codec: codec.Text{}}}}
	var err error
	if h.policy, err = newPolicy(nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	h.sessions = &sessions{Pool: gateway.NewPool(gateway.PoolConfig{
		Hub: hub, MaxMessageSize: 100, MaxInFlight: 1, PingInterval: time.Hour, WriteTimeout: time.Second, Logger: zap.NewNop(),
	})}
	t.Cleanup(h.sessions.Close)
	return h
}

// upgradeRequest is a request as Caddy hands it to handlers.
func upgradeRequest() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
	r.Header = http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	return r.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))
}

func TestUpgradeFails(t *testing.T) {
	t.Run("a writer that hides the connection", func(t *testing.T) {
		h := newHandler(t)
		w := httptest.NewRecorder()
		err := h.ServeHTTP(opaque{w}, upgradeRequest(), nil)
		var handlerErr caddyhttp.HandlerError
		if !errors.As(err, &handlerErr) || handlerErr.StatusCode != http.StatusInternalServerError || !errors.Is(err, errNoHijack) {
			t.Errorf("got %v", err)
		}
		// Whoever reads it in the log should know which handler is to blame.
		if !strings.Contains(err.Error(), "kafkaws.opaque") {
			t.Errorf("the error does not name the writer: %v", err)
		}
		// Nothing was sent, so that handle_errors can answer.
		if len(w.Header()) > 0 || w.Body.Len() > 0 {
			t.Errorf("sent %v %q", w.Header(), w.Body)
		}
		if n := h.sessions.Sessions(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
	t.Run("a connection that is gone", func(t *testing.T) {
		h := newHandler(t)
		s := newServer()
		s.conn.err = errors.New("broken")
		// The status is out: an error would have Caddy send another.
		if err := h.ServeHTTP(s, upgradeRequest(), nil); err != nil {
			t.Error(err)
		}
		if n := h.sessions.Sessions(); n != 0 || !s.conn.closed {
			t.Errorf("%d sessions are left, the connection is closed: %v", n, s.conn.closed)
		}
	})
	t.Run("a client that does not wait for its turn", func(t *testing.T) {
		h := newHandler(t)
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, err := h.sessions.Turn(ctx)
			cancel()
			if err != nil {
				break // all are taken
			}
		}
		r := upgradeRequest()
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		err := h.ServeHTTP(newServer(), r.WithContext(ctx), nil)
		var handlerErr caddyhttp.HandlerError
		if !errors.As(err, &handlerErr) || handlerErr.StatusCode != statusClientGone {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a server that does not give the connection away", func(t *testing.T) {
		h := newHandler(t)
		s := newServer()
		s.err = http.ErrHijacked
		if err := h.ServeHTTP(s, upgradeRequest(), nil); err != nil {
			t.Error(err)
		}
		if n := h.sessions.Sessions(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

func TestExtendedConnectIsRefused(t *testing.T) {
	for name, edit := range map[string]func(*http.Request){
		"HTTP/2": func(r *http.Request) { r.Header = http.Header{":protocol": {"websocket"}} },
		"HTTP/3": func(r *http.Request) { r.Proto = "websocket" },
	} {
		r := upgradeRequest()
		r.Method = http.MethodConnect
		edit(r)
		err := newHandler(t).ServeHTTP(httptest.NewRecorder(), r, nil)
		var handlerErr caddyhttp.HandlerError
		if !errors.As(err, &handlerErr) || handlerErr.StatusCode != http.StatusNotImplemented {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
