package filter

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// What a filter does is paid for in units, before it is done:
//
//   - a round of a loop costs as many as the expression has parts, since it may
//     evaluate all of them;
//   - what reads texts costs one for every textUnit bytes of them, matches one for
//     every matchUnit bytes and instructions of its program;
//   - what goes through a list or a map costs one for each element, and as many
//     more as comparing each of them costs.
//
// All else takes a short time once for each part of the expression, and has no
// price. Making values out of JSON has none either: transforms.View does it once
// for all filters, and bounds what it costs by the size of the record. CEL's own
// accounting is not used: it comes when the work is done, goes by types that are
// not known of JSON, takes what lists and maps hold for nothing, and keeps books
// that grow with every step of a loop.
const (
	textUnit  = 32
	matchUnit = 4
)

// price says what a function costs for its arguments, of which b may be nil, or
// why it cannot have them.
type price func(a, b ref.Val) (units int, wrong string)

// prices are those of functions whose work depends on what they are given.
var prices = map[string]price{
	operators.Equals:               priceEqual,
	operators.NotEquals:            priceEqual,
	operators.Less:                 priceShorter,
	operators.LessEquals:           priceShorter,
	operators.Greater:              priceShorter,
	operators.GreaterEquals:        priceShorter,
	overloads.StartsWith:           priceShorter,
	overloads.EndsWith:             priceShorter,
	overloads.Contains:             priceTexts,
	overloads.Size:                 priceTexts,
	overloads.TypeConvertBool:      priceTexts,
	overloads.TypeConvertDouble:    priceTexts,
	overloads.TypeConvertDuration:  priceTexts,
	overloads.TypeConvertInt:       priceTexts,
	overloads.TypeConvertString:    priceTexts,
	overloads.TypeConvertTimestamp: priceTexts,
	overloads.TypeConvertUint:      priceTexts,
	operators.Add:                  priceAdd,
	operators.In:                   priceIn,
	elementsFunction:               priceElements,
	overloads.Matches:              priceTexts, // of the literal; see pricing
}

func priceTexts(a, b ref.Val) (int, string) {
	return textLength(a)/textUnit + textLength(b)/textUnit, ""
}

func priceShorter(a, b ref.Val) (int, string) {
	return min(textLength(a), textLength(b)) / textUnit, ""
}

func priceEqual(a, b ref.Val) (int, string) {
	if isOptional(a) || isOptional(b) {
		return 0, "a filter cannot compare optional values"
	}
	if isList(a) && isList(b) || isMap(a) && isMap(b) {
		return 0, "a filter cannot compare lists or maps"
	}
	return priceShorter(a, b)
}

func priceAdd(a, b ref.Val) (int, string) {
	if isText(a) || isText(b) || isList(a) || isList(b) {
		return 0, "a filter cannot join strings or lists"
	}
	return 0, ""
}

func priceIn(a, b ref.Val) (int, string) {
	if isOptional(a) || isList(a) || isMap(a) {
		return 0, "a filter can look for strings, numbers and the like only"
	}
	each := 1 + textLength(a)/textUnit
	if isList(b) {
		return each * elements(b), ""
	}
	return each, ""
}

func priceElements(a, _ ref.Val) (int, string) {
	if !isList(a) && !isMap(a) {
		return 0, "only lists and maps have elements"
	}
	return elements(a), ""
}

func textLength(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	}
	return 0
}

func isText(v ref.Val) bool {
	switch v.(type) {
	case types.String, types.Bytes:
		return true
	}
	return false
}

func isList(v ref.Val) bool {
	_, ok := v.(traits.Lister)
	return ok
}

func isMap(v ref.Val) bool {
	_, ok := v.(traits.Mapper)
	return ok
}

func isOptional(v ref.Val) bool {
	_, ok := v.(*types.Optional)
	return ok
}

func elements(v ref.Val) int {
	n, _ := v.(traits.Sizer).Size().(types.Int)
	return int(n)
}

// pricing returns what puts payment into the program of an expression.
func (l *language) pricing(a *ast.AST) interpreter.InterpretableDecoratorV2 {
	nodes := parts(a)
	return func(step interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		call, ok := step.(interpreter.InterpretableCall)
		if !ok {
			return step, nil
		}
		name := call.Function()
		if name == operators.NotStrictlyFalse { // which every round of a loop begins with
			return &round{call, nodes}, nil
		}
		price := prices[name]
		if price == nil {
			return step, nil
		}
		p := &priced{id: call.ID(), name: name, overload: call.OverloadID(), args: call.Args(), price: price}
		switch name {
		case operators.Equals, operators.NotEquals:
			p.do = functions.Overload{Binary: equality(name)}
		case overloads.Matches:
			return p, p.setPattern()
		default:
			do := l.bindings[p.overload]
			if do == nil {
				do = l.bindings[name]
			}
			p.do = *do
		}
		return p.folded(), nil
	}
}

// parts returns how many parts an expression has.
func parts(a *ast.AST) int {
	n := 0
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(ast.Expr) { n++ }))
	return n
}

// round is the condition of a loop, evaluated once for each element.
type round struct {
	interpreter.InterpretableV2
	units int
}

// Exec implements interpreter.InterpretableV2.
func (r *round) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	pay(frame, r.units)
	return r.InterpretableV2.Exec(frame)
}

// Eval implements interpreter.Interpretable.
func (r *round) Eval(vars interpreter.Activation) ref.Val { return r.Exec(interpreter.AsFrame(vars)) }

// priced is a call of a function with one or two arguments that is paid for. It
// stands in the place of CEL's own, which evaluates the arguments itself and thus
// leaves no moment between knowing them and doing what is asked.
type priced struct {
	id             int64
	name, overload string
	args           []interpreter.InterpretableV2
	price          price
	do             functions.Overload
}

// ID implements interpreter.Interpretable.
func (p *priced) ID() int64 { return p.id }

// Eval implements interpreter.Interpretable.
func (p *priced) Eval(vars interpreter.Activation) ref.Val { return p.Exec(interpreter.AsFrame(vars)) }

// Exec implements interpreter.InterpretableV2.
func (p *priced) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	a := p.args[0].Exec(frame)
	if types.IsUnknownOrError(a) {
		return a
	}
	var b ref.Val
	if len(p.args) == 2 {
		if b = p.args[1].Exec(frame); types.IsUnknownOrError(b) {
			return b
		}
	}
	units, wrong := p.price(a, b)
	if wrong != "" {
		return types.NewErrWithNodeID(p.id, "%s", wrong)
	}
	pay(frame, units)
	return p.call(a, b)
}

// call does what CEL's evaluation of a call does with arguments that are no errors.
func (p *priced) call(a, b ref.Val) ref.Val {
	switch {
	case p.do.OperandTrait != 0 && !a.Type().HasTrait(p.do.OperandTrait):
	case b == nil && p.do.Unary != nil:
		return p.do.Unary(a)
	case b != nil && p.do.Binary != nil:
		return p.do.Binary(a, b)
	case p.do.Function != nil && b == nil:
		return p.do.Function(a)
	case p.do.Function != nil:
		return p.do.Function(a, b)
	}
	return types.NewErrWithNodeID(p.id, "no such overload: %s", p.name)
}

// folded returns the result, where all arguments are literals.
func (p *priced) folded() interpreter.InterpretableV2 {
	var values [2]ref.Val
	for i, arg := range p.args {
		literal, ok := arg.(interpreter.InterpretableConst)
		if !ok {
			return p
		}
		values[i] = literal.Value()
	}
	if _, wrong := p.price(values[0], values[1]); wrong != "" {
		return p
	}
	result := p.call(values[0], values[1])
	if types.IsError(result) {
		return p
	}
	return interpreter.NewConstValue(p.id, result)
}

// setPattern makes p the call of matches with the regular expression that is its
// second argument.
func (p *priced) setPattern() error {
	pattern, size, err := compilePattern(p.args[1].(interpreter.InterpretableConst).Value())
	if err != nil {
		return err
	}
	p.args = p.args[:1]
	p.price = func(a, _ ref.Val) (int, string) { return (textLength(a) + 1) * size / matchUnit, "" }
	p.do = functions.Overload{Unary: func(v ref.Val) ref.Val {
		text, ok := v.(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(v)
		}
		return types.Bool(pattern.MatchString(string(text)))
	}}
	return nil
}

// equality is == or !=.
func equality(name string) functions.BinaryOp {
	differ := name == operators.NotEquals
	return func(a, b ref.Val) ref.Val {
		if isList(a) || isMap(a) || isList(b) || isMap(b) {
			return types.Bool(differ) // of different types: no need to look at what they hold
		}
		return types.Bool((types.Equal(a, b) == types.True) != differ)
	}
}

// Interface guards.
var (
	_ interpreter.InterpretableV2 = (*round)(nil)
	_ interpreter.InterpretableV2 = (*priced)(nil)
)
