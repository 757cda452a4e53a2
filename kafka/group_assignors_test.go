package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Members of other programs are in the group, with the assignors that Java's
// consumers offer: by default, before Kafka 3.0, and after the change to
// cooperative ones. Whoever leads, all partitions are read.
func TestAGroupWithMembersOfOtherPrograms(t *testing.T) {
	for name, balancers := range map[string][]kgo.GroupBalancer{
		"default":     {kgo.RangeBalancer(), kgo.CooperativeStickyBalancer()},
		"old default": {kgo.RangeBalancer()},
		"cooperative": {kgo.CooperativeStickyBalancer()},
		"sticky":      {kgo.StickyBalancer()},
	} {
		for _, first := range []string{"theirs", "ours"} {
			t.Run(name+", "+first+" first", func(t *testing.T) {
				f := newFake(t, kfake.SeedTopics(6, "a"))
				cl := kclient(t, f)
				var mu sync.Mutex
				theirs := map[string]bool{}
				theyGot := make(chan struct{}, 1)
				start := func() *kgo.Client {
					other := kclient(t, f, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("a"), kgo.Balancers(balancers...),
						kgo.HeartbeatInterval(50*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
					go func() {
						for {
							fs := other.PollFetches(context.Background())
							if fs.IsClientClosed() {
								return
							}
							mu.Lock()
							fs.EachRecord(func(r *kgo.Record) { theirs[string(r.Value)] = true })
							mu.Unlock()
							select {
							case theyGot <- struct{}{}:
							default:
							}
						}
					}()
					return other
				}
				var other *kgo.Client
				if first == "theirs" {
					other = start()
					if _, err := f.WaitGroupStable(t.Context(), "g", 1); err != nil {
						t.Fatal(err)
					}
				}
				j := join(t, newCluster(t, f, lively), group("a"))
				if first == "ours" {
					j.holds(6)
					other = start()
				}
				j.holds(3)
				for p := range int32(6) {
					put(t, cl, "a", p, fmt.Sprint("v", p))
				}
				j.mu.Lock()
				ours := slices.Collect(maps.Keys(j.next))
				j.mu.Unlock()
				for _, key := range ours {
					j.wants("a", key.id, fmt.Sprint("v", key.id))
				}
				for deadline := time.After(patience); ; {
					mu.Lock()
					n := len(theirs)
					mu.Unlock()
					if n == 3 {
						break
					}
					select {
					case <-theyGot:
					case <-deadline:
						t.Fatalf("ours got %v, and theirs %v", ours, theirs)
					}
				}
				other.Close()
				j.holds(6)
			})
		}
	}
}
