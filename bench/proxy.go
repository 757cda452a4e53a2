package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// proxy stands between a gateway and Kafka and counts. In answers that name the
// brokers it puts its own address, so that nothing passes it by. It is used only
// where counting is all that is done: it costs time.
type proxy struct {
	listener net.Listener
	broker   string
	requests atomic.Int64
	open     atomic.Int64 // connections

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	done  sync.WaitGroup
}

func startProxy(broker string) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the gateway: %w", err)
	}
	p := &proxy{listener: listener, broker: broker, conns: map[net.Conn]struct{}{}}
	p.done.Go(p.accept)
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// close ends all connections.
func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.done.Wait()
}

func (p *proxy) accept() {
	for {
		gateway, err := p.listener.Accept()
		if err != nil {
			return
		}
		kafka, err := net.Dial("tcp", p.broker)
		if err != nil {
			_ = gateway.Close()
			continue
		}
		if !p.keep(gateway, kafka) {
			return
		}
		p.open.Add(1)
		asked := &asked{versions: map[int32]int16{}}
		p.done.Go(func() {
			defer p.open.Add(-1)
			defer p.drop(gateway, kafka)
			_ = pass(kafka, gateway, func(request []byte) ([]byte, error) {
				p.requests.Add(1)
				return request, asked.note(request)
			})
		})
		p.done.Go(func() {
			defer p.drop(gateway, kafka)
			_ = pass(gateway, kafka, func(response []byte) ([]byte, error) { return asked.redirect(response, p.addr()) })
		})
	}
}

// keep remembers connections, unless all is over.
func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.conns == nil {
			_ = c.Close()
			continue
		}
		p.conns[c] = struct{}{}
	}
	return p.conns != nil
}

func (p *proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// pass copies messages, each with its length before it, as it is changed.
func pass(to io.Writer, from io.Reader, change func([]byte) ([]byte, error)) error {
	var length [4]byte
	for {
		if _, err := io.ReadFull(from, length[:]); err != nil {
			return err
		}
		message := make([]byte, binary.BigEndian.Uint32(length[:]))
		if _, err := io.ReadFull(from, message); err != nil {
			return err
		}
		message, err := change(message)
		if err != nil {
			return err
		}
		if _, err := to.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)); err != nil {
			return err
		}
	}
}

// asked is what a connection has asked for of what names brokers.
type asked struct {
	mu       sync.Mutex
	versions map[int32]int16 // of metadata requests, by their correlation ids
}

// note looks at a request: its kind, its version and its correlation id are in
// front.
func (a *asked) note(request []byte) error {
	if len(request) < 8 {
		return fmt.Errorf("a request of %d bytes", len(request))
	}
	if kmsg.Key(binary.BigEndian.Uint16(request)) == kmsg.Metadata {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.versions[int32(binary.BigEndian.Uint32(request[4:]))] = int16(binary.BigEndian.Uint16(request[2:]))
	}
	return nil
}

// redirect puts another address into a response that names brokers.
func (a *asked) redirect(response []byte, addr string) ([]byte, error) {
	if len(response) < 4 {
		return nil, fmt.Errorf("a response of %d bytes", len(response))
	}
	id := int32(binary.BigEndian.Uint32(response))
	a.mu.Lock()
	version, ok := a.versions[id]
	delete(a.versions, id)
	a.mu.Unlock()
	if !ok {
		return response, nil
	}
	metadata := kmsg.NewPtrMetadataResponse()
	metadata.SetVersion(version)
	head := 4
	if metadata.IsFlexible() {
		head++ // an empty list of tags
	}
	if err := metadata.ReadFrom(response[head:]); err != nil {
		return nil, fmt.Errorf("reading a metadata response: %w", err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return nil, err
	}
	for i := range metadata.Brokers {
		metadata.Brokers[i].Host, metadata.Brokers[i].Port = host, int32(number)
	}
	return metadata.AppendTo(response[:head:head]), nil
}
