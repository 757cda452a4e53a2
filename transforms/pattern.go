package transforms

import (
	"fmt"
	"regexp"
	regexpsyntax "regexp/syntax"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// CompilePattern compiles a regular expression of at most limit instructions, and
// returns about how many it has. (cel.RegexProgramSizeLimit is of no use: it
// panics at `x{2}`.)
func CompilePattern(pattern string, limit int) (*regexp.Regexp, int, error) {
	parsed, err := regexpsyntax.Parse(pattern, regexpsyntax.Perl)
	if err != nil {
		return nil, 0, err
	}
	size := patternSize(parsed)
	if size > limit {
		return nil, 0, fmt.Errorf("the regular expression is too large: it comes to about %d instructions, at most %d are taken", size, limit)
	}
	compiled, err := regexp.Compile(pattern)
	return compiled, size, err
}

// patternSize estimates how many instructions a regular expression comes to,
// without making them: of a few characters there can be thousands.
func patternSize(e *regexpsyntax.Regexp) int {
	const most = 1 << 30 // no matter how much more
	parts := 0
	for _, part := range e.Sub {
		parts = min(parts+patternSize(part), most)
	}
	switch e.Op {
	case regexpsyntax.OpLiteral:
		return len(e.Rune)
	case regexpsyntax.OpRepeat:
		if e.Min != e.Max {
			parts++ // each may be left out
		}
		return min(parts*max(e.Min, e.Max)+2, most)
	case regexpsyntax.OpConcat:
		return parts
	case regexpsyntax.OpCapture:
		return parts + 2
	case regexpsyntax.OpAlternate:
		return parts + len(e.Sub)
	case regexpsyntax.OpNoMatch, regexpsyntax.OpEmptyMatch, regexpsyntax.OpCharClass,
		regexpsyntax.OpAnyCharNotNL, regexpsyntax.OpAnyChar, regexpsyntax.OpBeginLine, regexpsyntax.OpEndLine,
		regexpsyntax.OpBeginText, regexpsyntax.OpEndText, regexpsyntax.OpWordBoundary, regexpsyntax.OpNoWordBoundary,
		regexpsyntax.OpStar, regexpsyntax.OpPlus, regexpsyntax.OpQuest:
	}
	return parts + 1
}

// patternRule checks the regular expressions that are literals, as a validator of
// CEL's.
type patternRule struct{}

// Name implements cel.ASTValidator.
func (patternRule) Name() string { return "kafkaws.patterns" }

// Validate implements cel.ASTValidator.
func (patternRule) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, issues *cel.Issues) {
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != overloads.Matches {
			return
		}
		args := e.AsCall().Args()
		pattern := args[len(args)-1]
		if pattern.Kind() != ast.LiteralKind {
			return
		}
		if text, ok := pattern.AsLiteral().(types.String); ok {
			if _, _, err := CompilePattern(string(text), maxRegexSize); err != nil {
				issues.ReportErrorAtID(pattern.ID(), "%s", err)
			}
		}
	}))
}

// boundPatterns bounds the regular expressions that come from a record.
func boundPatterns(step interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := step.(interpreter.InterpretableCall)
	if !ok || call.Function() != overloads.Matches {
		return step, nil
	}
	if _, literal := call.Args()[1].(interpreter.InterpretableConst); literal {
		return step, nil
	}
	return &boundMatches{call}, nil
}

type boundMatches struct{ interpreter.InterpretableCall }

// Eval implements interpreter.Interpretable.
func (m *boundMatches) Eval(vars interpreter.Activation) ref.Val {
	return m.Exec(interpreter.AsFrame(vars))
}

// Exec implements interpreter.InterpretableV2.
func (m *boundMatches) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	var given [2]types.String
	for i, arg := range m.Args() {
		value := arg.Exec(frame)
		text, ok := value.(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(value)
		}
		given[i] = text
	}
	pattern, _, err := CompilePattern(string(given[1]), maxRegexSize)
	if err != nil {
		return types.NewErrWithNodeID(m.ID(), "%s", err)
	}
	return types.Bool(pattern.MatchString(string(given[0])))
}

// Interface guards.
var (
	_ cel.ASTValidator              = patternRule{}
	_ interpreter.InterpretableCall = (*boundMatches)(nil)
)
