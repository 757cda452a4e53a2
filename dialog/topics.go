package dialog

import "sync"

// topics are those that a session is, or is about to be, subscribed to, by the
// names that the client knows them by. Requests are carried out later than they are
// read, in their order, and may fail then: what holds for a request is what the
// requests before it will have made of a topic, as far as that can be known.
type topics struct {
	mu    sync.Mutex
	limit int // how many there may be; 0 is no limit
	all   map[string]*wish
}

// wish is what a client wants of a topic, and has.
type wish struct {
	// pending is how many requests for the topic are still to be carried out, and
	// wanted what the last of them asks for; on is what those before have led to.
	pending    int
	wanted, on bool
}

// holds reports whether there is a subscription once all is carried out.
func (w *wish) holds() bool { return w != nil && (w.pending > 0 && w.wanted || w.pending == 0 && w.on) }

// want notes a request to subscribe. It reports false, and notes nothing, where the
// topics would be too many.
func (t *topics) want(names []string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit > 0 {
		n := 0
		for _, w := range t.all {
			if w.holds() {
				n++
			}
		}
		for _, name := range names {
			if !t.all[name].holds() {
				n++
			}
		}
		if n > t.limit {
			return false
		}
	}
	t.ask(names, true)
	return true
}

// part notes a request to unsubscribe. It returns a topic without a subscription,
// and notes nothing, where there is one.
func (t *topics) part(names []string) (missing string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		if !t.all[name].holds() {
			return name, false
		}
	}
	t.ask(names, false)
	return "", true
}

// ask notes a request. The lock is held.
func (t *topics) ask(names []string, wanted bool) {
	for _, name := range names {
		w := t.all[name]
		if w == nil {
			w = new(wish)
			t.all[name] = w
		}
		w.pending++
		w.wanted = wanted
	}
}

// done notes that a request was carried out, and that its topics are on or off
// since then.
func (t *topics) done(names []string, on bool) {
	t.change(names, func(w *wish) { w.pending, w.on = w.pending-1, on })
}

// failed notes that a request was not carried out. What was there before is still.
func (t *topics) failed(names []string) {
	t.change(names, func(w *wish) { w.pending-- })
}

// ended notes that the subscription to a topic could not go on.
func (t *topics) ended(name string) {
	t.change([]string{name}, func(w *wish) { w.on = false })
}

func (t *topics) change(names []string, how func(*wish)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		w := t.all[name]
		if w == nil {
			continue
		}
		if how(w); w.pending == 0 && !w.on {
			delete(t.all, name)
		}
	}
}
