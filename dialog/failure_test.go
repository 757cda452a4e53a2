package dialog

import (
	"context"
	"errors"
	"testing"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/gateway"
)

// TestWhatIsBusyIsUnavailable: what may succeed later is not the client's fault. A
// filter that is wrong is, and is told as it was found to be.
func TestWhatIsBusyIsUnavailable(t *testing.T) {
	for _, err := range []error{gateway.ErrTooManyMissing, gateway.ErrTooManyFilters, gateway.ErrFiltersBusy} {
		if code, message := failure(err); code != codec.CodeUnavailable || message == "kafka is unreachable" {
			t.Errorf("%v: %s, %s", err, code, message)
		}
	}
	compiling := func(result error) (codec.ErrorCode, string) {
		d := New(&Shared{Filter: func(string) gateway.MakeFilter {
			return func(context.Context) (gateway.Filter, error) { return nil, result }
		}}, Config{})
		_, err := d.filter("x")(t.Context())
		return failure(err)
	}
	if code, message := compiling(gateway.ErrFiltersBusy); code != codec.CodeUnavailable {
		t.Errorf("%s, %s", code, message)
	}
	if code, message := compiling(errors.New("it is wrong")); code != codec.CodeBadFilter || message != "it is wrong" {
		t.Errorf("%s, %s", code, message)
	}
}
