// Command floor is the least that a gateway between Kafka and WebSocket must do.
// It consumes one topic, frames each record once, and writes what one poll
// brought to every connection in one write. What clients send to /publish, it
// produces, with as many unacknowledged records of each as the product allows;
// of clients at /one, one record. There is nothing else to it: a client that does
// not read holds up all others.
package main

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // RFC 6455 says so.
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/bench/internal/reference"
)

func main() {
	flags := reference.Parse()
	all := make([]*shard, runtime.GOMAXPROCS(0))
	for i := range all {
		all[i] = &shard{batches: make(chan []byte, 4), conns: map[net.Conn]struct{}{}}
		go all[i].write()
	}
	go accept(flags.Listen(), all, sync.OnceValue(func() *kgo.Client { return newProducer(flags.Brokers) }))
	prefix := []byte(`{"topic":"` + flags.Topic + `","message":"`)
	flags.Consume(func(fetches *kgo.Fetches) {
		var batch []byte
		fetches.EachRecord(func(r *kgo.Record) {
			if batch == nil {
				batch = make([]byte, 0, fetches.NumRecords()*(len(prefix)+len(r.Value)+6))
			}
			batch = appendFrame(batch, prefix, r.Value)
		})
		if batch == nil {
			return
		}
		for _, s := range all {
			s.batches <- batch
		}
	})
}

// appendFrame frames a record as the product does where nothing in it needs to
// be escaped.
func appendFrame(b, prefix, value []byte) []byte {
	size := len(prefix) + len(value) + 2
	b = append(b, 0x81)
	switch {
	case size < 126:
		b = append(b, byte(size))
	case size < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(size))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(size))
	}
	return append(append(append(b, prefix...), value...), '"', '}')
}

// shard is the connections that one goroutine writes to.
type shard struct {
	batches chan []byte
	mu      sync.Mutex
	conns   map[net.Conn]struct{}
}

func (s *shard) write() {
	var conns []net.Conn
	for batch := range s.batches {
		conns = conns[:0]
		s.mu.Lock()
		for c := range s.conns {
			conns = append(conns, c)
		}
		s.mu.Unlock()
		for _, c := range conns {
			_, _ = c.Write(batch) // the reader sees that it ended
		}
	}
}

// join adds a connection and answers its handshake: what is written after the
// client has the answer goes to it, too.
func (s *shard) join(c net.Conn, response string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := io.WriteString(c, response)
	if err == nil {
		s.conns[c] = struct{}{}
	}
	return err
}

func (s *shard) leave(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func accept(listener net.Listener, all []*shard, producer func() *kgo.Client) {
	for i := 0; ; i++ {
		c, err := listener.Accept()
		reference.Must(err)
		go serve(c, all[i%len(all)], producer)
	}
}

// serve is a connection's one goroutine: it takes what is published, or waits for
// the end.
func serve(c net.Conn, s *shard, producer func() *kgo.Client) {
	defer c.Close()
	path, response, err := handshake(c)
	if err != nil {
		return
	}
	windows := map[string]int{"/publish": maxInFlight, "/one": 1}
	if window := windows[path]; window > 0 {
		if _, err := io.WriteString(c, response); err == nil {
			publish(c, producer(), window)
		}
		return
	}
	if s.join(c, response) == nil {
		defer s.leave(c)
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 512))
	}
}

// handshake reads the request and returns its path, and what answers it.
func handshake(c net.Conn) (path, response string, err error) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return "", "", err
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return r.URL.Path, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n", nil
}
