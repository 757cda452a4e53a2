package filter

import (
	"fmt"
	"regexp"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/parser"

	"github.com/kafkaws/kafkaws/transforms"
)

const (
	// maxNodes bounds the parts of an expression after its macros are expanded.
	// One round of a loop is priced by their number.
	maxNodes = 300
	// maxDepth bounds how deep an expression is nested.
	maxDepth = 50
	// maxPattern bounds the source of a regular expression, in bytes, and
	// maxPatternSize its program, in instructions.
	maxPattern     = 256
	maxPatternSize = 200
	// elementsFunction stands around what `exists` and `all` go through, so that
	// it can be priced. It is no identifier of CEL's.
	elementsFunction = "@elements"
)

// language is what the filters of clients are written in.
type language struct {
	env *cel.Env
	// bindings are what functions do, by their names and by those of their
	// overloads.
	bindings map[string]*functions.Overload
}

// theLanguage returns the language, which is set up when the first filter comes.
var theLanguage = sync.OnceValues(func() (*language, error) {
	a, b := cel.TypeParamType("A"), cel.TypeParamType("B")
	list, object := cel.ListType(a), cel.MapType(a, b)
	env, err := cel.NewEnv(
		transforms.Language(),
		cel.Function(elementsFunction,
			cel.Overload("elements_list", []*cel.Type{list}, list),
			cel.Overload("elements_map", []*cel.Type{object}, object),
			cel.SingletonUnaryBinding(func(v ref.Val) ref.Val { return v })),
		cel.Macros(
			cel.ReceiverMacro(operators.Exists, 2, overElements(parser.MakeExists)),
			cel.ReceiverMacro(operators.All, 2, overElements(parser.MakeAll))),
		cel.ParserRecursionLimit(maxDepth),
		cel.ParserExpressionSizeLimit(MaxLength),
		cel.ParserErrorRecoveryLimit(1),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ASTValidators(rules{}, cel.ValidateTimestampLiterals(), cel.ValidateDurationLiterals()),
	)
	if err != nil {
		return nil, fmt.Errorf("setting up the language of filters: %w", err)
	}
	l := &language{env: env, bindings: make(map[string]*functions.Overload)}
	for _, function := range env.Functions() {
		overloads, err := function.Bindings()
		if err != nil {
			return nil, fmt.Errorf("setting up the language of filters: %w", err)
		}
		for _, o := range overloads {
			l.bindings[o.Operator] = o
		}
	}
	return l, nil
})

// overElements is a macro of the standard that goes through elementsFunction.
func overElements(macro cel.MacroFactory) cel.MacroFactory {
	return func(factory cel.MacroExprFactory, target ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		return macro(factory, factory.NewCall(elementsFunction, target), args)
	}
}

// free are the functions that have no price: they take the same short time
// whatever they are given.
var free = map[string]bool{
	operators.LogicalAnd: true, operators.LogicalOr: true, operators.LogicalNot: true, operators.Conditional: true,
	operators.Negate: true, operators.Subtract: true, operators.Multiply: true, operators.Divide: true, operators.Modulo: true,
	operators.Index: true, operators.OptIndex: true, operators.OptSelect: true,
	"or": true, "orValue": true, "hasValue": true, "value": true,
	overloads.TypeConvertType: true, overloads.TypeConvertDyn: true,
}

// clock are the functions of times, which have no price either, in UTC.
var clock = map[string]bool{
	overloads.TimeGetFullYear: true, overloads.TimeGetMonth: true, overloads.TimeGetDate: true,
	overloads.TimeGetDayOfMonth: true, overloads.TimeGetDayOfWeek: true, overloads.TimeGetDayOfYear: true,
	overloads.TimeGetHours: true, overloads.TimeGetMinutes: true, overloads.TimeGetSeconds: true,
	overloads.TimeGetMilliseconds: true,
}

// joins are the overloads of + that make something longer.
var joins = map[string]bool{overloads.AddString: true, overloads.AddBytes: true, overloads.AddList: true}

// rules are what a filter may not use of CEL, as one of its validators.
type rules struct{}

// Name implements cel.ASTValidator.
func (rules) Name() string { return "kafkaws.filter" }

// Validate implements cel.ASTValidator.
func (rules) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, issues *cel.Issues) {
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if wrong := forbidden(a, e); wrong != "" {
			issues.ReportErrorAtID(e.ID(), "%s", wrong)
		}
	}))
}

// forbidden says why a filter may not have e, if so.
func forbidden(a *ast.AST, e ast.Expr) string {
	switch e.Kind() {
	case ast.MapKind, ast.StructKind:
		return "a filter cannot make maps or messages"
	case ast.ComprehensionKind:
		through := e.AsComprehension().IterRange()
		if through.Kind() != ast.CallKind || through.AsCall().FunctionName() != elementsFunction {
			return "of the macros a filter may use has, exists and all"
		}
	case ast.CallKind:
		return forbiddenCall(a, e)
	case ast.IdentKind, ast.ListKind, ast.LiteralKind, ast.SelectKind, ast.UnspecifiedExprKind:
	}
	return ""
}

func forbiddenCall(a *ast.AST, e ast.Expr) string {
	call := e.AsCall()
	name, args := call.FunctionName(), call.Args()
	switch name {
	case operators.NotStrictlyFalse: // of exists and all
		return ""
	case operators.Index, operators.OptIndex:
		if args[1].Kind() != ast.LiteralKind {
			return "between brackets a filter may have a literal only"
		}
	case operators.Add:
		if onlyJoins(a.ReferenceMap()[e.ID()]) {
			return "a filter cannot join strings or lists"
		}
	case overloads.Matches:
		pattern := args[len(args)-1]
		if pattern.Kind() != ast.LiteralKind {
			return "the regular expression of matches has to be a literal"
		}
		if _, _, err := compilePattern(pattern.AsLiteral()); err != nil {
			return err.Error()
		}
	}
	if prices[name] == nil && !free[name] && !clock[name] {
		return fmt.Sprintf("a filter cannot use %s", name)
	}
	if clock[name] && len(args) > 0 {
		return "a filter knows no time zones but UTC" // what would read a file for each record
	}
	return ""
}

func onlyJoins(found *ast.ReferenceInfo) bool {
	if found == nil {
		return false
	}
	for _, id := range found.OverloadIDs {
		if !joins[id] {
			return false
		}
	}
	return true
}

// compilePattern compiles a regular expression, and counts the instructions of its
// program.
func compilePattern(literal ref.Val) (*regexp.Regexp, int, error) {
	pattern, ok := literal.(types.String)
	if !ok {
		return nil, 0, fmt.Errorf("the regular expression of matches has to be a string")
	}
	if len(pattern) > maxPattern {
		return nil, 0, fmt.Errorf("the regular expression has %d bytes, at most %d are taken", len(pattern), maxPattern)
	}
	return transforms.CompilePattern(string(pattern), maxPatternSize)
}
