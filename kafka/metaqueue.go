package kafka

import (
	"slices"
	"time"
)

// maxUnheard is how many topics are asked for in one request of which it is not known
// that they exist: their names come from clients.
const maxUnheard = 1_000

// collect takes the topics that are to be asked for in the next request, with those
// who wait for them; if there are none it returns the time until the next. The topics
// that are known to exist go into one request, and never along with others; the two
// take turns, so that what is read does not wait behind what clients make up.
func (m *metadata) collect() (names []string, waiters map[string][]waiter, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	exist, others, wait := m.due(now)
	if !exist && !others {
		return nil, nil, max(wait, time.Millisecond)
	}
	existing := exist && (m.turn || !others)
	m.turn = !existing
	waiters = map[string][]waiter{}
	for name := range m.take(now, existing) {
		names = append(names, name)
		if w := m.waiters[name]; w != nil {
			waiters[name] = w
			delete(m.waiters, name)
		}
	}
	return names, waiters, 0
}

// exists reports whether a topic is known to exist. The caller holds m.mu.
func (m *metadata) exists(name string) bool {
	t := m.cache[name]
	return t != nil && !t.unknown() && !t.refused()
}

// due reports whether topics that are known to exist, and others, are to be asked for
// now, and after how long the next are. The caller holds m.mu.
func (m *metadata) due(now time.Time) (exist, others bool, wait time.Duration) {
	wait = time.Hour
	note := func(name string, at time.Time) {
		wait = min(wait, at.Sub(now))
		switch {
		case at.After(now):
		case m.exists(name):
			exist = true
		default:
			others = true
		}
	}
	for name, at := range m.asked {
		note(name, at)
	}
	for name, e := range m.watched {
		note(name, e.due)
	}
	return exist, others, wait
}

// take takes the topics of the next request: those that are known to exist, or as
// many of the others as go into one. The caller holds m.mu.
func (m *metadata) take(now time.Time, existing bool) map[string]struct{} {
	set := map[string]struct{}{}
	fits := func(name string) bool {
		if m.exists(name) != existing {
			return false
		}
		_, in := set[name]
		return in || existing || len(set) < maxUnheard
	}
	// What somebody waits for goes first.
	for name, at := range m.asked {
		if !at.After(now) && fits(name) {
			set[name] = struct{}{}
			delete(m.asked, name)
		}
	}
	watched := func(wanted func(name string, e *watch) bool) {
		for name, e := range m.watched {
			if wanted(name, e) && fits(name) {
				set[name] = struct{}{}
				e.due = now.Add(m.c.timings.refresh)
			}
		}
	}
	if !existing {
		watched(func(name string, e *watch) bool { return m.cache[name] == nil && !e.due.After(now) })
		watched(func(_ string, e *watch) bool { return !e.due.After(now) })
	}
	// Along with what is due goes what half of its period is over of, so that the
	// topics with one period end up together, whenever each began.
	watched(func(_ string, e *watch) bool { return !e.due.After(now.Add(e.period / 2)) })
	return set
}

// giveBack undoes collect for names that no answer came for.
func (m *metadata) giveBack(names []string, waiters map[string][]waiter, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		w := slices.DeleteFunc(waiters[name], func(w waiter) bool { return w.ctx.Err() != nil })
		if len(w) > 0 {
			m.waiters[name] = append(w, m.waiters[name]...)
			m.asked[name] = at
		}
		if e := m.watched[name]; e != nil && at.Before(e.due) {
			e.due = at
		}
	}
}
