package kafkaws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kafkaws/kafkaws/filter"
	"github.com/kafkaws/kafkaws/gateway"
)

// TestFiltersBusy: a filter that is not compiled in time is nothing that the client
// has to mend.
func TestFiltersBusy(t *testing.T) {
	s := &sessions{filters: filter.NewCache(0)}
	h := &Handler{handlerState: handlerState{sessions: s}}
	status := func(ctx context.Context, expression string) int {
		_, err := h.filter(expression)(ctx)
		var refused *refusal
		if err != nil && !errors.As(refuseSession(err), &refused) {
			t.Fatal(err)
		}
		if refused == nil {
			return http.StatusSwitchingProtocols
		}
		return refused.status
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	// Where the turn has come and the time is over, either counts.
	got := http.StatusSwitchingProtocols
	for i := 0; got == http.StatusSwitchingProtocols && i < 1000; i++ {
		got = status(late, fmt.Sprint("record.offset == ", i))
	}
	if got != http.StatusServiceUnavailable {
		t.Errorf("got %d", got)
	}
	for expression, want := range map[string]int{
		"record.offset == 1000":                        http.StatusSwitchingProtocols,
		"record.nothing":                               http.StatusBadRequest,
		strings.Repeat("x", filter.MaxLength+1):        http.StatusBadRequest,
		strings.Repeat(" ", filter.MaxLength) + "true": http.StatusSwitchingProtocols,
	} {
		if got := status(t.Context(), expression); got != want {
			t.Errorf("%.30q: got %d, want %d", expression, got, want)
		}
	}
	if _, err := s.filter("record.key == \"17\"")(t.Context()); err != nil || errors.Is(err, gateway.ErrFiltersBusy) {
		t.Error(err)
	}
}
