package gateway

// gatherSize is about how many bytes are put together for one session at a time,
// and gatherScan how many records are looked at for that.
const (
	gatherSize = 64 << 10
	gatherScan = 4096
	// gatherRoom is the size of the buffers for it: one that is full has no room
	// for more than a small record.
	gatherRoom = gatherSize + 8<<10
)

// gatherer puts together what one session alone is to get of frames that stand one
// behind the other: those that its filter lets pass, or a message that is an array
// of them.
type gatherer struct {
	batch bool
	first byte // of a batch's frame
	out   []byte
	some  bool // whether anything was added
}

// add adds a frame.
func (g *gatherer) add(frame []byte) {
	if !g.batch {
		g.out = append(g.out, frame...)
		g.some = true
		return
	}
	if !g.some {
		// Room for the header, which is known at the end.
		g.out = append(g.out, make([]byte, maxHeader)...)
		g.out = append(g.out, '[')
		g.some = true
	} else {
		g.out = append(g.out, ',')
	}
	g.out = append(g.out, frame[headerOf(frame):]...)
}

// full reports whether it is time to write.
func (g *gatherer) full() bool { return len(g.out) >= gatherSize }

// bytes returns what is to be written.
func (g *gatherer) bytes() []byte {
	if !g.batch || !g.some {
		return g.out
	}
	g.out = append(g.out, ']')
	n := len(g.out) - maxHeader
	begin := maxHeader - headerLen(n)
	putHeader(g.out[begin:], g.first, n)
	return g.out[begin:]
}

// headerOf returns the length of an unmasked frame's header.
func headerOf(frame []byte) int {
	switch frame[1] {
	case 126:
		return 4
	case 127:
		return maxHeader
	default:
		return 2
	}
}

// alone reports whether the session gets frames that are made for it alone.
func (f *follower) alone() bool {
	t := f.session.talking
	return f.filter != nil || t != nil && t.batch
}

// gather puts together what the session is to get from the front of frames of the
// tail, and returns how many bytes of frames that is.
func (f *follower) gather(g *gatherer, frames stretch) int {
	x, c := frames.index, f.catchUp
	f.tail.imu.RLock()
	defer f.tail.imu.RUnlock()
	bits := x.bits(f.filter)
	end := frames.pos + uint64(len(frames.bytes))
	pos := frames.pos
	var over int64
	i := x.from(pos)
	for scanned := 0; i < len(x.entries) && x.end(i) <= end && scanned < gatherScan && !g.full(); i++ {
		e := &x.entries[i]
		if x.frame(i) {
			scanned++
		}
		wanted := x.frame(i) && (f.filter == nil || bits.has(i)) && (c == nil || e.offset >= c.next.at(e.partition))
		if wanted {
			begin := x.begin(i) - frames.pos
			g.add(frames.bytes[begin : x.end(i)-frames.pos])
			over = 0
		} else {
			over++
		}
		pos = x.end(i)
	}
	f.passedOver(over)
	return int(pos - frames.pos)
}

// gather puts together what the session is to get from the front of a piece of a
// block, and returns the offset behind that.
func (p *piece) gather(g *gatherer, f *follower) int64 {
	begin, shown := int(p.pos), p.offset
	for i, e := range p.entries {
		if g.full() {
			return e.offset
		}
		if f.filter == nil || p.wanted.has(p.first+i) {
			g.add(p.bytes[begin-int(p.pos) : e.end-int(p.pos)])
			shown = e.offset + 1
		}
		begin = e.end
	}
	f.passedOver(p.next - shown)
	return p.next
}

// sendGathered writes what was gathered, without waiting, and has the rest owed.
func (s *Session) sendGathered(g *gatherer, buffer *[]byte) error {
	p := g.bytes()
	written := 0
	if len(p) > 0 && s.direct.ok() {
		var err error
		if written, err = s.direct.write(p); err != nil {
			return err
		}
		if written > 0 {
			s.live()
		}
	}
	if written == len(p) {
		s.pool.giveBack(buffer)
		return nil
	}
	s.owed, s.buffer = p[written:], buffer
	return nil
}

// gatherer returns an empty gatherer, and the buffer that it begins with.
func (s *Session) gatherer() (*gatherer, *[]byte) {
	buffer := s.pool.gathers.Get().(*[]byte)
	return &gatherer{batch: s.talking != nil && s.talking.batch, first: s.encoding.firstByte(), out: (*buffer)[:0]}, buffer
}
