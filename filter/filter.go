// Package filter has the filters that clients give: conditions about records, in
// CEL, that nobody of the site has read. They know the same `record` as the
// expressions of the site do (transforms.Expression) and mean the same by it, but
// only what has a price is there to be used, and it is paid for before it is done.
package filter

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"github.com/kafkaws/kafkaws/record"
	"github.com/kafkaws/kafkaws/transforms"
)

const (
	// MaxLength is how long an expression may be, in bytes, white space around it
	// not counted.
	MaxLength = 1024
	// MaxErrorLength is how long the text of an error of Compile is at most, in
	// bytes.
	MaxErrorLength = 500
	// Budget is how many units of work one filter may do for one record; see the
	// prices in price.go. A unit takes up to a tenth of a microsecond. What a filter
	// may do for one record after another is up to whoever asks it, whom Match tells
	// how much it was.
	Budget = 50_000
)

// Filter is a condition of a client's about records. What it says about a record
// depends on the record alone. It is safe for concurrent use.
type Filter struct {
	id      string
	program cel.Program
	parts   int
}

// Compile compiles an expression, which must be one that can be true or false.
// An error is a sentence for whoever wrote the expression: it has at most
// MaxErrorLength bytes, and says where in the expression something is wrong.
func Compile(expression string) (*Filter, error) {
	expression = strings.TrimSpace(expression)
	f, err := compile(expression)
	if err != nil {
		return nil, shorten(err)
	}
	return f, nil
}

func compile(expression string, options ...cel.ProgramOption) (f *Filter, err error) {
	defer func() {
		if recover() != nil {
			f, err = nil, errors.New("the expression cannot be compiled")
		}
	}()
	switch {
	case expression == "":
		return nil, errors.New("the expression is empty; write the condition for which a record is wanted")
	case len(expression) > MaxLength:
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are taken", len(expression), MaxLength)
	case !utf8.ValidString(expression):
		return nil, errors.New("the expression is not UTF-8")
	}
	l, err := theLanguage()
	if err != nil {
		return nil, err
	}
	checked, issues := l.env.Compile(expression)
	if issues.Err() != nil {
		return nil, transforms.CompileError(expression, issues)
	}
	// What the fields of a JSON value are is known for each record only.
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("the expression gives a %s; write one that gives true or false", t)
	}
	priced := cel.CustomDecoratorV2(l.pricing(checked.NativeRep()))
	options = append([]cel.ProgramOption{priced, cel.EvalOptions(cel.OptOptimize)}, options...)
	program, err := l.env.Program(checked, options...)
	if err != nil {
		return nil, err
	}
	return &Filter{id: expression, program: program, parts: parts(checked.NativeRep())}, nil
}

// ID is the expression without white space around it. Filters of the same ID are
// of the same opinion about every record.
func (f *Filter) ID() string { return f.id }

// Match reports whether a record is wanted: whether the expression is true of it.
// One on which the expression fails, because it lacks a field, would give no
// boolean or would cost more than Budget, is not wanted.
//
// What was found out about r is returned as view, for the next filter that is
// asked about the same record to get it as seen; nil means that there was none
// before. Like the record, a view is for one goroutine at a time, and for as long
// as the record stays as it is.
//
// The work is about how much was done, in units of up to a tenth of a microsecond:
// those that were spent, one for each part of the expression, and one for each byte
// of a value that nobody had looked into before.
func (f *Filter) Match(r *record.Record, seen any) (wanted bool, view any, work int) {
	v, ok := seen.(*transforms.View)
	if !ok {
		v = transforms.NewView(r)
	}
	decoded := v.Decoded()
	wanted, work, _ = f.evaluate(v)
	return wanted, v, work + f.parts + v.Decoded() - decoded
}

// evaluate returns what the expression says, and what that cost.
func (f *Filter) evaluate(v *transforms.View) (wanted bool, spent int, err error) {
	p := purses.Get().(*purse)
	p.view, p.left = v, Budget
	defer func() {
		spent = Budget - p.left
		p.view = nil
		purses.Put(p)
		if cause := recover(); cause != nil { // of CEL's own, most are caught there
			wanted, err = false, fmt.Errorf("internal error: %v", cause)
		}
	}()
	result, _, err := f.program.Eval(p)
	return result == types.True && err == nil, 0, err
}

// purse is what a filter evaluates a record with: the record, and the units that
// it may still spend.
type purse struct {
	view *transforms.View
	left int
}

var purses = sync.Pool{New: func() any { return new(purse) }}

// purseName is what a purse is found by while the expression is evaluated. It is
// no identifier of CEL's, so no variable of an expression hides it.
const purseName = "@purse"

// ResolveName implements interpreter.Activation.
func (p *purse) ResolveName(name string) (any, bool) {
	switch name {
	case "record":
		return p.view, true
	case purseName:
		return p, true
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (*purse) Parent() interpreter.Activation { return nil }

// pay takes units out of the purse of an evaluation, and ends it if there are not
// as many left.
func pay(frame *interpreter.ExecutionFrame, units int) {
	if units == 0 {
		return
	}
	found, _ := frame.ResolveName(purseName)
	p := found.(*purse)
	if units > p.left {
		p.left = 0
		// An error would be just another value: `||` and the macros go on after one.
		panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: "the expression costs too much"})
	}
	p.left -= units
}

// shorten cuts the text of an error that is too long for a client.
func shorten(err error) error {
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(text) <= MaxErrorLength {
		return errors.New(text)
	}
	const dots = "..."
	n := MaxErrorLength - len(dots)
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return errors.New(text[:n] + dots)
}

// Interface guards.
var _ interpreter.Activation = (*purse)(nil)
