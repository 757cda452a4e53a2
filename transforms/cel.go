package transforms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// CostLimit is what evaluating an expression of the site's for one record may
// cost, in CEL's units: a comparison is about one, going through a list of a
// thousand elements some thousands. It bounds memory; what bounds time is the
// context.
const CostLimit = 1_000_000

const (
	maxExpressionLength = 16 << 10
	// maxRegexSize bounds the programs of regular expressions, which may come
	// from a record.
	maxRegexSize = 1000
	// interruptEvery is after how many steps of a loop is looked whether there
	// is time left.
	interruptEvery = 100
	// maxPlain is as large as a record can be, and larger.
	maxPlain = 1 << 30
)

// Expression is a condition about records, in CEL (https://cel.dev). It knows one
// variable, `record`, with the fields
//
//	record.topic      string
//	record.partition  int
//	record.offset     int
//	record.timestamp  timestamp
//	record.key        string; bytes if it is not UTF-8; null if there is none
//	record.headers    map of names to values, which are like keys; of headers with
//	                  the same name the last
//	record.value      what the JSON says, if the value is JSON; else a string, or
//	                  bytes if it is not UTF-8; null for a tombstone
//
// A record that is being published has offset 0, partition -1 and the timestamp
// of the year 1 unless it says otherwise. Numbers of JSON are doubles, as ever
// in CEL, except integers that a double cannot hold exactly and an int can. Of
// equal names in an object the last one counts, as it does for browsers. A field
// that is missing is an error; `has(record.value.x)` asks for it, and
// `record.value.?x.?y.orValue("")` does without.
//
// Beside CEL's standard library there are optional values and comparisons of
// numbers of different types. An Expression is safe for concurrent use.
type Expression struct {
	// plain is for records of up to plainMax bytes, for which the cost cannot
	// come to the limit: metering takes several times as long as the expression
	// itself, and far longer in loops, as its book-keeping grows with them.
	plain    cel.Program
	plainMax int
	metered  cel.Program
	loops    bool // whether it can go through lists and maps
}

// celEnv returns the environment that all expressions are compiled in.
var celEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		Language(),
		cel.ParserExpressionSizeLimit(maxExpressionLength),
		cel.ASTValidators(patternRule{}, cel.ValidateTimestampLiterals(), cel.ValidateDurationLiterals()),
	)
})

// Language is the CEL of Expression, for other environments: `record`, which an
// activation resolves to a *View, optional values, and comparisons of numbers of
// different types.
func Language() cel.EnvOption {
	options := []cel.EnvOption{
		cel.Types(recordType{viewType}),
		cel.Variable("record", viewType),
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
	}
	return func(env *cel.Env) (*cel.Env, error) {
		var err error
		for _, option := range options {
			if env, err = option(env); err != nil {
				return nil, err
			}
		}
		return env, nil
	}
}

// CompileExpression compiles an expression, which must be one that can be true or
// false. costLimit bounds what evaluating it may cost (see CostLimit). An error
// says where in the source it is.
func CompileExpression(source string, costLimit uint64) (*Expression, error) {
	if len(source) > maxExpressionLength {
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are taken", len(source), maxExpressionLength)
	}
	env, err := celEnv()
	if err != nil {
		return nil, fmt.Errorf("setting up CEL: %w", err)
	}
	checked, issues := env.Compile(source)
	if err := issues.Err(); err != nil {
		return nil, CompileError(source, issues)
	}
	// What the fields of a JSON value are is known for each record only.
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("the expression gives a %s; write one that gives true or false", t)
	}
	loops, adds := shape(checked.NativeRep())
	e := &Expression{plainMax: -1, loops: loops}
	// What adding up in a loop makes grow, the estimate takes for as large as it
	// was at the beginning.
	for size := 1; size <= maxPlain && (!loops || !adds); size *= 2 {
		estimate, err := env.EstimateCost(checked, sizes(size))
		if err != nil || estimate.Max > costLimit {
			break
		}
		e.plainMax = size
	}
	optimize, interrupt := cel.EvalOptions(cel.OptOptimize), cel.InterruptCheckFrequency(interruptEvery)
	bound := cel.CustomDecoratorV2(boundPatterns)
	if e.plain, err = env.Program(checked, bound, optimize, interrupt); err != nil {
		return nil, shortError(err)
	}
	metering, limit := cel.CostTracking(costs{}), cel.CostLimit(costLimit)
	if e.metered, err = env.Program(checked, bound, optimize, interrupt, metering, limit); err != nil {
		return nil, shortError(err)
	}
	return e, nil
}

// Match reports whether the expression is true of a record. It fails where the
// record lacks what the expression asks for, costs too much, or takes until ctx
// is done.
func (e *Expression) Match(ctx context.Context, v *View) (bool, error) {
	program := e.plain
	if v.size > e.plainMax {
		program = e.metered
	}
	var result ref.Val
	var err error
	if e.loops {
		result, _, err = program.ContextEval(ctx, (*activation)(v))
	} else {
		result, _, err = program.Eval((*activation)(v))
	}
	if err != nil {
		if ctx.Err() != nil {
			return false, fmt.Errorf("evaluating the expression: %w", context.Cause(ctx))
		}
		return false, shortError(err)
	}
	match, ok := result.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the expression gave a %s, not true or false", result.Type().TypeName())
	}
	return bool(match), nil
}

// CompileError tells the first error of a compilation, of which there is one, and
// where in the source it is.
func CompileError(source string, issues *cel.Issues) error {
	if len(issues.Errors()) == 0 {
		return shortError(issues.Err())
	}
	first := issues.Errors()[0]
	message, _, _ := strings.Cut(first.Message, " expecting {") // tens of tokens
	line, column := first.Location.Line(), first.Location.Column()
	if line < 1 || column < 0 {
		return errors.New(message)
	}
	offset := 0
	for range line - 1 {
		offset += strings.IndexByte(source[offset:], '\n') + 1
	}
	for range column { // of characters
		_, size := utf8.DecodeRuneInString(source[offset:])
		offset += size
	}
	return fmt.Errorf("%s (%s)", message, place(source, offset))
}

// shape reports whether an expression goes through lists or maps, and whether it
// adds anything to anything.
func shape(a *ast.AST) (loops, adds bool) {
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		loops = loops || e.Kind() == ast.ComprehensionKind
		adds = adds || e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Add
	}))
	return loops, adds
}

// sizes estimates the sizes of what is in a record, of so many bytes at most: no
// part of it has more characters or elements.
type sizes uint64

// EstimateSize implements checker.CostEstimator.
func (s sizes) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	if path := node.Path(); len(path) == 0 || path[0] != "record" {
		return nil
	}
	return &checker.SizeEstimate{Min: 0, Max: uint64(s)}
}

// EstimateCallCost implements checker.CostEstimator.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// costs says what calls cost, by what they were given. CEL's own costs go by the
// types that are known beforehand, and of JSON there are none.
type costs struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (costs) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	cost := 1 + textSize(result)/10
	for _, arg := range args {
		cost += textSize(arg) / 10
		if list, ok := arg.(traits.Lister); ok && function == operators.In {
			cost += uint64(list.Size().(types.Int))
		}
	}
	if function == overloads.Matches && len(args) == 2 {
		cost *= 1 + textSize(args[1])/4
	}
	return &cost
}

func textSize(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v))
	case types.Bytes:
		return uint64(len(v))
	}
	return 0
}

// Interface guards.
var (
	_ checker.CostEstimator           = sizes(0)
	_ interpreter.ActualCostEstimator = costs{}
)
