package dialog

import (
	"testing"

	"pgregory.net/rapid"
)

// TestTopics compares the topics with what a session is subscribed to once
// everything that its client has asked for was carried out, in order, some of it in
// vain.
func TestTopics(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const limit = 3
		all := topics{limit: limit, all: make(map[string]*wish)}
		names := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
		type request struct {
			topic  string
			wanted bool
		}
		on := make(map[string]bool) // what was carried out
		var asked []request
		carryOut := func(rt *rapid.T) {
			if len(asked) == 0 {
				rt.Skip("nothing is asked for")
			}
			r := asked[0]
			asked = asked[1:]
			if r.wanted && rapid.Bool().Draw(rt, "fails") {
				all.failed([]string{r.topic})
				return
			}
			all.done([]string{r.topic}, r.wanted)
			if on[r.topic] = r.wanted; !r.wanted {
				delete(on, r.topic)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"subscribe": func(rt *rapid.T) {
				topic := names.Draw(rt, "topic")
				if all.want([]string{topic}) {
					asked = append(asked, request{topic, true})
				} else if len(on) < limit && len(asked) == 0 {
					rt.Fatalf("%s is refused, and there are only %v", topic, on)
				}
			},
			"unsubscribe": func(rt *rapid.T) {
				topic := names.Draw(rt, "topic")
				_, ok := all.part([]string{topic})
				if ok {
					asked = append(asked, request{topic, false})
				}
				if len(asked) == 0 && ok != on[topic] {
					rt.Fatalf("unsubscribing from %s: %t, and there are %v", topic, ok, on)
				}
			},
			"carry out": carryOut,
			"lose": func(rt *rapid.T) {
				if len(asked) > 0 {
					rt.Skip("there is more to come")
				}
				topic := names.Draw(rt, "topic")
				all.ended(topic)
				delete(on, topic)
			},
			"": func(rt *rapid.T) {
				if len(asked) > 0 {
					return
				}
				if len(all.all) != len(on) {
					rt.Fatalf("remembers %d topics, and there are %v", len(all.all), on)
				}
				for topic := range on {
					if !all.all[topic].holds() {
						rt.Fatalf("has forgotten %s of %v", topic, on)
					}
				}
			},
		})
	})
}
