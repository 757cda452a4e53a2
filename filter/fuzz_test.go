package filter

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kafkaws/kafkaws/transforms"
)

// FuzzFilter evaluates anything over anything. What a filter finds is what the
// same expression finds for the site, unless it is one that only a filter may not
// have.
func FuzzFilter(f *testing.F) {
	for _, c := range cases {
		f.Add(c.expression, []byte(order))
	}
	for _, expression := range hostile {
		f.Add(expression, []byte(`{"l":[1,2,"x",[1],{}],"m":{"a":1},"s":"x","t":"x","a":{"a":1}}`))
	}
	f.Fuzz(func(t *testing.T, expression string, value []byte) {
		var count counting
		filter, err := compile(strings.TrimSpace(expression), count.option())
		if err != nil {
			if err = shorten(err); len(err.Error()) > MaxErrorLength || !utf8.ValidString(err.Error()) {
				t.Errorf("%q: an error of %d bytes", expression, len(err.Error()))
			}
			return
		}
		r := of(string(value))
		wanted, spent, err := filter.evaluate(transforms.NewView(r))
		if spent > Budget || count.steps > Budget+maxNodes {
			t.Errorf("%s: %d units, %d steps", expression, spent, count.steps)
		}
		if string(r.Value) != string(value) {
			t.Error("the record was written into")
		}
		if err != nil {
			if strings.Contains(err.Error(), "internal error") { // a panic
				t.Errorf("%s: %v", expression, err)
			}
			if strings.Contains(err.Error(), "a filter can") || strings.Contains(err.Error(), "costs too much") {
				return
			}
		}
		if spent > Budget/10 {
			return // this takes long for the site
		}
		ofTheSite, compileErr := transforms.CompileExpression(expression, transforms.CostLimit)
		if compileErr != nil {
			t.Fatalf("%s: for the site: %v", expression, compileErr)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		match, siteErr := ofTheSite.Match(ctx, transforms.NewView(r))
		if match != wanted {
			t.Errorf("%s of %q: %v (%v), for the site %v (%v)", expression, value, wanted, err, match, siteErr)
		}
	})
}
