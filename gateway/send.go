package gateway

import "sync"

// Message is a message that goes to one session alone, between its records.
type Message struct {
	// Binary tells the type of the message.
	Binary bool
	// Compress has the message compressed if the client agreed to that and it
	// pays. Short answers are better sent as they are.
	Compress bool
	// Data is the message. It is not kept.
	Data []byte
}

// Send queues a message behind those that were sent before; it may overtake
// records. It does not block, and does nothing once the session is closing. A
// client is not read from while more than maxSide bytes wait for it, so one that
// asks for more than it takes is slowed down by its own socket.
func (s *Session) Send(m Message) {
	first := byte(finBit | opText)
	if m.Binary {
		first = finBit | opBinary
	}
	payload := m.Data
	if m.Compress && s.encoding.Deflate.On {
		idle := s.pool.deflatersFor(s.encoding.Deflate)
		d := idle.Get().(*deflater)
		defer idle.Put(d)
		first, payload = d.frame(first, payload)
	}
	s.queue(appendFrame(make([]byte, 0, headerLen(len(payload))+len(payload)), first, payload))
}

// deflatersFor returns the pool's idle *deflater of that kind.
func (p *Pool) deflatersFor(d Deflate) *sync.Pool {
	if idle, ok := p.deflaters.Load(d); ok {
		return idle.(*sync.Pool)
	}
	idle, _ := p.deflaters.LoadOrStore(d, &sync.Pool{New: func() any { return newDeflater(d) }})
	return idle.(*sync.Pool)
}
