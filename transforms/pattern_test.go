package transforms

import (
	regexpsyntax "regexp/syntax"
	"testing"
)

// TestPatternSize compares the estimate with the programs.
func TestPatternSize(t *testing.T) {
	for _, pattern := range []string{
		``, `x`, `xyz`, `^x+$`, `[a-z]{3}`, `(ab|cd)*e?`, `(?i)straße`, `x{3,}`, `x{0,7}`, `(x{2,5}){3,4}`, `((a)(b))+?`,
		`\pL+\d\w`, `a|b|[cd]|`, `.*.*`, `(?s).`, `\b(?:\w+\.)+x\z`, `(|a){4}`, `(a|b|c|dd){2,9}`, `(?:){100}`, `^{50}`,
		`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`,
	} {
		comparePatternSize(t, pattern)
	}
}

func comparePatternSize(t *testing.T, pattern string) {
	t.Helper()
	parsed, err := regexpsyntax.Parse(pattern, regexpsyntax.Perl)
	if err != nil {
		return
	}
	estimated := patternSize(parsed)
	if estimated > maxRegexSize {
		return
	}
	const around = 3 // the end, the failure, and an empty expression
	program, err := regexpsyntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > estimated+around {
		t.Errorf("%q: %d instructions, estimated %d (%v)", pattern, len(program.Inst), estimated, err)
	}
}

// FuzzPatternSize compares the estimate with the programs.
func FuzzPatternSize(f *testing.F) {
	for _, pattern := range []string{`(x{2,5}){3,4}|[a-z]+?\b`, `(?i)\pL*`} {
		f.Add(pattern)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		if _, err := regexpsyntax.Parse(pattern, regexpsyntax.Perl); err == nil {
			comparePatternSize(t, pattern)
		}
	})
}
